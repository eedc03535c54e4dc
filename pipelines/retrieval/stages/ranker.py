"""How the stages of a release rank a query: each retriever, then the fusion."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.card import FUSION, QueryKind, StageCard
from pipelines.retrieval.stages.fusion import CANDIDATES, Ranked, fuse
from pipelines.retrieval.stages.table import answered


@dataclass(frozen=True)
class StageRankings:
    """The rankings of one query: `stages` by stage name, in the order of the stages, and the last one as `result`."""

    stages: dict[str, Ranking]
    result: Ranking


@dataclass(frozen=True)
class Ranker:
    """Stages with their loaded retrievers."""

    cards: Sequence[StageCard]
    retrievers: Mapping[str, Retriever]

    def retriever_cards(self, kind: QueryKind) -> list[StageCard]:
        """The retrievers for queries of a kind, in their order."""
        return [card for card in self.cards if card.stage != FUSION and kind in answered(card)]

    def uses_vectors(self, kind: QueryKind) -> bool:
        """Whether any of them needs the query's vector."""
        return any(self.retrievers[card.stage].uses_vectors for card in self.retriever_cards(kind))

    def rank(self, asked: AskedQuery, k: int, left_out: Collection[str]) -> StageRankings:
        """The k best documents after each stage. The result is empty where no retriever has anything to say.

        Args:
            asked: the query.
            k: documents of each ranking.
            left_out: documents that must not be among them.
        """
        ranked: dict[str, Ranked] = {}
        for card in self.retriever_cards(asked.kind):
            found = ranked_by(self.retrievers[card.stage], card.weight, asked, max(k, CANDIDATES), left_out)
            if found is not None:
                ranked[card.stage] = found
        rankings = {stage: found.ranking[:k] for stage, found in ranked.items()}
        fusion = next((card.method for card in self.cards if card.stage == FUSION and card.answers(asked.kind)), None)
        if fusion and len(self.retriever_cards(asked.kind)) > 1:
            rankings[FUSION] = fuse(fusion, ranked, k)
        return StageRankings(rankings, next(reversed(rankings.values()), []))


def ranked_by(retriever: Retriever, weight: float, asked: AskedQuery, depth: int, left_out: Collection[str]) -> Ranked | None:
    """The first `depth` documents of one retriever, ready for fusion; none where it has nothing to say."""
    answer = retriever.answer(asked)
    return None if answer is None else Ranked(answer, answer.best(depth, left_out), weight, retriever.bounded)
