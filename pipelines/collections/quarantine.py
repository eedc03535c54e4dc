"""The quarantine: every row that can't be used, with file, line and reason, in a CSV that people open in a spreadsheet."""

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.collections.csv_safe import escaped
from pipelines.collections.record import BadRow, Role

FIRST = 5
"""Bad rows of each role that messages show."""
CUT = 200


@dataclass
class Quarantine:
    """Bad rows, written as they come; in memory only their counts and the first few."""

    path: Path
    counts: Counter[tuple[Role, str]] = field(default_factory=Counter)
    """By role and reason."""
    first: dict[Role, list[BadRow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("role", "file", "line", "reason", "given"))

    def add(self, role: Role, bad: BadRow) -> None:
        """Put one row aside."""
        self.counts[role, bad.reason] += 1
        shown = self.first.setdefault(role, [])
        if len(shown) < FIRST:
            shown.append(bad)
        self._writer.writerow((role, escaped(bad.file), bad.line, escaped(bad.reason), escaped(bad.given[:CUT])))

    def of(self, role: Role) -> int:
        """How many rows of a role are bad."""
        return sum(count for (of, _), count in self.counts.items() if of == role)

    @property
    def total(self) -> int:
        """How many rows are bad."""
        return self.counts.total()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
