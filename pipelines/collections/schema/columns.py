"""Statistics of the values of a column in the first rows of a file."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.collections.record import Record, SourceFile
from pipelines.collections.schema.column_names import Meaning, meaning

LONGEST = 2000
"""Characters of a value that are looked at."""
NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?%?")
MOMENT = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}([T ].*)?|\d{4}-?W\d{2}(-?\d)?"
    r"|(1\d{9}|[12]\d{12,})(\.\d+)?"
)
PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.\w+|\+?\(?\d{2,4}[-.)][\d.-]{5,}|[A-Z]{2}\d{2}[A-Z\d]{11,30}")
"""E-mail addresses, phone numbers with separators, and IBANs."""
CONTACTS = frozenset(["email", "mail", "phone", "telephone", "tel", "mobile", "fax", "iban", "ssn", "username"])
LINK = re.compile(r"(https?://|www\.|ftp://|/)\S+|\S+\.(jpe?g|png|gif|svg|webp|pdf|html?)", re.IGNORECASE)
MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
UNSPACED = re.compile("[\u0e00-\u0e7f\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts that put no blanks between words: about two signs are a word."""


@dataclass(frozen=True)
class SampleColumn:
    """The values of one column; all shares are of the rows that have one, `filled` is of all rows."""

    name: str
    values: tuple[Any, ...]
    rows: int

    @cached_property
    def meaning(self) -> Meaning:
        return meaning(self.name)

    @cached_property
    def texts(self) -> list[str]:
        """The values as texts without blanks around them; a list's items are joined, a nested object is none."""
        return [text for text in map(cell_text, self.values) if text]

    @cached_property
    def filled(self) -> float:
        return len(self.texts) / self.rows if self.rows else 0.0

    @cached_property
    def different(self) -> list[str]:
        return list(dict.fromkeys(self.texts))

    @cached_property
    def unique(self) -> float:
        return len(self.different) / len(self.texts) if self.texts else 0.0

    @cached_property
    def listed(self) -> bool:
        return any(isinstance(value, (list, tuple, dict)) for value in self.values)

    @cached_property
    def several(self) -> bool:
        """Whether a value is a list of more than one, or an object: a list of one is as good as its item."""
        return any((isinstance(value, (list, tuple)) and len(value) > 1) or _holds_objects(value) for value in self.values)

    @cached_property
    def words(self) -> float:
        return _mean(len(text.split()) + len(UNSPACED.findall(text)) / 2 for text in self.texts)

    @cached_property
    def length(self) -> float:
        return _mean(len(text) for text in self.texts)

    @cached_property
    def letters(self) -> float:
        """The part of the signs, without blanks, that are letters."""
        signs = "".join(self.texts[:50])
        return _mean(char.isalpha() for char in signs if not char.isspace())

    @cached_property
    def spaced(self) -> float:
        return _mean(bool(re.search(r"\s", text)) for text in self.texts)

    @cached_property
    def digits(self) -> float:
        """The part of the values with a digit in them."""
        return _mean(any(char.isdigit() for char in text) for text in self.texts)

    @cached_property
    def numbers(self) -> float:
        return self._matching(NUMBER)

    @cached_property
    def floats(self) -> float:
        """The part of the values that are whole numbers written as floats, `7.0`."""
        return self._matching(re.compile(r"\d+\.0"))

    @cached_property
    def moments(self) -> float:
        return self._matching(MOMENT)

    @cached_property
    def personal(self) -> bool:
        """Whether the values are how a person is reached or known; a column called as ids are has no phone numbers."""
        called = bool(set(self.meaning.words) & CONTACTS)
        return called or (self.meaning.attribute != "id" and self._matching(PERSONAL) > 0.5 and self.moments < 0.5)

    @cached_property
    def links(self) -> float:
        return self._matching(LINK)

    @cached_property
    def markup(self) -> float:
        return _mean(bool(MARKUP.search(text)) for text in self.texts)

    @cached_property
    def objects(self) -> float:
        """The part of the values that are objects, as they are or written as text."""
        return _mean(isinstance(value, dict) or cell_text(value).startswith(("{", "[{")) for value in self.values)

    @property
    def code(self) -> bool:
        """Whether values may be ids: without blanks, and with a digit or the shape of one."""
        return bool(self.texts) and self.spaced <= 0.02 and (self.digits >= 0.8 or self.unique >= 0.98) and not self.listed

    @property
    def wordy(self) -> bool:
        """Whether values are words that people wrote, and not numbers, codes, times, addresses or objects."""
        shapes = max(self.numbers, self.moments, self.links, self.objects)
        return bool(self.texts) and self.letters >= 0.5 and shapes < 0.5 and self.length / max(self.words, 1) <= 30

    @property
    def prose(self) -> bool:
        """Whether values are texts of some words."""
        return self.wordy and self.words >= 3.5

    def _matching(self, pattern: re.Pattern[str]) -> float:
        return _mean(bool(pattern.fullmatch(text)) for text in self.texts)


@dataclass(frozen=True)
class SampleTable:
    """Files of one kind with the rows that were seen of them."""

    files: tuple[SourceFile, ...]
    records: list[Record]

    @cached_property
    def columns(self) -> dict[str, SampleColumn]:
        values: dict[str, list[Any]] = {}
        for record in self.records:
            for name, value in record.fields.items():
                values.setdefault(name, []).append(value)
        return {name: SampleColumn(name, tuple(cells), len(self.records)) for name, cells in values.items()}

    @property
    def name(self) -> str:
        return self.files[0].name

    @cached_property
    def main(self) -> frozenset[str]:
        """The columns that most rows fill: by them files of one kind are known."""
        return frozenset(name for name, column in self.columns.items() if column.filled >= 0.5)

    def follows(self, key: str, column: str) -> float | None:
        """The part of the rows with a repeated `key` whose value in `column` is again the same; None: too few repeat."""
        first: dict[str, str] = {}
        same = []
        for record in self.records:
            id_, value = cell_text(record.fields.get(key)), cell_text(record.fields.get(column))
            if id_ in first:
                same.append(first[id_] == value)
            elif id_:
                first[id_] = value
        return _mean(same) if len(same) >= 5 else None

    def pairs(self, first: str, second: str) -> float:
        """The part of the rows with another pair of values than all rows before."""
        pairs = [(cell_text(record.fields.get(first)), cell_text(record.fields.get(second))) for record in self.records]
        return len(set(pairs)) / len(pairs) if pairs else 0.0


def _holds_objects(value: Any) -> bool:
    return any(isinstance(item, dict) for item in (value if isinstance(value, (list, tuple)) else [value]))


def cell_text(value: Any) -> str:
    """A value as text, clipped.

    >>> cell_text(["red", None, 7]), cell_text({"a": 1}), cell_text(" x "), cell_text(float("nan"))
    ('red 7', '', 'x', '')
    """
    if isinstance(value, str):
        return value[:LONGEST].strip()
    if value is None or isinstance(value, (dict, bytes)) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(cell_text, value[:50])))[:LONGEST]
    return str(value)[:LONGEST].strip()


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
