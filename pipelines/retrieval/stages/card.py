"""What a release's card says of its stages."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

QueryKind = Literal["text", "history"]
"""How a query is asked: by a text, or by the documents that a user chose before."""
DENSE = "dense"
"""The retriever that every release has: its encoder and index."""
FUSION = "fusion"
"""The name of the stage that combines the rankings of several retrievers."""
RERANK = "rerank"
"""The name of the stage that orders the first documents of the stages before it anew."""
BLEND = "blend"
"""The name of the stage that orders what all others found by their scores and by features."""
NO_RETRIEVERS = (FUSION, RERANK, BLEND)
"""Stages that order what retrievers found."""
FusionMethod = Literal["rrf", "weighted"]


class StageCard(BaseModel):
    """One stage of a release: a retriever, the fusion of those before it, a reranker of what they found, or the blend."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stage: str
    """A name of `table.RETRIEVERS`, `fusion`, `rerank` or `blend`."""
    artifact: str = ""
    """The artifact that the stage searches; empty: the release's encoder and index, or none (fusion)."""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """The retriever's weight in the fusion, where only ratios of weights matter; of rerank: what its score is multiplied by."""
    method: FusionMethod | None = None
    """Of fusion: reciprocal rank fusion, or the weighted sum of scores."""
    queries: QueryKind | Literal["all"] = "all"
    """Which queries the stage is for, of those that it can answer."""

    variant: str = ""
    """Of rerank: the variant that scores."""
    candidates: int = Field(0, ge=0, le=1000)
    """Of rerank: how many documents are ordered anew."""
    first_stage: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Of rerank: what the score of the stages before it is multiplied by, before the reranker's is added."""

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What only a reranker has is left out of other stages, so that releases of before there were any keep their ids."""
        content: dict[str, Any] = serialize(self)
        unused = () if self.stage == RERANK else ("variant", "candidates", "first_stage")
        return {key: value for key, value in content.items() if key not in unused}

    def answers(self, kind: QueryKind) -> bool:
        """Whether the stage is for queries of this kind."""
        return self.queries in ("all", kind)


def named(stages: Sequence[StageCard]) -> str:
    """Stages in words: retrievers with their weights, or with the method of their fusion; by kind of query where they differ.

    >>> dense, lexical = StageCard(stage="dense", weight=0.7), StageCard(stage="lexical", weight=0.3)
    >>> named([dense, lexical, StageCard(stage="fusion", method="weighted")])
    'dense 0.7 + lexical 0.3'
    >>> named([dense, lexical, StageCard(stage="fusion", method="rrf")])
    'dense + lexical, rrf'
    >>> named([dense, StageCard(stage="rerank", weight=1, first_stage=20, candidates=50)])
    'dense, 50 reranked'
    >>> named([dense, StageCard(stage="blend", artifact="ab")])
    'dense, blended'
    """
    of_kind = {kind: _named(stages, kind) for kind in ("text", "history")}
    reranked = "".join(f", {stage.candidates} reranked" for stage in stages if stage.stage == RERANK)
    blended = ", blended" if any(stage.stage == BLEND for stage in stages) else ""
    same = len(set(of_kind.values())) == 1
    of_kind["text"] += reranked
    if same or not of_kind["history"]:
        return of_kind["text"] + blended
    return "; ".join(f"{kind}: {names}" for kind, names in of_kind.items() if names) + blended


def _named(stages: Sequence[StageCard], kind: QueryKind) -> str:
    fusion = next((stage.method for stage in stages if stage.stage == FUSION and stage.answers(kind)), None)
    retrievers = [stage for stage in stages if stage.stage not in NO_RETRIEVERS and stage.answers(kind)]
    if fusion == "weighted" and len(retrievers) > 1:
        return " + ".join(f"{stage.stage} {stage.weight:g}" for stage in retrievers)
    return " + ".join(stage.stage for stage in retrievers) + (", rrf" if fusion and len(retrievers) > 1 else "")
