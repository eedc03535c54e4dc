"""Static SVG charts by matplotlib. Equal input gives equal bytes; CSS variables recolour them for dark and light pages.

Charts must not carry labels from outside: those go into tables, which escape them.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK, MUTED, GRID, PAPER = "#1b2733", "#66727f", "#d9dfe5", "#fefefe"
SERIES_1, SERIES_2, GOOD, BAD = "#2563c9", "#c96a12", "#1c8a4c", "#c2323c"
VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper",
    SERIES_1: "--series-1", SERIES_2: "--series-2", GOOD: "--good", BAD: "--bad",
}  # fmt: skip
RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ratchet",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
}


@dataclass(frozen=True)
class Estimate:
    """A labelled mean with the bounds of its interval."""

    label: str
    mean: float
    low: float
    high: float


def intervals(groups: Sequence[tuple[str, Sequence[Estimate]]]) -> str:
    """Means with intervals: a line for each measure, a colour for each side.

    Args:
        groups: the sides (release, BM25 …) with their estimates by measure, all in the same order.
    """
    measures = [estimate.label for estimate in groups[0][1]]
    with _figure(8.4, 0.7 + 0.46 * len(measures)) as drawn:
        for number, ((side, estimates), colour) in enumerate(zip(groups, (SERIES_1, SERIES_2, GOOD), strict=False)):
            offset = (number - (len(groups) - 1) / 2) * 0.3
            rows = [row + offset for row in range(len(estimates))]
            means = [estimate.mean for estimate in estimates]
            below = [estimate.mean - estimate.low for estimate in estimates]
            above = [estimate.high - estimate.mean for estimate in estimates]
            drawn.axes.errorbar(means, rows, xerr=[below, above], fmt="o", ms=5, capsize=3, lw=1.8, color=colour, label=side)
            for row, estimate in zip(rows, estimates, strict=True):
                drawn.axes.annotate(
                    f"{estimate.mean:.3f}",
                    (estimate.high, row),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    size=8.5,
                    color=colour,
                )
        drawn.axes.set_yticks(range(len(measures)), measures, color=INK)
        drawn.axes.set(xlim=(0, 1.04), ylim=(len(measures) - 0.4, -0.6))
        drawn.axes.tick_params(length=0)
        drawn.axes.grid(axis="x")
        drawn.axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    return drawn.svg


def histogram(values: Sequence[float], label: str) -> str:
    """A histogram of values from 0 to 1, a query each, in bins of 0.05."""
    with _figure(8.4, 2.5) as drawn:
        counts, _, bars = drawn.axes.hist(values, bins=[step / 20 for step in range(21)], color=SERIES_1, rwidth=0.92)
        drawn.axes.bar_label(bars, [f"{int(count):,}" if count else "" for count in counts], size=8, color=MUTED, padding=2)
        drawn.axes.set(xlim=(0, 1), xlabel=label, ylabel="queries")
        drawn.axes.margins(y=0.12)
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def doubling(counts: Mapping[int, int], label: str, noun: str) -> str:
    """A histogram of numbers of 1 and above, in bins that double: 1, 2 to 3, 4 to 7 and so on."""
    bins: dict[int, int] = {}
    for number, count in counts.items():
        bins[number.bit_length() - 1] = bins.get(number.bit_length() - 1, 0) + count
    steps = range(min(bins), max(bins) + 1)
    with _figure(8.4, 2.5) as drawn:
        drawn_bars = drawn.axes.bar(range(len(steps)), [bins.get(step, 0) for step in steps], color=SERIES_1, width=0.92)
        labels = [f"{bins[step]:,}" if step in bins else "" for step in steps]
        drawn.axes.bar_label(drawn_bars, labels, size=8, color=MUTED, padding=2)
        drawn.axes.set_xticks(range(len(steps)), [f"{1 << step:,}" for step in steps])
        drawn.axes.set(xlabel=f"{label}, from", ylabel=noun)
        drawn.axes.margins(y=0.12)
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def difference(estimate: Estimate, margin: float) -> str:
    """A paired difference with its interval, 0, and the range beyond the margin."""
    reach = 1.25 * max(abs(estimate.low), abs(estimate.high), 1.6 * margin)
    colour = BAD if estimate.high < 0 else GOOD if estimate.low > -margin else SERIES_2
    with _figure(8.4, 1.9) as drawn:
        drawn.axes.axvspan(-reach, -margin, color=BAD, alpha=0.10, lw=0)
        drawn.axes.axvline(-margin, color=BAD, lw=1.2, ls=(0, (4, 3)))
        drawn.axes.axvline(0, color=INK, lw=1.2)
        drawn.axes.errorbar(
            [estimate.mean],
            [0],
            xerr=[[estimate.mean - estimate.low], [estimate.high - estimate.mean]],
            fmt="o",
            ms=9,
            capsize=7,
            lw=3,
            capthick=3,
            color=colour,
        )
        for at, text, tint, side in ((-margin, f"margin −{margin:g}", BAD, "right"), (0, "no difference", INK, "left")):
            apart = (-4 if side == "right" else 4, -2)
            drawn.axes.annotate(text, (at, 1), apart, textcoords="offset points", ha=side, va="top", size=8.5, color=tint)
        drawn.axes.set(xlim=(-reach, reach), ylim=(-1, 1), yticks=[], xlabel=f"{estimate.label}, challenger − champion")
        drawn.axes.spines["left"].set_visible(False)
        drawn.axes.grid(axis="x")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def waterfall(differences: Sequence[float], label: str) -> str:
    """The difference of each query, sorted from the worst loss to the best gain; of more than 1,000 an even sample."""
    ordered = sorted(differences)
    count = min(len(ordered), 1000)
    shown = [ordered[row * (len(ordered) - 1) // max(1, count - 1)] for row in range(count)]
    at = [row * len(ordered) / count for row in range(count + 1)]
    with _figure(8.4, 2.6) as drawn:
        for colour, side in ((BAD, [min(value, 0) for value in shown]), (GOOD, [max(value, 0) for value in shown])):
            drawn.axes.stairs(side, at, fill=True, color=colour, lw=0)
        drawn.axes.axhline(0, color=INK, lw=1)
        drawn.axes.set(xlim=(0, len(ordered)), ylim=(-1.02, 1.02), xlabel="queries, sorted", ylabel=label)
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def bars(rows: Sequence[tuple[str, int]], label: str) -> str:
    """A horizontal bar for each name with its count. The names must not come from outside."""
    with _figure(8.4, 0.6 + 0.26 * len(rows)) as drawn:
        drawn_bars = drawn.axes.barh(range(len(rows)), [count for _, count in rows], color=SERIES_1, height=0.72)
        drawn.axes.bar_label(drawn_bars, [f"{count:,}" for _, count in rows], size=8.5, color=MUTED, padding=3)
        drawn.axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=INK)
        drawn.axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=label)
        drawn.axes.margins(x=0.1)
        drawn.axes.grid(axis="x")
        drawn.axes.tick_params(length=0)
    return drawn.svg


class _figure:  # noqa: N801  # used as a `with` block
    """A figure as a `with` block that draws on `axes`; afterwards `svg` has the drawing."""

    svg = ""

    def __init__(self, width: float, height: float) -> None:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        self._context = mpl.rc_context(RC)
        self._context.__enter__()
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self.axes: Any = self.figure.add_subplot()

    def __enter__(self) -> "_figure":
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if failure[0] is None:
                self.svg = _svg(self.figure)
        finally:
            self._context.__exit__(None, None, None)


def _svg(figure: Any) -> str:
    """The drawing as an <svg> element without metadata; its colours are CSS variables with a fallback."""
    target = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(target, format="svg", transparent=True, metadata=metadata)
    text = target.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    return text
