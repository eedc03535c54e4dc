"""What a reranker starts from, the first stage of a release, and how far its scores count, by weights fitted on dev queries."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipelines.corpus.documents import Query
from pipelines.evaluation.stage_choice import STEPS, held_out
from pipelines.evaluation.training_queries import DEPTH, TrainingData, dev_ndcg
from pipelines.models.encoder import Encoder
from pipelines.models.reranker_card import Fusion
from pipelines.models.training.cross_encoder import CrossEncoder, Logits
from pipelines.retrieval.release import Release
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery
from pipelines.retrieval.stages.known_queries import KnownQueries, without_own_queries
from pipelines.retrieval.stages.ranker import ranked_by
from pipelines.statistics.intervals import Floats, Interval, interval


def first_stage(release: Release, queries: Mapping[str, str], depth: int) -> dict[str, Ranking]:
    """The first documents of a release before any reranker or blend, for train queries; no known query finds itself.

    Scores that mean the same for every query stay as they are; those of one retriever without such, as BM25 alone, are divided
    by the query's best, as the stage that reranks divides them.

    Args:
        release: whose encoder was not tuned on these queries.
        queries: texts by id.
        depth: documents for each query.
    """
    if release.ranker:
        retrievers = without_own_queries(release.ranker.retrievers)
        release = replace(release, ranker=replace(release.ranker, retrievers=retrievers, rerank=None, blend=None))
    asked = [Query(id=name, text=text, split="train") for name, text in queries.items()]
    found = dict(zip(queries, release.rank(asked, depth, {}), strict=True))
    return {name: divided(ranking) for name, ranking in found.items()} if _unbounded(release) else found


def divided(ranking: Ranking) -> Ranking:
    """A ranking with its scores divided by the best one.

    >>> divided([("a", 8.0), ("b", 2.0)])
    [('a', 1.0), ('b', 0.25)]
    """
    return [(document, score / ranking[0][1]) for document, score in ranking]


def _unbounded(release: Release) -> bool:
    """Whether texts are ranked by one retriever whose scores have no bound."""
    if release.ranker is None:
        return False
    alone = release.ranker.retriever_cards("text")
    return len(alone) == 1 and not release.ranker.retrievers[alone[0].stage].bounded


@dataclass(frozen=True)
class Candidates:
    """What the first stage found for the dev queries."""

    data: TrainingData
    found: Mapping[str, Ranking]

    def scored(self, model: CrossEncoder) -> dict[str, Logits]:
        """The cross-encoder's scores of each query's candidates, in their order, by query id."""
        texts = {query.id: query.text for query in self.data.dev}
        asked = [(texts[name], self.data.texts[document]) for name, ranking in self.found.items() for document, _ in ranking]
        scores = model.score(asked) if asked else np.zeros(0, np.float32)
        ends = np.cumsum([len(ranking) for ranking in self.found.values()])[:-1]
        return dict(zip(self.found, np.split(scores, ends), strict=True))

    def ndcg(self, scores: Mapping[str, Logits], fusion: Fusion) -> Floats:
        """nDCG@10 of each dev query by the fused scores, (dev queries,)."""
        return np.array(
            dev_ndcg(self.data, {name: reranked(ranking, scores[name], fusion) for name, ranking in self.found.items()})
        )


def reranked(ranking: Ranking, scores: Logits, fusion: Fusion) -> Ranking:
    """A ranking in the order of its fused scores; ties stay in the order that they had.

    >>> half = Fusion(first_stage_weight=1, reranker_weight=1, scale=1)
    >>> reranked([("a", 0.5), ("b", 0.25)], np.array([0, 1], np.float32), half)
    [('b', 1.25), ('a', 0.5)]
    """
    fused = fusion.fused(np.array([score for _, score in ranking]), scores)
    return [(ranking[place][0], float(fused[place])) for place in np.argsort(-fused, kind="stable")]


@dataclass(frozen=True)
class FittedFusion:
    """Weights fitted on dev queries, and what they are worth there."""

    fusion: Fusion
    first_stage: float
    """Mean nDCG@10 of the first stage alone."""
    gain: Interval
    """Of the fused ranking over the first stage: each query by weights that were fitted without its fold."""
    over_known: Interval
    """Of the same over the known queries alone, which need neither training nor time."""


def known_queries_alone(encoder: Encoder, data: TrainingData) -> Floats:
    """nDCG@10 of each dev query by the relevant documents of similar training queries, (dev queries,)."""
    ids = sorted({document for query in data.training for document in query.relevant})
    rows = {document: row for row, document in enumerate(ids)}
    relevant = [sorted(rows[document] for document in query.relevant) for query in data.training]
    texts = [query.text for query in data.training]
    starts = np.cumsum([0, *map(len, relevant)], dtype=np.int64)
    documents = np.concatenate(relevant).astype(np.int32)
    known = KnownQueries(ids, texts, encoder.encode(texts, "query"), starts, documents, np.ones(len(documents), np.float32))
    vectors = encoder.encode([query.text for query in data.dev], "query")
    asked = [AskedQuery(query, "text", vector=vector) for query, vector in zip(data.dev, vectors, strict=True)]
    ranked = {one.query.id: ranked_by(known, 1.0, one, DEPTH, ()) for one in asked}
    return np.array(dev_ndcg(data, {name: answer.ranking if answer else [] for name, answer in ranked.items()}))


def fit_fusion(candidates: Candidates, scores: Mapping[str, Logits], scale: float, known: Floats) -> FittedFusion:
    """The weights that rank the dev queries best, of a grid; the gain is cross-fitted (D. Wolpert, "Stacked generalization",
    Neural Networks 5(2), 1992).

    Args:
        candidates: of the dev queries.
        scores: of the reranker, by query id.
        scale: what the first stage's scores are multiplied by.
        known: nDCG@10 of each dev query by the known queries alone.
    """
    weights = [step / STEPS for step in range(STEPS + 1)]
    tried = [Fusion(first_stage_weight=round(1 - weight, 1), reranker_weight=weight, scale=scale) for weight in weights]
    values = np.array([candidates.ndcg(scores, fusion) for fusion in tried])
    best = tried[int(values.mean(1).argmax())]
    fitted = held_out(values)
    gain, over_known = (interval((fitted - others).tolist()) for others in (values[0], known))
    return FittedFusion(best, float(values[0].mean()), gain, over_known)
