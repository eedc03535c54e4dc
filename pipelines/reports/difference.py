"""The report of `diff` between two corpora, and its form for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.corpus.difference import CHANGES, ROW_KINDS, Difference, first_of_each
from pipelines.reports.frame import Report, ReportTable, write_report

Counts = Mapping[str, Mapping[str, int]]
SHOWN = 50
"""Rows of each kind and change in the report at most."""
WIDTH = 300
"""Characters of a text around its first difference."""
HEADINGS = {"added": "only in b", "changed": "another content", "relabelled": "the same text", "deleted": "only in a"}


def write_difference_report(folder: Path, a: str, b: str, counts: Counts) -> None:
    """Write `report.html` and `report.json` beside `diff.jsonl`.

    Args:
        folder: that holds `diff.jsonl`.
        a: id of the corpus before.
        b: id of the corpus after.
        counts: number of rows by noun and change.
    """
    first = first_of_each(folder / "diff.jsonl", SHOWN, WIDTH)
    method = [
        "Rows are compared by their ids: a judgment by query and document, an interaction by user, document and time.",
        "A document is changed when its text differs, and relabelled when only its title, segment or picture do. Only added and"
        " changed documents are encoded again.",
        f"The first {SHOWN} rows of each kind are shown, texts around their first difference; diff.jsonl beside this report has"
        " all, whole.",
    ]
    verdict = "different" if differing(counts) else "equal"
    title = f"corpus {a[:8]} and corpus {b[:8]}"
    tables = [_counts_table(counts), *(_rows(key, first[key], counts) for key in _order(first))]
    write_report(folder, Report("report", title, verdict, sentence(counts), [], tables, [], method, {"a": a, "b": b}))


def differing(counts: Counts) -> bool:
    """Whether any row was added, changed, relabelled or deleted."""
    return any(counts[noun][change] for noun in counts for change in CHANGES)


def sentence(counts: Counts) -> str:
    """The difference in one sentence.

    >>> none = dict.fromkeys(("added", "changed", "relabelled", "deleted", "equal"), 0)
    >>> sentence({"documents": none | {"added": 2, "equal": 5}, "queries": none | {"equal": 1}, "judgments": none})
    'documents: 2 added, 5 equal; queries: 1 equal'
    """
    parts = {noun: ", ".join(f"{count:,} {change}" for change, count in row.items() if count) for noun, row in counts.items()}
    return "; ".join(f"{noun}: {part}" for noun, part in parts.items() if part) or "both are empty"


def _order(first: Mapping[tuple[str, str], Any]) -> list[tuple[str, str]]:
    every = [(what.name, change) for what in ROW_KINDS.values() for change in ("changed", "relabelled", "added", "deleted")]
    return [key for key in every if key in first]


def _counts_table(counts: Counts) -> ReportTable:
    present = {noun: row for noun, row in counts.items() if any(row.values()) or noun in ("documents", "queries", "judgments")}
    columns: list[tuple[str, Any]] = [("", "text"), *((change, "count") for change in (*CHANGES, "equal"))]
    note = "a is the corpus before, b the one after: added rows are only in b, deleted ones only in a."
    return ReportTable("Counts", columns, [[noun, *row.values()] for noun, row in present.items()], note)


def _rows(key: tuple[str, str], first: Sequence[Difference], counts: Counts) -> ReportTable:
    change, title = key[1], _title(key)
    total = counts[title.partition(" ")[0]][change]
    note = HEADINGS[change] + (f"; the first {len(first):,} of {total:,}" if total > len(first) else "")
    if change in ("added", "deleted"):
        whole: list[tuple[str, Any]] = [
            ("id", "text"),
            ("row", "text"),
            *([("title", "results")] if key[0] == "document" else []),
        ]
        return ReportTable(title, whole, [_row_cells(row)[: len(whole)] for row in first], note)
    cells = [[row.id, name, field_text(row.before[name]), field_text(row.after[name])] for row in first for name in row.before]
    columns: list[tuple[str, Any]] = [("id", "text"), ("field", "text"), ("before (a)", "text"), ("after (b)", "text")]
    return ReportTable(title, columns, cells, note)


def _title(key: tuple[str, str]) -> str:
    return f"{next(noun for noun, what in ROW_KINDS.items() if what.name == key[0])} {key[1]}"


def _row_cells(difference: Difference) -> list[Any]:
    row = difference.before or difference.after
    title = row.get("title") or difference.id
    result = {"id": difference.id, "title": title, "picture": row.get("picture", ""), "grade": None}
    return [difference.id, field_text({name: value for name, value in row.items() if name != "title"} or row), [result]]


def field_text(value: Any) -> str:
    """The value of a field, or of a whole row with its text first, as a text; a drawing as `a drawing`.

    >>> field_text(None), field_text("<svg/>"), field_text({"picture": "<svg/>", "title": "Lamp", "text": "red lamp"})
    ('–', 'a drawing', 'red lamp · title Lamp')
    """
    if isinstance(value, dict):
        fields = [f"{name} {field_text(field)}" for name, field in value.items() if name not in ("text", "picture")]
        return " · ".join([value["text"], *fields] if "text" in value else fields)
    if isinstance(value, str) and value.lstrip().startswith("<svg"):
        return "a drawing"
    return "–" if value in (None, "") else str(value)


def show(counts: Counts, first: Mapping[tuple[str, str], Sequence[Difference]]) -> None:
    """Print the counts and the first rows of each kind and change on stderr, without control characters."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)
    counted = _counts_table(counts)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name, kind in counted.columns:
        table.add_column(name, justify="right" if kind == "count" else "left")
    for row in counted.rows:
        table.add_row(row[0], *(f"{count:,}" for count in row[1:]))
    console.print(table)
    for key in _order(first):
        console.print(Text(_title(key), style="bold"))
        for line, style in (pair for row in first[key] for pair in _lines(row)):
            console.print(Text(f"  {one_line(line)}", style=style), overflow="ellipsis", no_wrap=True)


def _lines(row: Difference) -> Iterator[tuple[str, str]]:
    """Lines with their style, as rich names it."""
    if row.change in ("added", "deleted"):
        sign, style = ("+", "green") if row.change == "added" else ("−", "red")
        yield f"{sign} {row.id}: {field_text(row.before or row.after)}", style
        return
    for name in row.before:
        yield f"{row.id} {name}", ""
        yield f"− {field_text(row.before[name])}", "red"
        yield f"+ {field_text(row.after[name])}", "green"


def one_line(text: str) -> str:
    r"""The text on one line, without control characters.

    >>> one_line("red\n\x1b[31mlamp")
    'red ·[31mlamp'
    """
    return "".join(char if char.isprintable() else "·" for char in " ".join(text.split()))
