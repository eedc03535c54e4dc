"""How the stages of a release rank a query: each retriever, then the fusion, then the reranker, then the blend."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipelines.corpus.document_fields import Places
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.blend import Blend, Blended, Found
from pipelines.retrieval.stages.card import BLEND, FUSION, NO_RETRIEVERS, RERANK, QueryKind, StageCard
from pipelines.retrieval.stages.fusion import CANDIDATES, Ranked, fuse
from pipelines.retrieval.stages.rerank import FirstStage, Rerank, Reranked
from pipelines.retrieval.stages.table import answered
from pipelines.retrieval.stages.timing import stage_time

RERANKED_TOGETHER = 64
"""Queries whose candidates are scored together: more would fill no batch better, and their tokens take memory."""


@dataclass(frozen=True)
class StageRankings:
    """The rankings of one query: `stages` by stage name, in the order of the stages, and the last one as `result`."""

    stages: dict[str, Ranking]
    result: Ranking
    reranked: Reranked | None = None
    """How many documents were reranked; none where no reranker is."""
    blended: Blended | None = None
    """What was blended; none where no blend is."""


@dataclass(frozen=True)
class BeforeBlend:
    """What the stages before the blend made of a query: their rankings, how many were reranked, and what a blend needs."""

    stages: dict[str, Ranking]
    reranked: Reranked | None
    found: Found


@dataclass(frozen=True)
class Ranker:
    """Stages with their loaded retrievers."""

    cards: Sequence[StageCard]
    retrievers: Mapping[str, Retriever]
    rerank: Rerank | None = None
    blend: Blend | None = None

    def retriever_cards(self, kind: QueryKind) -> list[StageCard]:
        """The retrievers for queries of a kind, in their order."""
        return [card for card in self.cards if card.stage not in NO_RETRIEVERS and kind in answered(card)]

    def uses_vectors(self, kind: QueryKind) -> bool:
        """Whether any of them needs the query's vector."""
        return any(self.retrievers[card.stage].uses_vectors for card in self.retriever_cards(kind))

    def rank(
        self,
        asked: Sequence[AskedQuery],
        k: int,
        left_out: Sequence[Collection[str]],
        deadline: float | None = None,
        among: Places | None = None,
        reranks: bool = True,
    ) -> list[StageRankings]:
        """The k best documents of each query after each stage. A result is empty where no retriever has anything to say.

        Args:
            asked: the queries.
            k: documents of each ranking.
            left_out: for each query, documents that must not be among them.
            deadline: by `time.monotonic`, until when the reranker may take; none: it takes as long as it needs.
            among: the documents that are ranked; none: all.
            reranks: whether the reranker is one of the stages.
        """
        ranked: list[StageRankings] = []
        for start in range(0, len(asked), RERANKED_TOGETHER):
            part = slice(start, start + RERANKED_TOGETHER)
            ranked += self._rank_together(asked[part], k, left_out[part], deadline, among, reranks)
        return ranked

    def _rank_together(
        self,
        asked: Sequence[AskedQuery],
        k: int,
        left_out: Sequence[Collection[str]],
        deadline: float | None,
        among: Places | None,
        reranks: bool,
    ) -> list[StageRankings]:
        depths = [max(k, self.blend.depth(query.kind)) if self.blend else k for query in asked]
        before = self.before_blend(asked, depths, left_out, deadline, among, reranks)
        blended: dict[int, tuple[Ranking, Blended]] = {}
        if self.blend:
            numbers = [n for n, one in enumerate(before) if self.blend.depth(one.found.kind) and one.found.ranking]
            with stage_time(BLEND):
                together = self.blend.rank_together([before[number].found for number in numbers]) if numbers else []
            blended = dict(zip(numbers, together, strict=True))
        return [_shortened(one, blended.get(number), k) for number, one in enumerate(before)]

    def before_blend(
        self,
        asked: Sequence[AskedQuery],
        depths: Sequence[int],
        left_out: Sequence[Collection[str]],
        deadline: float | None = None,
        among: Places | None = None,
        reranks: bool = True,
    ) -> list[BeforeBlend]:
        """What all stages before the blend make of each query.

        Args:
            asked: the queries.
            depths: for each query, how many documents are found.
            left_out: as `rank` has it.
            deadline: as `rank` has it.
            among: as `rank` has it.
            reranks: as `rank` has it.
        """
        rerank = self.rerank if reranks and self.rerank and self.rerank.card.answers("text") else None
        with_reranker = [rerank is not None and query.kind == "text" for query in asked]
        deep = [
            max(depth, rerank.card.candidates) if rerank and wanted else depth
            for depth, wanted in zip(depths, with_reranker, strict=True)
        ]
        stages = [self.first_stage(*query, among) for query in zip(asked, deep, left_out, strict=True)]
        results = [next(reversed(rankings.values()), []) for rankings, _ in stages]
        first = [{name: score / scale for name, score in found} for found, (_, scale) in zip(results, stages, strict=True)]
        counts: dict[int, Reranked] = {}
        numbers = [number for number, wanted in enumerate(with_reranker) if wanted and results[number]]
        if rerank and numbers:
            firsts = [FirstStage(asked[number].query.text, results[number], stages[number][1]) for number in numbers]
            with stage_time(RERANK):
                reranked = rerank.rank_together(firsts, deadline)
            for number, (result, counted) in zip(numbers, reranked, strict=True):
                results[number], counts[number] = result, counted
                stages[number][0][RERANK] = result
        return [
            BeforeBlend(
                stages[number][0],
                counts.get(number),
                Found(
                    query.kind,
                    results[number],
                    first[number],
                    counts[number].scores if number in counts else {},
                    query.query.time,
                ),
            )
            for number, query in enumerate(asked)
        ]

    def first_stage(
        self, asked: AskedQuery, depth: int, left_out: Collection[str], among: Places | None = None
    ) -> tuple[dict[str, Ranking], float]:
        """The rankings of all stages before the reranker, in their order; of some documents alone, where these are named.

        Returns:
            The rankings by stage, and what the scores of the last are divided by, so that they mean the same for every query.
        """
        ranked: dict[str, Ranked] = {}
        for card in self.retriever_cards(asked.kind):
            with stage_time(card.stage):
                found = ranked_by(self.retrievers[card.stage], card.weight, asked, max(depth, CANDIDATES), left_out, among)
            if found is not None:
                ranked[card.stage] = found
        rankings = {stage: found.ranking[:depth] for stage, found in ranked.items()}
        fusion = next((card.method for card in self.cards if card.stage == FUSION and card.answers(asked.kind)), None)
        if fusion and len(self.retriever_cards(asked.kind)) > 1:
            with stage_time(FUSION):
                rankings[FUSION] = fuse(fusion, ranked, depth)
        scale = 1.0 if FUSION in rankings or not ranked else next(iter(ranked.values())).scale
        return rankings, scale


def ranked_by(
    retriever: Retriever,
    weight: float,
    asked: AskedQuery,
    depth: int,
    left_out: Collection[str],
    among: Places | None = None,
) -> Ranked | None:
    """The first `depth` documents of one retriever, ready for fusion; none where it has nothing to say."""
    answer = retriever.answer(asked)
    return None if answer is None else Ranked(answer, answer.best(depth, left_out, among), weight, retriever.bounded)


def _shortened(before: BeforeBlend, blended: tuple[Ranking, Blended] | None, k: int) -> StageRankings:
    """The first k documents after each stage."""
    stages = {**before.stages, BLEND: blended[0]} if blended else before.stages
    return StageRankings(
        {stage: ranking[:k] for stage, ranking in stages.items()},
        (blended[0] if blended else before.found.ranking)[:k],
        before.reranked,
        blended[1] if blended else None,
    )
