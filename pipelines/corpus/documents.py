"""The rows of a corpus and its files: `documents.jsonl`, `queries.jsonl` and, in TREC's format, `qrels.txt`.

A corpus made from interactions also has `interactions.jsonl` and, where users have fields, `users.jsonl`; one of which pairs
were judged more than once has `ratings.json`. Rows are sorted by id, so that equal content gives equal files, whatever the
format and order of the source.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest

Split = Literal["train", "test"]
RATINGS = "ratings.json"
"""Of a corpus with pairs that were judged more than once: how often which two grades."""
TEST_TENTHS = 4
DEV_PART = 5
"""One train query of so many is a dev query."""
HISTORY_TITLES, TITLE = 5, 80
"""How many of the last documents of a history name its query, and by how many characters each."""
Row = TypeVar("Row", bound=BaseModel)
Id = Annotated[str, Field(pattern=r"^[^\s\p{Z}\p{Cc}]+$", max_length=512)]
"""Without white space, separators and control characters, because tools split TREC files at some or all of them."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(_Row):
    """One document: `text` is encoded and searched, `title` is shown."""

    id: Id
    text: str = Field(min_length=1)
    title: str = ""
    segment: str = ""
    picture: str = ""
    """An SVG drawing, shown as an image and never as markup."""
    facets: dict[str, str] = {}
    """More fields by name, such as supplier and price: queries are divided into segments by them."""

    @property
    def content(self) -> str:
        """sha256 of the text: two documents with equal content need one encoding."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Query(_Row):
    """One query and its split."""

    id: Id
    text: str = Field(min_length=1)
    split: Split
    history: tuple[Id, ...] = ()
    """Documents that the user had chosen before, oldest first. Such a query is answered by their vectors, not by its text."""
    time: int | None = None
    """Only with a history: when the query was asked, in seconds since 1970. Nothing later may be used to answer it."""
    dev: bool = False
    """Only of a train query: from a file that is named dev, so that dev queries are those of the file (`dev_queries`)."""
    synthetic: bool = False
    """Generated from a document by a rule, not asked by a user."""


class Interaction(_Row):
    """One interaction of a user with a document: a rating, a click, a purchase."""

    user: Id
    document: Id
    time: int
    """Seconds since 1970 (UTC)."""
    value: float = 1.0


class User(_Row):
    """A user with fields by name."""

    id: Id
    fields: dict[str, str]


class Qrel(_Row):
    """One judgment: the grade of a document for a query; 0 is not relevant."""

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
    """The split, by the hash of the query's text alone, so that a query never changes its split: 4 of 10 are test.

    >>> split_of("house"), split_of("beach")
    ('train', 'test')
    """
    bucket = int(hashlib.sha256(query_text.encode()).hexdigest()[:8], 16) % 10
    return "test" if bucket >= 10 - TEST_TENTHS else "train"


def dev_queries(train: Sequence[Query]) -> list[Query]:
    """Those train queries by which stages and weights are chosen: the ones of a dev file, else one of five by a second hash.

    The hash is of the text, after a word that makes it independent of `split_of`, and is stored nowhere.

    >>> texts = ["house", "tree", "car", "boat", "dog", "cat", "lamp"]
    >>> [query.text for query in dev_queries([Query(id=text, text=text, split="train") for text in texts])]
    ['tree', 'dog', 'cat']
    """
    marked = [query for query in train if query.dev]
    return marked or [query for query in train if int(digest(f"dev {query.text}".encode())[:8], 16) % DEV_PART == 0]


def write_rows(path: Path, rows: Iterable[BaseModel]) -> int:
    """Write one JSON object per line, without fields that have their default; returns the number of rows."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def write_qrels(path: Path, judged: Iterable[Qrel]) -> int:
    """Write judgments in TREC's format; returns their number."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for qrel in judged:
            file.write(qrel.line() + "\n")
            count += 1
    return count


def read_rows(path: Path, model: type[Row], name: str) -> Iterator[Row]:
    """The rows of a JSONL file, one at a time. `name` stands for the file in error messages.

    Raises:
        CorruptArtifact: a line is not a row of this model; the message names file and line.
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
    """The documents of a corpus, sorted by id."""
    return read_rows(corpus.path("documents.jsonl"), Document, f"corpus/{corpus.id}/documents.jsonl")


def queries(corpus: Artifact, split: Split | None = None) -> list[Query]:
    """The queries of a corpus, or those of one split, sorted by id."""
    rows = read_rows(corpus.path("queries.jsonl"), Query, f"corpus/{corpus.id}/queries.jsonl")
    return [query for query in rows if split in (None, query.split)]


def interactions(corpus: Artifact) -> Iterator[Interaction]:
    """The interactions of a corpus, sorted by user, time and document; none where the corpus has none."""
    if "interactions.jsonl" in corpus.manifest.files:
        path = corpus.path("interactions.jsonl")
        yield from read_rows(path, Interaction, f"corpus/{corpus.id}/interactions.jsonl")


def qrels(corpus: Artifact) -> dict[str, dict[str, int]]:
    """The judgments of a corpus: grade by query id and document id."""
    judgments: dict[str, dict[str, int]] = {}
    with corpus.path("qrels.txt").open(encoding="utf-8") as file:
        for line in file:
            query, _, document, grade = line.split(" ")
            judgments.setdefault(query, {})[document] = int(grade)
    return judgments


def ratings(corpus: Artifact) -> dict[tuple[int, int], int]:
    """How often a pair that was judged again got two grades, the lower one first; empty: each pair has one judgment."""
    if RATINGS not in corpus.manifest.files:
        return {}
    return {(lower, higher): count for lower, higher, count in corpus.json(RATINGS)}


def named(title: str, text: str) -> str:
    """What names a document in the text of a query that is a history: its title, or how its text begins."""
    return title.strip()[:TITLE] or text.strip()[:TITLE]


def query_id(text: str) -> str:
    """A query's id from the hash of its text, for collections whose queries have no id.

    >>> query_id("beach")
    'q-ab36e8434472'
    """
    return "q-" + hashlib.sha256(text.encode()).hexdigest()[:12]
