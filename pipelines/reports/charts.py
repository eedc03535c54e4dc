"""Static SVG charts by matplotlib. Equal input gives equal bytes; CSS variables recolour them for dark and light pages.

Charts carry no labels from outside but names of plain letters and digits: others go into tables, which escape them.
"""

import io
import math
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


def changes(groups: Sequence[tuple[str, Sequence[Estimate]]], label: str) -> str:
    """Changes with their intervals around 0: a line for each name, a colour for each side.

    Args:
        groups: the sides with their estimates, all with the same names in the same order.
        label: of the axis.
    """
    names = [estimate.label for estimate in groups[0][1]]
    reach = 1.15 * max((abs(bound) for _, rows in groups for row in rows for bound in (row.low, row.high)), default=0.1) or 0.1
    with _figure(8.4, 0.9 + 0.42 * len(names)) as drawn:
        drawn.axes.axvline(0, color=INK, lw=1.2)
        for number, ((side, estimates), colour) in enumerate(zip(groups, (SERIES_1, SERIES_2), strict=False)):
            rows = [row + (number - (len(groups) - 1) / 2) * 0.3 for row in range(len(estimates))]
            means = [estimate.mean for estimate in estimates]
            below = [estimate.mean - estimate.low for estimate in estimates]
            above = [estimate.high - estimate.mean for estimate in estimates]
            drawn.axes.errorbar(means, rows, xerr=[below, above], fmt="o", ms=5, capsize=3, lw=1.8, color=colour, label=side)
        drawn.axes.set_yticks(range(len(names)), names, color=INK)
        drawn.axes.set(xlim=(-reach, reach), ylim=(len(names) - 0.4, -0.6), xlabel=label)
        drawn.axes.grid(axis="x")
        drawn.axes.tick_params(length=0)
        drawn.axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
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


def difference(estimate: Estimate, margin: float, sides: str = "challenger − champion") -> str:
    """A difference with its interval, 0, and the range beyond the margin; `sides` says of what."""
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
        drawn.axes.set(xlim=(-reach, reach), ylim=(-1, 1), yticks=[], xlabel=f"{estimate.label}, {sides}")
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


@dataclass(frozen=True)
class Interval:
    """A labelled relative effect; bounds that are not known are infinite."""

    label: str
    estimate: float
    low: float
    high: float
    tone: str
    """good, bad, unsure or muted."""
    margin: float | None = None
    """The value beyond which a guardrail is broken."""


def forest(rows: Sequence[Interval], label: str) -> str:
    """Relative effects in percent with their intervals, a line each, around 0; wide intervals end at the drawing's edge."""
    edges = [abs(bound) for row in rows for bound in (row.low, row.high, row.estimate, row.margin or 0) if math.isfinite(bound)]
    reach = 100 * min(1.15 * max(edges, default=0.1), 2.0) or 10.0
    tones = {"good": GOOD, "bad": BAD, "unsure": SERIES_2, "muted": MUTED}
    with _figure(8.4, 0.8 + 0.42 * len(rows)) as drawn:
        drawn.axes.axvline(0, color=INK, lw=1.2)
        for row, effect in enumerate(rows):
            colour = tones[effect.tone]
            low, high = max(-reach, 100 * effect.low), min(reach, 100 * effect.high)
            drawn.axes.plot([low, high], [row, row], color=colour, lw=2.6, solid_capstyle="butt")
            if math.isfinite(effect.estimate) and abs(100 * effect.estimate) <= reach:
                drawn.axes.plot([100 * effect.estimate], [row], "o", ms=6.5, color=colour)
            if effect.margin is not None:
                drawn.axes.plot([100 * effect.margin] * 2, [row - 0.36, row + 0.36], color=BAD, lw=1.6, ls=(0, (2, 2)))
        drawn.axes.set_yticks(range(len(rows)), [row.label for row in rows], color=INK)
        drawn.axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.4, -0.6), xlabel=label)
        drawn.axes.xaxis.set_major_formatter("{x:+g} %")
        drawn.axes.grid(axis="x")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def sequence(
    days: Sequence[str], looks: Sequence[tuple[float, float, float]], final: tuple[float, float, float], label: str
) -> str:
    """A confidence sequence over the days, and beside its end the interval of one look alone.

    Args:
        days: their names.
        looks: estimate, lower and upper bound of each day, relative; infinite where not known.
        final: the same of one look at the end.
        label: of the axis.
    """
    known = [(row, look) for row, look in enumerate(looks) if all(math.isfinite(value) for value in look)]
    values = [abs(bound) for _, look in known[len(known) // 4 :] for bound in look[1:]] + [
        abs(bound) for bound in final if math.isfinite(bound)
    ]
    reach = 100 * min(1.2 * max(values, default=0.1), 2.0) or 10.0
    at = [row for row, _ in known]
    with _figure(8.4, 3.0) as drawn:
        drawn.axes.axhline(0, color=INK, lw=1.2)
        low, high = ([max(-reach, min(reach, 100 * look[side])) for _, look in known] for side in (1, 2))
        drawn.axes.fill_between(at, low, high, color=SERIES_1, alpha=0.18, lw=0)
        drawn.axes.plot(
            at, [100 * look[0] for _, look in known], color=SERIES_1, lw=2, label="effect so far, valid at every look"
        )
        if all(math.isfinite(value) for value in final):
            place = len(days) - 1 + 0.35
            drawn.axes.errorbar(
                [place], [100 * final[0]], yerr=[[100 * (final[0] - final[1])], [100 * (final[2] - final[0])]],
                fmt="o", ms=5, capsize=4, lw=2, color=SERIES_2, label="one look at the end",
            )  # fmt: skip
        step = max(1, len(days) // 8)
        drawn.axes.set_xticks(range(0, len(days), step), [days[row] for row in range(0, len(days), step)])
        drawn.axes.set(xlim=(-0.4, len(days) - 0.2), ylim=(-reach, reach), ylabel=label)
        drawn.axes.yaxis.set_major_formatter("{x:+g} %")
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
        drawn.axes.legend(loc="upper right", ncols=2)
    return drawn.svg


def tradeoff(points: Sequence[tuple[str, float, float]], taken: str, least: float, axes: tuple[str, str]) -> str:
    """Named points, with the line through those that no other beats in both directions (the Pareto front).

    Args:
        points: name, x and y of each; more is better in both.
        taken: the name that is marked.
        least: the y that must be reached.
        axes: what x and y are.
    """
    front = sorted((x, y) for _, x, y in points if not any(x <= a and y <= b and (x, y) != (a, b) for _, a, b in points))
    with _figure(8.4, 3.4) as drawn:
        drawn.axes.plot(*zip(*front, strict=True), color=MUTED, lw=1)
        drawn.axes.axhline(least, color=BAD, lw=1, ls="--")
        for name, x, y in points:
            colour = GOOD if name == taken else SERIES_1
            drawn.axes.plot([x], [y], "o", ms=7 if name == taken else 5, color=colour)
            drawn.axes.annotate(name, (x, y), (6, -11), textcoords="offset points", size=8.5, color=colour)
        drawn.axes.set(xlabel=axes[0], ylabel=axes[1])
        drawn.axes.margins(x=0.18, y=0.15)
        drawn.axes.grid()
    return drawn.svg


def curves(values: Sequence[Sequence[float]], probabilities: Sequence[float], names: Sequence[str], label: str) -> str:
    """Distributions as the share of rows that are above each value."""
    colours = (SERIES_1, SERIES_2, GOOD, BAD, MUTED)
    with _figure(8.4, 2.8) as drawn:
        for series, name, colour in zip(values, names, colours, strict=False):
            drawn.axes.plot(series, [100 * (1 - probability) for probability in probabilities], color=colour, lw=2, label=name)
        positive = [value for series in values for value in series if value > 0]
        if positive and max(positive) > 20 * min(positive):
            drawn.axes.set_xscale("log")
        drawn.axes.set(ylim=(0, 100), xlabel=label, ylabel="slower than, % of requests")
        drawn.axes.grid(axis="both")
        drawn.axes.tick_params(length=0)
        drawn.axes.legend(loc="upper right")
    return drawn.svg


def trend(values: Sequence[float], limit: float, label: str, each: str = "drill") -> str:
    """Values one after another, with the limit that none should pass; `each` is what has one."""
    with _figure(8.4, 2.2) as drawn:
        drawn.axes.axhline(limit, color=BAD, lw=1.2, ls=(0, (4, 3)))
        drawn.axes.plot(range(1, len(values) + 1), values, color=SERIES_1, lw=2, marker="o", ms=5 if len(values) < 60 else 0)
        drawn.axes.set(ylim=(0, 1.15 * max(limit, *values)), xlim=(0.5, len(values) + 0.5), ylabel=label, xlabel=each)
        drawn.axes.xaxis.get_major_locator().set_params(integer=True)
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def days(values: Sequence[float], baseline: Sequence[int], label: str) -> str:
    """A number of each day up to today, with the range of the baseline's days; today is a point.

    Args:
        values: of the days, today last.
        baseline: the places of the baseline's days.
        label: of the axis.
    """
    usual = [values[day] for day in baseline]
    today = len(values) - 1
    with _figure(8.4, 2.2) as drawn:
        drawn.axes.axhspan(min(usual), max(usual), color=SERIES_1, alpha=0.12, lw=0)
        drawn.axes.plot(range(-today, 1), values, color=SERIES_1, lw=1.6)
        outside = not min(usual) <= values[-1] <= max(usual)
        drawn.axes.plot([0], [values[-1]], "o", ms=7, color=BAD if outside else GOOD)
        drawn.axes.set(xlabel="days before", ylabel=label)
        drawn.axes.xaxis.set_major_formatter(lambda day, _: f"{abs(day):.0f}")
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
    return drawn.svg


def effects(days: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """A share of each report by name; NaN where a report has none."""
    colours = (SERIES_1, SERIES_2, BAD, MUTED)
    with _figure(8.4, 2.4) as drawn:
        for (name, values), colour in zip(series.items(), colours, strict=False):
            drawn.axes.plot(
                range(len(days)), [100 * value for value in values], color=colour, lw=1.6, marker="o", ms=4, label=name
            )
        drawn.axes.set(ylabel="largest effect, %")
        drawn.axes.set_ylim(bottom=0)
        shown = range(0, len(days), max(1, len(days) // 7))
        drawn.axes.set_xticks(list(shown), [days[number] for number in shown])
        drawn.axes.grid(axis="y")
        drawn.axes.tick_params(length=0)
        drawn.axes.legend(loc="upper left", ncols=4)
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
