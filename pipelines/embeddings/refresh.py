"""Incremental refresh: corpus, base embeddings and new shards are merged by document id, as streams.

A vector of the base is kept where id and content (sha256 of the text) are unchanged; the base is by the same encoder variant.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Protocol, TypeVar

from pipelines.corpus.documents import Document, documents
from pipelines.embeddings.layout import each_row
from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import Artifact

BYTES_PER_TOKEN = 4
SPECIAL_TOKENS = 2


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=_Identified)


@dataclass(frozen=True)
class StoredVector:
    """A stored vector: its document and content, the number of its artifact and its row there."""

    id: str
    content: str
    segment: int
    row: int


@dataclass
class Aligned:
    """Everything with one document id: the corpus's document, the base's vectors, new vectors."""

    id: str
    document: Document | None = None
    content: str = ""
    base: list[StoredVector] = field(default_factory=list)
    fresh: list[StoredVector] = field(default_factory=list)

    @property
    def usable(self) -> list[StoredVector]:
        """The vectors of the document's current content; there must be exactly one."""
        return [vector for vector in [*self.base, *self.fresh] if self.document and vector.content == self.content]


def aligned(corpus: Artifact, base: Sequence[Artifact], fresh: Sequence[Artifact] = ()) -> Iterator[Aligned]:
    """Documents and vectors merged by id, ascending. Artifacts are numbered from the first of `base` to the last of `fresh`.

    Args:
        corpus: the documents.
        base: embeddings whose vectors may be kept: none or one.
        fresh: shards with new vectors.

    Raises:
        CorruptArtifact: rows are not sorted by id, or a corpus has an id twice.
    """
    texts = _checked_order(documents(corpus), f"corpus/{corpus.id}/documents.jsonl", unique=True)
    vectors = [_stored_vectors(artifact, number) for number, artifact in enumerate([*base, *fresh])]
    merged: Iterator[Document | StoredVector] = heapq.merge(texts, *vectors, key=attrgetter("id"))
    for document_id, group in groupby(merged, key=attrgetter("id")):
        entry = Aligned(document_id)
        for item in group:
            if isinstance(item, Document):
                entry.document, entry.content = item, item.content
            else:
                (entry.base if item.segment < len(base) else entry.fresh).append(item)
        yield entry


def _stored_vectors(embedded: Artifact, number: int) -> Iterator[StoredVector]:
    ordered = _checked_order(each_row(embedded), f"{embedded.kind}/{embedded.id}/rows.jsonl")
    return (StoredVector(row.id, row.content, number, position) for position, row in enumerate(ordered))


def _checked_order(rows: Iterable[Row], name: str, unique: bool = False) -> Iterator[Row]:
    """The rows, unchanged; fails at the first whose id does not ascend."""
    before = ""
    for row in rows:
        if row.id < before or (unique and row.id == before):
            raise CorruptArtifact(
                f"{name}: {row.id!r} after {before!r}", "rows in the order of their ids, each once", "ingest the corpus again"
            )
        before = row.id
        yield row


@dataclass
class Change:
    """Documents counted by what a refresh has to do with them, with up to five ids each for messages."""

    added: int = 0
    changed: int = 0
    deleted: int = 0
    kept: int = 0
    tokens: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def to_encode(self) -> int:
        return self.added + self.changed

    @property
    def documents(self) -> int:
        """Documents of the corpus."""
        return self.to_encode + self.kept

    @property
    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("added", "changed", "deleted", "kept", "tokens")}

    def count(self, entry: Aligned) -> bool:
        """Count one id; returns whether its document must be encoded."""
        in_base = any(vector.content == entry.content for vector in entry.base)
        kind = "deleted" if not entry.document else "kept" if in_base else "changed" if entry.base else "added"
        setattr(self, kind, getattr(self, kind) + 1)
        examples = self.examples.setdefault(kind, [])
        if len(examples) < 5:
            examples.append(entry.id)
        return kind in ("added", "changed")


def estimate_tokens(text: str, max_length: int) -> int:
    """About how many tokens an encoder reads of a text: a quarter of its UTF-8 bytes, up to the encoder's `max_length`.

    A thousand times cheaper than to tokenize. A Latin token has about four letters; a Chinese character has three bytes and is
    one token, an emoji four and one. Balancing shards needs it right only on average: a test compares it with a tokenizer.

    >>> estimate_tokens("a small house", 256), estimate_tokens("x" * 5000, 256)
    (5, 256)
    """
    return min(max_length, SPECIAL_TOKENS + len(text.encode()) // BYTES_PER_TOKEN)


class Shards:
    """Assigns documents to shards: each to the one with the fewest tokens so far, so no two differ by more than one text.

    Every process assigns in the order of ids and gets the same shards. With no more shards than documents none is empty.

    >>> shards = Shards(2)
    >>> [shards.take(tokens) for tokens in (5, 3, 1, 2)]
    [0, 1, 1, 1]
    """

    def __init__(self, count: int) -> None:
        self.loads = [(0, number) for number in range(count)]

    def take(self, tokens: int) -> int:
        """The number of the shard of the next document, which has `tokens` tokens."""
        load, number = self.loads[0]
        heapq.heapreplace(self.loads, (load + tokens, number))
        return number


def shard_documents(corpus: Artifact, base: Sequence[Artifact], number: int, count: int, max_length: int) -> Iterator[Document]:
    """The documents to encode that belong to shard `number` of `count`, sorted by id."""
    shards, change = Shards(count), Change()
    for entry in aligned(corpus, base):
        if change.count(entry) and entry.document:
            shard = shards.take(estimate_tokens(entry.document.text, max_length))
            if shard == number:
                yield entry.document
