"""A collection: source files become staged rows, and staged rows the files of a corpus."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.collections.direction import Direction, direction_of
from pipelines.collections.judgments import settle_judgments, settle_splits
from pipelines.collections.known_item import known_items
from pipelines.collections.next_item import next_items, split_facts
from pipelines.collections.reading import readers
from pipelines.collections.reading.sources import open_source
from pipelines.collections.recognition.grades import Scale
from pipelines.collections.recognition.layout import recognize
from pipelines.collections.recognition.overrides import Overrides, parse_columns
from pipelines.collections.record import Layout, Role, Sampled
from pipelines.collections.references import check_references
from pipelines.collections.staging import Staging, open_staging
from pipelines.corpus.documents import Document, Interaction, Qrel, Query, User, query_id, write_qrels, write_rows
from pipelines.errors import InputError

NESTED = ("history", "fields")
"""Columns that hold JSON."""


@dataclass(frozen=True)
class IngestOptions:
    """What is asked of a collection: where it lies, what is known of it, and what is tolerated.

    The step `ingest` declares what each option means, its bounds and its default.
    """

    source: str
    queries: str
    qrels: str
    column: tuple[str, ...]
    grades: str
    max_bad_fraction: float
    max_text: int
    known_items: int
    held_out: bool
    grades_checked: bool
    cutoff: float
    history: int
    min_value: float | None


@dataclass
class Collection:
    """A collection on its way: how it lies, what was staged, and what was found out about its judgments."""

    wanted: IngestOptions
    layout: Layout
    staging: Staging
    scale: Scale | None = None
    direction: Direction = field(default_factory=lambda: Direction(0))
    synthetic: int = 0
    """Queries that were made here, because nobody gave any."""
    problem: InputError | None = None
    """Why it can't become a corpus."""
    masked: dict[str, int] = field(default_factory=dict)
    """Personal data that was masked: how much of each kind."""

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind the corpus has."""
        tables: dict[str, str] = {"documents": "documents", "queries": "queries", "judgments": "qrels"}
        if self.staging.count("interactions"):
            tables |= {"interactions": "interactions", "users": "users"}
        return {name: self.staging.count(table) for name, table in tables.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the corpus's manifest keeps beside its rows."""
        found: dict[str, Any] = {
            **self.counts, "layout": self.layout.name, "bad_rows": self.staging.quarantine.total,
            "unjudged": self.staging.unjudged, "synthetic": self.synthetic, "grades": self.scale.shown if self.scale else "",
        }  # fmt: skip
        if self.staging.count("interactions"):
            found |= split_facts(self.staging.db, self.wanted.cutoff, self.wanted.history, self.wanted.min_value)
        return found | ({"masked": self.masked} if self.masked else {})


def look(wanted: IngestOptions, scratch: Path) -> tuple[Layout, list[Sampled]]:
    """How the collection's files lie, by their first rows; nothing is staged.

    Raises:
        InputError: a file can't be read, or the files can't be recognized.
    """
    samples: list[Sampled] = []
    roles: dict[str, Role] = {}
    aside: list[str] = []
    sources: list[tuple[str, Role | None]] = [(wanted.source, None), (wanted.queries, "queries"), (wanted.qrels, "qrels")]
    for number, (uri, role) in enumerate(sources):
        if not uri or (role and uri == wanted.source):  # a table of everything is read once
            continue
        source = open_source(uri, scratch / str(number))
        taken = {sample.file.name for sample in samples}
        named = [replace(one, name=f"{role}/{one.name}") if one.name in taken else one for one in source]
        roles |= {one.name: role for one in named if role}
        found, unread = readers.samples(named)
        samples += found
        aside += [f"{one.name} is left aside: {one.reason}." for one in (*source.aside, *unread)]
    layout = recognize(samples, Overrides(parse_columns(wanted.column), wanted.grades, roles))
    layout = replace(layout, notes=(*layout.notes, *aside))
    return layout, samples


def stage(wanted: IngestOptions, scratch: Path, mask: Callable[[str], str] | None = None) -> Collection:
    """Read a collection to its end: rows are staged, checked and related; what can't be used is in the quarantine.

    A collection that can't become a corpus has a `problem`, which the caller raises after keeping the quarantine.

    Args:
        wanted: where it lies, and what is known of it.
        scratch: a folder for the staging file and what is fetched.
        mask: gives a text without the personal data in it; None: texts stay as they are.

    Raises:
        InputError: a file can't be read, or the files can't be recognized.
    """
    layout, _ = look(wanted, scratch)
    collection = Collection(wanted, layout, open_staging(scratch, wanted.max_text, mask, wanted.max_bad_fraction))
    for part in layout.parts:
        collection.staging.load(part, readers.read(part.file))
    try:
        _relate(collection)
    except InputError as problem:
        collection.problem = problem
    collection.staging.quarantine.close()
    return collection


def _relate(collection: Collection) -> None:
    """Everything that can be said once all rows are there."""
    staging, wanted = collection.staging, collection.wanted
    check_bad_rows(staging, wanted.max_bad_fraction)
    if not staging.count("documents"):
        raise InputError(f"{wanted.source} without documents", "at least one document", "check --source and --column")
    check_references(staging)
    collection.scale = settle_judgments(staging, wanted.grades or collection.layout.grades)
    check_bad_rows(staging, wanted.max_bad_fraction)
    settle_splits(staging, wanted.held_out)
    _ask(collection)
    collection.direction = direction_of(staging.db)
    if collection.direction.reversed and wanted.grades_checked:
        raise _reversed(collection)


def check_bad_rows(staging: Staging, most: float) -> None:
    """Refuse a collection of which too much is bad.

    Raises:
        InputError: of some role more than the part `most` of the rows is bad; gives the first five.
    """
    for role, read in staging.rows.items():
        bad = staging.quarantine.of(role)
        if bad > most * read:
            first = "; ".join(f"{one.file} line {one.line}: {one.reason}" for one in staging.quarantine.first[role])
            raise InputError(
                f"{bad:,} of {read:,} rows of {role} that can't be used ({bad / read:.1%}): {first}",
                f"at most {most:.1%}",
                "correct them, or pass --max-bad-fraction",
            )


def _ask(collection: Collection) -> None:
    """Add the queries that nobody gave: next items where there are interactions, else known items."""
    staging, wanted = collection.staging, collection.wanted
    if staging.count("qrels"):
        return
    if staging.count("interactions"):
        staging.db.execute("DELETE FROM queries")  # unjudged words that could share an id with a user
        for query, judged in next_items(staging.db, wanted.cutoff, wanted.history, wanted.min_value):
            _insert(staging, query, judged)
    elif not staging.count("queries"):
        for text, document in known_items(staging.db, wanted.known_items):
            query = Query(id=query_id(text), text=text, split="test", synthetic=True)
            _insert(staging, query, [Qrel(query=query.id, document=document, grade=1)])
            collection.synthetic += 1


def _insert(staging: Staging, query: Query, judged: list[Qrel]) -> None:
    history = json.dumps(query.history) if query.history else None
    row = (query.id, query.text, query.split, history, query.time, query.synthetic)
    staging.db.execute("INSERT OR IGNORE INTO queries VALUES (?, ?, ?, ?, ?, ?)", row)
    for one in judged:
        staging.db.execute("INSERT INTO qrels VALUES (?, ?, ?)", (one.query, one.document, one.grade))


def _reversed(collection: Collection) -> InputError:
    found, scale = collection.direction, collection.scale
    assert found.tau is not None
    assert scale is not None
    return InputError(
        f"grades {scale.shown}, of which BM25 ranks the worse ones better (Kendall's tau {found.tau:+.2f}"
        f" [{found.low:+.2f}, {found.high:+.2f}] over {found.queries:,} queries)",
        "grades from worst to best that agree with what the texts say",
        f"pass --grades {scale.turned}, or --grades-checked false if better documents really share fewer words with the query",
    )


def write_corpus(staging: Staging, folder: Path) -> None:
    """Write the corpus's files, rows in the order of their ids.

    Equal rows give equal files, whatever format and order they came in.
    """
    for name, rows in _files(staging).items():
        write_rows(folder / name, rows)
    judged = staging.db.execute("SELECT query, document, grade FROM qrels ORDER BY query, document")
    write_qrels(folder / "qrels.txt", (Qrel(query=query, document=document, grade=grade) for query, document, grade in judged))


def _files(staging: Staging) -> dict[str, Iterator[BaseModel]]:
    ordered: dict[str, Iterator[BaseModel]] = {
        "documents.jsonl": _rows(staging, Document, "id, text, title, segment, picture", "documents", "id"),
        "queries.jsonl": _rows(staging, Query, "id, text, split, history, time, synthetic", "queries", "id"),
    }
    if staging.count("interactions"):
        columns = "user, document, time, value"
        ordered["interactions.jsonl"] = _rows(staging, Interaction, columns, "interactions", "user, time, document, value")
    if staging.count("users"):
        ordered["users.jsonl"] = _rows(staging, User, "id, fields", "users", "id")
    return ordered


def _rows(staging: Staging, model: type[BaseModel], columns: str, table: str, order: str) -> Iterator[BaseModel]:
    names = columns.split(", ")
    for row in staging.db.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):  # noqa: S608  # our own names
        found = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        yield model(**{name: json.loads(value) if name in NESTED else value for name, value in found.items()})
