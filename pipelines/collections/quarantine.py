"""The quarantine: every row that can't be used, with file, line and reason, in a CSV that people open in a spreadsheet."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.collections.csv_safe import escaped
from pipelines.collections.record import BadRow, Role

FIRST = 5
"""Bad rows of each role that messages show."""
CUT = 200


def remedy(rows: Sequence[BadRow]) -> str:
    """What to do about bad rows of which there are many, by their reasons."""
    reasons = " ".join({row.reason for row in rows})
    if "invalid UTF-8" in reasons:
        runs = any(re.search(r"(\\x[89a-f][0-9a-f]){3}", row.given) for row in rows)  # words in which no letter is ASCII
        reads, code = ("perhaps Windows-1251, GBK or Shift-JIS", "cp1251") if runs else ("it reads as Windows-1252", "cp1252")
        return f"save it as UTF-8 ({reads}): in Excel as CSV UTF-8, or iconv -f {code} -t utf-8"
    if "JSON" in reasons or "not an object" in reasons:
        return 'write an object a line with nothing between them, as {"id": "p1", "text": "…"}, or one list of objects'
    if " cells for " in reasons or "quote" in reasons:
        return (
            "write as many cells as the header has; one with a delimiter or quote between double quotes, quotes in it doubled"
        )
    if reasons == "time that is no time":
        return "write ISO times, as 2020-12-31T23:59:59, or seconds since 1970"
    if reasons == "empty text":
        return "correct them, or leave them out with --max-bad-fraction if they are empty on purpose"
    return "correct them: so many are no accident, and what they should be is perhaps in another column or file"


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
