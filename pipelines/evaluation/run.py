"""A run: the ranked documents of each query, as TREC writes it, from a release or from BM25."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

Ranking = list[tuple[str, float]]
Run = dict[str, Ranking]
BM25 = {"k1": 1.5, "b": 0.75, "method": "lucene", "stopwords": "english"}
"""The yardstick's settings: bm25s' defaults, untuned."""


def untied(ranking: Sequence[tuple[str, float]]) -> Ranking:
    """The ranking with strictly falling float32 scores: a score not below the one before moves to the next float32 down.

    Tools break ties by document id in opposite directions (trec_eval descending, others ascending), and some compare
    in float32. Without ties every tool sees the same order.

    >>> [score for _, score in untied([("a", 1.0), ("b", 1.0), ("c", 0.5)])]
    [1.0, 0.9999999403953552, 0.5]
    """
    scores = np.array([score for _, score in ranking], np.float32)
    if not (scores[1:] < scores[:-1]).all():
        for rank in range(1, len(scores)):
            scores[rank] = min(scores[rank], np.nextafter(scores[rank - 1], np.float32(-np.inf)))
    return list(zip((document for document, _ in ranking), scores.tolist(), strict=True))


def write_run(path: Path, run: Mapping[str, Ranking], tag: str) -> None:
    """Write a TREC run file: query, Q0, document, rank, score, tag."""
    with path.open("w", encoding="utf-8") as file:
        for query, ranking in run.items():
            file.writelines(
                f"{query} Q0 {document} {rank} {score:.9g} {tag}\n" for rank, (document, score) in enumerate(ranking, 1)
            )


def bm25_run(
    documents: Mapping[str, str], queries: Mapping[str, str], depth: int, left_out: Mapping[str, Collection[str]] | None = None
) -> Run:
    """The `depth` best documents of each query by BM25; documents without a word of the query are not retrieved.

    Args:
        documents: text by document id.
        queries: text by query id.
        depth: documents kept for each query.
        left_out: by query id, documents that it must not retrieve.
    """
    import bm25s

    out = left_out or {}

    ids = sorted(documents)
    words = bm25s.tokenize([documents[one] for one in ids], stopwords=BM25["stopwords"], return_ids=False, show_progress=False)
    if not any(words):
        return {query: [] for query in queries}
    ranker = bm25s.BM25(k1=BM25["k1"], b=BM25["b"], method=BM25["method"])
    ranker.index(words, show_progress=False)
    asked = bm25s.tokenize(list(queries.values()), stopwords=BM25["stopwords"], return_ids=False, show_progress=False)
    return {query: _best(ranker, tokens, ids, depth, out.get(query, ())) for query, tokens in zip(queries, asked, strict=True)}


def _best(ranker: Any, tokens: list[str], ids: Sequence[str], depth: int, left_out: Collection[str]) -> Ranking:
    """The best documents, equal scores in the order of document ids."""
    if not tokens:
        return []
    scores = ranker.get_scores(tokens)
    matching = np.flatnonzero(scores > 0)
    order = matching[np.argsort(-scores[matching], kind="stable")][: depth + len(left_out)]
    return untied(kept([(ids[row], float(scores[row])) for row in order], left_out, depth))


def kept(ranking: Iterable[tuple[str, float]], left_out: Collection[str], depth: int) -> Ranking:
    """The first `depth` of a ranking that are not left out.

    >>> kept([("a", 3.0), ("b", 2.0), ("c", 1.0)], {"a"}, 1)
    [('b', 2.0)]
    """
    return list(islice((pair for pair in ranking if pair[0] not in left_out), depth))
