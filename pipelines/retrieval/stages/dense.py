"""Dense retrieval: the nearest vectors to an encoded text, or to the mean direction of a history's vectors."""

from dataclasses import dataclass
from typing import ClassVar

from pipelines.index.vector_index import Index
from pipelines.retrieval.stages.answers import AskedQuery, VectorScores


@dataclass(frozen=True)
class Dense:
    """The release's own encoder and index."""

    index: Index
    bounded: ClassVar[bool] = True
    uses_vectors: ClassVar[bool] = True

    def answer(self, asked: AskedQuery) -> VectorScores | None:
        """Cosines to the query's vector."""
        return None if asked.vector is None else VectorScores(self.index, asked.vector)
