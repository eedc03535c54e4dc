"""The report of an ingest: how the files were read, what came of them, and every kind of row that was refused."""

from pathlib import Path
from typing import Any

from pipelines.collections import FIELDS, Collection
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

SHOWN = 3


def write_ingest_report(folder: Path, collection: Collection) -> None:
    """Write `report.html` and `report.json` of an ingest."""
    write_report(folder, ingest_report(collection))


def ingest_report(collection: Collection) -> Report:
    """The report: green where all rows were used, amber where some were refused, red where no corpus came of it."""
    bad = collection.staging.quarantine.total
    verdict = "refused" if collection.problem else "read, some rows refused" if bad else "read"
    provenance = {"source": collection.options.source, "layout": collection.layout.name}
    provenance |= {name: value for name in ("queries", "qrels", "grades") if (value := getattr(collection.options, name))}
    return Report(
        "ingest", f"ingest of {Path(collection.options.source).name}", verdict, _sentence(collection), _pictures(collection),
        [_read(collection), _columns(collection), *_grades(collection), *_refused(collection), *_rows(collection)],
        method=[*collection.layout.notes, *_method(collection)], provenance=provenance,
    )  # fmt: skip


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
    counted = dict(collection.staging.db.execute("SELECT length(text), count(*) FROM documents GROUP BY length(text)"))
    if not counted:
        return []
    caption = "How many documents have how many characters to search in; an encoder reads the first few hundred words."
    return [Picture("Length of the texts", caption, charts.doubling(counted, "characters", "documents"), counted)]


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
            taken = " + ".join(part.columns[name]) or "made from the text"
            files.setdefault((part.role, name, taken), []).append(part.file.name)
    rows = [[*key, named[0] + (f" and {len(named) - 1} more" if len(named) > 1 else "")] for key, named in files.items()]
    columns: list[tuple[str, Any]] = [("rows of", "text"), ("field", "text"), ("column", "text"), ("file", "text")]
    return ReportTable("What was taken for what", columns, rows, "Where a guess is wrong: --column FIELD=COLUMN.")


def _grades(collection: Collection) -> list[ReportTable]:
    if collection.scale is None or not collection.staging.count("qrels"):
        return []
    counted = "SELECT grade, count(*), count(DISTINCT query) FROM qrels GROUP BY grade ORDER BY grade"
    rows = [list(row) for row in collection.staging.db.execute(counted)]
    columns: list[tuple[str, Any]] = [("grade", "count"), ("judgments", "count"), ("queries", "count")]
    return [ReportTable("Grades", columns, rows, f"From worst to best: {collection.scale.shown}. {_direction(collection)}")]


def _direction(collection: Collection) -> str:
    found = collection.direction
    if found.tau is None or found.low is None:
        return "No query has two grades, so nothing says whether they point the right way."
    agree = "agree" if found.low > 0 else "disagree" if found.reversed else "neither agree nor disagree"
    bounds = f"[{found.low:+.2f}, {found.high:+.2f}]"
    return f"Grades and BM25 {agree}: Kendall's tau {found.tau:+.2f} {bounds} over {found.queries:,} queries."


def _refused(collection: Collection) -> list[ReportTable]:
    quarantine = collection.staging.quarantine
    if not quarantine.total:
        return []
    reasons: list[tuple[str, Any]] = [("rows of", "text"), ("reason", "text"), ("rows", "count")]
    counted = [[role, reason, count] for (role, reason), count in quarantine.counts.most_common()]
    first: list[tuple[str, Any]] = [("file", "text"), ("line", "count"), ("reason", "text"), ("given", "text")]
    shown = [[one.file, one.line, one.reason, one.given[:200]] for rows in quarantine.first.values() for one in rows]
    return [ReportTable("Reasons", reasons, counted), ReportTable("First refused rows", first, shown)]


def _rows(collection: Collection) -> list[ReportTable]:
    """The first documents, as they will be searched."""
    chosen = "SELECT id, title, substr(text, 1, 300), segment FROM documents ORDER BY id LIMIT ?"
    rows = [list(row) for row in collection.staging.db.execute(chosen, (SHOWN,))]
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
