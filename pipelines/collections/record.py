"""What reading a source gives: rows as they are, and rows that could not be read, each with its place."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["documents", "queries", "qrels", "interactions", "users"]
Format = Literal["csv", "jsonl", "json", "parquet", "trec documents", "trec topics", "trec qrels"]


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, as it was read; nothing in it is checked yet."""

    file: str
    line: int
    """The physical line it begins on, from 1; in Parquet the row, in a JSON array the item."""
    fields: dict[str, Any]
    """Values by column. In text formats all are strings; JSON and Parquet keep their types."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that can't be used, for the quarantine."""

    file: str
    line: int
    reason: str
    """A few words that don't vary with the row, such as "empty text": the report counts by them."""
    given: str = ""
    """What was there, cut to 200 characters."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, and how it is to be read."""

    path: Path
    name: str
    """Its path within the source, for messages."""
    format: Format
    delimiter: str = ","
    """Of csv: `,` `;` tab `|` or `::`."""
    columns: tuple[str, ...] = ()
    """Of csv: the names of the columns where the file has no header line; empty: its first line names them."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    rename: dict[str, str] = field(default_factory=dict)
    """Columns of the file to the names that the layout uses, where they differ."""
