"""What is measured of each row of a table, and the sketch of a day: sums and counts, by which days are compared.

A sketch has a fixed size however many rows a day has, and those of several days add up. The mean of random Fourier features
(A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007) stands for the distribution of vectors: the
squared distance of two means estimates the maximum mean discrepancy of two days under a Gaussian kernel (A. Gretton et al., "A
kernel two-sample test", JMLR 13, 2012). Words are counted in buckets by their hash.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
FEATURES = 128
"""Random directions; each gives a cosine and a sine."""
BANDWIDTH = 1.0
"""Of the Gaussian kernel on unit vectors: distances of unrelated texts are a little above 1."""
BUCKETS = 1024
"""Buckets in which words are counted."""
MOST_VALUES = 1000
"""Different values of a column beyond which it is an id or a text, and not compared."""
NULL = "(none)"
"""The value of a row that has none."""


@dataclass(frozen=True)
class Column:
    """A column of categories: for each row the place of its value in `values`."""

    codes: Numbers
    values: list[str]

    def counts(self) -> dict[str, int]:
        """Rows by value, without values that no row has."""
        counted = np.bincount(self.codes, minlength=len(self.values))
        return {value: int(count) for value, count in zip(self.values, counts_of(counted), strict=True) if count}

    def take(self, rows: Numbers) -> "Column":
        """The column of some rows."""
        return Column(self.codes[rows], self.values)


def counts_of(counted: Any) -> list[int]:
    """Counts as plain integers."""
    return [int(count) for count in counted]


def column_of(given: Iterable[str | None]) -> Column:
    """A column from its values, in their order.

    >>> column_of(["red", None, "red"]).counts()
    {'(none)': 1, 'red': 2}
    """
    listed = [NULL if value in (None, "") else str(value) for value in given]
    values = sorted(set(listed))
    place = {value: number for number, value in enumerate(values)}
    return Column(np.array([place[value] for value in listed], np.int64), values)


def banded(given: Sequence[str | None]) -> list[str | None]:
    """Numbers as bands of half a doubling, the same on every day; anything else as it is.

    A column is numeric where every value that it has is a finite number and there are more than 20 different ones.

    >>> banded([str(number) for number in range(1, 23)])[:4]
    ['1 to 1.4', '2 to 2.8', '2.8 to 4', '4 to 5.7']
    >>> banded(["1", "red"])
    ['1', 'red']
    """
    numbers = [_number(value) for value in given]
    present = [value for value in given if value not in (None, "")]
    if len(set(present)) <= 20 or any(
        number is None for number, value in zip(numbers, given, strict=True) if value not in (None, "")
    ):
        return list(given)
    return [None if number is None else _band(number) for number in numbers]


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _band(number: float) -> str:
    if number == 0:
        return "0"
    step = math.floor(2 * math.log2(abs(number)) + 1e-9)
    sign = "−" if number < 0 else ""
    return f"{sign}{2 ** (step / 2):.2g} to {sign}{2 ** ((step + 1) / 2):.2g}"


@dataclass(frozen=True)
class Rows:
    """The measured rows of one table. Every array has the rows' order."""

    units: Numbers
    """For each row a number of its user, or of the row itself."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    numbers: Mapping[str, Floats] = field(default_factory=dict)
    """Such as the length or whether it was clicked; NaN: none."""
    features: NDArray[np.float32] | None = None
    """(rows, 2 × FEATURES)"""
    words: Numbers | None = None
    """Buckets of all words, one row's after the other's; `ends`: where each row's words end."""
    ends: Numbers | None = None

    def __len__(self) -> int:
        return len(self.units)

    def take(self, rows: Numbers) -> "Rows":
        """Some rows, perhaps several times."""
        words, ends = self._words(rows)
        return Rows(
            self.units[rows],
            {name: column.take(rows) for name, column in self.columns.items()},
            {name: values[rows] for name, values in self.numbers.items()},
            None if self.features is None else self.features[rows],
            words,
            ends,
        )

    def _words(self, rows: Numbers) -> tuple[Numbers | None, Numbers | None]:
        if self.words is None or self.ends is None:
            return None, None
        starts = np.concatenate([[0], self.ends[:-1]])[rows]
        lengths = self.ends[rows] - starts
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return self.words[np.repeat(starts, lengths) + within], ends


@dataclass(frozen=True)
class Sketch:
    """A day of one table as sums over its rows."""

    rows: int
    features: Floats | None
    """Sum of the random features; none: there are no vectors."""
    words: Floats | None
    """Words in each bucket."""
    columns: dict[str, dict[str, int]]
    """Rows by value, by column."""
    numbers: dict[str, tuple[float, float, float]]
    """Sum, sum of squares and count of the rows that have it, by name."""
    outcomes: dict[str, dict[str, dict[str, tuple[float, float]]]]
    """Sum and count of a number in the rows with a value: by column, number and value."""


def sketch(rows: Rows, outcomes: Sequence[str] = ()) -> Sketch:
    """The sketch of rows.

    Args:
        rows: at least one.
        outcomes: numbers that are summed for each value of each column, too, such as clicks.
    """
    sums = {name: values[np.isfinite(values)] for name, values in rows.numbers.items()}
    return Sketch(
        rows=len(rows),
        features=None if rows.features is None else rows.features.sum(0, dtype=np.float64),
        words=None if rows.words is None else np.bincount(rows.words, minlength=BUCKETS).astype(float),
        columns={name: column.counts() for name, column in rows.columns.items()},
        numbers={name: (float(kept.sum()), float((kept**2).sum()), float(len(kept))) for name, kept in sums.items()},
        outcomes={
            name: {number: _by_value(column, rows.numbers[number]) for number in outcomes if number in rows.numbers}
            for name, column in rows.columns.items()
        },
    )


def _by_value(column: Column, values: Floats) -> dict[str, tuple[float, float]]:
    there = np.isfinite(values)
    counts = np.bincount(column.codes[there], minlength=len(column.values))
    sums = np.bincount(column.codes[there], values[there], minlength=len(column.values))
    return {
        value: (float(total), float(count)) for value, total, count in zip(column.values, sums, counts, strict=True) if count
    }


def random_features(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Random Fourier features of unit vectors, (rows, 2 × FEATURES), float32; the inner product of two rows is the kernel.

    >>> one = np.eye(2, 8, dtype=np.float32)
    >>> [round(float(value), 1) for value in random_features(one)[0] @ random_features(one).T]
    [1.0, 0.4]
    """
    angles = vectors @ _directions(vectors.shape[1])
    return np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], 1) / math.sqrt(FEATURES), np.float32)


@cache
def _directions(dimensions: int) -> NDArray[np.float32]:
    """Directions by the quasi-random rule of orthogonal features: the same for all days, by a fixed seed."""
    drawn = np.random.default_rng(20240131).standard_normal((dimensions, FEATURES))
    return (drawn / BANDWIDTH).astype(np.float32)
