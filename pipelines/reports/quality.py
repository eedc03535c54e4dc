"""The report of `check`: checks that did not pass, proposals, personal data, and a profile of the data."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.quality.examination import Examination
    from pipelines.quality.expectations import CheckOutcome
    from pipelines.quality.suite import Check

LANGUAGES, NAMED_FAILURES = 8, 5
"""Languages of the chart and failures among the warnings, at most."""


def write_quality_report(folder: Path, examination: "Examination") -> None:
    """Write `report.html`, `report.json` and `checks.json` of an examination."""
    record = json.dumps(examination.record(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "checks.json").write_text(record, encoding="utf-8")
    write_report(folder, quality_report(examination))


def quality_report(examination: "Examination") -> Report:
    """The report; what needs somebody's attention comes first."""
    inputs = examination.inputs
    provenance = {
        "corpus": inputs.corpus.id if inputs.corpus else "",
        "previous": inputs.previous.id if inputs.previous else "",
        "suite": f"{inputs.suite.name} ({inputs.suite.digest})",
        "on": inputs.on.isoformat(),
    }
    tables = [
        *_not_passed(examination), *_proposed(examination), *_personal(examination), *_counts(examination),
        *_files(examination), _all_checks(examination),
    ]  # fmt: skip
    return Report(
        "quality",
        f"data quality of {examination.subject}",
        examination.verdict,
        examination.sentence,
        list(_pictures(examination)),
        tables,
        [outcome.sentence for outcome in examination.of("failed")[:NAMED_FAILURES]],
        list(_method(examination)),
        {key: value for key, value in provenance.items() if value},
    )


def declared(check: "Check") -> str:
    """A check as it is declared, without its columns.

    >>> from pipelines.quality.suite import Check
    >>> declared(Check(expectation="expect_column_values_to_be_unique", kwargs={"column": "id"}, level="fail", mostly=0.9))
    'expect_column_values_to_be_unique · mostly 0.9'
    """
    arguments = [f"{key} {_argument_text(value)}" for key, value in check.kwargs.items() if not key.startswith("column")]
    mostly = [f"mostly {check.mostly:g}"] if check.mostly is not None else []
    return " · ".join([check.expectation, *arguments, *mostly])


def _argument_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _not_passed(examination: "Examination") -> Iterable[ReportTable]:
    outcomes = [*examination.of("failed"), *examination.of("warned")]
    columns: list[tuple[str, Any]] = [
        ("of", "text"), ("level", "text"), ("found", "text"), ("examples", "text"), ("why it matters", "text"),
        ("check", "text"),
    ]  # fmt: skip

    def cells(outcome: "CheckOutcome") -> list[Any]:
        check = outcome.check
        return [outcome.subject, check.level, outcome.found, ", ".join(outcome.examples), check.why, declared(check)]

    if outcomes:
        yield ReportTable(
            "Checks that did not pass", columns, [*map(cells, outcomes)], "Failed ones first. Texts are not shown."
        )


def _proposed(examination: "Examination") -> Iterable[ReportTable]:
    outcomes = examination.of("proposed")
    columns: list[tuple[str, Any]] = [
        ("of", "text"), ("level", "text"), ("proposed check", "text"), ("the profile saw", "text"), ("today", "text")
    ]  # fmt: skip

    def cells(outcome: "CheckOutcome") -> list[Any]:
        evaluated = outcome.rows and outcome.why_not.startswith("would")
        today = f"{outcome.why_not}: {outcome.found}" if evaluated else outcome.why_not
        return [outcome.subject, outcome.check.level, declared(outcome.check), outcome.check.observed, today]

    note = "A proposal counts once somebody has put a name into its reviewed_by, in place of reviewed: false."
    if outcomes:
        yield ReportTable("Not counted, waiting for review", columns, [cells(outcome) for outcome in outcomes], note)


def _personal(examination: "Examination") -> Iterable[ReportTable]:
    columns: list[tuple[str, Any]] = [
        ("in", "text"), ("kind", "text"), ("scanned", "count"), ("texts with it", "count"), ("found", "count"),
        ("where, and its shape", "text"),
    ]  # fmt: skip
    for sure, title, note in (
        (True, "Personal data", "Kinds with a pattern. Found values are shown by their shape: letters are x, digits 9."),
        (False, "Perhaps names and places", "By named-entity recognition, which takes many product names for them."),
    ):
        counts = [count for count in examination.personal if count.sure == sure]
        rows = [
            [
                count.part,
                count.kind,
                count.scanned,
                count.texts,
                count.found,
                "; ".join(f"{name}: {shape}" for name, shape in count.examples),
            ]
            for count in counts
            if count.found
        ]
        nothing = {count.part: count.scanned for count in counts} if not rows else {}
        rows += [[part, "none", scanned, 0, 0, ""] for part, scanned in nothing.items()]
        if rows:
            yield ReportTable(title, columns, rows, note)


def _counts(examination: "Examination") -> Iterable[ReportTable]:
    previous = examination.inputs.previous
    columns: list[tuple[str, Any]] = [("table", "text"), ("rows", "count")]
    if previous is None:
        yield ReportTable("Rows", columns, [list(item) for item in examination.counts.items()])
        return
    from pipelines.quality.loading import COUNTED

    def cells(table: str, count: int) -> list[Any]:
        before = int(previous.facts.get(COUNTED.get(table, ""), 0)) if previous else 0
        return [table, count, before, count / before if before else None]

    columns += [("version before", "count"), ("ratio", "value")]
    yield ReportTable("Rows, beside the version before", columns, [cells(*item) for item in examination.counts.items()])


def _files(examination: "Examination") -> Iterable[ReportTable]:
    columns: list[tuple[str, Any]] = [
        ("file", "text"), ("lines", "count"), ("can't be read", "count"), ("last line", "text"), ("first of them", "text")
    ]  # fmt: skip
    rows = [
        [
            file.name,
            file.lines,
            file.bad,
            "cut off" if file.cut_off else "whole",
            "; ".join(f"line {line}: {reason}" for line, reason in file.first),
        ]
        for file in examination.files
    ]
    if rows:
        yield ReportTable("Files", columns, rows)


def _all_checks(examination: "Examination") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("outcome", "text"), ("of", "text"), ("check", "text"), ("level", "text"), ("found", "text"), ("reviewed by", "text")
    ]  # fmt: skip
    rows = [
        [row.status, row.subject, declared(row.check), row.check.level, row.found, row.check.reviewed_by]
        for row in examination.outcomes
        if row.status != "proposed"
    ]
    return ReportTable("Every check that counts", columns, rows)


def _pictures(examination: "Examination") -> Iterable[Picture]:
    lengths, languages = examination.lengths, examination.languages
    if lengths:
        caption = f"{sum(lengths.values()):,} documents by the characters of their text."
        yield Picture("Length of documents", caption, charts.bars(list(lengths.items()), "documents"), lengths)
    if languages:
        first = list(languages.items())[:LANGUAGES]
        rest = sum(languages.values()) - sum(count for _, count in first)
        shown = [*first, ("others", rest)] if rest else first
        caption = f"Of {sum(languages.values()):,} documents whose language was detected."
        yield Picture("Language of documents", caption, charts.bars(shown, "documents"), languages)


def _method(examination: "Examination") -> Iterable[str]:
    from pipelines.quality import language

    inputs = examination.inputs
    yield (
        "Checks by Great Expectations, evaluated in SQL on a scratch copy of the rows; shares, and mostly, are of the rows"
        " that have a value."
    )
    yield f"Days are counted to the end of {inputs.on.isoformat()} (UTC)."
    if examination.languages:
        yield (
            f"Language by py3langid among {len(language.LANGUAGES)} widely written ones, of the first {language.PREFIX}"
            f" characters of at most {language.MOST_TEXTS:,} texts, sampled by the hash of their content. Texts of less than"
            f" {language.SHORTEST} characters, or where no language has a probability of {language.LEAST_PROBABILITY:g}, count"
            " as not detected."
        )
    if inputs.personal:
        yield (
            f"Personal data by Presidio in at most {inputs.personal:,} texts of each part, sampled by the hash of their"
            " content. Patterns match forms, not meaning, so that other personal data may be there."
        )
    if inputs.previous is None and inputs.corpus:
        yield "Volume: there is no version before to compare with."
