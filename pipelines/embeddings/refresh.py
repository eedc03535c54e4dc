"""A refresh: corpus, last embeddings and fresh shards, read side by side in the order of ids, so that none is held whole.

Compared are id, content and, by the embeddings that are taken as base, encoder variant.
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

BYTES_A_TOKEN = 4
SPECIAL_TOKENS = 2


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=_Identified)


@dataclass(frozen=True)
class StoredVector:
    """A vector that exists: whose it is, of which content, in which segment, at which row."""

    id: str
    content: str
    segment: int
    row: int


@dataclass
class Aligned:
    """Everything that bears one id: the corpus's document, the base's vector, fresh vectors."""

    id: str
    document: Document | None = None
    content: str = ""
    base: list[StoredVector] = field(default_factory=list)
    fresh: list[StoredVector] = field(default_factory=list)

    @property
    def usable(self) -> list[StoredVector]:
        """The vectors of the document as it is now; there must be one."""
        return [one for one in [*self.base, *self.fresh] if self.document and one.content == self.content]


def aligned(corpus: Artifact, base: Sequence[Artifact], fresh: Sequence[Artifact] = ()) -> Iterator[Aligned]:
    """Everything by id, ascending. Segments count on from the first of `base` to the last of `fresh`.

    Raises:
        CorruptArtifact: rows are not in the order of ids, or a corpus has an id twice.
    """
    texts = ascending(documents(corpus), f"corpus/{corpus.id}/documents.jsonl", unique=True)
    vectors = [placed(part, number) for number, part in enumerate([*base, *fresh])]
    together: Iterator[Document | StoredVector] = heapq.merge(texts, *vectors, key=attrgetter("id"))
    for key, group in groupby(together, key=attrgetter("id")):
        found = Aligned(key)
        for one in group:
            if isinstance(one, Document):
                found.document, found.content = one, one.content
            else:
                (found.base if one.segment < len(base) else found.fresh).append(one)
        yield found


def placed(part: Artifact, segment: int) -> Iterator[StoredVector]:
    """The vectors of embeddings or of a shard, each with its row in it."""
    ordered = ascending(each_row(part), f"{part.kind}/{part.id}/rows.jsonl")
    return (StoredVector(one.id, one.content, segment, row) for row, one in enumerate(ordered))


def ascending(rows: Iterable[Row], name: str, unique: bool = False) -> Iterator[Row]:
    """The rows, if their ids ascend."""
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
    """What a corpus asks of its base: how many of each, and five ids of those that a law may have to name."""

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
        """Documents that the corpus has."""
        return self.to_encode + self.kept

    @property
    def counts(self) -> dict[str, int]:
        """The counts by name."""
        return {name: getattr(self, name) for name in ("added", "changed", "deleted", "kept", "tokens")}

    def count(self, one: Aligned) -> bool:
        """Count an id in; True if its document needs a vector that the base does not have."""
        has = any(before.content == one.content for before in one.base)
        kind = "deleted" if not one.document else "kept" if has else "changed" if one.base else "added"
        setattr(self, kind, getattr(self, kind) + 1)
        examples = self.examples.setdefault(kind, [])
        if len(examples) < 5:
            examples.append(one.id)
        return kind in ("added", "changed")


def estimate_tokens(text: str, max_length: int) -> int:
    """About how many tokens an encoder reads of a text: a quarter of its bytes in UTF-8, up to the encoder's limit.

    The same for every process at a shard, and a thousand times cheaper than to tokenize. A Latin token has about four
    letters, a Chinese character three bytes and a token, an emoji four and one. Shards need it right only on average:
    tests measure how even they are with the real tokenizer.

    >>> estimate_tokens("a small house", 256), estimate_tokens("x" * 5000, 256)
    (5, 256)
    """
    return min(max_length, SPECIAL_TOKENS + len(text.encode()) // BYTES_A_TOKEN)


class Shards:
    """Deals documents out: each goes to the shard that is lightest so far, so that no two differ by more than one text.

    Every process deals in the order of ids and comes to the same shards. With no more shards than documents none is empty.

    >>> shards = Shards(2)
    >>> [shards.take(tokens) for tokens in (5, 3, 1, 2)]
    [0, 1, 1, 1]
    """

    def __init__(self, count: int) -> None:
        self.loads = [(0, number) for number in range(count)]

    def take(self, tokens: int) -> int:
        """The number of the shard that the next document belongs to."""
        load, number = self.loads[0]
        heapq.heapreplace(self.loads, (load + tokens, number))
        return number


def shard_documents(corpus: Artifact, base: Sequence[Artifact], number: int, count: int, max_length: int) -> Iterator[Document]:
    """The documents of one shard, in the order of ids."""
    shards, change = Shards(count), Change()
    for one in aligned(corpus, base):
        if change.count(one) and one.document and shards.take(estimate_tokens(one.document.text, max_length)) == number:
            yield one.document
