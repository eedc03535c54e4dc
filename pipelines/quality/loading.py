"""What is checked, brought into one SQLite file: a corpus's files and the logs of what was shown, a line at a time.

Nothing is refused here: a value of a wrong type becomes NULL, so that a declared check says it; a line that is no row at all
is counted with its number and reason. Texts stay in the scratch file, which goes when the step ends.
"""

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.quality.tables import TABLES, printable
from pipelines.store.artifacts import Artifact

LONGEST = 32 * 1024 * 1024
"""Bytes of a line: a text of a million characters fits, whatever stands beside it."""
BATCH, FIRST = 1000, 5
PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE")
Row = tuple[Any, ...]
Rows = Iterator[tuple[str, Row]]


class NoRow(ValueError):
    """A line that is no row; says why in a few words."""


@dataclass
class Tally:
    """What was read of one file."""

    name: str
    lines: int = 0
    bad: int = 0
    cut_off: bool = False
    """Its last line has no end: who wrote it was stopped, or is writing."""
    first: list[tuple[int, str]] = field(default_factory=list)
    """Line and reason of the first bad ones."""

    def refuse(self, line: int, reason: str) -> None:
        """Count a bad line."""
        self.bad += 1
        if len(self.first) < FIRST:
            self.first.append((line, reason))


@dataclass
class Staged:
    """The tables of the staging file while they are filled."""

    path: Path
    on: date
    files: list[Tally] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.db = sqlite3.connect(self.path, isolation_level=None)
        for pragma in PRAGMAS:
            self.db.execute(f"PRAGMA {pragma}")
        for name, table in TABLES.items():
            self.db.execute(f"CREATE TABLE {name} ({table.definition})")
        self.db.execute("BEGIN")
        self._waiting: dict[str, list[Row]] = {name: [] for name in TABLES}
        self._end = datetime.combine(self.on + timedelta(days=1), datetime.min.time(), UTC)

    def add(self, table: str, row: Row) -> None:
        """Add a row; its columns in the table's order."""
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= BATCH:
            self._insert(table)

    def one(self, sql: str) -> Any:
        """The first value of a query's first row."""
        return self.db.execute(sql).fetchone()[0]

    def flush(self) -> None:
        """Bring all added rows into the file."""
        for table in TABLES:
            self._insert(table)

    def close(self) -> None:
        """Write everything down, for readers."""
        self.flush()
        self.db.execute("COMMIT")
        self.db.close()

    def days_old(self, at: datetime | None) -> float | None:
        """Days from a moment to the end of the day `on`; below 0 it lies in the future."""
        return None if at is None else (self._end - at).total_seconds() / 86_400

    def _insert(self, table: str) -> None:
        rows = self._waiting[table]
        if rows:
            self.db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
            rows.clear()


def load_corpus(staged: Staged, corpus: Artifact, previous: Artifact | None) -> None:
    """Load a corpus, and relate its volume to that of the version before."""
    for name, (take, split) in CORPUS_FILES.items():
        if name in corpus.manifest.files:
            path = corpus.path(name)
            _load(staged, path, name, path.stat().st_size, take, split)
    _relate_corpus(staged)
    _sum_up(staged, corpus, previous)


def load_events(staged: Staged, folder: Path, sizes: Mapping[str, int]) -> None:
    """Load the logs, each as far as it was when its size was taken: the server may be writing."""
    for name, size in sizes.items():
        _load(staged, folder / name, name, size, EVENT_FILES[name], _json_row)
    _index(staged, "exposures", "shown")
    known = "CASE WHEN EXISTS (SELECT 1 FROM {table} t WHERE {on}) THEN 1 ELSE 0 END"
    exposed = known.format(table="exposures", on="t.request_id = clicks.request_id")
    at_place = "t.request_id = clicks.request_id AND t.position = clicks.position AND t.document = clicks.document"
    staged.db.execute(f"UPDATE clicks SET known_exposure = {exposed}, was_shown = {known.format(table='shown', on=at_place)}")  # noqa: S608
    if staged.one("SELECT count(*) FROM documents"):
        there = known.format(table="documents", on="t.id = shown.document")
        staged.db.execute(f"UPDATE shown SET known_document = {there}")  # noqa: S608  # our own names


def event_sizes(folder: Path) -> dict[str, int]:
    """The logs in a folder and their sizes now.

    Raises:
        InputError: there are none.
    """
    sizes = {name: (folder / name).stat().st_size for name in EVENT_FILES if (folder / name).is_file()}
    if "exposures.jsonl" not in sizes:
        raise InputError(
            f"--exposures {printable(folder, 200)} without exposures.jsonl",
            "the folder that the server writes to",
            "correct it, set RATCHET_EVENTS, or leave --exposures out",
        )
    return sizes


def digest_events(folder: Path, sizes: Mapping[str, int]) -> str:
    """The sha256 of the logs as far as their sizes go."""
    found = hashlib.sha256()
    for name, size in sizes.items():
        found.update(f"{name} {size}\n".encode())
        with (folder / name).open("rb") as file:
            left = size
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                found.update(chunk)
                left -= len(chunk)
    return found.hexdigest()[:20]


def lines_of(path: Path, tally: Tally, size: int) -> Iterator[tuple[int, bytes]]:
    """The lines in the first `size` bytes of a file with their numbers; a line of more than LONGEST is a bad one."""
    with path.open("rb") as file:
        while size > 0 and (line := file.readline(min(LONGEST, size))):
            tally.lines += 1
            size -= len(line)
            if not line.endswith(b"\n") and size > 0:
                size -= _skip(file, size)
                tally.refuse(tally.lines, "too long")
                continue
            tally.cut_off = not line.endswith(b"\n")
            if line.strip():
                yield tally.lines, line


def _skip(file: Any, size: int) -> int:
    """Read on to the line's end; how many bytes that were."""
    read = 0
    while read < size and (rest := file.readline(min(LONGEST, size - read))):
        read += len(rest)
        if rest.endswith(b"\n"):
            break
    return read


Take = Callable[[Staged, int, Any], Rows]


def _load(staged: Staged, path: Path, name: str, size: int, take: Take, split: Callable[[bytes], Any]) -> None:
    tally = Tally(name)
    for number, line in lines_of(path, tally, size):
        try:
            for table, row in list(take(staged, number, split(line))):
                staged.add(table, row)
        except NoRow as error:
            tally.refuse(number, str(error))
    share = tally.bad / tally.lines if tally.lines else 0.0
    staged.add("files", (name, tally.lines, tally.bad, share, int(tally.cut_off)))
    staged.files.append(tally)
    staged.flush()


def _json_row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise NoRow("invalid UTF-8") from None
    except (ValueError, RecursionError):
        raise NoRow("no JSON") from None
    if not isinstance(row, dict):
        raise NoRow("no JSON object")
    return row


def _qrel(line: bytes) -> list[str]:
    fields = line.decode("utf-8", "replace").rstrip("\n").split(" ")
    if len(fields) != 4:
        raise NoRow("not four fields")
    return fields


def text_of(value: Any) -> str | None:
    """A text as SQLite can hold it: half a surrogate pair becomes a question mark. NULL if it is none, or empty."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def integer_of(value: Any) -> int | None:
    """A whole number of 64 bits, else NULL."""
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def number_of(value: Any) -> float | None:
    """A finite number, else NULL."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def moment_of(value: Any) -> datetime | None:
    """A time with its offset from UTC, else NULL."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment if moment and moment.tzinfo else None
    except ValueError:
        return None


def content_of(text: str | None) -> str | None:
    """By which equal texts are equal: 32 hexadecimal digits."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def _measured(text: str | None) -> Row:
    """Characters, words and content of a text; the language is told later."""
    return (0, 0, None, None) if text is None else (len(text), len(text.split()), content_of(text), None)


def _document(_: Staged, line: int, row: dict[str, Any]) -> Rows:
    text = text_of(row.get("text"))
    yield "documents", (line, _id(row), text, text_of(row.get("title")), text_of(row.get("segment")), *_measured(text), 0)


def _query(_: Staged, line: int, row: dict[str, Any]) -> Rows:
    text, history = text_of(row.get("text")), row.get("history") or ()
    asked = (int(bool(row.get("synthetic"))), len(history) if isinstance(history, list) else None)
    yield "queries", (line, _id(row), text, text_of(row.get("split")), *_measured(text), *asked, 0, 0)


def _id(row: Mapping[str, Any], name: str = "id") -> str:
    found = text_of(row.get(name))
    if found is None:
        raise NoRow(f"no {name}")
    return found


def _judgment(_: Staged, line: int, fields: list[str]) -> Rows:
    query, _run, document, grade = fields
    number = grade.removeprefix("-")
    given = integer_of(int(grade)) if number.isascii() and number.isdigit() and len(number) < 20 else None
    yield "qrels", (line, query, document, given, None, None)


def _interaction(staged: Staged, line: int, row: dict[str, Any]) -> Rows:
    time = integer_of(row.get("time"))
    age = None if time is None else staged.days_old(datetime(1970, 1, 1, tzinfo=UTC)) - time / 86_400  # type: ignore[operator]
    value = number_of(row.get("value", 1.0))  # the file leaves out what has its default
    yield "interactions", (line, _id(row, "user"), text_of(row.get("document")), time, value, age, None, None)


def _user(_: Staged, line: int, row: dict[str, Any]) -> Rows:
    fields = row.get("fields")
    given = fields if isinstance(fields, dict) else {}
    user = _id(row)
    yield "users", (line, user, len(given), 0)
    for name, value in given.items():
        yield "user_fields", (line, user, text_of(name), text_of(value))


def _exposure(staged: Staged, line: int, row: dict[str, Any]) -> Rows:
    request, results, query = _id(row, "request_id"), row.get("results"), text_of(row.get("query"))
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise NoRow("results that are no list of objects")
    positions = [integer_of(one.get("position")) for one in results]
    distinct = int(len(set(positions)) == len(positions) and None not in positions)
    yield "exposures", (
        line, request, text_of(row.get("at")), staged.days_old(moment_of(row.get("at"))), text_of(row.get("user")), query,
        content_of(query), text_of(row.get("release")), text_of(row.get("policy")), integer_of(row.get("entry")), len(results),
        distinct,
    )  # fmt: skip
    for one, position in zip(results, positions, strict=True):
        measured = (number_of(one.get("score")), number_of(one.get("propensity")))
        yield "shown", (line, request, text_of(one.get("document")), position, *measured, None)


def _click(staged: Staged, line: int, row: dict[str, Any]) -> Rows:
    at = row.get("at")
    clicked = (_id(row, "request_id"), text_of(row.get("document")), integer_of(row.get("position")))
    yield "clicks", (line, *clicked, text_of(at), staged.days_old(moment_of(at)), 0, 0)


CORPUS_FILES: Mapping[str, tuple[Take, Callable[[bytes], Any]]] = {
    "documents.jsonl": (_document, _json_row),
    "queries.jsonl": (_query, _json_row),
    "qrels.txt": (_judgment, _qrel),
    "interactions.jsonl": (_interaction, _json_row),
    "users.jsonl": (_user, _json_row),
}
EVENT_FILES: Mapping[str, Take] = {"exposures.jsonl": _exposure, "clicks.jsonl": _click}


def _index(staged: Staged, *tables: str) -> None:
    staged.flush()
    for table in tables:
        for column in TABLES[table].index:
            staged.db.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")


def _relate_corpus(staged: Staged) -> None:
    """References are joins, and what names a row is counted in it."""
    _index(staged, "documents", "queries", "qrels", "interactions", "users")
    there = "(SELECT count(*) > 0 FROM {} t WHERE t.id = {})"
    updates = [
        f"UPDATE qrels SET known_query = {there.format('queries', 'qrels.query')},"  # noqa: S608  # our own names
        f" known_document = {there.format('documents', 'qrels.document')}",
        "UPDATE queries SET judgments = (SELECT count(*) FROM qrels WHERE query = queries.id),"
        " relevant = (SELECT count(*) FROM qrels WHERE query = queries.id AND grade > 0)",
        "UPDATE documents SET judgments = (SELECT count(*) FROM qrels WHERE document = documents.id)",
        "UPDATE users SET interactions = (SELECT count(*) FROM interactions WHERE user = users.id)",
        f"UPDATE interactions SET known_document = {there.format('documents', 'interactions.document')}",  # noqa: S608
    ]
    if staged.one("SELECT count(*) FROM users"):
        updates.append(f"UPDATE interactions SET known_user = {there.format('users', 'interactions.user')}")  # noqa: S608
    for update in updates:
        staged.db.execute(update)


def _sum_up(staged: Staged, corpus: Artifact, previous: Artifact | None) -> None:
    """The one row of table `corpus`; its language is told later."""
    counts = {table: staged.one(f"SELECT count(*) FROM {table}") for table in COUNTED}  # noqa: S608  # our own names
    before = {} if previous is None else {table: previous.facts.get(name) for table, name in COUNTED.items()}
    ratios = [counts[table] / before[table] if before.get(table) else None for table in ("documents", "queries", "qrels")]
    repeated = "SELECT count(*) AS n FROM documents WHERE content IS NOT NULL GROUP BY content HAVING n > 1"
    twice = staged.one(f"SELECT coalesce(sum(n), 0) FROM ({repeated})")  # noqa: S608
    judged = staged.one("SELECT count(*) FROM queries WHERE judgments > 0")
    staged.add("corpus", (
        *counts.values(), *ratios,
        twice / counts["documents"] if counts["documents"] else None,
        judged / counts["queries"] if counts["queries"] else None,
        None, None, staged.days_old(moment_of(corpus.manifest.provenance.get("at"))),
    ))  # fmt: skip
    staged.flush()


COUNTED: Mapping[str, str] = {
    "documents": "documents", "queries": "queries", "qrels": "judgments", "interactions": "interactions", "users": "users"
}  # fmt: skip
"""Tables whose rows are counted, and how a corpus's manifest calls the count."""
