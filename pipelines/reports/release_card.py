"""The release card: what a release is for, what it was made from, what it does by segment, and what it can't."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.evaluation.measures import label
from pipelines.evaluation.record import Evaluation, baseline_names
from pipelines.evaluation.segments import segments_of
from pipelines.projections.release_card import Stated, card_recipe, named_in, read_stated
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report
from pipelines.statistics.intervals import interval
from pipelines.store.artifacts import Artifact, find, load_exactly, produce
from pipelines.wording import value

MEASURE = "nDCG@10"
FIELDS = ("segment", "query_length", "head_tail")
SEGMENTS = 15
"""Segments of a field that are shown: those with the most queries."""
UNSTATED = "not stated; RATCHET_RELEASE_CARD names the file that states it"


def described(release: Artifact, verdict: Artifact | None) -> Artifact:
    """The card of a release that was judged by `verdict`, with what people state today: made, or found.

    Raises:
        InputError: the file with what people state can't be read.
    """
    stated = read_stated()
    recipe = card_recipe(release.id, verdict.id if verdict else "", stated)
    return produce(release.store, recipe, lambda folder: _write(release, verdict, stated, folder))


def _write(release: Artifact, verdict: Artifact | None, stated: Stated, folder: Path) -> dict[str, Any]:
    named = named_in(verdict)
    found = find(release.store, "evaluation", named) if named else None
    evaluation = Evaluation(found) if found and "measures.json" in found.manifest.files else None
    body = verdict.json("verdict.json") if verdict else {}
    pictures = [*_measures(evaluation), *_rules(body)]
    tables = [*_parts(release), *_judged(body), *_segments(evaluation)]
    report = Report(
        "release card",
        f"release {release.id[:8]}",
        body.get("outcome", "not judged"),
        stated.intended_use or body.get("sentence", "no verdict on this release yet"),
        pictures,
        tables,
        list(body.get("warnings", [])),
        ["The sections are those of Mitchell et al., Model Cards for Model Reporting, 2019."],
        {"release": release.id, "verdict": verdict.id if verdict else "none", "evaluation": named or "none"},
        [_statements(release, stated, evaluation, body)],
    )
    write_report(folder, report)
    (folder / "card.md").write_text(_markdown(report), encoding="utf-8")
    for picture in pictures:
        (folder / f"{picture.title.lower().replace(' ', '-')}.svg").write_text(picture.svg, encoding="utf-8")
    return {"outcome": report.verdict}


def _statements(release: Artifact, stated: Stated, evaluation: Evaluation | None, body: Mapping[str, Any]) -> ReportTable:
    limits = [stated.limits] if stated.limits else []
    limits += _limits(evaluation, body)
    rows = [
        ["intended use", stated.intended_use or UNSTATED],
        ["not intended for", stated.not_intended_for or UNSTATED],
        ["data", stated.data or UNSTATED],
        ["licence", stated.licence or UNSTATED],
        ["known limits", " ".join(limits) or UNSTATED],
        ["ethical considerations", stated.ethics or UNSTATED],
        ["contact", stated.contact or UNSTATED],
        ["made", f"{release.manifest.provenance.get('at', 'unknown')} from {release.facts.get('documents', 0):,} documents"],
    ]
    return ReportTable("Release card", [("", "text"), ("", "text")], rows)


def _limits(evaluation: Evaluation | None, body: Mapping[str, Any]) -> Iterator[str]:
    """What the artifacts tell of the limits."""
    if evaluation is None:
        yield "No evaluation: nothing is known of its quality."
        return
    summary = evaluation.summary
    yield f"Measured by {summary['queries']:,} {summary['split']} queries; {summary['unjudged']:,} more have no judgment."
    if summary["synthetic"]:
        yield "These queries are synthetic: they are a smoke test, no measure of quality."
    if not evaluation.graded:
        yield "Only relevant documents were judged, so a ranking of others that are good counts as wrong."
    if body.get("waivers"):
        yield f"Waived: {'; '.join(body['waivers'])}."


def _parts(release: Artifact) -> Iterator[ReportTable]:
    rows = []
    for name, part in release.inputs.items():
        artifact = find(release.store, name, part) if part else None
        facts = artifact.facts if artifact else {}
        shown = ", ".join(f"{key} {fact}" for key, fact in facts.items() if isinstance(fact, str | int | float) and fact != "")
        rows.append([name, part, shown])
    yield ReportTable("Made from", [("part", "text"), ("id", "text"), ("facts", "text")], rows)


def _measures(evaluation: Evaluation | None) -> Iterator[Picture]:
    """The measures of the release and of the first baseline, where both have intervals."""
    if evaluation is None:
        return
    baseline = baseline_names(evaluation.summary)[0]
    sides = {"release": "release", baseline: baseline.lower()}
    measures = evaluation.summary["measures"]
    shown = [name for name, row in measures.items() if all(row[key]["low"] is not None for key in sides.values())]
    if shown:
        groups = [
            (
                side,
                [
                    charts.Estimate(label(name), *(measures[name][key][bound] for bound in ("mean", "low", "high")))
                    for name in shown
                ],
            )
            for side, key in sides.items()
        ]
        numbers = {name: measures[name]["release"] for name in shown}
        caption = f"Means over the judged queries with their intervals, beside {baseline}."
        yield Picture("Measures", caption, charts.intervals(groups), numbers)


def _rules(body: Mapping[str, Any]) -> Iterator[Picture]:
    """The difference that each rule judged, with its interval."""
    rows = [rule for rule in body.get("rules", []) if rule.get("low") is not None and rule.get("high") is not None]
    if rows:
        estimates = [charts.Estimate(rule["name"], rule["difference"], rule["low"], rule["high"]) for rule in rows]
        svg = charts.changes([("release − reference", estimates)], "difference")
        numbers = {rule["name"]: [rule["difference"], rule["low"], rule["high"]] for rule in rows}
        yield Picture("Rules", "What each rule of the gate file compared, with its interval.", svg, numbers)


def _judged(body: Mapping[str, Any]) -> Iterator[ReportTable]:
    if body.get("rules"):
        columns: list[tuple[str, Any]] = [("rule", "text"), ("outcome", "text"), ("severity", "text"), ("sentence", "text")]
        rows = [[rule["name"], rule["outcome"], rule["severity"], rule["sentence"]] for rule in body["rules"]]
        yield ReportTable(f"Rules of {body['gate_file']}", columns, rows)


def _segments(evaluation: Evaluation | None) -> Iterator[ReportTable]:
    """The measure in each segment of queries, for each field that queries or documents have."""
    if evaluation is None or "per_query.jsonl" not in evaluation.artifact.manifest.files:
        return
    values = dict(zip((row["query"] for row in evaluation.rows), evaluation.values(MEASURE), strict=True))
    for name in FIELDS:
        try:
            groups = segments_of(evaluation, name, evaluation.documents() if name == "segment" else {})
        except InputError:  # there is no such field
            continue
        members: dict[str, list[float]] = {}
        for query, segments in groups.items():
            for segment in segments:
                members.setdefault(segment, []).append(values[query])
        most = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))[:SEGMENTS]
        rows = [
            [segment, len(measured), (made := interval(measured, least=0)).mean, (made.low, made.high)]
            for segment, measured in most
        ]
        columns: list[tuple[str, Any]] = [
            (name.replace("_", " "), "text"), ("queries", "count"), (MEASURE, "value"), ("95 % interval", "interval"),
        ]  # fmt: skip
        if rows:
            yield ReportTable(f"{MEASURE} by {name.replace('_', ' ')}", columns, rows, f"{len(members):,} segments")


def _markdown(report: Report) -> str:
    """The card as Markdown, for MLflow and pull requests."""
    lines = [f"# Release card: {report.title}", "", f"{report.verdict}: {report.sentence}", ""]
    for table in [*report.first, *report.tables]:
        lines += [f"## {table.title}", "", "| " + " | ".join(name or " " for name, _ in table.columns) + " |"]
        lines += ["|" + "---|" * len(table.columns)]
        lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(lines)


def _cell(cell: Any) -> str:
    if isinstance(cell, tuple):
        return f"[{value(cell[0])}, {value(cell[1])}]"
    text = f"{cell:.3f}" if isinstance(cell, float) else str(cell)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def described_release(release: Artifact, verdict_id: str) -> Artifact:
    """The card of a release by the id of its verdict; empty: it was not judged."""
    return described(release, load_exactly(release.store, "verdict", verdict_id) if verdict_id else None)
