"""`reranker.json`: what a reranker is, and how its scores and the first stage's become one."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.store.artifacts import Artifact

KIND: Literal["reranker"] = "reranker"
CARD, MODEL = "reranker.json", "model"
"""The card's file, and the folder with configuration, weights and tokenizer as transformers has them."""


class Fusion(BaseModel):
    """`first_stage_weight` × `scale` × first stage's score + `reranker_weight` × reranker's score.

    >>> Fusion(first_stage_weight=0.5, reranker_weight=0.5, scale=20).fused(np.array([0.5, 0.25]), np.array([-8.0, 1.0]))
    array([1., 3.])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    first_stage_weight: float = Field(ge=0)
    reranker_weight: float = Field(ge=0)
    scale: float = Field(gt=0)

    def fused(self, first_stage: NDArray[np.floating], reranker: NDArray[np.floating]) -> NDArray[np.float64]:
        """The fused score of each document, (documents,), of both scores, (documents,)."""
        return np.asarray(self.first_stage_weight * self.scale * first_stage + self.reranker_weight * reranker, np.float64)

    @property
    def telling_apart(self) -> "Fusion":
        """By what variants are compared: this one, but without a weight of the reranker, where all would rank alike, by halves.

        >>> Fusion(first_stage_weight=1, reranker_weight=0, scale=20).telling_apart
        Fusion(first_stage_weight=0.5, reranker_weight=0.5, scale=20.0)
        """
        return self if self.reranker_weight else Fusion(first_stage_weight=0.5, reranker_weight=0.5, scale=self.scale)


class RerankerCard(BaseModel):
    """What a reranker is."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base: str
    """The model that training began from, as it was named."""
    licence: str
    """Of the base, as its card says; empty: it does not say."""
    max_length: int = Field(ge=8, le=512)
    """Tokens kept of a query and a document together."""
    document_text: Literal["text"] = "text"
    """How a document becomes text: the field that is given to the reranker."""
    fusion: Fusion
    candidates: int = Field(ge=1, le=1000)
    """Documents of the first stage that are scored."""
    scores: list[tuple[float, float]]
    """Epoch and nDCG@10 over the dev queries by both scores together; epoch 0: before training."""
    seed: int


def card_of(reranker: Artifact) -> RerankerCard:
    """The card of a reranker artifact."""
    return RerankerCard.model_validate(reranker.json(CARD))
