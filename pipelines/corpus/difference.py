"""The difference of two corpora: rows compared by their keys, in memory that does not grow with the corpora.

Rows are sorted in a scratch SQLite file, so neither their order in a corpus nor repeated rows matter.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.corpus.documents import Document, Interaction, Qrel, Query, User, read_rows
from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import canonical

CHANGES = ("added", "changed", "relabelled", "deleted")
"""How a row may differ. A document is relabelled when its title, segment or picture differ and its text does not."""
KeyedRows = Iterator[tuple[str, str]]
"""Pairs of key and row, the row as canonical JSON without its key."""


@dataclass(frozen=True)
class RowKind:
    """One kind of row: the file of a corpus that holds it, its model, and the fields that form its key."""

    name: str
    file: str
    model: type[BaseModel]
    key: tuple[str, ...]

    def rows(self, corpus: Artifact) -> KeyedRows:
        """The rows of a corpus with their keys, in the order of the file; none where the corpus has no such file."""
        if self.file not in corpus.manifest.files:
            return
        path, name = corpus.path(self.file), f"{corpus.kind}/{corpus.id}/{self.file}"
        for row in _read_qrels(path, name) if self.model is Qrel else read_rows(path, self.model, name):
            values = row.model_dump(exclude_defaults=True)
            yield " ".join(str(values.pop(part)) for part in self.key), canonical(values).decode()


ROW_KINDS = {
    "documents": RowKind("document", "documents.jsonl", Document, ("id",)),
    "queries": RowKind("query", "queries.jsonl", Query, ("id",)),
    "judgments": RowKind("judgment", "qrels.txt", Qrel, ("query", "document")),
    "interactions": RowKind("interaction", "interactions.jsonl", Interaction, ("user", "document", "time")),
    "users": RowKind("user", "users.jsonl", User, ("id",)),
}


@dataclass(frozen=True)
class Difference:
    """One row that differs. `kind` is the name of a RowKind, `change` one of CHANGES, `id` the row's key."""

    kind: str
    change: str
    id: str
    before: dict[str, Any] = field(default_factory=dict)
    """For a changed row the fields that differ, else the whole row without its key; empty for an added row."""
    after: dict[str, Any] = field(default_factory=dict)
    """As `before`; empty for a deleted row."""

    def line(self) -> str:
        """The difference as one line of `diff.jsonl`."""
        return json.dumps(vars(self), ensure_ascii=False) + "\n"


def _read_qrels(path: Path, name: str) -> Iterator[Qrel]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            if len(parts) != 4:
                raise CorruptArtifact(f"{name} line {number}", "query, 0, document, grade", "ingest the corpus again")
            yield Qrel(query=parts[0], document=parts[2], grade=int(parts[3]))


def write_differences(a: Artifact, b: Artifact, folder: Path, scratch: Path) -> dict[str, dict[str, int]]:
    """Write `diff.jsonl`, one line for each row that differs.

    Args:
        a: the corpus before.
        b: the corpus after.
        folder: where `diff.jsonl` goes.
        scratch: a folder for the SQLite files that sort the rows.

    Returns:
        the number of rows by kind of row (a key of ROW_KINDS) and by change (CHANGES, and "equal").
    """
    counts: dict[str, dict[str, int]] = {}
    with (folder / "diff.jsonl").open("w", encoding="utf-8") as file:
        for name, row_kind in ROW_KINDS.items():
            seen: Counter[str] = Counter()
            with closing(_scratch_database(scratch / f"{name}.db")) as db:
                sides = [_sorted_rows(db, side, row_kind.rows(corpus)) for side, corpus in (("a", a), ("b", b))]
                for key, before, after in outer_join(*sides):
                    difference = row_difference(row_kind.name, key, before, after)
                    seen[difference.change if difference else "equal"] += 1
                    file.write(difference.line() if difference else "")
            counts[name] = {change: seen[change] for change in (*CHANGES, "equal")}
    return counts


def _scratch_database(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8192", "temp_store=FILE"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _sorted_rows(db: sqlite3.Connection, side: str, rows: Iterable[tuple[str, str]]) -> KeyedRows:
    """The rows sorted by key, then by content."""
    db.execute(f"CREATE TABLE {side} (key TEXT, row TEXT)")
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO {side} VALUES (?, ?)", rows)  # noqa: S608  # our own names
    db.execute("COMMIT")
    return iter(db.execute(f"SELECT key, row FROM {side} ORDER BY key, row"))  # noqa: S608


def outer_join(a: KeyedRows, b: KeyedRows) -> Iterator[tuple[str, str | None, str | None]]:
    """Full outer join of two sides that are sorted by key: key, row in `a` or None, row in `b` or None.

    >>> list(outer_join(iter([("d1", "x"), ("d2", "y")]), iter([("d2", "z"), ("d3", "w")])))
    [('d1', 'x', None), ('d2', 'y', 'z'), ('d3', None, 'w')]
    """
    left, right = next(a, None), next(b, None)
    while left is not None or right is not None:
        if left is not None and (right is None or left[0] < right[0]):
            yield left[0], left[1], None
            left = next(a, None)
        elif right is not None and (left is None or right[0] < left[0]):
            yield right[0], None, right[1]
            right = next(b, None)
        elif left is not None and right is not None:
            yield left[0], left[1], right[1]
            left, right = next(a, None), next(b, None)


def row_difference(kind: str, key: str, before: str | None, after: str | None) -> Difference | None:
    """The difference of one row, None if there is none.

    >>> row_difference("judgment", "q1 d7", '{"grade":1}', '{"grade":2}')
    Difference(kind='judgment', change='changed', id='q1 d7', before={'grade': 1}, after={'grade': 2})
    """
    if before == after:
        return None
    if before is None or after is None:
        change = "added" if before is None else "deleted"
        return Difference(kind, change, key, json.loads(before or "{}"), json.loads(after or "{}"))
    sides = [json.loads(before), json.loads(after)]
    differing = [name for name in sorted(sides[0] | sides[1]) if sides[0].get(name) != sides[1].get(name)]
    change = "relabelled" if kind == "document" and "text" not in differing else "changed"
    return Difference(kind, change, key, *({name: side.get(name) for name in differing} for side in sides))


def first_of_each(path: Path, most: int, width: int) -> dict[tuple[str, str], list[Difference]]:
    """The first `most` differences of each kind and change, read from `diff.jsonl`, texts cut to about `width` characters."""
    first: dict[tuple[str, str], list[Difference]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            difference = Difference(**json.loads(line))
            rows = first.setdefault((difference.kind, difference.change), [])
            if len(rows) < most:
                rows.append(_with_excerpts(difference, width))
    return first


def _with_excerpts(difference: Difference, width: int) -> Difference:
    before, after = dict(difference.before), dict(difference.after)
    for name in before.keys() | after.keys():
        if name == "picture" or not isinstance(before.get(name, after.get(name)), str):
            continue
        texts = excerpts(before.get(name) or "", after.get(name) or "", width)
        before |= {name: texts[0]} if name in before else {}
        after |= {name: texts[1]} if name in after else {}
    return replace(difference, before=before, after=after)


def excerpts(before: str, after: str, width: int) -> tuple[str, str]:
    """Both texts, cut to `width` characters around their first difference.

    >>> excerpts("a lamp with a red shade", "a lamp with a blue shade", 12)
    ('…ith a red sh…', '…ith a blue s…')
    """
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    begin = max(0, shared - width // 2) if max(len(before), len(after)) > width else 0
    return _window(before, begin, width), _window(after, begin, width)


def _window(text: str, begin: int, width: int) -> str:
    begin = begin if len(text) > begin else 0
    return ("…" if begin else "") + text[begin : begin + width] + ("…" if len(text) > begin + width else "")
