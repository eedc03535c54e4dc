"""Collaborative retrieval: what users chose who had chosen the same, by a matrix that is document by document.

The artifact `recommender` holds several models: `model.npz`, which is served, and `dev-TIME.npz`, which was made from what was
before that time, so that stages can be chosen by what came after it. Each has the rows of the matrix (`starts`, `columns`,
`weights`, by CSR) and `popularity`, the score of each document for everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import CorruptArtifact
from pipelines.retrieval.stages.answers import AskedQuery, DocumentScorer, DocumentScores, Scores
from pipelines.store.artifacts import Artifact

KIND = "recommender"
SERVED = "model"
"""The model that is served."""


def dev_model(time: int) -> str:
    """The model that was made from what was before a time, for the choice of stages alone.

    >>> dev_model(893286638)
    'dev-893286638'
    """
    return f"dev-{time}"


@dataclass(frozen=True)
class Collaborative(DocumentScorer):
    """A matrix whose rows say what speaks for which other documents."""

    starts: NDArray[np.int64]
    """Where the row of each document begins in `columns`; one more at the end."""
    columns: NDArray[np.int32]
    weights: Scores
    bounded: ClassVar[bool] = False
    uses_vectors: ClassVar[bool] = False

    def answer(self, asked: AskedQuery) -> DocumentScores | None:
        """The sum of the rows of the history's documents; none where nobody had chosen any of them."""
        rows = [self.positions[document] for document in asked.history]
        spans = [slice(self.starts[row], self.starts[row + 1]) for row in rows]
        columns = np.concatenate([self.columns[:0], *(self.columns[span] for span in spans)])
        if not len(columns):
            return None
        weights = np.concatenate([self.weights[span] for span in spans])
        scores = np.bincount(columns, weights, minlength=len(self.ids)).astype(np.float32)
        return self.scored(scores)


def write_model(
    folder: Path,
    model: str,
    starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    weights: Scores,
    popularity: Scores,
) -> None:
    """Write one model of the artifact."""
    np.savez(
        folder / f"{model}.npz",
        starts=starts.astype(np.int64),
        columns=columns.astype(np.int32),
        weights=weights.astype(np.float32),
        popularity=popularity.astype(np.float32),
    )


def load_collaborative(artifact: Artifact, ids: Sequence[str], model: str = SERVED) -> Collaborative:
    """Load the artifact's matrix.

    Args:
        artifact: of kind `recommender`.
        ids: document ids of its corpus, sorted.
        model: which of its models.

    Raises:
        CorruptArtifact: its arrays are not of one length.
    """
    with np.load(artifact.path(f"{model}.npz"), allow_pickle=False) as arrays:
        starts, columns, weights = arrays["starts"], arrays["columns"], arrays["weights"]
    if len(starts) != len(ids) + 1 or starts[-1] != len(columns) or len(columns) != len(weights):
        raise damaged(artifact)
    if columns.max(initial=-1) >= len(ids):
        raise damaged(artifact)
    return Collaborative(ids, starts, columns, weights)


def damaged(artifact: Artifact) -> CorruptArtifact:
    """The error of a recommender whose arrays do not fit together."""
    return CorruptArtifact(
        f"recommender {artifact.id}, whose arrays differ in length", "one length", "train it again with train_recommender"
    )
