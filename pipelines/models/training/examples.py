"""What a model learns from: queries with their relevant documents, and documents that were found and are not relevant.

A document that is known to be relevant for a query is never a negative for it, neither as its own hard negative nor as another
query's document of the same batch.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

Found = Sequence[tuple[str, float]]
"""Documents that a retriever found for a query, best first, with their scores."""


@dataclass(frozen=True)
class TrainingQuery:
    """A query with the documents that are known to be relevant for it."""

    id: str
    text: str
    relevant: AbstractSet[str]


@dataclass(frozen=True)
class Pair:
    """A query with a relevant document and a hard negative, by document id."""

    query: TrainingQuery
    positive: str
    negative: str

    @property
    def documents(self) -> tuple[str, str]:
        return self.positive, self.negative


@dataclass(frozen=True)
class RankedList:
    """A query with documents, the relevant one first, and the first stage's score of each."""

    query: TrainingQuery
    documents: tuple[str, ...]
    scores: tuple[float, ...]


def pairs(queries: Sequence[TrainingQuery], found: Mapping[str, Found], seed: int) -> list[Pair]:
    """One pair for each relevant document, with a negative drawn uniformly from what was found and is not relevant.

    >>> query = TrainingQuery("q", "beach", {"sun"})
    >>> [pair.documents for pair in pairs([query], {"q": [("sun", 0.9), ("sea", 0.8)]}, 0)]
    [('sun', 'sea')]

    Args:
        queries: of training.
        found: by query id, by a retriever that was not tuned on these queries.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    made = []
    for query in queries:
        negatives = [document for document, _ in found[query.id] if document not in query.relevant]
        if negatives:
            drawn = random.integers(len(negatives), size=len(query.relevant)).tolist()
            made += [Pair(query, positive, negatives[one]) for positive, one in zip(sorted(query.relevant), drawn, strict=True)]
    return made


def ranked_lists(queries: Sequence[TrainingQuery], found: Mapping[str, Found], negatives: int, seed: int) -> list[RankedList]:
    """One list for each relevant document that was found, with `negatives` others that were found and are not relevant.

    Relevant documents that the retriever did not find are left out: a reranker never sees such a one, and beside negatives that
    all score high it would learn that a low score is good.

    >>> query = TrainingQuery("q", "beach", {"sun", "sand"})
    >>> ranked_lists([query], {"q": [("sun", 0.5), ("sea", 0.25)]}, 4, 0)[0].documents
    ('sun', 'sea')
    """
    random = np.random.default_rng(seed)
    lists = []
    for query in queries:
        scores = dict(found[query.id])
        others = [document for document in scores if document not in query.relevant]
        for positive in sorted(query.relevant & scores.keys()):
            drawn = random.permutation(len(others))[:negatives].tolist()
            documents = (positive, *(others[one] for one in drawn))
            if len(documents) > 1:
                lists.append(RankedList(query, documents, tuple(scores[document] for document in documents)))
    return lists


def compatible_batches(rows: Sequence[Pair], size: int, seed: int) -> Iterator[list[int]]:
    """Batches of rows in which no document of one row is relevant for the query of another.

    With a loss that takes all other documents of a batch as negatives, each other document is then a true one as far as is
    known. Rows that do not fit wait for a later batch. The batches go on without end: once the rows are used up, they come
    again in another order.

    >>> sun, sea = (TrainingQuery(name, name, {name}) for name in ("sun", "sea"))
    >>> rows = [Pair(sun, "sun", "fog"), Pair(sun, "sun", "ice"), Pair(sea, "sea", "fog")]
    >>> batches = compatible_batches(rows, 2, 0)
    >>> all({rows[row].query.id for row in next(batches)} == {"sun", "sea"} for _ in range(2))
    True
    """
    random = np.random.default_rng(seed)
    waiting: deque[int] = deque()
    while True:
        if len(waiting) < size:
            waiting.extend(random.permutation(len(rows)).tolist())
        batch: list[int] = []
        passed: list[int] = []
        relevant: set[str] = set()
        used: set[str] = set()
        while waiting and len(batch) < size:
            row = rows[waiting[0]]
            if relevant.isdisjoint(row.documents) and used.isdisjoint(row.query.relevant):
                batch.append(waiting[0])
                relevant |= row.query.relevant
                used.update(row.documents)
            else:
                passed.append(waiting[0])
            waiting.popleft()
        waiting.extendleft(reversed(passed))
        yield batch
