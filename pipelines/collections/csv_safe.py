"""CSV files that are safe to open in a spreadsheet: no cell runs as a formula or is rewritten, and all are read back exactly.

A text that a spreadsheet would take for something else is marked by an apostrophe in front, as spreadsheets themselves write
a text that is no formula. Where the list separator is a semicolon, a comma-separated line is one cell up to the next
semicolon, so what follows one within a text is marked as well.
"""

import csv
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.collections.record import Record
from pipelines.errors import InputError

POOL = ("query_id", "query", "document_id", "title", "text", "grade")
"""The columns of a pool of documents to judge."""
OPERATORS = r"=+\-@＝＋－＠"
FORMULA = re.compile(rf"'*[{OPERATORS}\t\r\n]")
"""What a spreadsheet takes for a formula; with apostrophes in front it must be marked too, or it could not be told apart."""
REWRITTEN = re.compile(r"'*(0\d+|\d{16,}|\d+[eE][+-]?\d+|\d+([-/.:]\d+){1,2})")
"""What a spreadsheet makes another number or a date of: 007, 12345678901234567, 1E5, 1-2, 2.50."""
INSIDE = re.compile(rf"(?<=[;\t])(?=[\"']*[{OPERATORS}])")
MARKED_INSIDE = re.compile(rf"(?<=[;\t])'(?=[\"']*[{OPERATORS}])")


def escaped(cell: str) -> str:
    """A cell in which no spreadsheet runs or rewrites anything.

    >>> escaped("=1+1"), escaped("'=1+1"), escaped("007"), escaped("red;=1+1"), escaped("red")
    ("'=1+1", "''=1+1", "'007", "red;'=1+1", 'red')
    """
    return ("'" if _is_rewritten(cell) else "") + INSIDE.sub("'", cell)


def unescaped(cell: str) -> str:
    """The text of a cell as it was before `escaped`; a cell that was not marked stays as it is.

    >>> unescaped("'=1+1"), unescaped("'red"), unescaped("=1+1"), unescaped("'007")
    ('=1+1', "'red", '=1+1', '007')
    """
    text = MARKED_INSIDE.sub("", cell)
    return text[1:] if text.startswith("'") and _is_rewritten(text) else text


def _is_rewritten(cell: str) -> bool:
    """Whether a spreadsheet takes the cell for something else than its text."""
    return bool(FORMULA.match(cell) or REWRITTEN.fullmatch(cell))


def is_pool(columns: Collection[str]) -> bool:
    """Whether a file with these columns is a pool of documents to judge, whose cells are to be read by `unescaped`.

    >>> is_pool(["query_id", "query", "document_id", "grade", "my remarks"]), is_pool(["query", "document", "grade"])
    (True, False)
    """
    return {"query_id", "query", "document_id", "grade"} <= set(columns)


def restored(record: Record) -> Record:
    """A row of a pool as it was before it was written; a row of any other file stays as it is."""
    if not is_pool(record.fields):
        return record
    cells = {name: unescaped(cell) if isinstance(cell, str) else cell for name, cell in record.fields.items()}
    return replace(record, fields=cells)


def write_safe_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a new file in one piece; returns the number of rows.

    One with other than ASCII signs begins with a byte-order mark, without which Excel takes UTF-8 for another encoding.

    Raises:
        InputError: it is there already, or can't be written there.
    """
    count, ascii_only = 0, True
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as draft:
        writer = csv.writer(draft)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([escaped(cell) for cell in row])
            ascii_only = ascii_only and all(cell.isascii() for cell in row)
            count += 1
        draft.seek(0)
        try:
            with path.open("x", encoding="utf-8" if ascii_only else "utf-8-sig", newline="") as file:
                shutil.copyfileobj(draft, file)
        except FileExistsError:
            raise file_exists_error(path) from None
    return count


def file_exists_error(path: Path) -> InputError:
    """The error that a file exists and is not overwritten."""
    return InputError(f"{path}, which is there already", "a file that is not: it may hold judgments", "give another name")
