"""A collection: source files become staged rows, and staged rows the files of a corpus."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipelines.collections.direction import GradeDirection, few_worst, grade_direction
from pipelines.collections.judgments import (
    agreement_note,
    assign_splits,
    grade_judgments,
    own_document_note,
    untested_note,
)
from pipelines.collections.known_item import known_items
from pipelines.collections.next_item import next_items, split_facts
from pipelines.collections.numbering import shared_note
from pipelines.collections.phone_ids import digit_ids, digit_ids_notes
from pipelines.collections.quarantine import remedy
from pipelines.collections.reading import readers
from pipelines.collections.reading.foreign import DATA_FORMAT
from pipelines.collections.reading.sources import FORMS, SkippedFile, open_source
from pipelines.collections.record import Layout, Role, Sampled
from pipelines.collections.references import check_references
from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.grades import Scale
from pipelines.collections.schema.inspection import taken_for
from pipelines.collections.schema.layout import UNREAD_IS_REFUSED, infer_layout
from pipelines.collections.schema.overrides import Overrides, parse_columns
from pipelines.collections.staging import Staging, open_staging
from pipelines.corpus.documents import RATINGS, Document, Interaction, Qrel, Query, User, query_id, write_qrels, write_rows
from pipelines.errors import InputError
from pipelines.store.recipes import canonical

FEW_ROWS = 20
"""Rows of JSON that may describe the data beside them."""
UNREAD_JUDGMENTS = re.compile(rf"ranked run|no text|as Python prints|{DATA_FORMAT.pattern}")
NESTED = ("history", "fields", "facets")
"""Columns that hold JSON."""


@dataclass(frozen=True)
class IngestOptions:
    """Where a collection lies, what the user says of its columns and grades, and which limits hold.

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
    """A collection while it is ingested: its layout, the staged rows, and what the checks of its judgments gave."""

    options: IngestOptions
    layout: Layout
    staging: Staging
    scale: Scale | None = None
    direction: GradeDirection = field(default_factory=lambda: GradeDirection(0))
    synthetic: int = 0
    """Synthetic queries, made because none were given."""
    problem: InputError | None = None
    """Why it can't become a corpus."""
    masked: dict[str, int] = field(default_factory=dict)
    """Masked personal data, counted by kind."""

    @property
    def notes(self) -> list[str]:
        """What was taken for what, what was left out, and what could be wrong: a sentence each."""
        left_out = [f"{count:,} {what} were left out." for what, count in self.staging.left_out.items()]
        return [*taken_for(self.layout), *self.layout.notes, *left_out, *self.staging.notes]

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each kind in the corpus."""
        tables: dict[str, str] = {"documents": "documents", "queries": "queries", "judgments": "qrels"}
        if self.staging.count("interactions"):
            tables |= {"interactions": "interactions", "users": "users"}
        return {name: self.staging.count(table) for name, table in tables.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the corpus's manifest keeps beside its rows."""
        facts: dict[str, Any] = {
            **self.counts, "layout": self.layout.name, "bad_rows": self.staging.quarantine.total,
            "unjudged": self.staging.unjudged, "synthetic": self.synthetic, "grades": self.scale.shown if self.scale else "",
        }  # fmt: skip
        if self.staging.count("interactions"):
            facts |= split_facts(self.staging.db, self.options.cutoff, self.options.history, self.options.min_value)
        return facts | ({"masked": self.masked} if self.masked else {})


def read_layout(options: IngestOptions, scratch: Path) -> tuple[Layout, list[Sampled]]:
    """Infer the layout of a collection from the first rows of its files; nothing is staged.

    Raises:
        InputError: a file can't be read, or the files can't be recognized.
    """
    samples: list[Sampled] = []
    roles: dict[str, Role] = {}
    skipped: list[str] = []
    all_unread: list[SkippedFile] = []
    sources: list[tuple[str, Role | None]] = [(options.source, None), (options.queries, "queries"), (options.qrels, "qrels")]
    for number, (uri, role) in enumerate(sources):
        if not uri or (role and uri == options.source):  # a table of everything is read once
            continue
        source = open_source(uri, scratch / str(number))
        taken = {sample.file.name for sample in samples}
        named = [replace(file, name=f"{role}/{file.name}") if file.name in taken else file for file in source]
        roles |= {file.name: role for file in named if role}
        sampled, unread = readers.samples(named)
        samples += sampled
        unread = [*source.skipped, *unread]
        if not role:
            _check_data_is_read(sampled, unread)
        skipped += [f"{file.name} is left aside: {file.reason}." for file in unread]
        all_unread += unread
    layout = infer_layout(samples, Overrides(parse_columns(options.column), options.grades, roles))
    layout = replace(layout, notes=(*layout.notes, *skipped))
    if not layout.of("qrels"):
        given = {name for name, role in roles.items() if role == "qrels"}
        _check_judgments_are_read(all_unread, samples, given)
    return layout, samples


def _check_data_is_read(sampled: list[Sampled], skipped: list[SkippedFile]) -> None:
    """Refuse a source whose data is in a format that is not read, and that has little else than JSON which describes it."""
    data = next((file for file in skipped if DATA_FORMAT.search(file.reason)), None)
    few = sum(len(sample.records) for sample in sampled) < FEW_ROWS
    if data and few and all(sample.file.format == "json" for sample in sampled):
        beside = ", ".join(sample.file.name for sample in sampled)
        raise InputError(f"{data.name}, {data.reason}, beside {beside}", FORMS, "export its rows as CSV, JSONL or Parquet")


def _check_judgments_are_read(skipped: list[SkippedFile], samples: list[Sampled], given: set[str]) -> None:
    """Refuse judgments that are not read, where there are no others.

    Args:
        skipped: files of no format that is read.
        samples: the other files; some may have bad rows alone.
        given: those that the user gave as judgments, whatever they are called.
    """
    form = "write it as CSV or TREC qrels"
    unread = [(file.name, file.reason, form) for file in skipped if UNREAD_JUDGMENTS.search(file.reason)]
    for sample in samples:
        if sample.bad and not sample.records:
            reason = f"without a row that can be read: {sample.bad[0].reason}"
            unread.append((sample.file.name, reason, remedy(sample.bad)))
    for name, reason, advice in unread:
        if name in given or set(words_of(name.rpartition("/")[2])) & UNREAD_IS_REFUSED:
            raise InputError(
                f"{name}, which is called as judgments are and is {reason}",
                "a row for each judgment: query, document, grade",
                f"{advice}, or take it out of the source",
            )


def stage(
    options: IngestOptions,
    scratch: Path,
    mask: Callable[[str], str] | None = None,
    is_phone: Callable[[str], bool] | None = None,
) -> Collection:
    """Read all rows of a collection, stage and check them; rows that can't be used go to the quarantine.

    A collection that can't become a corpus has a `problem`, which the caller raises after keeping the quarantine.

    Args:
        options: where it lies, and what the user says of it.
        scratch: a folder for the staging file and what is fetched.
        mask: gives a text without the personal data in it; None: texts stay as they are.
        is_phone: whether a text is a valid phone number; decides which ids of digits are masked; None: none are.

    Raises:
        InputError: a file can't be read, or the files can't be recognized.
    """
    layout, samples = read_layout(options, scratch)
    collection = Collection(options, layout, open_staging(scratch, options.max_text, mask, options.max_bad_fraction))
    if mask and is_phone:
        found = digit_ids(layout, samples, is_phone)
        collection.staging.phone_ids = frozenset(subject for subject, phones in found.items() if phones)
        collection.staging.notes += digit_ids_notes(found)
    for part in layout.parts:
        collection.staging.load(part, readers.read(part.file))
    try:
        _check_and_relate(collection)
    except InputError as problem:
        collection.problem = problem
    collection.staging.quarantine.close()
    return collection


def _check_and_relate(collection: Collection) -> None:
    """The checks and conversions that need all rows."""
    staging, options = collection.staging, collection.options
    check_bad_rows(staging, options.max_bad_fraction)
    if not staging.count("documents"):
        raise InputError(f"{options.source} without documents", "at least one document", "check --source and --column")
    check_references(staging)
    collection.scale = grade_judgments(staging, options.grades or collection.layout.grades)
    check_bad_rows(staging, options.max_bad_fraction)
    assign_splits(staging, options.held_out)
    staging.notes += filter(
        None, (shared_note(staging.db), untested_note(staging.db), own_document_note(staging.db), agreement_note(staging))
    )
    _add_queries(collection)
    collection.direction = grade_direction(staging.db)
    if collection.direction.reversed and options.grades_checked:
        error = _reversed_grades_error(collection)
        if not few_worst(staging.db):
            raise error
        staging.notes.append(f"Look at two judgments of the worst grade, which are few and seem to be mined: {error.given}.")


def check_bad_rows(staging: Staging, most: float) -> None:
    """Refuse a collection with too many bad rows.

    Raises:
        InputError: of some role more than the part `most` of the rows is bad; gives the first five.
    """
    for role, read in staging.rows.items():
        bad = staging.quarantine.of(role)
        if bad > most * read:
            first = "; ".join(f"{row.file} line {row.line}: {row.reason}" for row in staging.quarantine.first[role])
            raise InputError(
                f"{bad:,} of {read:,} rows of {role} that can't be used ({bad / read:.1%}): {first}",
                f"at most {most:.1%}",
                staging.quarantine.remedy(role, read),
            )


def _add_queries(collection: Collection) -> None:
    """Make queries where none were given: next-item queries from interactions, else known-item queries."""
    staging, options = collection.staging, collection.options
    if staging.count("qrels"):
        return
    if staging.count("interactions"):
        staging.db.execute("DELETE FROM queries")  # unjudged words that could share an id with a user
        for query, judged in next_items(staging.db, options.cutoff, options.history, options.min_value):
            _insert(staging, query, judged)
    elif not staging.count("queries"):
        for text, document in known_items(staging.db, options.known_items):
            query = Query(id=query_id(text), text=text, split="test", synthetic=True)
            _insert(staging, query, [Qrel(query=query.id, document=document, grade=1)])
            collection.synthetic += 1


def _insert(staging: Staging, query: Query, judged: list[Qrel]) -> None:
    history = json.dumps(query.history) if query.history else None
    row = (query.id, query.text, query.split, history, query.time, query.synthetic)
    columns = "id, text, split, history, time, synthetic"
    staging.db.execute(f"INSERT OR IGNORE INTO queries ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
    for qrel in judged:
        staging.db.execute("INSERT INTO qrels VALUES (?, ?, ?)", (qrel.query, qrel.document, qrel.grade))


def _reversed_grades_error(collection: Collection) -> InputError:
    direction, scale = collection.direction, collection.scale
    assert direction.tau is not None
    assert scale is not None
    return InputError(
        f"grades {scale.shown}, of which BM25 ranks the worse ones better (Kendall's tau {direction.tau:+.2f}"
        f" [{direction.low:+.2f}, {direction.high:+.2f}] over {direction.queries:,} queries)",
        "grades from worst to best that agree with what the texts say",
        f"look at two; pass --grades {scale.turned}, or --grades-checked false if better documents share fewer words",
    )


def write_corpus(staging: Staging, folder: Path) -> None:
    """Write the corpus's files, rows in the order of their ids.

    Equal rows give equal files, whatever format and order they came in.
    """
    for name, rows in _corpus_rows(staging).items():
        write_rows(folder / name, rows)
    judged = staging.db.execute("SELECT query, document, grade FROM qrels ORDER BY query, document")
    write_qrels(folder / "qrels.txt", (Qrel(query=query, document=document, grade=grade) for query, document, grade in judged))
    if staging.rated_again:
        ratings = [[*grades, count] for grades, count in sorted(staging.rated_again.items())]
        (folder / RATINGS).write_bytes(canonical(ratings))


def _corpus_rows(staging: Staging) -> dict[str, Iterator[BaseModel]]:
    ordered: dict[str, Iterator[BaseModel]] = {
        "documents.jsonl": _table_rows(staging, Document, "id, text, title, segment, picture, facets", "documents", "id"),
        "queries.jsonl": _table_rows(staging, Query, "id, text, split, history, time, synthetic, dev", "queries", "id"),
    }
    if staging.count("interactions"):
        columns = "user, document, time, value"
        ordered["interactions.jsonl"] = _table_rows(
            staging, Interaction, columns, "interactions", "user, time, document, value"
        )
    if staging.count("users"):
        ordered["users.jsonl"] = _table_rows(staging, User, "id, fields", "users", "id")
    return ordered


def _table_rows(staging: Staging, model: type[BaseModel], columns: str, table: str, order: str) -> Iterator[BaseModel]:
    names = columns.split(", ")
    for row in staging.db.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):  # noqa: S608  # our own names
        values = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        yield model(**{name: json.loads(value) if name in NESTED else value for name, value in values.items()})
