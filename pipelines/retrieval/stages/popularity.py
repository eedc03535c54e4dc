"""Popularity: what most users chose, the same for every history, without what its user had chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipelines.retrieval.stages.answers import AskedQuery, DocumentScorer, DocumentScores, Scores
from pipelines.retrieval.stages.collaborative import SERVED, damaged
from pipelines.store.artifacts import Artifact


@dataclass(frozen=True)
class Popularity(DocumentScorer):
    """By document, how many users chose it."""

    scores: Scores
    bounded: ClassVar[bool] = False
    uses_vectors: ClassVar[bool] = False

    def answer(self, asked: AskedQuery) -> DocumentScores:  # noqa: ARG002  # the same for everybody
        """The counts; a document that nobody chose is not retrieved."""
        return self.scored(self.scores)


def load_popularity(artifact: Artifact, ids: Sequence[str], model: str = SERVED) -> Popularity:
    """Load the counts of a recommender.

    Args:
        artifact: of kind `recommender`.
        ids: document ids of its corpus, sorted.
        model: which of its models.

    Raises:
        CorruptArtifact: there are not as many counts as documents.
    """
    with np.load(artifact.path(f"{model}.npz"), allow_pickle=False) as arrays:
        scores = arrays["popularity"]
    if len(scores) != len(ids):
        raise damaged(artifact)
    return Popularity(ids, scores)
