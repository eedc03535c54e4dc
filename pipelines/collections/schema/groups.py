"""Groups of tables: shards, splits, and files that repeat rows of others."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.collections.schema.column_features import ColumnFeatures, Kind, file_name_says
from pipelines.collections.schema.column_names import split_of_path
from pipelines.collections.schema.columns import SampleColumn, SampleTable, cell_text
from pipelines.collections.schema.terminal import clean

FileSplit = Literal["", "train", "dev", "test"]
FOLDS = re.compile(r"(^|/)u[1-5ab]\.(base|test)$", re.IGNORECASE)
"""Files that divide the rows of `u.data` beside them, five times and more."""
ALIKE = 0.8
BLANK_ROWS = 1 / 3
"""Where this part of the rows has no words at all, they belong to the rows above them, as in merged cells."""
QUERY_SCORE = 2.0


@dataclass
class TableGroup:
    """Files of one kind with the same columns."""

    kind: Kind
    table: SampleTable
    forced: bool = False
    """Whether the user says of which kind it is."""

    @property
    def features(self) -> ColumnFeatures:
        return ColumnFeatures(self.table)

    @property
    def names(self) -> str:
        names = [clean(file.name, 80) for file in self.table.files]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def merge_groups(groups: Iterable[TableGroup]) -> list[TableGroup]:
    """Groups of the same kind and much the same columns become one."""
    merged: list[TableGroup] = []
    for group in groups:
        place = next((place for place, other in enumerate(merged) if _same_columns(other, group)), None)
        if place is None:
            merged.append(group)
        else:
            same = merged[place].table
            table = SampleTable((*same.files, *group.table.files), [*same.records, *group.table.records])
            merged[place] = TableGroup(group.kind, table, group.forced)
    return merged


def _same_columns(group: TableGroup, other: TableGroup) -> bool:
    here, there = group.table.main, other.table.main
    equal = len(group.table.columns) > 1 and list(group.table.columns) == list(other.table.columns)
    close = equal or len(here & there) >= ALIKE * len(here | there)
    graded = group.kind != "qrels" or bool(group.features.grades) == bool(other.features.grades)
    return close and bool(here) and graded and (group.kind, group.forced) == (other.kind, other.forced)


def heads_of_variants(table: SampleTable) -> tuple[str, SampleTable]:
    """The id that rows of variants repeat, and the table without them: only the first row of an id has words, as in Shopify's.

    The id is empty where none repeats so; the table may lack rows of variants all the same, with an id of their own or none.
    """
    for key in [column.name for column in table.columns.values() if column.meaning.attribute == "id" and column.unique < 0.98]:
        ids = [cell_text(record.fields.get(key)) for record in table.records]
        first = [place for place, id_ in enumerate(ids) if place == 0 or id_ != ids[place - 1]]
        heads = SampleTable(table.files, [table.records[place] for place in first])
        rest = SampleTable(table.files, [record for place, record in enumerate(table.records) if place not in first])
        words = [name for name, column in heads.columns.items() if column.wordy and column.words > 1.2 and column.filled > 0.9]
        if len(set(ids)) == len(first) and words and not any(rest.columns[name].texts for name in words):
            return key, heads
    return "", _without_blank_rows(table)


def _without_blank_rows(table: SampleTable) -> SampleTable:
    """The table without the rows that lack all words, where these are many and every other row has all of them."""
    words = [name for name, column in table.columns.items() if column.wordy and column.words > 1.2]
    filled = [sum(bool(cell_text(record.fields.get(name))) for name in words) for record in table.records]
    blank = filled.count(0) / max(1, len(filled))
    if len(words) < 2 or blank < BLANK_ROWS or filled[0] == 0 or set(filled) != {0, len(words)}:
        return table
    return SampleTable(table.files, [record for record, count in zip(table.records, filled, strict=True) if count])


def overlap(ids: frozenset[str], column: SampleColumn | None) -> float:
    """The part of the ids that the column has; of two samples of large files it is small, and says much if it is not 0."""
    if column is None or not ids:
        return 0.0
    here = frozenset(column.different)
    return len(ids & here) / min(len(ids), len(here)) if here else 0.0


def query_score(table: SampleTable, query_ids: frozenset[str], document_ids: frozenset[str]) -> float:
    """A score for a table of texts: above 0 it looks like queries, below 0 like documents.

    Args:
        table: with ids and texts.
        query_ids: ids of queries in the judgments.
        document_ids: ids of documents in the judgments.
    """
    features = ColumnFeatures(table)
    called = 3.0 * file_name_says(table, "queries") or -3.0 * file_name_says(table, "documents")
    columns = [column for column in features.columns if column.code]
    by_ids = max((_by_ids(column, query_ids, document_ids) for column in columns), key=abs, default=0.0)
    texts = [column for column in features.columns if column.wordy and column.words >= 1.2]
    longest = max((column.words for column in texts), default=0)
    asks = {"query": 2.0, "question": 0.5}.get(features.query_subject, 0.0)
    return called + by_ids + asks + (longest <= 10 and len(texts) == 1) - (longest > 20) - (len(texts) > 2)


def _by_ids(column: SampleColumn, query_ids: frozenset[str], document_ids: frozenset[str]) -> float:
    weight = 1 if column.numbers > 0.9 else 3  # small numbers are everywhere
    return weight * (overlap(query_ids, column) - overlap(document_ids, column))


def without_duplicate_files(group: TableGroup) -> tuple[TableGroup, list[str]]:
    """The group without files whose rows another one has as well, and a sentence for each of them."""
    kept: list[SampleTable] = []
    kept_rows: list[tuple[str, frozenset[tuple[tuple[str, str], ...]]]] = []
    notes: list[str] = []
    whole = any(file.name.lower().endswith("u.data") for file in group.table.files)
    for table in _tables_by_file(group.table):
        rows = _distinct_rows(table)
        twin = next((name for name, others in kept_rows if len(rows & others) >= 0.9 * min(len(rows), len(others)) > 0), "")
        if twin or (whole and FOLDS.search(table.name)):
            notes.append(f"{clean(table.name, 80)} is left aside: it repeats rows of {clean(twin, 80) or 'u.data'}.")
        else:
            kept.append(table)
            kept_rows.append((table.name, rows))
    files = tuple(file for table in kept for file in table.files)
    records = [record for table in kept for record in table.records]
    return TableGroup(group.kind, SampleTable(files, records), group.forced), notes


def _tables_by_file(table: SampleTable) -> list[SampleTable]:
    return [SampleTable((file,), [record for record in table.records if record.file == file.name]) for file in table.files]


def _distinct_rows(table: SampleTable) -> frozenset[tuple[tuple[str, str], ...]]:
    rows = (sorted(record.fields.items(), key=lambda item: item[0]) for record in table.records)
    return frozenset(tuple((name, cell_text(value)) for name, value in row) for row in rows)


def file_splits(names: Iterable[str]) -> tuple[dict[str, FileSplit], str]:
    """The side of the split that each file's queries are on, and a sentence where a file's name says something else.

    >>> file_splits(["qrels/train.tsv", "qrels/dev.tsv", "qrels/test.tsv"])[0]["qrels/dev.tsv"]
    'dev'
    """
    named = {name: split_of_path(name) for name in names}
    there = {side for side in named.values() if side}
    if there and "test" not in there and len(there) == 1:
        side = there.pop()
        note = f"Only the side {side} is there: queries are divided into train and test by their text."
        return dict.fromkeys(named, ""), note
    held_out = "test" if "test" in there else "dev"
    sides: dict[str, FileSplit] = {"": "", "train": "train", "dev": "dev", "test": "test", held_out: "test"}
    splits = {name: sides[side] for name, side in named.items()}
    devs = clean(", ".join(name for name, side in named.items() if side == "dev"))
    used = "used as test, because there is no other" if held_out == "dev" else "the train queries by which stages are chosen"
    return splits, f"{devs}: the side dev is {used}." if devs else ""
