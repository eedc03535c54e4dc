"""Whether a reranker makes a release's stages better, by the dev queries; with which weight its score counts.

Weights are fitted on the dev queries and figures cross-fitted, as for fusions (`stage_choice`). The reranker is taken only
where it beats both the stages before it and the known queries alone beyond chance: these cost neither training nor time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.qrels import Topics
from pipelines.evaluation.stage_choice import CONFIDENCE, LEAST_DEV, STEPS, Choice, dev_topics, held_out
from pipelines.index.vector_index import load_index
from pipelines.models.encoder import load_encoder
from pipelines.models.reranker import KIND, Scores, card_of, load_reranker
from pipelines.retrieval.release import Parts
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.card import DENSE, RERANK, StageCard, named
from pipelines.retrieval.stages.known_queries import without_own_queries
from pipelines.retrieval.stages.ranker import Ranker, ranked_by
from pipelines.retrieval.stages.rerank import rerank_card
from pipelines.retrieval.stages.table import load_retrievers, stage_artifacts
from pipelines.statistics.intervals import Floats, interval
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.wording import signed

KNOWN = "known_queries"


@dataclass(frozen=True)
class Found:
    """What the stages before the reranker found for one dev query: its candidates, their scores, and those of the reranker."""

    ranking: Ranking
    first: Floats
    """(candidates,): the scores, in the same scale for every query."""
    scores: Scores

    def by(self, first_stage: float, weight: float) -> Ranking:
        """The ten best candidates by the joint score."""
        joint = first_stage * self.first + weight * self.scores
        best = np.argsort(-joint, kind="stable")[:10]
        return [(self.ranking[row][0], float(joint[row])) for row in best]


def with_reranker(
    choice: Choice, parts: Parts, artifacts: Mapping[str, Artifact], query_variant: str, chosen: Artifact
) -> Choice:
    """The choice with the reranker as its last stage, if that makes it better on the dev queries.

    Args:
        choice: of the stages before it; a reranker among them is left out.
        parts: of the release.
        artifacts: of the retrievers that could be taken, by their names.
        query_variant: of the encoder.
        chosen: a report of `choose_reranker`.
    """
    before = [stage for stage in choice.stages if stage.stage != RERANK]
    choice = replace(choice, stages=before)
    topics, store = dev_topics(parts.corpus), parts.corpus.store
    if len(topics.queries) < LEAST_DEV:
        few = f"{len(topics.queries)} dev queries are judged, fewer than {LEAST_DEV}"
        return replace(choice, sentence=f"{choice.sentence} The reranker is not taken: {few}.")
    card = rerank_card(store, chosen)
    fusion = card_of(load_exactly(store, KIND, chosen.inputs[KIND])).trained.fusion
    texts = {document.id: document.text for document in documents(parts.corpus)}
    own = stage_artifacts(store, before, parts.ids)
    known = {KNOWN: artifacts[KNOWN]} if KNOWN in artifacts else {}
    retrievers = without_own_queries(load_retrievers(known | own, load_index(parts.index), list(texts)))
    vectors = load_encoder(parts.encoder, query_variant).encode([query.text for query in topics.queries], "query")
    asked = [AskedQuery(query, "text", vector=vector) for query, vector in zip(topics.queries, vectors, strict=True)]
    found = _found(asked, Ranker(before or [StageCard(stage=DENSE)], retrievers), card, chosen, texts)
    weights = [(round(1 - step / STEPS, 4) * fusion.scale, step / STEPS) for step in range(STEPS + 1)]
    ids = [query.id for query in topics.queries]
    by_weights = [dict(zip(ids, (one.by(*pair) for one in found), strict=True)) for pair in weights]
    values = np.array([_ndcg(topics, rankings) for rankings in by_weights])
    alone = {named(before) or DENSE: values[0]}
    if KNOWN in retrievers:
        alone["known queries alone"] = _ndcg(topics, {one.query.id: _ten(retrievers[KNOWN], one) for one in asked})
    first_stage, weight = weights[int(values.mean(1).argmax())]
    taken = card.model_copy(update={"first_stage": round(first_stage, 4), "weight": weight})
    return _decided(choice, [*(before or [StageCard(stage=DENSE)]), taken], held_out(values), alone)


def _found(
    asked: Sequence[AskedQuery], ranker: Ranker, card: StageCard, chosen: Artifact, texts: Mapping[str, str]
) -> list[Found]:
    """The candidates of each dev query, scored."""
    reranker = load_reranker(load_exactly(chosen.store, KIND, card.artifact), card.variant)
    found = []
    for query in asked:
        rankings, scale = ranker.first_stage(query, card.candidates, ())
        ranking = next(reversed(rankings.values()), [])[: card.candidates]
        first = np.array([score for _, score in ranking], np.float64) / scale
        pairs = reranker.tokens(query.query.text, [texts[document] for document, _ in ranking])
        found.append(Found(ranking, first, reranker.score(pairs)))
    return found


def _ten(retriever: Retriever, asked: AskedQuery) -> Ranking:
    ranked = ranked_by(retriever, 1.0, asked, 10, ())
    return ranked.ranking if ranked else []


def _ndcg(topics: Topics, rankings: Mapping[str, Ranking]) -> Floats:
    """nDCG@10 of each dev query."""
    return np.array(ndcg_at_10(topics.qrels, rankings, [query.id for query in topics.queries]))


def _decided(choice: Choice, stages: list[StageCard], reranked: Floats, alone: Mapping[str, Floats]) -> Choice:
    """The choice with the reranker where it is better than each of the others beyond chance (Bonferroni)."""
    strict = 1 - (1 - CONFIDENCE) / len(alone)
    gains = {name: interval((reranked - values).tolist(), strict) for name, values in alone.items()}
    rows: list[dict[str, Any]] = []
    for name, values in {named(stages): reranked, **alone}.items():
        mean, gain = interval(values.tolist(), CONFIDENCE, least=0), gains.get(name)
        rows.append(
            {
                "name": name, "mean": mean.mean, "low": mean.low, "high": mean.high, "gain": gain and gain.mean,
                "gain_low": gain and gain.low, "gain_high": gain and gain.high,
            }
        )  # fmt: skip
    against = "; ".join(
        f"{signed(gain.mean)} [{signed(gain.low)}, {signed(gain.high)}] against {name}" for name, gain in gains.items()
    )
    better = all((gain.low or 0) > 0 for gain in gains.values())
    sentence = f"{choice.sentence} The reranker is {'taken' if better else 'not taken'}: {against}."
    return replace(choice, stages=stages if better else choice.stages, sentence=sentence, reranked=rows)
