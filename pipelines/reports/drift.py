"""The report of a drift: what moved, with pictures and examples, the numbers, and how it is known."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.drift.alarms import baseline_of
from pipelines.drift.examples import Examples, Shown, changed_values, differing_columns, examples
from pipelines.drift.judging import each_once
from pipelines.drift.permutation import OF_USERS
from pipelines.drift.policy import AREAS
from pipelines.drift.signals import NEW
from pipelines.drift.snapshot import read_sample, read_snapshot
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.drift.judging import Drift, SignalChange
    from pipelines.drift.policy import DriftPolicy
    from pipelines.drift.snapshot import Snapshot
    from pipelines.store.artifacts import Artifact

TRENDS = 4
TEXT_TABLES = ("documents", "queries", "log_queries")
MEANINGS = {
    "queries": "the corpus's own",
    "searches": "rows of the log",
    "log_queries": "the texts of the log's searches",
    "probes": "the corpus's judged test queries, ranked by the release; ndcg is their nDCG@10",
    "ratings": "judgments of pairs that had one already",
}
"""What a table has, by its name."""


def write_drift_report(
    folder: Path,
    drift: "Drift",
    policy: "DriftPolicy",
    current: "Artifact",
    reference: "Artifact | None",
    earlier: "Sequence[Artifact]",
    notes: Sequence[str],
    evidently: str,
) -> None:
    """Write `report.html` and `report.json`.

    Args:
        folder: where they go.
        drift: what was judged.
        policy: by which.
        current, reference: the snapshots; without a reference there are no examples.
        earlier: what was judged of the days before, oldest first.
        notes: what is odd about the days before.
        evidently: the address of Evidently's page, relative to the report's; empty: there is none.
    """
    sides = (read_snapshot(reference), read_snapshot(current)) if reference else None
    found = {table: _examples(reference, current, table) for table in _shared(reference, current)} if reference else {}
    contents = [*(one.json("drift.json") for one in earlier), drift.model_dump(mode="json")] if earlier else []
    trend = [(one["day"], one["outcome"], _by_area(one)) for one in contents]
    report = Report(
        "drift",
        f"data of {drift.day}",
        drift.outcome,
        drift.sentence,
        [
            *(_picture(change, policy) for change in [one for one in each_once(drift.signals) if one.trend][:TRENDS]),
            *_effects(trend),
        ],
        [*_example_tables(found), *_value_tables(drift, sides), _numbers(drift), *_method_tables(found), *_trend_table(trend)],
        [f"The policy {policy.name} starts: {', '.join(drift.repairs)}."] if drift.repairs else [],
        [*_method(drift, policy, found), *notes, *current.facts["notes"], *_sampling(current), *_only_one(sides)],
        {
            "current": drift.current,
            "reference": f"{drift.reference}, of {reference.facts['day']}" if reference else "none",
            "encoder": current.facts["encoder"] or "none",
        },
        [_areas(drift)],
        [("Evidently's page of the two samples, in a sandbox", evidently)] if evidently else [],
    )
    write_report(folder, report)


def _shared(reference: "Artifact", current: "Artifact") -> list[str]:
    return [name for name in TEXT_TABLES if all(f"{name}.npz" in one.manifest.files for one in (reference, current))]


def _examples(reference: "Artifact", current: "Artifact", table: str) -> Examples:
    (_, before, first), (_, now, second) = (read_sample(one, table) for one in (reference, current))
    alike = reference.facts["encoder"] == current.facts["encoder"]
    return examples((before, first), (now, second), alike, same_rows=table not in OF_USERS)


def _only_one(sides: "tuple[Snapshot, Snapshot] | None") -> list[str]:
    return differing_columns(sides[0].sketches, sides[1].sketches) if sides else []


def _sampling(current: "Artifact") -> list[str]:
    return [
        f"Sample of {table}{f' ({MEANINGS[table]})' if table in MEANINGS else ''}: {sampling}."
        for table, sampling in current.facts["sampling"].items()
    ]


def _areas(drift: "Drift") -> ReportTable:
    rows = [[area.area, area.outcome, area.sentence, ", ".join(area.repairs)] for area in drift.areas]
    return ReportTable("Areas", [("area", "text"), ("verdict", "text"), ("why", "text"), ("starts", "text")], rows)


Told = tuple[str, str, dict[str, tuple[str, float]]]
"""Of a report: its day, its verdict, and by area the area's verdict and largest effect."""


def _by_area(content: dict[str, Any]) -> dict[str, tuple[str, float]]:
    largest: dict[str, float] = {}
    for change in content["signals"]:
        largest[change["area"]] = max(largest.get(change["area"], 0.0), change["effect"])
    return {area["area"]: (area["outcome"], largest.get(area["area"], math.nan)) for area in content["areas"]}


def _effects(trend: Sequence[Told]) -> Iterator[Picture]:
    """The largest effect of each area in the reports up to this one."""
    if not trend:
        return
    series = {area: [areas.get(area, ("", math.nan))[1] for _, _, areas in trend] for area in AREAS}
    known: dict[str, list[float]] = {area: values for area, values in series.items() if not all(map(math.isnan, values))}
    if not known:
        return
    caption = f"The largest effect of each area in the last {len(trend)} reports, of which this is the last, alarm or not."
    numbers = {area: [None if math.isnan(one) else one for one in values] for area, values in known.items()}
    svg = charts.effects([day for day, _, _ in trend], known)
    yield Picture(f"Trend of the last {len(trend)} reports", caption, svg, numbers)


def _trend_table(trend: Sequence[Told]) -> Iterator[ReportTable]:
    columns: list[tuple[str, Any]] = [("day", "text"), ("verdict", "text"), *((area, "text") for area in AREAS)]
    rows: list[list[Any]] = [
        [day, outcome, *(_cell(*areas.get(area, ("", math.nan))) for area in AREAS)] for day, outcome, areas in reversed(trend)
    ]
    if rows:
        yield ReportTable("Reports of the days before", columns, rows, "Of each area its verdict and its largest effect.")


def _cell(outcome: str, effect: float) -> str:
    return outcome if math.isnan(effect) else f"{outcome}, {100 * effect:.1f} %"


def _picture(change: "SignalChange", policy: "DriftPolicy") -> Picture:
    baseline = baseline_of(len(change.trend), policy.window_days).nonzero()[0].tolist()
    caption = (
        f"{change.unit} of each day; the band is the range of the {len(baseline)} days that are the baseline, the point is"
        f" today. {'An alarm' if change.alarm else 'No alarm'}: effect {100 * change.effect:.1f} % beyond quiet days,"
        f" p {change.pvalue:.2g}."
    )
    return Picture(_named(change), caption, charts.days(change.trend, baseline, change.unit), list(change.trend))


def _named(change: "SignalChange") -> str:
    return f"{change.name}: {change.detail}" if change.detail else change.name


def _example_tables(found: dict[str, Examples]) -> Iterator[ReportTable]:
    for table, one in found.items():
        if one.moved:
            columns: list[tuple[str, Any]] = [("row", "results"), ("text", "text"), ("cosine", "value")]
            rows = [[[_result(row)], row["text"], cosine] for row, cosine in one.moved]
            note = "The cosine to the same row before; of rows that only today has, to the nearest before."
            if table in OF_USERS:
                note = "The cosine to the nearest text before."
            yield ReportTable(f"Rows of {table} that moved most", columns, rows, note)
        if one.clusters:
            columns = [("words", "text"), ("before", "share"), ("today", "share"), ("examples", "results")]
            listed: list[list[Any]] = [
                [cluster.words, cluster.before, cluster.now, [_result(row) for row in cluster.examples]]
                for cluster in one.clusters
            ]
            note = "Groups of alike rows of which one day has three times the share of the other, by their words."
            yield ReportTable(f"Clusters of {table} that came or went", columns, listed, note)
        if one.terms:
            columns = [("word", "text"), ("before", "share"), ("today", "share")]
            words: list[list[Any]] = [list(term) for term in one.terms]
            yield ReportTable(f"Words of {table} that rise or fall", columns, words, "Shares of the rows that have the word.")


def _method_tables(found: dict[str, Examples]) -> Iterator[ReportTable]:
    """What Evidently's methods for embeddings say of the vectors."""
    for table, one in found.items():
        if one.methods:
            columns: list[tuple[str, Any]] = [
                ("method", "text"),
                ("score", "value"),
                ("threshold", "value"),
                ("beyond", "text"),
            ]
            rows: list[list[Any]] = [[*method, "yes" if method.score > method.threshold else ""] for method in one.methods]
            note = "Methods and thresholds of Evidently, on the samples; they do not know how days differ, and decide nothing."
            yield ReportTable(f"Vectors of {table} by other methods", columns, rows, note)


def _result(row: Shown) -> dict[str, Any]:
    """A row as a cell of kind results; it has no grade."""
    return {**row, "grade": 0}


def _value_tables(drift: "Drift", sides: "tuple[Snapshot, Snapshot] | None") -> Iterator[ReportTable]:
    """The values of the columns with an alarm, by the reference and today."""
    if sides is None:
        return
    for table, now in sides[1].sketches.items():
        before = sides[0].sketches.get(table)
        alarmed = [name for name in now.columns if any(_about(change, name, table) for change in drift.signals)]
        for name in alarmed if before else []:
            assert before is not None
            rows: list[list[Any]] = [list(row) for row in changed_values(before, now, name)]
            yield ReportTable(f"{name} of {table}", [("value", "text"), ("before", "share"), ("today", "share")], rows)


def _about(change: "SignalChange", column: str, table: str) -> bool:
    return change.alarm and change.name.removeprefix(NEW).removeprefix("one value of ") == f"{column} of {table}"


def _numbers(drift: "Drift") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("signal", "text"), ("area", "text"), ("change", "text"), ("unit", "text"), ("usual", "number"), ("now", "number"),
        ("effect", "number"), ("p", "number"), ("alarm", "text"),
    ]  # fmt: skip
    rows = [
        [
            _named(change), change.area,
            change.kind if change.kind == "sudden" else f"gradual, {change.days} days", change.unit,
            f"{change.usual:.4g}", f"{change.today:.4g}", f"{100 * change.effect:.1f} %", f"{change.pvalue:.2g}",
            "yes" if change.alarm else "",
        ]
        for change in drift.signals
    ]  # fmt: skip
    note = (
        "Sudden: today against the usual days. Gradual: the mean of the last days, today among them. The effect is a share of"
        " rows, or a relative change, beyond what quiet days show; p is corrected for all tests."
    )
    return ReportTable("Numbers", columns, rows, note)


def _method(drift: "Drift", policy: "DriftPolicy", found: dict[str, Examples]) -> Iterator[str]:
    nulls: dict[str, list[str]] = {}
    for area in drift.areas:
        nulls.setdefault(area.null, []).append(area.area)
    for null, areas in nulls.items():
        if null:
            yield f"What quiet days show is known, of {', '.join(areas)}, {null}."
    limits = "; ".join(f"{area} {100 * rule.watch:g} % and {100 * rule.act:g} %" for area, rule in policy.areas.items())
    yield (
        f"An alarm: p ≤ 1/{policy.days_per_false_alarm:g} by Holm's correction over all tests of the day, the rate at which"
        f" quiet days give one, and an effect of at least the policy's size. Sizes to watch and to act: {limits}."
    )
    yield (
        "Vectors are compared by the maximum mean discrepancy (random Fourier features of a Gaussian kernel), shares of values"
        " and of words by the Jensen–Shannon divergence, numbers by their mean. Gradual drift is looked for over windows of up"
        " to 14 days, whose days are no baseline."
    )
    for table, one in found.items():
        if one.auc is not None and one.centroid is not None:
            kept = "" if one.neighbours is None else f"; of the ten nearest, {100 * one.neighbours:.0f} % stayed"
            yield (
                f"Of the samples of {table}, which decide nothing: a classifier tells reference and today apart with AUC"
                f" {one.auc:.3f} (0.5: not at all); the centroid moved by {one.centroid:.4f} (1 − cosine){kept}."
            )
    yield f"What an alarm starts is started at most once in {policy.cool_down_hours:g} hours; the journal says when and why."
