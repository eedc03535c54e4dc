"""What a release's card says of its stages."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

QueryKind = Literal["text", "history"]
"""How a query is asked: by a text, or by the documents that a user chose before."""
FUSION = "fusion"
"""The name of the stage that combines the rankings of several retrievers."""
FusionMethod = Literal["rrf", "weighted"]


class StageCard(BaseModel):
    """One stage of a release: a retriever, or the fusion of the retrievers before it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stage: str
    """A name of `table.RETRIEVERS`, or `fusion`."""
    artifact: str = ""
    """The artifact that the stage searches; empty: the release's encoder and index, or none (fusion)."""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """The retriever's weight in the fusion; only ratios of weights matter."""
    method: FusionMethod | None = None
    """Of fusion: reciprocal rank fusion, or the weighted sum of scores."""
    queries: QueryKind | Literal["all"] = "all"
    """Which queries the stage is for, of those that it can answer."""

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
    """
    of_kind = {kind: _named(stages, kind) for kind in ("text", "history")}
    if len(set(of_kind.values())) == 1 or not of_kind["history"]:
        return of_kind["text"]
    return "; ".join(f"{kind}: {names}" for kind, names in of_kind.items() if names)


def _named(stages: Sequence[StageCard], kind: QueryKind) -> str:
    fusion = next((stage.method for stage in stages if stage.stage == FUSION and stage.answers(kind)), None)
    retrievers = [stage for stage in stages if stage.stage != FUSION and stage.answers(kind)]
    if fusion == "weighted" and len(retrievers) > 1:
        return " + ".join(f"{stage.stage} {stage.weight:g}" for stage in retrievers)
    return " + ".join(stage.stage for stage in retrievers) + (", rrf" if fusion and len(retrievers) > 1 else "")
