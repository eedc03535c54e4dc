"""A file of queries, or of users with their histories, becomes one Parquet file without duplicates.

Rows are staged in SQLite, so memory stays flat and duplicates are found, however many there are.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipelines.collections.quarantine import Quarantine
from pipelines.collections.reading import readers
from pipelines.collections.reading.sources import open_source
from pipelines.collections.record import BadRow, Record, Sampled
from pipelines.collections.rows import InvalidRow, id_value, text_value
from pipelines.collections.schema.column_features import ColumnFeatures
from pipelines.collections.schema.columns import SampleTable
from pipelines.collections.schema.fields import query_fields
from pipelines.collections.schema.headings import name_columns
from pipelines.collections.staging import MOSTLY_BAD, PRAGMAS, bad_row_of
from pipelines.corpus.text_rules import LONGEST_HISTORY, one_line
from pipelines.errors import InputError
from pipelines.store.recipes import canonical

NAMES = {
    "id": ("query_id", "query-id", "qid", "topic_id", "user_id", "user", "id", "_id"),
    "text": ("query", "text", "query_text", "q", "search_term", "search", "keyword"),
    "history": ("history", "like"),
}
"""What the columns may be called where nobody says; the first that is there is taken."""
SLICE = 10_000
LONGEST_TEXT = 1 << 16
QueryRow = tuple[str, str, str]
Columns = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class QueryFileCounts:
    """What became of the rows of a file of queries: rows = queries + repeated + bad."""

    rows: int
    queries: int
    repeated: int
    bad: int
    digest: str
    """sha256 over the queries in their order: the identity of the set."""


def read_query_file(source: str, columns: Sequence[str], most_bad: float, scratch: Path, folder: Path) -> QueryFileCounts:
    """Write `queries.parquet` (query_id, query, history; in the file's order) and `quarantine.csv` into `folder`.

    A row is a query (text) or a user (history: ids of documents, the latest last), or both. Equal rows count once. Without
    a column of ids they are made from what is asked.

    Args:
        source: a file or folder, local or s3://, in any format that `ingest` reads.
        columns: `FIELD=COLUMN` where the guess is wrong; fields: id, text, history.
        most_bad: the part of the rows that may be bad.
        scratch: a folder of our own.
        folder: where the files go.

    Raises:
        InputError: it can't be read, has no such column, too much of it is bad, or nothing is asked.
    """
    overrides = _column_overrides(columns)
    samples = [name_columns(sample)[0] for sample in readers.samples(list(open_source(source, scratch / "source")))[0]]
    plans = [(sample, _columns(sample, overrides)) for sample in samples]
    staged = _QueryStaging(_database(scratch / "asked.db"), Quarantine(folder / "quarantine.csv"), most_bad)
    for sample, field_columns in plans:
        staged.load(readers.read(sample.file), field_columns)
    staged.check(source)
    staged.quarantine.close()
    queries, content = _write(staged.db, folder / "queries.parquet")
    staged.db.close()
    return QueryFileCounts(staged.rows, queries, staged.repeated, staged.quarantine.total, content)


def _column_overrides(options: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for option in options:
        name, sign, column = option.partition("=")
        if not sign or not column or name not in NAMES:
            raise InputError(
                f"--column {option[:80]!r}", f"FIELD=COLUMN, a field: {', '.join(NAMES)}", "pass --column text=q, say"
            )
        overrides[name] = column
    return overrides


def _columns(sample: Sampled, overrides: dict[str, str]) -> Columns:
    """Field to columns of one file, as the user names them or by their names; a row's first that is there is taken.

    Of JSON, a field that only later rows have is not among the first ones: it may be called anything that it may be.
    """
    there = sample.columns
    if not there and sample.bad:  # nothing to judge by; the rows themselves are told
        return {}
    for name, column in overrides.items():
        if column not in there:
            raise InputError(
                f"--column {name}={column}, which {sample.file.name} does not have",
                f"one of {', '.join(there)}",
                "name one of these",
            )
    lower = {column.lower(): column for column in reversed(there)}
    guessed = {name: lower[alias] for name, known in NAMES.items() for alias in reversed(known) if alias in lower}
    if not {"text", "history"} & (guessed | overrides).keys():
        features = ColumnFeatures(SampleTable((sample.file,), sample.records))
        inferred = {name: columns[0] for name, columns in query_fields(features).items() if name in NAMES and columns}
        meaning = features.table.columns[inferred["text"]].meaning if "text" in inferred else None
        if meaning and (meaning.attribute in ("text", "title") or meaning.subject in ("query", "question")):
            guessed |= inferred
    field_columns = {name: (column,) for name, column in (guessed | overrides).items()}
    if not {"text", "history"} & field_columns.keys():
        raise InputError(
            f"{sample.file.name} with the columns {', '.join(there) or 'none'}",
            f"a column of queries ({', '.join(NAMES['text'])}) or of histories ({', '.join(NAMES['history'])})",
            "pass --column text=COLUMN",
        )
    return {"text": NAMES["text"], "history": NAMES["history"], **field_columns}


def _database(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE asked (id TEXT PRIMARY KEY, text TEXT, history TEXT)")
    db.execute("BEGIN")
    return db


@dataclass
class _QueryStaging:
    """The rows so far, in the order of the file, each id once."""

    db: sqlite3.Connection
    quarantine: Quarantine
    most_bad: float
    rows: int = 0
    repeated: int = 0

    def load(self, records: Iterator[Record | BadRow], columns: Columns) -> None:
        """Stage the rows of one file; where far too many are bad, the rest is not read."""
        for record in records:
            self.rows += 1
            self._stage_record(record, columns)
            if self.rows % SLICE == 0 and self.quarantine.total > max(MOSTLY_BAD, self.most_bad) * self.rows:
                return

    def _stage_record(self, record: Record | BadRow, columns: Columns) -> None:
        if isinstance(record, BadRow):
            self.quarantine.add("queries", record)
            return
        try:
            self._insert(query_file_row(record, columns))
        except InvalidRow as error:
            self.quarantine.add("queries", bad_row_of(record, str(error)))
        except UnicodeEncodeError:  # half a surrogate pair
            self.quarantine.add("queries", bad_row_of(record, "invalid Unicode"))

    def _insert(self, row: QueryRow) -> None:
        if self.db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", row).rowcount:
            return
        if self.db.execute("SELECT text, history FROM asked WHERE id = ?", row[:1]).fetchone() != row[1:]:
            raise InvalidRow("id used again with another query")
        self.repeated += 1

    def check(self, source: str) -> None:
        """Refuse a file with too many bad rows, or without queries."""
        bad = self.quarantine.total
        if bad > self.most_bad * self.rows:
            first = "; ".join(f"{row.file} line {row.line}: {row.reason}" for row in self.quarantine.first["queries"])
            raise InputError(
                f"{bad:,} of {self.rows:,} rows that can't be asked ({bad / self.rows:.1%}): {first}",
                f"at most {self.most_bad:.1%}",
                self.quarantine.remedy("queries", self.rows),
            )
        if self.rows == bad:
            raise InputError(f"{source} without queries", "at least one", "check the file")


def query_file_row(record: Record, columns: Columns) -> QueryRow:
    """id, text, history as JSON.

    Raises:
        Unfit: nothing is asked, or what the server would refuse.
    """
    fields = record.fields
    values = {name: next((fields[column] for column in known if column in fields), None) for name, known in columns.items()}
    text, history = text_value(values.get("text"), "query", LONGEST_TEXT), history_of(values.get("history"))
    if not text and not history:
        raise InvalidRow("empty query")
    try:
        text = one_line(text) if text else ""
    except ValueError as error:
        raise InvalidRow(f"no {error}") from None
    made = "q-" + sha256(canonical([text, history])).hexdigest()[:20]
    return (id_value(values["id"], "query id") if "id" in columns else made, text, json.dumps(history, ensure_ascii=False))


def history_of(value: Any) -> list[str]:
    """Ids of documents: a list, a JSON list, or ids between blanks.

    >>> history_of("a b"), history_of('["a"]'), history_of(None)
    (['a', 'b'], ['a'], [])
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split()
        except ValueError:
            raise InvalidRow("history that is no JSON") from None
    if value is not None and not isinstance(value, (list, tuple)):
        raise InvalidRow("history of a wrong type")
    ids = [id_value(item, "document id") for item in value or []]
    if len(ids) > LONGEST_HISTORY:
        raise InvalidRow(f"history of more than {LONGEST_HISTORY} documents")
    return ids


def _write(db: sqlite3.Connection, path: Path) -> tuple[int, str]:
    """Write the staged rows in their order; how many, and the sha256 over them."""
    import pyarrow
    import pyarrow.parquet

    content, count = sha256(), 0
    text, ids = pyarrow.string(), pyarrow.list_(pyarrow.string())
    schema = pyarrow.schema([("query_id", text), ("query", text), ("history", ids)])
    cursor = db.execute("SELECT id, text, history FROM asked ORDER BY rowid")
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := cursor.fetchmany(SLICE):
            rows = [{"query_id": query_id, "query": query, "history": json.loads(history)} for query_id, query, history in some]
            content.update(canonical(rows))
            count += len(rows)
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return count, content.hexdigest()
