"""What a retriever says of one query: the best documents, and the score of any document."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.document_fields import Places
from pipelines.corpus.documents import Query
from pipelines.index.vector_index import Index, best_of
from pipelines.models.encoder import Vectors
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.card import QueryKind

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class AskedQuery:
    """A query as retrievers see it."""

    query: Query
    kind: QueryKind
    history: tuple[str, ...] = ()
    """Those documents of the query's history that the release has, the latest last; empty for a text query."""
    vector: Vectors | None = None
    """The encoded text, or the mean direction of the history, float32, (dimensions,); none where no stage needs it."""


class Answer(Protocol):
    """A retriever's scores for one query."""

    def best(self, depth: int, left_out: Collection[str], among: Places | None = None) -> Ranking:
        """The `depth` best documents that are not left out, ties in the order of ids; only these, where some are named."""

    def of(self, documents: Sequence[str]) -> Scores:
        """The scores of these documents, float32, (len(documents),)."""


class Retriever(Protocol):
    """A stage that retrieves documents."""

    @property
    def bounded(self) -> bool:
        """Whether scores are at most 1 and mean the same for every query, as a cosine does; else fusion divides by the best."""

    @property
    def uses_vectors(self) -> bool:
        """Whether it needs the query's vector."""

    def answer(self, asked: AskedQuery) -> Answer | None:
        """Its scores for a query; none where it has nothing to say."""


@dataclass(frozen=True)
class DocumentScores:
    """The scores of all documents; a document with 0 or less is not retrieved.

    >>> scores = DocumentScores(["a", "b", "c"], {"a": 0, "b": 1, "c": 2}, np.array([1, 0, 2], np.float32))
    >>> scores.best(2, ())
    [('c', 2.0), ('a', 1.0)]
    """

    ids: Sequence[str]
    """Document ids, sorted."""
    positions: dict[str, int]
    """Place in `ids` by document id."""
    scores: Scores

    def best(self, depth: int, left_out: Collection[str], among: Places | None = None) -> Ranking:
        """See `Answer.best`."""
        places = np.flatnonzero(self.scores > 0) if among is None else among[self.scores[among] > 0]
        return best_of(self.ids, places, self.scores[places], depth, left_out)

    def of(self, documents: Sequence[str]) -> Scores:
        """See `Answer.of`."""
        return self.scores[[self.positions[document] for document in documents]]


@dataclass(frozen=True)
class DocumentScorer:
    """What retrievers share that score every document of a corpus."""

    ids: Sequence[str]
    """Document ids of the corpus, sorted."""

    @cached_property
    def positions(self) -> dict[str, int]:
        """Place in `ids` by document id."""
        return {document: row for row, document in enumerate(self.ids)}

    def scored(self, scores: Scores) -> DocumentScores:
        """The answer with these scores, float32, (documents,)."""
        return DocumentScores(self.ids, self.positions, scores)


@dataclass(frozen=True)
class VectorScores:
    """Inner products with the vectors of an index."""

    index: Index
    vector: Vectors

    def best(self, depth: int, left_out: Collection[str], among: Places | None = None) -> Ranking:
        """See `Answer.best`."""
        if among is not None:
            return self.index.search_among(self.vector, depth, among, left_out)
        return self.index.search(self.vector[None], depth, [left_out])[0]

    def of(self, documents: Sequence[str]) -> Scores:
        """See `Answer.of`."""
        return np.asarray(self.index.vectors(documents) @ self.vector, np.float32)
