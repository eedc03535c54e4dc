"""A stratified, seeded sample of rows that are streamed twice, in memory of the sample's size.

Each stratum is in the sample by its share of the rows (largest remainders). Which of its rows are taken follows from the hash
of the seed and the row's key alone, so that equal rows give equal samples, in any order.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from zlib import crc32

from pipelines.store.recipes import digest

Row = TypeVar("Row")
LARGEST_STRATA = 1000
"""Strata at most; the rows of all others are one."""
OTHERS = "(others)"


@dataclass(frozen=True)
class Sample(Generic[Row]):
    """Rows in the order of their keys, and how they were drawn."""

    rows: list[Row]
    of: int
    """Rows that there were."""
    strata: int
    """In proportion to which rows were drawn; 0: all rows of some users were."""
    seed: int

    @property
    def sentence(self) -> str:
        """How the rows were drawn, for people."""
        if len(self.rows) == self.of:
            return f"all {self.of:,}"
        of_users = "all rows of some users, by the hash of their names"
        how = f"in proportion to {self.strata:,} strata" if self.strata else of_users
        return f"{len(self.rows):,} of {self.of:,}, {how}, seed {self.seed}"


def stratified(
    stream: Callable[[], Iterable[Row]], key: Callable[[Row], str], stratum: Callable[[Row], str], most: int, seed: int
) -> Sample[Row]:
    """Draw rows.

    Args:
        stream: gives the rows anew, each time it is called.
        key: of a row, the same on every day.
        stratum: of a row.
        most: rows of the sample.
        seed: of the draw.

    >>> drawn = stratified(lambda: [f"a{n}" for n in range(90)] + [f"b{n}" for n in range(10)], str, lambda row: row[0], 10, 0)
    >>> [row[0] for row in drawn.rows].count("b"), drawn.sentence
    (1, '10 of 100, in proportion to 2 strata, seed 0')
    """
    counts: Counter[str] = Counter()
    for row in stream():
        name = stratum(row)
        counts[name if name in counts or len(counts) < LARGEST_STRATA else OTHERS] += 1
    takes = shares(counts, most)
    kept: dict[str, list[tuple[int, str, int]]] = {name: [] for name in counts}
    rows: dict[int, Row] = {}
    for number, row in enumerate(stream()):
        name = stratum(row) if stratum(row) in counts else OTHERS
        heap, drawn = kept[name], -int(digest(f"{seed} {key(row)}".encode())[:15], 16)
        if len(heap) < takes[name]:
            heapq.heappush(heap, (drawn, key(row), number))
            rows[number] = row
        elif heap and (drawn, key(row), number) > heap[0]:
            del rows[heapq.heapreplace(heap, (drawn, key(row), number))[2]]
            rows[number] = row
    ordered = sorted((name, number) for heap in kept.values() for _, name, number in heap)
    return Sample([rows[number] for _, number in ordered], counts.total(), len(counts), seed)


def shares(counts: Counter[str], most: int) -> dict[str, int]:
    """How many rows of each stratum are taken, by largest remainders.

    >>> shares(Counter(a=90, b=10), 9)
    {'a': 8, 'b': 1}
    """
    total = counts.total()
    if total <= most:
        return dict(counts)
    exact = {name: count * most / total for name, count in counts.items()}
    takes = {name: int(share) for name, share in exact.items()}
    left = most - sum(takes.values())
    for name in sorted(exact, key=lambda name: (takes[name] - exact[name], name))[:left]:
        takes[name] += 1
    return takes


def unit_numbers(names: Iterable[str]) -> Iterator[int]:
    """A number for each name, the same on every day; two names of a hundred thousand may share one."""
    return (crc32(name.encode()) for name in names)
