"""How the stages of a release rank a query: each retriever, then the fusion, then the reranker."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.card import FUSION, RERANK, QueryKind, StageCard
from pipelines.retrieval.stages.fusion import CANDIDATES, Ranked, fuse
from pipelines.retrieval.stages.rerank import Rerank, Reranked
from pipelines.retrieval.stages.table import answered


@dataclass(frozen=True)
class StageRankings:
    """The rankings of one query: `stages` by stage name, in the order of the stages, and the last one as `result`."""

    stages: dict[str, Ranking]
    result: Ranking
    reranked: Reranked | None = None
    """How many documents were reranked; none where no reranker is."""


@dataclass(frozen=True)
class Ranker:
    """Stages with their loaded retrievers."""

    cards: Sequence[StageCard]
    retrievers: Mapping[str, Retriever]
    rerank: Rerank | None = None

    def retriever_cards(self, kind: QueryKind) -> list[StageCard]:
        """The retrievers for queries of a kind, in their order."""
        return [card for card in self.cards if card.stage not in (FUSION, RERANK) and kind in answered(card)]

    def uses_vectors(self, kind: QueryKind) -> bool:
        """Whether any of them needs the query's vector."""
        return any(self.retrievers[card.stage].uses_vectors for card in self.retriever_cards(kind))

    def rank(self, asked: AskedQuery, k: int, left_out: Collection[str], deadline: float | None = None) -> StageRankings:
        """The k best documents after each stage. The result is empty where no retriever has anything to say.

        Args:
            asked: the query.
            k: documents of each ranking.
            left_out: documents that must not be among them.
            deadline: by `time.monotonic`, until when the reranker may take; none: it takes as long as it needs.
        """
        rerank = self.rerank if self.rerank and self.rerank.card.answers(asked.kind) and asked.kind == "text" else None
        depth = max(k, rerank.card.candidates) if rerank else k
        rankings, scale = self.first_stage(asked, depth, left_out)
        result, reranked = next(reversed(rankings.values()), []), None
        if rerank and result:
            result, reranked = rerank.rank(asked.query.text, result, scale, deadline)
            rankings[RERANK] = result
        return StageRankings({stage: ranking[:k] for stage, ranking in rankings.items()}, result[:k], reranked)

    def first_stage(self, asked: AskedQuery, depth: int, left_out: Collection[str]) -> tuple[dict[str, Ranking], float]:
        """The rankings of all stages before the reranker, in their order.

        Returns:
            The rankings by stage, and what the scores of the last are divided by, so that they mean the same for every query.
        """
        ranked: dict[str, Ranked] = {}
        for card in self.retriever_cards(asked.kind):
            found = ranked_by(self.retrievers[card.stage], card.weight, asked, max(depth, CANDIDATES), left_out)
            if found is not None:
                ranked[card.stage] = found
        rankings = {stage: found.ranking[:depth] for stage, found in ranked.items()}
        fusion = next((card.method for card in self.cards if card.stage == FUSION and card.answers(asked.kind)), None)
        if fusion and len(self.retriever_cards(asked.kind)) > 1:
            rankings[FUSION] = fuse(fusion, ranked, depth)
        scale = 1.0 if FUSION in rankings or not ranked else next(iter(ranked.values())).scale
        return rankings, scale


def ranked_by(retriever: Retriever, weight: float, asked: AskedQuery, depth: int, left_out: Collection[str]) -> Ranked | None:
    """The first `depth` documents of one retriever, ready for fusion; none where it has nothing to say."""
    answer = retriever.answer(asked)
    return None if answer is None else Ranked(answer, answer.best(depth, left_out), weight, retriever.bounded)
