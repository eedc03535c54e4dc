"""Tables of one kind together: shards, sides of a split, and rows that are there twice."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.collections.recognition.column_features import ColumnFeatures, Kind, named
from pipelines.collections.recognition.column_names import side_of
from pipelines.collections.recognition.columns import Column, Table, text_of
from pipelines.collections.recognition.terminal import clean

FOLDS = re.compile(r"(^|/)u[1-5ab]\.(base|test)$", re.IGNORECASE)
"""Files that divide the rows of `u.data` beside them, five times and more."""
ALIKE = 0.8
ASKS = 2.0


@dataclass
class Group:
    """Files of one kind with the same columns."""

    kind: Kind
    table: Table
    forced: bool = False
    """Whether the user says of which kind it is."""

    @property
    def clues(self) -> ColumnFeatures:
        return ColumnFeatures(self.table)

    @property
    def names(self) -> str:
        """The files, for messages."""
        names = [clean(file.name, 80) for file in self.table.files]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def grouped(found: Iterable[Group]) -> list[Group]:
    """Groups of the same kind and much the same columns become one."""
    groups: list[Group] = []
    for one in found:
        place = next((place for place, group in enumerate(groups) if _alike(group, one)), None)
        if place is None:
            groups.append(one)
        else:
            same = groups[place].table
            table = Table((*same.files, *one.table.files), [*same.records, *one.table.records])
            groups[place] = Group(one.kind, table, one.forced)
    return groups


def _alike(one: Group, other: Group) -> bool:
    here, there = one.table.main, other.table.main
    close = len(here & there) >= ALIKE * len(here | there)
    graded = one.kind != "qrels" or bool(one.clues.grades) == bool(other.clues.grades)
    return close and bool(here) and graded and (one.kind, one.forced) == (other.kind, other.forced)


def overlap(ids: frozenset[str], column: Column | None) -> float:
    """The part of the ids that the column has; of two samples of large files it is small, and says much if it is not 0."""
    if column is None or not ids:
        return 0.0
    here = frozenset(column.different)
    return len(ids & here) / min(len(ids), len(here)) if here else 0.0


def asking(table: Table, asked: frozenset[str], judged: frozenset[str]) -> float:
    """How much a table of texts seems to hold queries rather than documents; below 0: documents.

    Args:
        table: with ids and texts.
        asked: the ids of queries that judgments name.
        judged: the ids of documents that they name.
    """
    clues = ColumnFeatures(table)
    called = 3.0 * named(table, "queries") or -3.0 * named(table, "documents")
    columns = [column for column in clues.columns if column.code]
    by_ids = max((_by_ids(column, asked, judged) for column in columns), key=abs, default=0.0)
    texts = [column for column in clues.columns if column.wordy and column.words >= 1.2]
    longest = max((column.words for column in texts), default=0)
    asks = {"query": 2.0, "asked": 0.5}.get(clues.asked, 0.0)
    return called + by_ids + asks + (longest <= 10 and len(texts) == 1) - (longest > 20) - (len(texts) > 2)


def _by_ids(column: Column, asked: frozenset[str], judged: frozenset[str]) -> float:
    weight = 1 if column.numbers > 0.9 else 3  # small numbers are everywhere
    return weight * (overlap(asked, column) - overlap(judged, column))


def without_repeated(group: Group) -> tuple[Group, list[str]]:
    """The group without files whose rows another one has as well, and a sentence for each of them."""
    kept: list[Table] = []
    notes: list[str] = []
    whole = any(file.name.lower().endswith("u.data") for file in group.table.files)
    for table in _each(group.table):
        rows = _rows(table)
        twin = next(
            (other.name for other in kept if len(rows & _rows(other)) >= 0.9 * min(len(rows), len(_rows(other))) > 0), ""
        )
        if twin or (whole and FOLDS.search(table.name)):
            notes.append(f"{clean(table.name, 80)} is left aside: it repeats rows of {clean(twin, 80) or 'u.data'}.")
        else:
            kept.append(table)
    files = tuple(file for table in kept for file in table.files)
    return Group(group.kind, Table(files, [record for table in kept for record in table.records]), group.forced), notes


def _each(table: Table) -> list[Table]:
    """The files one by one."""
    return [Table((file,), [record for record in table.records if record.file == file.name]) for file in table.files]


def _rows(table: Table) -> frozenset[tuple[tuple[str, str], ...]]:
    return frozenset(tuple((name, text_of(record.fields[name])) for name in sorted(record.fields)) for record in table.records)


def sides(names: Iterable[str]) -> tuple[dict[str, Literal["", "train", "test"]], str]:
    """The side of the split that each file's queries are on, and a sentence where a file's name says something else.

    >>> sides(["qrels/train.tsv", "qrels/dev.tsv", "qrels/test.tsv"])[0]["qrels/dev.tsv"], sides(["qrels.dev.tsv"])[0]
    ('train', {'qrels.dev.tsv': ''})
    """
    said = {name: side_of(name) for name in names}
    there = {side for side in said.values() if side}
    if there and "test" not in there and len(there) == 1:
        side = there.pop()
        return dict.fromkeys(said, ""), f"Only the side {side} is there: queries are divided into train and test by their text."
    held_out = "test" if "test" in there else "dev"
    found: dict[str, Literal["", "train", "test"]] = {
        name: "" if not side else "test" if side == held_out else "train" for name, side in said.items()
    }
    devs = [name for name, side in said.items() if side == "dev"]
    used = "test, because there is no other" if held_out == "dev" else "train"
    return found, f"{clean(', '.join(devs))}: the side dev is used as {used}." if devs else ""
