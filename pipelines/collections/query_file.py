"""A file of queries, or of users with their histories, becomes one Parquet file in which each stands once.

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
from pipelines.collections.rows import Unfit, id_of, text_of
from pipelines.collections.staging import HOPELESS, PRAGMAS, refused
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
Row = tuple[str, str, str]
Columns = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Counted:
    """What became of the rows of a file of queries: rows = queries + repeated + bad."""

    rows: int
    queries: int
    repeated: int
    bad: int
    digest: str
    """sha256 over the queries in their order: the identity of what is asked."""


def read_asked(source: str, columns: Sequence[str], most_bad: float, scratch: Path, folder: Path) -> Counted:
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
    wished = _wishes(columns)
    samples, _ = readers.samples(list(open_source(source, scratch / "source")))
    plans = [(sample, _columns(sample, wished)) for sample in samples]
    staged = _Staged(_database(scratch / "asked.db"), Quarantine(folder / "quarantine.csv"), most_bad)
    for sample, found in plans:
        staged.load(readers.read(sample.file), found)
    staged.check(source)
    staged.quarantine.close()
    queries, content = _write(staged.db, folder / "queries.parquet")
    staged.db.close()
    return Counted(staged.rows, queries, staged.repeated, staged.quarantine.total, content)


def _wishes(options: Sequence[str]) -> dict[str, str]:
    """The columns that options name."""
    wished = {}
    for option in options:
        name, sign, column = option.partition("=")
        if not sign or not column or name not in NAMES:
            raise InputError(
                f"--column {option[:80]!r}", f"FIELD=COLUMN, a field: {', '.join(NAMES)}", "pass --column text=q, say"
            )
        wished[name] = column
    return wished


def _columns(sample: Sampled, wished: dict[str, str]) -> Columns:
    """Field to columns of one file, as wished or as they are called; a row's first that is there is taken.

    Of JSON, a field that only later rows have is not among the first ones: it may be called anything that it may be.
    """
    there = sample.columns
    if not there and sample.bad:  # nothing to judge by; the rows themselves are told
        return {}
    for name, column in wished.items():
        if column not in there:
            raise InputError(
                f"--column {name}={column}, which {sample.file.name} does not have", f"one of {', '.join(there)}",
                "name one of these",
            )  # fmt: skip
    lower = {column.lower(): column for column in reversed(there)}
    guessed = {name: lower[one] for name, known in NAMES.items() for one in reversed(known) if one in lower}
    found = {name: (column,) for name, column in (guessed | wished).items()}
    if not {"text", "history"} & found.keys():
        raise InputError(
            f"{sample.file.name} with the columns {', '.join(there) or 'none'}",
            f"a column of queries ({', '.join(NAMES['text'])}) or of histories ({', '.join(NAMES['history'])})",
            "pass --column text=COLUMN",
        )
    return {"text": NAMES["text"], "history": NAMES["history"], **found}


def _database(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE asked (id TEXT PRIMARY KEY, text TEXT, history TEXT)")
    db.execute("BEGIN")
    return db


@dataclass
class _Staged:
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
            self._take(record, columns)
            if self.rows % SLICE == 0 and self.quarantine.total > max(HOPELESS, self.most_bad) * self.rows:
                return

    def _take(self, record: Record | BadRow, columns: Columns) -> None:
        if isinstance(record, BadRow):
            self.quarantine.add("queries", record)
            return
        try:
            self._insert(row_of(record, columns))
        except Unfit as error:
            self.quarantine.add("queries", refused(record, str(error)))
        except UnicodeEncodeError:  # half a surrogate pair
            self.quarantine.add("queries", refused(record, "invalid Unicode"))

    def _insert(self, row: Row) -> None:
        if self.db.execute("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", row).rowcount:
            return
        if self.db.execute("SELECT text, history FROM asked WHERE id = ?", row[:1]).fetchone() != row[1:]:
            raise Unfit("id used again with another query")
        self.repeated += 1

    def check(self, source: str) -> None:
        """Refuse a file of which too much is bad, or that asks nothing."""
        bad = self.quarantine.total
        if bad > self.most_bad * self.rows:
            first = "; ".join(f"{one.file} line {one.line}: {one.reason}" for one in self.quarantine.first["queries"])
            raise InputError(
                f"{bad:,} of {self.rows:,} rows that can't be asked ({bad / self.rows:.1%}): {first}",
                f"at most {self.most_bad:.1%}", "correct them, or pass --max-bad-fraction",
            )  # fmt: skip
        if self.rows == bad:
            raise InputError(f"{source} without queries", "at least one", "check the file")


def row_of(record: Record, columns: Columns) -> Row:
    """id, text, history as JSON.

    Raises:
        Unfit: nothing is asked, or what the server would refuse.
    """
    fields = record.fields
    values = {name: next((fields[one] for one in known if one in fields), None) for name, known in columns.items()}
    text, history = text_of(values.get("text"), "query", LONGEST_TEXT), history_of(values.get("history"))
    if not text and not history:
        raise Unfit("empty query")
    try:
        text = one_line(text) if text else ""
    except ValueError as error:
        raise Unfit(f"no {error}") from None
    made = "q-" + sha256(canonical([text, history])).hexdigest()[:20]
    return (id_of(values["id"], "query id") if "id" in columns else made, text, json.dumps(history, ensure_ascii=False))


def history_of(given: Any) -> list[str]:
    """Ids of documents: a list, a JSON list, or ids between blanks.

    >>> history_of("a b"), history_of('["a"]'), history_of(None)
    (['a', 'b'], ['a'], [])
    """
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.lstrip().startswith("[") else given.split()
        except ValueError:
            raise Unfit("history that is no JSON") from None
    if given is not None and not isinstance(given, (list, tuple)):
        raise Unfit("history of a wrong type")
    ids = [id_of(one, "document id") for one in given or []]
    if len(ids) > LONGEST_HISTORY:
        raise Unfit(f"history of more than {LONGEST_HISTORY} documents")
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
            rows = [{"query_id": one, "query": words, "history": json.loads(history)} for one, words, history in some]
            content.update(canonical(rows))
            count += len(rows)
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return count, content.hexdigest()
