"""Robustness in reports: what each perturbation costs, a chart, and real examples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.evaluation.robustness import Drop, Robustness, drops
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, Section, write_report
from pipelines.statistics.intervals import Interval
from pipelines.wording import signed, value

MAIN, CONFIDENCE = "nDCG@10", 0.95
EXAMPLES = 3
"""Copies of each perturbation that a report shows: the worst, and one at the first and at the second quarter."""
METHOD = [
    "Each copy of a query is ranked and measured against the query's own judgments. A query's change is the mean over its"
    " copies; intervals are over queries, the wider of Student's t and Hall's transformed t on each side.",
    "Typos: real misspellings collected by codespell; a neighbouring key where it has none. Paraphrases are kept where a model"
    " that ranks nothing finds them alike.",
]


def write_robustness_report(folder: Path, robustness: Robustness) -> None:
    """Write `report.html` and `report.json` of one release's measurement."""
    write_report(folder, robustness_report(robustness))


def robustness_report(robustness: Robustness) -> Report:
    """The report of one release's measurement; without copies it has the reasons alone."""
    found = list(drops(robustness, None, MAIN, CONFIDENCE))
    worst = min(found, key=lambda drop: drop.change.mean or 0, default=None)
    return Report(
        "robustness",
        f"robustness of release {robustness.release[:8]}",
        "measured" if worst else "not run",
        _sentence(worst) if worst else "No perturbed query could be made, so nothing was measured.",
        robustness_pictures(found, MAIN),
        robustness_tables(robustness, found, MAIN),
        not_run_lines(robustness),
        METHOD,
        {"release": robustness.release, "perturbations": robustness.perturbations, "confidence": str(CONFIDENCE)},
    )


def robustness_section(robustness: Robustness, champion: Robustness | None, measure: str, confidence: float) -> Section:
    """What perturbed queries add to a verdict's report."""
    found = list(drops(robustness, champion, measure, confidence))
    pictures, tables = robustness_pictures(found, measure), robustness_tables(robustness, found, measure)
    return Section(pictures, tables, METHOD, not_run_lines(robustness))


def _sentence(worst: Drop) -> str:
    change = worst.change
    return (
        f"{_name(worst.perturbation)} costs most: {MAIN} {value(worst.before)} becomes"
        f" {value(worst.before + (change.mean or 0))}, a change of {signed(change.mean)}"
        f" [{signed(change.low)}, {signed(change.high)}] over {change.n:,} queries."
    )


def _name(perturbation: str) -> str:
    return perturbation.replace("_", " ")


def not_run_lines(robustness: Robustness) -> list[str]:
    """A line for each perturbation that was not run, with the reason."""
    return [
        f"{_name(name)} was not run: {status['reason']}."
        for name, status in robustness.status.items()
        if status["status"] != "made"
    ]


def robustness_pictures(found: list[Drop], measure: str) -> list[Picture]:
    """The changes of one or both sides as a chart; none where nothing was measured."""
    if not found:
        return []
    groups = [("challenger", [_estimate(drop.perturbation, drop.change) for drop in found])]
    if all(drop.champion for drop in found):
        groups.append(("champion", [_estimate(drop.perturbation, drop.champion) for drop in found if drop.champion]))
    caption = "Mean change over queries that have a copy, with its interval. Left of 0 the copies rank worse."
    numbers = {side: [vars(estimate) for estimate in estimates] for side, estimates in groups}
    drawing = charts.changes(groups, f"change in {measure}, copy − query")
    return [Picture("What a perturbation costs", caption, drawing, numbers)]


def _estimate(perturbation: str, change: Interval) -> charts.Estimate:
    mean = change.mean or 0.0
    low, high = (mean if bound is None else bound for bound in (change.low, change.high))
    return charts.Estimate(_name(perturbation), mean, low, high)


def robustness_tables(robustness: Robustness, found: list[Drop], measure: str) -> list[ReportTable]:
    """A row for each perturbation, and examples; none where nothing was measured."""
    if not found:
        return []
    beside = all(drop.champion for drop in found)
    columns: list[tuple[str, Any]] = [
        ("perturbation", "text"), ("queries", "count"), ("copies", "count"), (f"{measure} as asked", "value"),
        ("change", "signed"), ("interval", "signed interval"),
    ]  # fmt: skip
    if beside:
        columns += [("champion's change", "signed"), ("beside the champion", "signed"), ("interval", "signed interval")]
    rows = [[*_cells(drop), *(_beside(drop) if beside else [])] for drop in found]
    note = "Beside the champion: the challenger's change minus the champion's on the same copies." if beside else ""
    examples: list[tuple[str, Any]] = [
        ("perturbation", "text"), ("query", "text"), ("as typed", "text"), (f"{measure} of the query", "value"),
        ("of the copy", "value"), ("change", "signed"),
    ]  # fmt: skip
    return [
        ReportTable("Robustness to reformulation", columns, rows, note),
        ReportTable(
            "Examples of reformulations",
            examples,
            [row for drop in found for row in _examples(robustness, drop.perturbation, measure)],
            "Of each perturbation the copy that ranks worst, and those at the first and at the second quarter.",
        ),
    ]


def _cells(drop: Drop) -> list[Any]:
    change = drop.change
    return [_name(drop.perturbation), change.n, drop.copies, drop.before, change.mean, (change.low, change.high)]


def _beside(drop: Drop) -> list[Any]:
    assert drop.champion is not None
    assert drop.beside is not None
    return [drop.champion.mean, drop.beside.mean, (drop.beside.low, drop.beside.high)]


def _examples(robustness: Robustness, perturbation: str, measure: str) -> Iterator[list[Any]]:
    ordered = sorted(
        (row["after"][measure] - row["before"][measure], row["original"], row["text"], row["before"][measure])
        for row in robustness.rows
        if row["perturbation"] == perturbation
    )
    places = dict.fromkeys(len(ordered) * quarter // 4 for quarter in range(min(EXAMPLES, len(ordered))))
    for change, original, text, before in (ordered[place] for place in places):
        yield [_name(perturbation), original, text, before, before + change, change]
