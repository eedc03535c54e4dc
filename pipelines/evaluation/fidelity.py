"""Fidelity: how well a pair of encoder variants (for documents, for queries) keeps the ranking of fp32, without judgments.

For one query it is nDCG@10 (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002) with
fp32's own ranking as relevance: Σ g(d) / log2(rank + 1) over the variant's top ten, divided by the same sum over fp32's, where
g = 11 − r for the document at fp32's rank r ≤ 10, else 0. Documents whose fp32 scores differ by at most TIE share the mean of
their gains. It is 1 where both rankings agree up to ties; losing only the tenth document costs 0.0097.

The lower bound of its mean decides (`why_unfaithful`). The interval is `statistics.intervals.interval`: a query's fidelity is
at most 1 and mostly exactly 1, so that the values are skewed, which this interval allows for; and it needs no seed, as a
bootstrap would. Queries are train queries and titles, never test queries (`sample_queries`).
"""

import heapq
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.documents import Document, documents, qrels, queries
from pipelines.corpus.text_rules import LONGEST_QUERY, folded
from pipelines.errors import InputError
from pipelines.models.encoder import Vectors
from pipelines.statistics.intervals import Floats, interval
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest

DEPTH = 10
TIE = 1e-6
"""fp32 scores that differ by no more than this tie."""
LEAST_FIDELITY = 0.995
LEAST_RETENTION = 0.99
"""Retention of nDCG@10 by the judgments must not be significantly below this."""
QUERIES = 2000
TITLE_WORDS = 3
"""Words of a title as a query, where the corpus has no train query to take the median length of."""
BATCH = 64
"""Queries whose scores of all documents are in memory at once."""
DISCOUNTS = 1 / np.log2(np.arange(2, DEPTH + 2))

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FidelityQuery:
    """A text to ask, and the id of the document whose title it is; empty: a query of the corpus."""

    text: str
    own: str = ""


@dataclass(frozen=True)
class Fidelity:
    """The mean fidelity of a pair of variants over queries, with its interval; without bounds below two queries."""

    queries: int
    documents: int
    """Documents that were ranked: as many as the index will hold, or fewer."""
    mean: float
    low: float | None
    high: float | None
    overlap_at_10: float
    """Mean part of fp32's top ten that is in the variant's, whatever the order; shown, not decided by."""


def sample_queries(corpus: Artifact, count: int = QUERIES) -> list[FidelityQuery]:
    """Up to `count` distinct texts: judged train queries, then titles cut to the median length, in words, of those.

    Those with the lowest sha256 of their text, so that every run asks the same. A document without a title gives the
    beginning of its text. A title without blanks is cut where the server would refuse it as too long. No text of a test query
    is used, in whatever case; nor are queries with a history, since they are not encoded.
    """
    judged = qrels(corpus)
    text_queries = [query for query in queries(corpus) if not query.history]
    test = {folded(query.text) for query in text_queries if query.split == "test"}
    train = {folded(query.text): query.text for query in text_queries if query.split == "train" and judged.get(query.id)}
    sampled = heapq.nsmallest(count, train.keys() - test, key=_draw)
    words = median_low(len(text.split()) for text in train) if train else TITLE_WORDS
    titles = _sample_titles(documents(corpus), words, count - len(sampled), test | train.keys())
    return [*(FidelityQuery(train[text]) for text in sampled), *titles]


def _sample_titles(documents: Iterable[Document], words: int, count: int, excluded: AbstractSet[str]) -> list[FidelityQuery]:
    """The `count` distinct titles of `words` words with the lowest sha256; the documents are read once and not held.

    >>> rows = [Document(id="a", text="t", title="Red lamp, tall"), Document(id="b", text="red lamp of glass")]
    >>> _sample_titles(rows, 2, 5, set()), _sample_titles(rows, 2, 5, {"red lamp,", "red lamp"})
    ([FidelityQuery(text='Red lamp,', own='a'), FidelityQuery(text='red lamp', own='b')], [])
    """
    heap: list[tuple[int, str]] = []  # the highest draw first
    sampled: dict[str, FidelityQuery] = {}
    for document in documents if count > 0 else ():
        text = " ".join((document.title or document.text).split()[:words])[:LONGEST_QUERY].rstrip()
        key = folded(text)
        if not key or key in excluded or key in sampled:
            continue
        entry = (-_draw(key), key)
        if len(heap) < count:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            del sampled[heapq.heapreplace(heap, entry)[1]]
        else:
            continue
        sampled[key] = FidelityQuery(text, document.id)
    return [sampled[key] for _, key in sorted(heap, reverse=True)]


def _draw(text: str) -> int:
    return int(digest(text.encode())[:16], 16)


def measure_fidelity(
    reference: tuple[Vectors, Vectors], variant: tuple[Vectors, Vectors], own: Sequence[int], confidence: float = 0.95
) -> Fidelity:
    """The fidelity of a pair of variants over all queries, by exact search.

    Args:
        reference: unit vectors of the queries and of the documents by fp32: float32, (queries, dimensions) and
            (documents, dimensions).
        variant: the same by the pair that will serve: queries by the query variant, documents by the document variant.
        own: for each query the row of its own document, which is left out of both rankings; −1: none.
        confidence: of the interval.

    Raises:
        InputError: there are no queries or nothing to rank, or a score is NaN or infinite.
    """
    if not len(own):
        raise InputError("no queries", "at least two", "ingest a corpus with titles or train queries")
    parts = []
    for start in range(0, len(own), BATCH):
        batch = slice(start, start + BATCH)
        scores, variant_scores = (queries[batch] @ documents.T for queries, documents in (reference, variant))
        parts.append(fidelity_at_10(scores, variant_scores, own[batch]))
    fidelities, overlaps = (np.concatenate(column) for column in zip(*parts, strict=True))
    return mean_fidelity(fidelities, overlaps, len(reference[1]), confidence)


def mean_fidelity(fidelities: Floats, overlaps: Floats, documents: int, confidence: float = 0.95) -> Fidelity:
    """The mean of what `fidelity_at_10` gives of each query, over `documents` documents, with its interval."""
    mean = interval(fidelities.tolist(), confidence, least=0.0, most=1.0)
    return Fidelity(
        queries=len(fidelities),
        documents=documents,
        mean=float(fidelities.mean()),
        low=mean.low,
        high=mean.high,
        overlap_at_10=float(overlaps.mean()),
    )


def fidelity_at_10(reference: Scores, variant: Scores, own: Sequence[int]) -> tuple[Floats, Floats]:
    """The fidelity and the overlap@10 of each query: float64, (queries,), each from 0 to 1.

    Equal scores of one side rank in the order of the documents. With fewer than ten documents, all are ranked.

    Args:
        reference: fp32's scores, (queries, documents).
        variant: the variant's scores, (queries, documents).
        own: for each query the column of its own document, left out on both sides; −1: none.

    Raises:
        InputError: a score is NaN or infinite, or a query has no document but its own.

    >>> fp32 = np.array([[0.9, 0.8, 0.7, 0.1]])
    >>> fidelity, overlap = fidelity_at_10(fp32, np.array([[0.9, 0.7, 0.8, 0.1]]), [-1])
    >>> fidelity.round(4).tolist(), overlap.tolist()
    ([0.9942], [1.0])
    """
    if reference.shape != variant.shape or len(own) != len(reference):
        raise ValueError(f"shapes {reference.shape} and {variant.shape} for {len(own)} queries")
    for side, scores in (("fp32", reference), ("the variant", variant)):
        bad = int((~np.isfinite(scores)).any(1).sum())
        if bad:
            raise InputError(
                f"scores by {side} that are NaN or infinite for {bad} of {len(scores)} queries",
                "finite scores",
                "export the encoder again and check its weights",
            )
    fidelities, overlaps = np.empty(len(own)), np.empty(len(own))
    for row, left_out in enumerate(own):
        fp32_scores, variant_scores = (
            np.delete(scores[row], left_out) if left_out >= 0 else scores[row] for scores in (reference, variant)
        )
        if not fp32_scores.size:
            raise InputError(f"a query over {reference.shape[1]} documents", "a document besides its own", "add documents")
        fp32_top, variant_top = _top_ten(fp32_scores), _top_ten(variant_scores)
        gains = _gains(np.asarray(fp32_scores, np.float64), fp32_top)
        dcg, ideal = ((gains[top] * DISCOUNTS[: len(top)]).sum() for top in (variant_top, fp32_top))
        fidelities[row] = dcg / ideal
        overlaps[row] = len(np.intersect1d(variant_top, fp32_top)) / len(fp32_top)
    return fidelities, overlaps


def _top_ten(scores: Scores) -> NDArray[np.int64]:
    """The documents with the highest scores, at most ten, best first; equal scores in the order of documents."""
    depth = min(DEPTH, len(scores))
    candidates = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])
    return candidates[np.argsort(-scores[candidates], kind="stable")[:depth]]


def _gains(scores: Floats, top: NDArray[np.int64]) -> Floats:
    """The gain of each document, (documents,): 11 − rank in the top ten, else 0; the mean of them among ties.

    A group of ties are the documents at most TIE below its first, so that no two of a group differ by more than TIE.

    >>> _gains(np.array([0.5, 0.9, 0.5, 0.1]), np.array([1, 0, 2, 3])).tolist()
    [8.5, 10.0, 8.5, 7.0]
    """
    gains = np.zeros(len(scores))
    gains[top] = DEPTH - np.arange(len(top))
    near = np.flatnonzero(scores >= scores[top[-1]] - TIE)
    rank = 0
    while rank < len(top):
        first = scores[top[rank]]
        ties = near[(scores[near] <= first) & (scores[near] >= first - TIE)]
        gains[ties] = gains[ties].mean()
        rank = int((scores[top] >= first - TIE).sum())
    return gains


def why_unfaithful(
    fidelity: Fidelity,
    retention_high: float | None = None,
    least: float = LEAST_FIDELITY,
    least_retention: float = LEAST_RETENTION,
) -> str:
    """Why a pair of variants can't be taken by its fidelity; empty: it can.

    Args:
        fidelity: of the pair.
        retention_high: the upper bound of its retention of nDCG@10 by judgments; None: there are none.
        least: the fidelity that its lower bound must reach.
        least_retention: the retention that its upper bound must reach, so that it is not significantly below.

    >>> why_unfaithful(Fidelity(2000, 1885, 0.9991, 0.9988, 0.9993, 0.98), 1.002)
    ''
    >>> why_unfaithful(Fidelity(2000, 1885, 0.9951, 0.9948, 0.9954, 0.95))
    'fidelity 0.9951, at least 0.9948 over 2,000 queries and 1,885 documents, 0.995 needed'
    """
    if fidelity.low is None:
        return f"fidelity of {fidelity.queries} query, at least two needed"
    reasons = []
    if not fidelity.low >= least:
        reasons.append(
            f"fidelity {fidelity.mean:.4f}, at least {fidelity.low:.4f} over {fidelity.queries:,} queries "
            f"and {fidelity.documents:,} documents, {least:g} needed"
        )
    if retention_high is not None and not retention_high >= least_retention:
        reasons.append(f"keeps at most {100 * retention_high:.2f} % of nDCG@10, {100 * least_retention:g} % needed")
    return "; ".join(reasons)
