"""Fusion: several rankings of one query become one.

`rrf` is reciprocal rank fusion: Σ w / (60 + rank) (Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet
and individual rank learning methods", SIGIR 2009). `weighted` is a convex combination of scores (Bruch, Gai and Ingber, "An
analysis of fusion functions for hybrid retrieval", TOIS 2023): cosines as they are, since they mean the same for every query;
other scores divided by the best score of the query. Every document that any retriever ranks has its score by all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import Answer
from pipelines.retrieval.stages.card import FusionMethod

RANK_CONSTANT = 60
CANDIDATES = 200
"""Documents of each retriever that are fused, at least."""


@dataclass(frozen=True)
class Ranked:
    """One retriever's answer to a query, with its first documents."""

    answer: Answer
    ranking: Ranking
    weight: float
    bounded: bool

    @property
    def scale(self) -> float:
        """What a score is divided by: 1 for cosines, else the best score."""
        return 1.0 if self.bounded or not self.ranking else self.ranking[0][1]


def fuse(method: FusionMethod, ranked: Mapping[str, Ranked], depth: int) -> Ranking:
    """The `depth` best documents of several retrievers, ties in the order of ids.

    Args:
        method: of fusion.
        ranked: by stage name.
        depth: documents that are kept.
    """
    scores = reciprocal_ranks(ranked) if method == "rrf" else weighted_scores(ranked)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:depth]


def reciprocal_ranks(ranked: Mapping[str, Ranked]) -> dict[str, float]:
    """The fused score of each document by its ranks."""
    scores: dict[str, float] = {}
    for retriever in ranked.values():
        for rank, (document, _) in enumerate(retriever.ranking, 1):
            scores[document] = scores.get(document, 0.0) + retriever.weight / (RANK_CONSTANT + rank)
    return scores


def weighted_scores(ranked: Mapping[str, Ranked]) -> dict[str, float]:
    """The fused score of each document by its scores; weights are divided by their sum."""
    documents = sorted({document for retriever in ranked.values() for document, _ in retriever.ranking})
    if not documents:
        return {}
    total = sum(retriever.weight for retriever in ranked.values()) or 1.0
    fused = np.zeros(len(documents))
    for retriever in ranked.values():
        fused += retriever.weight / total * retriever.answer.of(documents).astype(float) / retriever.scale
    return dict(zip(documents, fused.tolist(), strict=True))
