"""The stages that an option of a step names: those of a report of `choose_stages`, or of a release."""

from typing import Any

from pipelines.retrieval.stages.card import BLEND, DENSE, RERANK, StageCard
from pipelines.retrieval.stages.rerank import rerank_card
from pipelines.retrieval.stages.table import check_stages
from pipelines.store.artifacts import find, report_of
from pipelines.store.objects import Store


def described_stages(store: Store, stages: str, reranker: str) -> tuple[StageCard, ...]:
    """The stages, with another reranker in place of their own if one is named; none: encoder and index alone.

    A blend was fitted to the scores of the reranker before it, so another one leaves it out.

    Args:
        store: that has them.
        stages: id of a report of `choose_stages`, or of a release; empty: none.
        reranker: id of a report of `choose_reranker`; empty: none.

    Raises:
        InputError: there is no such report or release, or its stages can't rank.
    """
    found = tuple(StageCard(**stage) for stage in _described(store, stages)) if stages else ()
    if reranker:
        first = tuple(stage for stage in found if stage.stage not in (RERANK, BLEND)) or (StageCard(stage=DENSE),)
        found = (*first, rerank_card(store, report_of(store, "reranker", reranker)))
    if found:
        check_stages(found)
    return found


def stages_before_blend(store: Store, stages: str, reranker: str) -> tuple[StageCard, ...]:
    """The same without a blend; the dense retriever where there would be none."""
    found = described_stages(store, stages, reranker)
    return tuple(stage for stage in found if stage.stage != BLEND) or (StageCard(stage=DENSE),)


def _described(store: Store, stages: str) -> list[dict[str, Any]]:
    release = find(store, "release", stages)
    if release:
        return list(release.manifest.recipe.params.get("stages", []))
    return list(report_of(store, "stages", stages).facts["stages"])
