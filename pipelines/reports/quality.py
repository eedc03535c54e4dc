"""The report on data: which checks did not pass, what waits for review, personal data, and what the data look like."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.quality.examination import Examination
    from pipelines.quality.expectations import Outcome
    from pipelines.quality.suite import Check

LANGUAGES, NAMED = 8, 5


def write_quality_report(folder: Path, examination: "Examination") -> None:
    """Write `report.html`, `report.json` and `checks.json` of an examination."""
    record = json.dumps(examination.record(), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "checks.json").write_text(record, encoding="utf-8")
    write_report(folder, quality_report(examination))


def quality_report(examination: "Examination") -> Report:
    """The report; what needs somebody's attention comes first."""
    asked = examination.asked
    provenance = {
        "corpus": asked.corpus.id if asked.corpus else "", "previous": asked.previous.id if asked.previous else "",
        "suite": f"{asked.suite.name} ({asked.suite.digest})", "on": asked.on.isoformat(),
    }  # fmt: skip
    tables = [
        *_refused(examination), *_proposed(examination), *_personal(examination), *_counts(examination),
        *_files(examination), _every(examination),
    ]  # fmt: skip
    return Report(
        "quality", f"data quality of {examination.subject}", examination.verdict, examination.sentence,
        list(_pictures(examination)), tables, [one.sentence for one in examination.of("failed")[:NAMED]],
        list(_method(examination)), {key: one for key, one in provenance.items() if one},
    )  # fmt: skip


def declared(check: "Check") -> str:
    """What a check says, as it was declared.

    >>> from pipelines.quality.suite import Check
    >>> declared(Check(expectation="expect_column_values_to_be_unique", kwargs={"column": "id"}, level="fail", mostly=0.9))
    'expect_column_values_to_be_unique · mostly 0.9'
    """
    asked = [f"{key} {_plain(value)}" for key, value in check.kwargs.items() if not key.startswith("column")]
    mostly = [f"mostly {check.mostly:g}"] if check.mostly is not None else []
    return " · ".join([check.expectation, *asked, *mostly])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refused(examination: "Examination") -> Iterable[ReportTable]:
    outcomes = [*examination.of("failed"), *examination.of("warned")]
    columns: list[tuple[str, Any]] = [
        ("of", "text"), ("level", "text"), ("found", "text"), ("examples", "text"), ("why it matters", "text"),
        ("check", "text"),
    ]  # fmt: skip

    def cells(one: "Outcome") -> list[Any]:
        return [one.subject, one.check.level, one.found, ", ".join(one.examples), one.check.why, declared(one.check)]

    if outcomes:
        yield ReportTable(
            "Checks that did not pass", columns, [cells(one) for one in outcomes], "Failed ones first. Texts are not shown."
        )


def _proposed(examination: "Examination") -> Iterable[ReportTable]:
    outcomes = examination.of("proposed")
    columns: list[tuple[str, Any]] = [
        ("of", "text"), ("level", "text"), ("proposed check", "text"), ("the profile saw", "text"), ("today", "text")
    ]  # fmt: skip

    def cells(one: "Outcome") -> list[Any]:
        today = f"{one.why_not}{': ' + one.found if one.rows and one.why_not.startswith('would') else ''}"
        return [one.subject, one.check.level, declared(one.check), one.check.observed, today]

    note = "A proposal counts once somebody has put a name into its reviewed_by, in place of reviewed: false."
    if outcomes:
        yield ReportTable("Not counted, waiting for review", columns, [cells(one) for one in outcomes], note)


def _personal(examination: "Examination") -> Iterable[ReportTable]:
    columns: list[tuple[str, Any]] = [
        ("in", "text"), ("kind", "text"), ("scanned", "count"), ("texts with it", "count"), ("found", "count"),
        ("where, and its shape", "text"),
    ]  # fmt: skip
    for sure, title, note in (
        (True, "Personal data", "Kinds that have a form. What was found is shown by its shape alone: letters are x, digits 9."),
        (False, "Perhaps names and places", "Guessed by a small language model, which takes many product names for them."),
    ):
        parts = [one for one in examination.personal if one.sure == sure]
        rows = [
            [
                one.part,
                one.kind,
                one.scanned,
                one.texts,
                one.found,
                "; ".join(f"{name}: {shape}" for name, shape in one.examples),
            ]
            for one in parts
            if one.found
        ]
        nothing = {one.part: one.scanned for one in parts} if not rows else {}
        rows += [[part, "none", scanned, 0, 0, ""] for part, scanned in nothing.items()]
        if rows:
            yield ReportTable(title, columns, rows, note)


def _counts(examination: "Examination") -> Iterable[ReportTable]:
    previous = examination.asked.previous
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
        [one.name, one.lines, one.bad, "cut off" if one.cut_off else "whole",
         "; ".join(f"line {line}: {reason}" for line, reason in one.first)]
        for one in examination.files
    ]  # fmt: skip
    if rows:
        yield ReportTable("Files", columns, rows)


def _every(examination: "Examination") -> ReportTable:
    columns: list[tuple[str, Any]] = [
        ("outcome", "text"), ("of", "text"), ("check", "text"), ("level", "text"), ("found", "text"), ("reviewed by", "text")
    ]  # fmt: skip
    rows = [
        [one.status, one.subject, declared(one.check), one.check.level, one.found, one.check.reviewed_by]
        for one in examination.outcomes
        if one.status != "proposed"
    ]
    return ReportTable("Every check that counts", columns, rows)


def _pictures(examination: "Examination") -> Iterable[Picture]:
    lengths, told = examination.lengths, examination.languages
    if lengths:
        caption = f"{sum(lengths.values()):,} documents by the characters of their text."
        yield Picture("Length of documents", caption, charts.bars(list(lengths.items()), "documents"), lengths)
    if told:
        first = list(told.items())[:LANGUAGES]
        rest = sum(told.values()) - sum(count for _, count in first)
        shown = [*first, ("others", rest)] if rest else first
        caption = f"Of {sum(told.values()):,} documents whose language could be told."
        yield Picture("Language of documents", caption, charts.bars(shown, "documents"), told)


def _method(examination: "Examination") -> Iterable[str]:
    from pipelines.quality import language

    asked = examination.asked
    yield (
        "Checks by Great Expectations, evaluated in SQL on a scratch copy of the rows; shares, and mostly, are of the rows"
        " that have a value."
    )
    yield f"Days are counted to the end of {asked.on.isoformat()} (UTC)."
    if examination.languages:
        yield (
            f"Language by py3langid among {len(language.LANGUAGES)} widely written ones, of the first {language.LONGEST}"
            f" characters of at most {language.MOST:,} texts chosen by their content. Texts of less than {language.SHORTEST}"
            f" characters, or where no language has a probability of {language.SURE:g}, count as not told."
        )
    if asked.personal:
        yield (
            f"Personal data by Presidio in at most {asked.personal:,} texts of each part, chosen by their content. Its patterns"
            " know forms, not meaning; what it does not find may still be there."
        )
    if asked.previous is None and asked.corpus:
        yield "Volume: there is no version before to compare with."
