"""A corpus: documents to rank, queries, and qrels. Its artifact holds `documents.jsonl`, `queries.jsonl`, `qrels.txt`.

One made from interactions holds `interactions.jsonl` and, where users have fields, `users.jsonl` as well. Rows lie in the
order of their ids, so that equal content gives equal files, whatever format and order it came in.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact

Split = Literal["train", "test"]
TEST_TENTHS = 4
Row = TypeVar("Row", bound=BaseModel)
Id = Annotated[str, Field(pattern=r"^[^\s\p{Z}\p{Cc}]+$", max_length=512)]
"""Without white space, separators and control characters: tools split TREC files at some or all of them."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(_Row):
    """One document: `text` is what is encoded and searched, `title` what people see."""

    id: Id
    text: str = Field(min_length=1)
    title: str = ""
    segment: str = ""
    picture: str = ""
    """An SVG drawing, shown as an image and never as markup."""

    @property
    def content(self) -> str:
        """sha256 of the text: two documents with equal content need one encoding."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Query(_Row):
    """One query and the part of the split it fell into."""

    id: Id
    text: str = Field(min_length=1)
    split: Split
    history: tuple[Id, ...] = ()
    """The documents that a user had chosen before, oldest first: such a query is asked by their vectors, not by its text."""
    time: int | None = None
    """Of a query with a history: its moment, in seconds since 1970. What happened then or later must not help to answer it."""
    synthetic: bool = False
    """Made from a document by a rule, not asked by anybody."""


class Interaction(_Row):
    """One choice of a user: a rating, a click, a purchase."""

    user: Id
    document: Id
    time: int
    """Seconds since 1970 (UTC)."""
    value: float = 1.0


class User(_Row):
    """What is known of a user: fields by name."""

    id: Id
    fields: dict[str, str]


class Qrel(_Row):
    """One judgment: how relevant a document is to a query; 0 is not at all."""

    query: Id
    document: Id
    grade: int = Field(ge=0)

    def line(self) -> str:
        """The judgment as TREC writes it.

        >>> Qrel(query="q1", document="d7", grade=2).line()
        'q1 0 d7 2'
        """
        return f"{self.query} 0 {self.document} {self.grade}"


def split_of(query_text: str) -> Split:
    """Train or test by the query's text alone, so that no query ever changes sides: 4 of 10 are test.

    >>> split_of("house"), split_of("beach")
    ('train', 'test')
    """
    bucket = int(hashlib.sha256(query_text.encode()).hexdigest()[:8], 16) % 10
    return "test" if bucket >= 10 - TEST_TENTHS else "train"


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write one JSON object a line, without fields that have their default; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def write_qrels(path: Path, judged: Iterable[Qrel]) -> int:
    """Write judgments as TREC does; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for qrel in judged:
            file.write(qrel.line() + "\n")
            count += 1
    return count


def read_rows(path: Path, model: type[Row], name: str) -> Iterator[Row]:
    """The rows of a JSONL file, one at a time.

    Raises:
        CorruptArtifact: a line is not such a row; names file and line.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield model.model_validate_json(line)
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise CorruptArtifact(
                    f"{name} line {number}: {reason}", f"a {model.__name__}", "ingest the corpus again"
                ) from None


def documents(corpus: Artifact) -> Iterator[Document]:
    """The documents of a corpus, in its order."""
    return read_rows(corpus.path("documents.jsonl"), Document, f"corpus/{corpus.id}/documents.jsonl")


def queries(corpus: Artifact, split: Split | None = None) -> list[Query]:
    """The queries of a corpus, all or those of one split."""
    rows = read_rows(corpus.path("queries.jsonl"), Query, f"corpus/{corpus.id}/queries.jsonl")
    return [query for query in rows if split in (None, query.split)]


def interactions(corpus: Artifact) -> Iterator[Interaction]:
    """The interactions of a corpus, in its order: by user, time and document; none where it was not made from any."""
    if "interactions.jsonl" in corpus.manifest.files:
        path = corpus.path("interactions.jsonl")
        yield from read_rows(path, Interaction, f"corpus/{corpus.id}/interactions.jsonl")


def qrels(corpus: Artifact) -> dict[str, dict[str, int]]:
    """The judgments of a corpus: query id to document id to grade."""
    found: dict[str, dict[str, int]] = {}
    with corpus.path("qrels.txt").open(encoding="utf-8") as file:
        for line in file:
            query, _, document, grade = line.split(" ")
            found.setdefault(query, {})[document] = int(grade)
    return found


def query_id(text: str) -> str:
    """A query's id from its text, for collections that give none.

    >>> query_id("beach")
    'q-ab36e8434472'
    """
    return "q-" + hashlib.sha256(text.encode()).hexdigest()[:12]
