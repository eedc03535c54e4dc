"""The quarantine: every row that can't be used, with file, line and reason, in a CSV that people open in a spreadsheet."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.collections.csv_safe import escaped
from pipelines.collections.record import BadRow, Role

SYSTEMATIC = 0.1
"""Where more than this part of the rows is bad, there is one reason for it: tolerating them is no advice."""
FIRST = 5
"""Bad rows of each role that messages show."""
CUT = 200

ADVICE = (
    ("history that is no JSON", 'write a history as a JSON list, ["p1", "p2"], or as ids with blanks between them'),
    (
        "JSON|not an object",
        'write an object a line with nothing between them, as {"id": "p1", "text": "…"}, or one list of objects',
    ),
    (
        " cells for |quote",
        "write as many cells as the header has; one with a delimiter or quote between double quotes, quotes in it doubled",
    ),
    (" is a float", "write ids as texts or whole numbers: 7, not 7.0 (in pandas, astype('Int64') before you write)"),
    ("(text|title) too long", "shorten them, or raise --max-text"),
    ("a NUL character", r"write the texts without NUL characters, which are \u0000 in JSON"),
    ("^time that is no time$", "write ISO times, as 2020-12-31T23:59:59, or seconds since 1970"),
    ("^empty text$", "correct them, or leave them out with --max-bad-fraction if they are empty on purpose"),
)
"""What to do by a pattern of the reasons, the first that matches."""


def remedy(rows: Sequence[BadRow], share: float = 1.0) -> str:
    """What to do about bad rows, by their reasons; to tolerate them only where no reason is one of the whole file.

    Args:
        rows: some of the bad rows.
        share: the part of all rows that is bad.

    >>> remedy([BadRow("p.csv", 7, "invalid UTF-8", "caf\\\\xe9")], 0.05)
    'save it as UTF-8 (it reads as Windows-1252): in Excel as CSV UTF-8, or iconv -f cp1252 -t utf-8'
    >>> remedy([BadRow("p.csv", 7, "duplicate id")], 0.05)
    'correct them, or pass --max-bad-fraction'
    """
    reasons = " ".join({row.reason for row in rows})
    if "invalid UTF-8" in reasons:
        runs = any(re.search(r"(\\x[89a-f][0-9a-f]){3}", row.given) for row in rows)  # words in which no letter is ASCII
        reads, code = ("perhaps Windows-1251, GBK or Shift-JIS", "cp1251") if runs else ("it reads as Windows-1252", "cp1252")
        return f"save it as UTF-8 ({reads}): in Excel as CSV UTF-8, or iconv -f {code} -t utf-8"
    advice = next((advice for pattern, advice in ADVICE if re.search(pattern, reasons)), None)
    if advice:
        return advice
    if share <= SYSTEMATIC:
        return "correct them, or pass --max-bad-fraction"
    return "correct them: so many are no accident, and what they should be is perhaps in another column or file"


@dataclass
class Quarantine:
    """Bad rows, written as they come; in memory only their counts, the first few, and one for each reason."""

    path: Path
    counts: Counter[tuple[Role, str]] = field(default_factory=Counter)
    """By role and reason."""
    first: dict[Role, list[BadRow]] = field(default_factory=dict)
    by_reason: dict[tuple[Role, str], BadRow] = field(default_factory=dict)

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
        self.by_reason.setdefault((role, bad.reason), bad)
        self._writer.writerow((role, escaped(bad.file), bad.line, escaped(bad.reason), escaped(bad.given[:CUT])))

    def of(self, role: Role) -> int:
        """How many rows of a role are bad."""
        return sum(count for (of, _), count in self.counts.items() if of == role)

    def remedy(self, role: Role, read: int) -> str:
        """What to do about a role's bad rows, of so many that were read: by the first ones and the most common reason."""
        most_common = max((key for key in self.counts if key[0] == role), key=self.counts.__getitem__)
        return remedy([*self.first[role], self.by_reason[most_common]], self.of(role) / read)

    @property
    def total(self) -> int:
        """How many rows are bad."""
        return self.counts.total()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
