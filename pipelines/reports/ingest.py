"""The report of `ingest`: how the files were read, the corpus they gave, and the rows that were refused."""

from pathlib import Path
from typing import Any

from pipelines.collections import FIELDS, Collection
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

FIRST_DOCUMENTS = 3


def write_ingest_report(folder: Path, collection: Collection) -> None:
    """Write `report.html` and `report.json` of an ingest."""
    write_report(folder, ingest_report(collection))


def ingest_report(collection: Collection) -> Report:
    """The report. Its verdict is `read`, `read, some rows refused`, or `refused` if there is no corpus."""
    bad = collection.staging.quarantine.total
    verdict = "refused" if collection.problem else "read, some rows refused" if bad else "read"
    provenance = {"source": collection.options.source, "layout": collection.layout.name}
    provenance |= {name: value for name in ("queries", "qrels", "grades") if (value := getattr(collection.options, name))}
    return Report(
        "ingest",
        f"ingest of {Path(collection.options.source).name}",
        verdict,
        _sentence(collection),
        _pictures(collection),
        [_read(collection), _columns(collection), *_grades(collection), *_refused(collection), *_first_documents(collection)],
        method=[*collection.notes, *_method(collection)],
        provenance=provenance,
    )


def _sentence(collection: Collection) -> str:
    if collection.problem:
        return f"No corpus was made: {collection.problem}."
    counts = ", ".join(f"{count:,} {name}" for name, count in collection.counts.items())
    bad = collection.staging.quarantine.total
    ends = [f"{bad:,} rows went to the quarantine"] if bad else []
    if collection.synthetic:
        ends.append(f"nobody has judged it: the {collection.synthetic:,} queries are synthetic")
    return "; ".join([counts, *ends]) + "."


def _pictures(collection: Collection) -> list[Picture]:
    lengths = dict(collection.staging.db.execute("SELECT length(text), count(*) FROM documents GROUP BY length(text)"))
    if not lengths:
        return []
    caption = "How many documents have how many characters to search in; an encoder reads the first few hundred words."
    return [Picture("Length of the texts", caption, charts.doubling(lengths, "characters", "documents"), lengths)]


def _read(collection: Collection) -> ReportTable:
    rows = [[role, count, collection.staging.quarantine.of(role)] for role, count in collection.staging.rows.items()]
    columns: list[tuple[str, Any]] = [("rows of", "text"), ("read", "count"), ("refused", "count")]
    return ReportTable(
        "Rows", columns, rows, "Refused rows are in quarantine.csv beside this report, with file, line and reason."
    )


def _columns(collection: Collection) -> ReportTable:
    files: dict[tuple[str, str, str], list[str]] = {}
    for part in collection.layout.parts:
        for name in (name for name in FIELDS[part.role] if name in part.columns):
            column = " + ".join(part.columns[name]) or "made from the text"
            files.setdefault((part.role, name, column), []).append(part.file.name)
    rows = [[*key, names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")] for key, names in files.items()]
    columns: list[tuple[str, Any]] = [("rows of", "text"), ("field", "text"), ("column", "text"), ("file", "text")]
    return ReportTable("What was taken for what", columns, rows, "Where a guess is wrong: --column FIELD=COLUMN.")


def _grades(collection: Collection) -> list[ReportTable]:
    if collection.scale is None or not collection.staging.count("qrels"):
        return []
    select = "SELECT grade, count(*), count(DISTINCT query) FROM qrels GROUP BY grade ORDER BY grade"
    rows = [list(row) for row in collection.staging.db.execute(select)]
    columns: list[tuple[str, Any]] = [("grade", "count"), ("judgments", "count"), ("queries", "count")]
    return [ReportTable("Grades", columns, rows, f"From worst to best: {collection.scale.shown}. {_direction(collection)}")]


def _direction(collection: Collection) -> str:
    direction = collection.direction
    if direction.tau is None or direction.low is None:
        return "No query has two grades, so nothing says whether they point the right way."
    agree = "agree" if direction.low > 0 else "disagree" if direction.reversed else "neither agree nor disagree"
    bounds = f"[{direction.low:+.2f}, {direction.high:+.2f}]"
    return f"Grades and BM25 {agree}: Kendall's tau {direction.tau:+.2f} {bounds} over {direction.queries:,} queries."


def _refused(collection: Collection) -> list[ReportTable]:
    quarantine = collection.staging.quarantine
    if not quarantine.total:
        return []
    reasons: list[tuple[str, Any]] = [("rows of", "text"), ("reason", "text"), ("rows", "count")]
    counts = [[role, reason, count] for (role, reason), count in quarantine.counts.most_common()]
    first: list[tuple[str, Any]] = [("file", "text"), ("line", "count"), ("reason", "text"), ("given", "text")]
    rows = [[row.file, row.line, row.reason, row.given[:200]] for rows in quarantine.first.values() for row in rows]
    return [ReportTable("Reasons", reasons, counts), ReportTable("First refused rows", first, rows)]


def _first_documents(collection: Collection) -> list[ReportTable]:
    """The first documents by id."""
    select = "SELECT id, title, substr(text, 1, 300), segment FROM documents ORDER BY id LIMIT ?"
    rows = [list(row) for row in collection.staging.db.execute(select, (FIRST_DOCUMENTS,))]
    columns: list[tuple[str, Any]] = [("id", "text"), ("title", "text"), ("text", "text"), ("segment", "text")]
    return [ReportTable("First documents", columns, rows)]


def _method(collection: Collection) -> list[str]:
    wanted = collection.options
    lines = [
        f"Above {wanted.max_bad_fraction:.1%} of refused rows in one role nothing is ingested.",
        "Ids are unique; texts are not empty; judgments and interactions name what exists; grades lie on their scale.",
    ]
    if collection.staging.unjudged:
        lines.append(f"{collection.staging.unjudged:,} rows of judgments have no grade yet and count as not judged.")
    if collection.synthetic:
        lines.append(
            "Synthetic queries are held-out texts, titles or first words of documents chosen by hash: they tell whether search"
            " works at all, not how good it is. To know that, judge a pool: `python -m pipelines pool`."
        )
    if collection.staging.count("interactions"):
        lines.append(f"Next items: one moment for all users, with {wanted.cutoff:.0%} of the interactions before it.")
    return lines + [f"Masked: {count:,} {kind}." for kind, count in collection.masked.items()]
