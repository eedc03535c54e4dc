"""A verdict's files: `verdict.json`, `verdict.md` for a pull request, and the report."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.corpus.documents import Document
from pipelines.evaluation.measures import label
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, Section, bounds, pictured, write_report
from pipelines.wording import clipped, signed, value

if TYPE_CHECKING:
    from pipelines.gates.verdict import RuleVerdict, Verdict

SHOWN = 15
TEXT = 200
"""Characters of a query in `verdict.md` at most: the body of a pull request has 65,536."""
Rows = Sequence[dict[str, Any]]
Documents = Mapping[str, Document]


def write_verdict(
    folder: Path, verdict: "Verdict", measures: Rows, queries: Rows, documents: Documents, sections: Sequence[Section] = ()
) -> None:
    """Write the four files of a verdict.

    Args:
        folder: where to.
        verdict: the verdict.
        measures: champion, challenger and difference by measure; empty where nothing was compared.
        queries: each query's difference, worst first.
        documents: those of both releases, for their pictures.
        sections: what the report shows of other evidence.
    """
    (folder / "verdict.json").write_text(json.dumps(verdict.model_dump(), indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "verdict.md").write_text(markdown(verdict, measures), encoding="utf-8")
    write_report(folder, verdict_report(verdict, measures, queries, documents, sections))


def markdown(verdict: "Verdict", measures: Rows) -> str:
    """The verdict as Markdown, for a pull request."""
    lines = [f"**{_plain(verdict.sentence)}**", ""]
    lines += [f"> {warning}\n" for warning in verdict.warnings]
    lines += [f"> {_escaped(waiver)}\n" for waiver in verdict.waivers]
    lines += [f"| rule of {verdict.gate_file} | severity | verdict |", "|---|---|---|"]
    lines += [f"| {rule.name} | {_severity(rule)} | {_escaped(rule.sentence)} |" for rule in verdict.rules]
    lines.append("")
    if measures:
        lines += ["| measure | champion | challenger | difference |", "|---|---:|---:|---:|"]
        lines += [
            f"| {label(row['measure'])} | {value(row['champion'])} | {value(row['challenger'])} "
            f"| {signed(row['difference'])} {bounds((row['low'], row['high']), 'signed interval')} |"
            for row in measures
        ]
        lines.append("")
    if verdict.worst_queries:
        lines += [f"Worst queries by {verdict.measure}:", ""]
        lines += [f"- {_escaped(clipped(query.text, TEXT))}: {signed(query.difference)}" for query in verdict.worst_queries]
        lines.append("")
    lines += [f"{name}: `{artifact_id}`  " for name, artifact_id in _ids(verdict).items()]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """A text from outside with its Markdown and HTML escaped.

    >>> print(_escaped("a *b* <script> | @all"))
    a \\*b\\* &lt;script&gt; \\| &#64;all
    """
    return _plain("".join("\\" + char if char in "\\`*_[]|~#!$" else char for char in text)).replace("@", "&#64;")


def _plain(text: str) -> str:
    """A sentence of our own on one line, with the HTML and the mentions of a name from outside that it may have escaped.

    >>> print(_plain("worst segment <b> @all, nDCG@10 −0.100 [−0.200, 0.000]"))
    worst segment &lt;b&gt; &#64;all, nDCG@10 −0.100 [−0.200, 0.000]
    """
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<!\w)@", "&#64;", escaped)


def _ids(verdict: "Verdict") -> dict[str, str]:
    keys = ("release", "champion", "evaluation", "baseline", "split", "corpus", "queries_digest")
    ids = {key: getattr(verdict, key) for key in keys}
    return {key: name for key, name in ids.items() if name}


def verdict_report(
    verdict: "Verdict", measures: Rows, queries: Rows, documents: Documents, sections: Sequence[Section] = ()
) -> Report:
    """The report of a verdict; without a comparison it has no charts and no tables."""
    pictures = [_interval(verdict), _waterfall(verdict, queries)] if measures and verdict.low is not None else []
    tables = [_measures(measures), *_queries(verdict, queries, documents)] if measures else []
    pictures += [picture for section in sections for picture in section.pictures]
    tables += [table for section in sections for table in section.tables]
    title = f"verdict on release {verdict.release[:8]}"
    return Report(
        "verdict",
        title,
        verdict.outcome,
        verdict.sentence,
        pictures,
        tables,
        [*verdict.waivers, *verdict.warnings, *(line for section in sections for line in section.warnings)],
        [*_method(verdict), *(line for section in sections for line in section.method)],
        _ids(verdict),
        [_rules(verdict)],
    )


def _interval(verdict: "Verdict") -> Picture:
    assert verdict.difference is not None
    assert verdict.low is not None
    assert verdict.high is not None
    estimate = charts.Estimate(verdict.measure, verdict.difference, verdict.low, verdict.high)
    caption = (
        f"Mean difference over {verdict.queries:,} queries with {100 * verdict.confidence:g} % interval. It passes when the"
        " whole interval is right of the margin, and is rejected when the whole interval is left of zero."
    )
    return Picture("Difference", caption, charts.difference(estimate, verdict.margin), vars(estimate))


def _waterfall(verdict: "Verdict", queries: Rows) -> Picture:
    values = [row["difference"] for row in queries]
    worse, better = sum(difference < 0 for difference in values), sum(difference > 0 for difference in values)
    caption = f"Worse on {worse:,} queries, better on {better:,}, equal on {len(values) - worse - better:,}."
    return Picture("Each query", caption, charts.waterfall(values, f"difference in {verdict.measure}"), values)


def _severity(rule: "RuleVerdict") -> str:
    return "waived" if rule.waived else rule.severity


def _rules(verdict: "Verdict") -> ReportTable:
    """A row for each rule of the gate file, so that the one that decided is seen at once."""
    columns: list[tuple[str, Any]] = [
        ("rule", "text"), ("outcome", "text"), ("why", "text"), ("difference", "signed"), ("interval", "signed interval"),
        ("margin", "text"), ("severity", "text"), ("what would decide", "text"),
    ]  # fmt: skip
    rows = [
        [
            rule.name,
            rule.outcome,
            rule.sentence.removeprefix(f"{rule.outcome}: "),
            rule.difference,
            (rule.low, rule.high),
            "" if rule.margin is None else f"{rule.margin:g}",
            _severity(rule),
            rule.next,
        ]
        for rule in verdict.rules
    ]
    note = "A release passes if it passes every rule that blocks. A rule that was not run never passes."
    return ReportTable(f"Rules of {verdict.gate_file}", columns, rows, note)


def _measures(measures: Rows) -> ReportTable:
    return ReportTable(
        "Measures",
        [
            ("measure", "text"),
            ("champion", "value"),
            ("challenger", "value"),
            ("difference", "signed"),
            ("interval", "signed interval"),
        ],
        [
            [label(row["measure"]), row["champion"], row["challenger"], row["difference"], (row["low"], row["high"])]
            for row in measures
        ],
    )


def _queries(verdict: "Verdict", queries: Rows, documents: Documents) -> list[ReportTable]:
    columns: list[tuple[str, Any]] = [
        ("query", "text"), ("difference", "signed"), ("champion's first results", "results"),
        ("challenger's first results", "results"), ("relevant", "results"),
    ]  # fmt: skip

    def cells(row: dict[str, Any]) -> list[Any]:
        sides = [pictured(row[side], documents) for side in ("champion_top", "challenger_top", "relevant")]
        return [row["text"], row["difference"], *sides]

    worst = [cells(row) for row in queries[:SHOWN] if row["difference"] < 0]
    best = [cells(row) for row in reversed(queries[-SHOWN:]) if row["difference"] > 0]
    note = f"By {verdict.measure}. Framed results are relevant."
    tables = (("Worst queries", worst), ("Best queries", best))
    return [ReportTable(title, columns, rows, note) for title, rows in tables if rows]


def _method(verdict: "Verdict") -> list[str]:
    detectable = []
    if verdict.margin_that_holds is not None and verdict.margin_that_holds < 1:
        detectable.append(
            f"These queries can detect a margin of {verdict.margin_that_holds:.4f}: an equal challenger passes it with power"
            f" {verdict.power:g}. It follows from the spread of the differences, not from their direction."
        )
    return [
        f"Paired difference in {verdict.measure} for each query, challenger − champion, on the same queries and judgments.",
        f"Interval: {100 * verdict.confidence:g} %, the wider of Student's t and Hall's transformed t on each side.",
        f"Rejected: upper bound below 0. Passed: lower bound above −{verdict.margin:g}. Else undecided.",
        *detectable,
    ]
