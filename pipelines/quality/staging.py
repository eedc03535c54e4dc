"""The temporary SQLite file that a check reads: its tables while they are filled, and what each file's lines came to.

It holds the texts, so it is deleted at the end of the step.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.quality.tables import TABLES

BATCH, FIRST = 1000, 5
"""Rows of an INSERT, and invalid lines of a file that are kept with their reason."""
PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE")
Row = tuple[Any, ...]


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
