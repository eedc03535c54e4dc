"""Records, bad rows, and the layout: which file has which role, and which column is which field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["documents", "queries", "qrels", "interactions", "users"]
Format = Literal["csv", "jsonl", "json", "parquet", "trec documents", "trec topics", "trec qrels", "text"]
Compression = Literal["", "gzip", "bz2", "xz", "zstd", "zip"]

FIELDS: dict[Role, tuple[str, ...]] = {
    "documents": ("id", "text", "title", "segment", "picture", "known", "facet"),
    "queries": ("id", "text", "split"),
    "qrels": ("query", "query_text", "document", "document_text", "grade", "split"),
    "interactions": ("user", "document", "time", "value"),
    "users": ("id", "fields"),
}
"""What a row of each role may have. Of qrels, `query` and `document` are ids; `query_text` and `document_text` stand for them
where there are none. A document's `known` is held out of its text, for known-item queries; `facet` may be
any columns, each under its own name."""


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
    """Its path within the source, for messages; a member of an archive is `archive.zip/member.csv`."""
    format: Format
    compression: Compression = ""
    member: str = ""
    """Of a zip archive: which member."""
    delimiter: str = ","
    """Of csv: `,` `;` tab `|` or `::`; empty: each line is one cell. Of trec topics: `:` where a line is `id:text`."""
    quoted: bool = True
    """Of csv: whether a quote at the beginning of a cell opens it; many TREC-like tables have none and begin texts with one."""
    columns: tuple[str, ...] = ()
    """Of csv: the names of the columns where the file has no header line; empty: its first line names them."""
    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"
    preamble: int = 0
    """Of csv: lines above the header that are no rows, such as `sep=;` or a title; blank lines are not counted."""


@dataclass(frozen=True)
class Sampled:
    """A file and its first rows, by which its place in the collection is recognized."""

    file: SourceFile
    records: list[Record]
    bad: list[BadRow] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns in the order in which they were first seen."""
        return list(dict.fromkeys(name for record in self.records for name in record.fields))


@dataclass(frozen=True)
class FilePart:
    """One file in one role. A file that holds documents, queries and judgments in each row is three parts."""

    role: Role
    file: SourceFile
    columns: dict[str, tuple[str, ...]]
    """A field of the role (see FIELDS) to its columns, joined by a space; an id with no column is made from the text."""
    split: Literal["", "train", "dev", "test"] = ""
    """Of queries and qrels: the side of the split that the file's name or folder says."""
    repeats: bool = False
    """Whether equal rows are expected, because the file has a row for each judgment and not for each document."""
    variants: bool = False
    """Of documents: whether a row without text belongs to the row above, as in merged cells."""


@dataclass(frozen=True)
class Layout:
    """How a collection lies in its files: what is shown before anything is done."""

    name: str
    """What it was taken for, such as "BEIR folder", "one table of documents", "MovieLens"."""
    parts: tuple[FilePart, ...]
    notes: tuple[str, ...] = ()
    """What was guessed and could be wrong, or was left aside, a sentence each."""
    grades: str = ""
    """The grades from worst to best as the layout knows them, `0..3` or `Irrelevant,Partial,Exact`; empty: to be seen."""

    def of(self, role: Role) -> list[FilePart]:
        """The parts in one role."""
        return [part for part in self.parts if part.role == role]
