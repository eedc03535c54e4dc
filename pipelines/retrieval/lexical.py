"""Lexical retrieval: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) by bm25s."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.retrieval.run import Ranking, Run, break_ties, exclude

BM25 = {"k1": 1.5, "b": 0.75, "method": "lucene", "stopwords": "english"}
"""The baseline's settings: bm25s' defaults, untuned."""


def bm25_run(
    documents: Mapping[str, str], queries: Mapping[str, str], depth: int, left_out: Mapping[str, Collection[str]] | None = None
) -> Run:
    """The `depth` best documents of each query by BM25, ties in the order of ids; those with score 0 are not retrieved.

    Args:
        documents: text by document id.
        queries: text by query id.
        depth: documents kept for each query.
        left_out: by query id, documents that it must not retrieve.
    """
    import bm25s

    excluded = left_out or {}
    ids = sorted(documents)
    texts = [documents[document] for document in ids]
    document_tokens = bm25s.tokenize(texts, stopwords=BM25["stopwords"], return_ids=False, show_progress=False)
    if not any(document_tokens):
        return {query: [] for query in queries}
    ranker = bm25s.BM25(k1=BM25["k1"], b=BM25["b"], method=BM25["method"])
    ranker.index(document_tokens, show_progress=False)
    query_tokens = bm25s.tokenize(list(queries.values()), stopwords=BM25["stopwords"], return_ids=False, show_progress=False)
    return {
        query: _ranking(ranker, tokens, ids, depth, excluded.get(query, ()))
        for query, tokens in zip(queries, query_tokens, strict=True)
    }


def _ranking(ranker: Any, tokens: list[str], ids: Sequence[str], depth: int, left_out: Collection[str]) -> Ranking:
    if not tokens:
        return []
    scores = ranker.get_scores(tokens)
    matching = np.flatnonzero(scores > 0)
    order = matching[np.argsort(-scores[matching], kind="stable")][: depth + len(left_out)]
    return break_ties(exclude([(ids[row], float(scores[row])) for row in order], left_out, depth))
