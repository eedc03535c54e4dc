"""Staging: the files of a corpus and the exposure logs, read line by line into one temporary SQLite file.

Nothing is refused here. A value of a wrong type becomes NULL, so that a check can report it; a line that is not a row is
counted with its number and the reason. The file, which holds the texts, is deleted at the end of the step.
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
from pipelines.quality.tables import TABLES
from pipelines.store.artifacts import Artifact
from pipelines.wording import printable

LONGEST = 32 * 1024 * 1024
"""Bytes of a line at most: a text of a million characters fits."""
BATCH, FIRST = 1000, 5
"""Rows of an INSERT, and invalid lines of a file that are kept with their reason."""
PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE")
Row = tuple[Any, ...]
Rows = Iterator[tuple[str, Row]]


class UnreadableRow(ValueError):
    """A line that is not a row, with the reason in a few words."""


@dataclass
class FileTally:
    """How many lines of a file were read and how many of them are invalid."""

    name: str
    lines: int = 0
    bad: int = 0
    cut_off: bool = False
    """The last line has no line end: the writer was stopped, or is still writing."""
    first: list[tuple[int, str]] = field(default_factory=list)
    """Number and reason of the first invalid lines."""

    def refuse(self, line: int, reason: str) -> None:
        """Count an invalid line."""
        self.bad += 1
        if len(self.first) < FIRST:
            self.first.append((line, reason))


@dataclass
class StagingFile:
    """The SQLite file with TABLES while it is filled."""

    path: Path
    on: date
    files: list[FileTally] = field(default_factory=list)

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
        """Add a row, its values in the order of the table's columns."""
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= BATCH:
            self._insert(table)

    def scalar(self, sql: str) -> Any:
        """The first value of the first row of a query."""
        return self.db.execute(sql).fetchone()[0]

    def flush(self) -> None:
        """Insert all added rows."""
        for table in TABLES:
            self._insert(table)

    def close(self) -> None:
        """Insert all added rows, commit and close."""
        self.flush()
        self.db.execute("COMMIT")
        self.db.close()

    def days_old(self, at: datetime | None) -> float | None:
        """Days from a time to the end of the day `on`; negative for later times."""
        return None if at is None else (self._end - at).total_seconds() / 86_400

    def _insert(self, table: str) -> None:
        rows = self._waiting[table]
        if rows:
            self.db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
            rows.clear()


def load_corpus(staged: StagingFile, corpus: Artifact, previous: Artifact | None) -> None:
    """Load the files of a corpus, resolve its references and compare its volume with that of `previous`."""
    for name, (take, split) in CORPUS_FILES.items():
        if name in corpus.manifest.files:
            path = corpus.path(name)
            _load(staged, path, name, path.stat().st_size, take, split)
    _fill_references(staged)
    _add_corpus_row(staged, corpus, previous)


def load_events(staged: StagingFile, folder: Path, sizes: Mapping[str, int]) -> None:
    """Load the exposure logs, each up to its size in `sizes`, since the server may append to it."""
    for name, size in sizes.items():
        _load(staged, folder / name, name, size, EVENT_FILES[name], _json_row)
    _create_indexes(staged, "exposures", "shown")
    exists = "CASE WHEN EXISTS (SELECT 1 FROM {table} t WHERE {on}) THEN 1 ELSE 0 END"
    exposed = exists.format(table="exposures", on="t.request_id = clicks.request_id")
    same = "t.request_id = clicks.request_id AND t.position = clicks.position AND t.document = clicks.document"
    shown = exists.format(table="shown", on=same)
    staged.db.execute(f"UPDATE clicks SET known_exposure = {exposed}, was_shown = {shown}")  # noqa: S608
    if staged.scalar("SELECT count(*) FROM documents"):
        known = exists.format(table="documents", on="t.id = shown.document")
        staged.db.execute(f"UPDATE shown SET known_document = {known}")  # noqa: S608


def event_sizes(folder: Path) -> dict[str, int]:
    """The current sizes in bytes of the exposure logs in a folder.

    Raises:
        InputError: there is no exposures.jsonl.
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
    """The first 20 hexadecimal digits of the logs' sha256, each up to its size."""
    sha256 = hashlib.sha256()
    for name, size in sizes.items():
        sha256.update(f"{name} {size}\n".encode())
        with (folder / name).open("rb") as file:
            left = size
            while left > 0 and (chunk := file.read(min(left, 1 << 20))):
                sha256.update(chunk)
                left -= len(chunk)
    return sha256.hexdigest()[:20]


def lines_of(path: Path, tally: FileTally, size: int) -> Iterator[tuple[int, bytes]]:
    """The numbered lines in the first `size` bytes of a file; lines longer than LONGEST count as invalid."""
    with path.open("rb") as file:
        while size > 0 and (line := file.readline(min(LONGEST, size))):
            tally.lines += 1
            size -= len(line)
            if not line.endswith(b"\n") and size > 0:
                size -= _skip_line(file, size)
                tally.refuse(tally.lines, "too long")
                continue
            tally.cut_off = not line.endswith(b"\n")
            if line.strip():
                yield tally.lines, line


def _skip_line(file: Any, size: int) -> int:
    """Read to the end of the line, at most `size` bytes; returns how many."""
    read = 0
    while read < size and (rest := file.readline(min(LONGEST, size - read))):
        read += len(rest)
        if rest.endswith(b"\n"):
            break
    return read


RowReader = Callable[[StagingFile, int, Any], Rows]


def _load(staged: StagingFile, path: Path, name: str, size: int, take: RowReader, split: Callable[[bytes], Any]) -> None:
    tally = FileTally(name)
    for number, line in lines_of(path, tally, size):
        try:
            for table, row in list(take(staged, number, split(line))):
                staged.add(table, row)
        except UnreadableRow as error:
            tally.refuse(number, str(error))
    share = tally.bad / tally.lines if tally.lines else 0.0
    staged.add("files", (name, tally.lines, tally.bad, share, int(tally.cut_off)))
    staged.files.append(tally)
    staged.flush()


def _json_row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise UnreadableRow("invalid UTF-8") from None
    except (ValueError, RecursionError):
        raise UnreadableRow("no JSON") from None
    if not isinstance(row, dict):
        raise UnreadableRow("no JSON object")
    return row


def _qrel_fields(line: bytes) -> list[str]:
    fields = line.decode("utf-8", "replace").rstrip("\n").split(" ")
    if len(fields) != 4:
        raise UnreadableRow("not four fields")
    return fields


def text_or_null(value: Any) -> str | None:
    """A text, else NULL; so is an empty one. Lone surrogates, which SQLite can't hold, become question marks."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def integer_or_null(value: Any) -> int | None:
    """An integer of 64 bits, else NULL."""
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def number_or_null(value: Any) -> float | None:
    """A finite number, else NULL."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def time_or_null(value: Any) -> datetime | None:
    """An ISO 8601 time with an offset from UTC, else NULL."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time if time and time.tzinfo else None
    except ValueError:
        return None


def content_digest(text: str | None) -> str | None:
    """32 hexadecimal digits that are equal for equal texts."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def _text_columns(text: str | None) -> Row:
    """The columns characters, words, content and language of a text; the language is filled in later."""
    return (0, 0, None, None) if text is None else (len(text), len(text.split()), content_digest(text), None)


def _document(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    text = text_or_null(row.get("text"))
    yield (
        "documents",
        (
            line,
            _required_text(row),
            text,
            text_or_null(row.get("title")),
            text_or_null(row.get("segment")),
            *_text_columns(text),
            0,
        ),
    )


def _query(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    text, history = text_or_null(row.get("text")), row.get("history") or ()
    origin = (int(bool(row.get("synthetic"))), len(history) if isinstance(history, list) else None)
    yield "queries", (line, _required_text(row), text, text_or_null(row.get("split")), *_text_columns(text), *origin, 0, 0)


def _required_text(row: Mapping[str, Any], name: str = "id") -> str:
    text = text_or_null(row.get(name))
    if text is None:
        raise UnreadableRow(f"no {name}")
    return text


def _qrel(_: StagingFile, line: int, fields: list[str]) -> Rows:
    query, _run, document, grade = fields
    number = grade.removeprefix("-")
    value = integer_or_null(int(grade)) if number.isascii() and number.isdigit() and len(number) < 20 else None
    yield "qrels", (line, query, document, value, None, None)


def _interaction(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    time = integer_or_null(row.get("time"))
    age = None if time is None else staged.days_old(datetime(1970, 1, 1, tzinfo=UTC)) - time / 86_400  # type: ignore[operator]
    value = number_or_null(row.get("value", 1.0))  # the default is left out of the file
    yield "interactions", (line, _required_text(row, "user"), text_or_null(row.get("document")), time, value, age, None, None)


def _user(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    fields = row.get("fields")
    fields = fields if isinstance(fields, dict) else {}
    user = _required_text(row)
    yield "users", (line, user, len(fields), 0)
    for name, value in fields.items():
        yield "user_fields", (line, user, text_or_null(name), text_or_null(value))


def _exposure(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    request, results, query = _required_text(row, "request_id"), row.get("results"), text_or_null(row.get("query"))
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise UnreadableRow("results that are no list of objects")
    positions = [integer_or_null(result.get("position")) for result in results]
    distinct = int(len(set(positions)) == len(positions) and None not in positions)
    yield (
        "exposures",
        (
            line,
            request,
            text_or_null(row.get("at")),
            staged.days_old(time_or_null(row.get("at"))),
            text_or_null(row.get("user")),
            query,
            content_digest(query),
            text_or_null(row.get("release")),
            text_or_null(row.get("policy")),
            integer_or_null(row.get("entry")),
            len(results),
            distinct,
        ),
    )
    for result, position in zip(results, positions, strict=True):
        scores = (number_or_null(result.get("score")), number_or_null(result.get("propensity")))
        yield "shown", (line, request, text_or_null(result.get("document")), position, *scores, None)


def _click(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    at = row.get("at")
    clicked = (_required_text(row, "request_id"), text_or_null(row.get("document")), integer_or_null(row.get("position")))
    yield "clicks", (line, *clicked, text_or_null(at), staged.days_old(time_or_null(at)), 0, 0)


CORPUS_FILES: Mapping[str, tuple[RowReader, Callable[[bytes], Any]]] = {
    "documents.jsonl": (_document, _json_row),
    "queries.jsonl": (_query, _json_row),
    "qrels.txt": (_qrel, _qrel_fields),
    "interactions.jsonl": (_interaction, _json_row),
    "users.jsonl": (_user, _json_row),
}
EVENT_FILES: Mapping[str, RowReader] = {"exposures.jsonl": _exposure, "clicks.jsonl": _click}


def _create_indexes(staged: StagingFile, *tables: str) -> None:
    staged.flush()
    for table in tables:
        for column in TABLES[table].index:
            staged.db.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")


def _fill_references(staged: StagingFile) -> None:
    """Fill the columns that tell whether a reference exists, and how many rows refer to a row."""
    _create_indexes(staged, "documents", "queries", "qrels", "interactions", "users")
    exists = "(SELECT count(*) > 0 FROM {} t WHERE t.id = {})"
    updates = [
        f"UPDATE qrels SET known_query = {exists.format('queries', 'qrels.query')},"  # noqa: S608
        f" known_document = {exists.format('documents', 'qrels.document')}",
        "UPDATE queries SET judgments = (SELECT count(*) FROM qrels WHERE query = queries.id),"
        " relevant = (SELECT count(*) FROM qrels WHERE query = queries.id AND grade > 0)",
        "UPDATE documents SET judgments = (SELECT count(*) FROM qrels WHERE document = documents.id)",
        "UPDATE users SET interactions = (SELECT count(*) FROM interactions WHERE user = users.id)",
        f"UPDATE interactions SET known_document = {exists.format('documents', 'interactions.document')}",  # noqa: S608
    ]
    if staged.scalar("SELECT count(*) FROM users"):
        updates.append(f"UPDATE interactions SET known_user = {exists.format('users', 'interactions.user')}")  # noqa: S608
    for update in updates:
        staged.db.execute(update)


def _add_corpus_row(staged: StagingFile, corpus: Artifact, previous: Artifact | None) -> None:
    """Add the row of table `corpus`; its language is filled in later."""
    counts = {table: staged.scalar(f"SELECT count(*) FROM {table}") for table in COUNTED}  # noqa: S608
    before = {} if previous is None else {table: previous.facts.get(name) for table, name in COUNTED.items()}
    ratios = [counts[table] / before[table] if before.get(table) else None for table in ("documents", "queries", "qrels")]
    duplicates = "SELECT count(*) AS n FROM documents WHERE content IS NOT NULL GROUP BY content HAVING n > 1"
    duplicated = staged.scalar(f"SELECT coalesce(sum(n), 0) FROM ({duplicates})")  # noqa: S608
    judged = staged.scalar("SELECT count(*) FROM queries WHERE judgments > 0")
    staged.add(
        "corpus",
        (
            *counts.values(),
            *ratios,
            duplicated / counts["documents"] if counts["documents"] else None,
            judged / counts["queries"] if counts["queries"] else None,
            None,
            None,
            staged.days_old(time_or_null(corpus.manifest.provenance.get("at"))),
        ),
    )
    staged.flush()


COUNTED: Mapping[str, str] = {
    "documents": "documents", "queries": "queries", "qrels": "judgments", "interactions": "interactions", "users": "users"
}  # fmt: skip
"""By table whose rows are counted: the name of the count in a corpus's manifest."""
