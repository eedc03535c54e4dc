"""Rows on their way to a corpus, staged in a SQLite file: memory stays flat, duplicates are found, references are joins."""

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.collections.csv_safe import restored
from pipelines.collections.phone_ids import LEAST_DIGITS, MOST_DIGITS, SUBJECTS
from pipelines.collections.quarantine import CUT, Quarantine
from pipelines.collections.reading.delimited import HEADER_AGAIN
from pipelines.collections.record import BadRow, FilePart, Record, Role
from pipelines.collections.rows import InvalidRow, Row, id_from_text, role_row
from pipelines.logs import EVERY_S, log

SCHEMA = """
CREATE TABLE documents (id TEXT PRIMARY KEY, text TEXT, title TEXT, segment TEXT, picture TEXT, known TEXT,
                        facets TEXT);
CREATE TABLE queries (id TEXT PRIMARY KEY, text TEXT, split TEXT, history TEXT, time INTEGER, synthetic INTEGER DEFAULT 0,
                      dev INTEGER DEFAULT 0);
CREATE TABLE judged (query TEXT, document TEXT, grade TEXT, split TEXT, file TEXT, line INTEGER);
CREATE TABLE judged_texts (id TEXT PRIMARY KEY, text TEXT);
CREATE TABLE qrels (query TEXT, document TEXT, grade INTEGER, PRIMARY KEY (query, document)) WITHOUT ROWID;
CREATE TABLE interactions (user TEXT, document TEXT, time INTEGER, value REAL, file TEXT, line INTEGER);
CREATE TABLE users (id TEXT PRIMARY KEY, fields TEXT);
"""
PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8192", "temp_store=FILE", "locking_mode=EXCLUSIVE")
"""Of a scratch file: nothing in it must outlive the process, and 8 MiB of it are in memory, however many rows there are."""
INSERTS: dict[Role, str] = {
    "documents": "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
    "queries": "INSERT OR IGNORE INTO queries (id, text, split) VALUES (?, ?, ?)",
    "users": "INSERT OR IGNORE INTO users VALUES (?, ?)",
    "qrels": "INSERT INTO judged VALUES (?, ?, ?, ?, ?, ?)",
    "interactions": "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?)",
}
KEYED: dict[Role, str] = {"documents": "text", "queries": "text", "users": "fields"}
"""Roles whose rows have an id of their own, with the column that must agree where a row is repeated."""

MASKED: dict[Role, tuple[int, ...]] = {"documents": (1, 2, 3, 4, 5, 6), "queries": (1,), "users": (1,)}
"""The places of texts in which personal data may stand. Ids that are made from a text are made before."""
SPLITS: dict[Role, int] = {"queries": 2, "qrels": 3}
"""The place of the split, which is the file's where the row has none."""
PHONE_DIGITS = re.compile(rf"(?<!\d)\d{{{LEAST_DIGITS},{MOST_DIGITS}}}(?!\d)")

MOSTLY_BAD = 0.5
"""Where more than this part of the first 10,000 rows or more is bad, the rest is not read."""


@dataclass
class Staging:
    """The staged rows, what was refused of them, and how many of each role were read."""

    db: sqlite3.Connection
    quarantine: Quarantine
    longest: int
    """Characters that a text may have."""
    mask: Callable[[str], str] | None = None
    """Gives a text without the personal data in it."""
    most_bad: float = 1.0
    """The part of a role's rows that may be bad."""
    rows: Counter[Role] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    """What was found in the rows and could be wrong, a sentence each."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are neither used nor bad, by what they are."""
    unjudged: int = 0
    """Rows of judgments with an empty grade: pairs that wait for a judgment."""
    rated_again: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Of pairs that were judged again: the grade that is kept and the further one, the lower first."""
    phone_ids: frozenset[Role] = frozenset()
    """Whose ids are phone numbers: those of digits are hashed, too."""
    hashed: int = 0
    """How many phone numbers were hashed, wherever they are named."""

    def load(self, part: FilePart, records: Iterable[Record | BadRow]) -> None:
        """Stage the rows of one part; bad ones go to the quarantine."""
        logged = time.monotonic()
        for record in records:
            self.rows[part.role] += 1
            self._stage_record(part, record)
            if self.rows[part.role] % 10_000 == 0:
                if self.mostly_bad(part.role):
                    return
                if time.monotonic() - logged >= EVERY_S:
                    logged = time.monotonic()
                    log().info("progress", noun=part.role, file=part.file.name, done=self.rows[part.role])

    def mostly_bad(self, role: Role) -> bool:
        """Whether so many rows of a role are bad that the rest is not read."""
        return self.most_bad < 1 and self.quarantine.of(role) > max(MOSTLY_BAD, self.most_bad) * max(self.rows[role], 10_000)

    def count(self, table: str) -> int:
        """Rows in a table."""
        return int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # our own names

    def _stage_record(self, part: FilePart, record: Record | BadRow) -> None:
        if isinstance(record, BadRow) and record.reason == HEADER_AGAIN:
            self.left_out["header lines within a file"] += 1
            self.rows[part.role] -= 1
            return
        if isinstance(record, BadRow):
            self._quarantine(part, record)
            return
        try:
            self._insert(part, record, role_row(part, restored(record), self.longest))
        except InvalidRow as error:
            if part.role == "documents" and str(error) == "empty text" and self._is_variant(part, record):
                self.left_out["rows of variants without a text of their own"] += 1
            else:
                self._quarantine(part, bad_row_of(record, str(error)))
        except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, or a number of more than 64 bits
            self._quarantine(part, bad_row_of(record, "invalid Unicode or number"))

    def _quarantine(self, part: FilePart, bad: BadRow) -> None:
        """Quarantine a row, masked as the corpus is."""
        if self.mask and bad.given:
            given = PHONE_DIGITS.sub("<PHONE_NUMBER>", bad.given) if self.phone_ids else bad.given
            bad = replace(bad, given=self.mask(given[: 2 * CUT]))
        self.quarantine.add(part.role, bad)

    def _insert(self, part: FilePart, record: Record, row: Row) -> None:
        if part.split and part.role in SPLITS and not row[SPLITS[part.role]]:
            row = (*row[: SPLITS[part.role]], part.split, *row[SPLITS[part.role] + 1 :])
        if self.mask:
            row = tuple(self._masked(part.role, place, value) for place, value in enumerate(row))
        if "query_text" in part.columns and part.role == "qrels":
            text = record.fields.get(part.columns["query_text"][0])
            self.db.execute("INSERT OR IGNORE INTO judged_texts VALUES (?, ?)", (row[0], text))
        if part.role in KEYED:
            if not self.db.execute(INSERTS[part.role], row).rowcount:
                self._check_repeated(part, row)
        elif part.role == "qrels" and row[2] == "":
            self.unjudged += 1
        else:
            self.db.execute(INSERTS[part.role], (*row, record.file, record.line))

    def _is_variant(self, part: FilePart, record: Record) -> bool:
        """Whether a row without text belongs to the row above, or repeats the id of a document."""
        if part.variants:
            return True
        ids = [str(record.fields.get(column)).strip() for column in part.columns.get("id", ())[:1]]
        return bool(ids) and self.db.execute("SELECT 1 FROM documents WHERE id = ?", ids).fetchone() is not None

    def _masked(self, role: Role, place: int, value: Any) -> Any:
        """A value of a row without personal data; an id of digits is taken for a number unless these are phone numbers."""
        if not self.mask or not isinstance(value, str) or not value:
            return value
        if place < len(SUBJECTS[role]):
            if value.isdecimal() and SUBJECTS[role][place][1] in self.phone_ids:
                self.hashed += 1
                return id_from_text("p-", value)
            return value if value.isdigit() or self.mask(value) == value else id_from_text("p-", value)
        return self.mask(value) if place in MASKED.get(role, ()) else value

    def _check_repeated(self, part: FilePart, row: Row) -> None:
        """Let a row pass whose id is there already, where rows repeat and it says the same.

        Raises:
            Unfit: it says something else, or rows don't repeat here.
        """
        if part.columns.get("id") and not part.repeats:
            raise InvalidRow("duplicate id")
        query = f"SELECT {KEYED[part.role]} FROM {part.role} WHERE id = ?"  # noqa: S608  # our own names
        if self.db.execute(query, row[:1]).fetchone()[0] != row[1]:
            raise InvalidRow("id used again with another text")


def bad_row_of(record: Record, reason: str) -> BadRow:
    """A record as the quarantine keeps it."""
    given = json.dumps(record.fields, ensure_ascii=False, default=str)
    return BadRow(record.file, record.line, reason, given)


def open_staging(folder: Path, longest: int, mask: Callable[[str], str] | None = None, most_bad: float = 1.0) -> Staging:
    """An empty staging file in `folder`, and a quarantine beside it."""
    db = sqlite3.connect(folder / "staging.db", isolation_level=None)
    for pragma in PRAGMAS:
        db.execute(f"PRAGMA {pragma}")
    db.executescript(SCHEMA)
    db.execute("BEGIN")
    return Staging(db, Quarantine(folder / "quarantine.csv"), longest, mask, most_bad)
