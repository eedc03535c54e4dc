"""Known queries: the documents that people judged relevant for similar training queries.

The score of a document is the largest product of a training query's cosine to the query and its gain, which is the document's
grade for it divided by the highest grade of the corpus. Nothing is trained. The artifact holds `vectors.npy` (one row for each
training query), `judged.npz` (its documents and gains, by CSR) and `texts.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.text_rules import folded
from pipelines.errors import CorruptArtifact
from pipelines.models.encoder import Vectors
from pipelines.retrieval.stages.answers import AskedQuery, DocumentScorer, DocumentScores, Retriever, Scores
from pipelines.store.artifacts import Artifact

KIND = "known_queries"


@dataclass(frozen=True)
class KnownQueries(DocumentScorer):
    """Judged training queries with their vectors, and the gains of their documents."""

    texts: Sequence[str]
    vectors: Vectors
    """float32, (training queries, dimensions), of unit length."""
    starts: NDArray[np.int64]
    """Where the documents of each training query begin in `documents`; one more at the end."""
    documents: NDArray[np.int32]
    gains: Scores
    held_out: bool = False
    """Whether a query's own text does not count among the training queries."""
    bounded: ClassVar[bool] = True
    uses_vectors: ClassVar[bool] = True

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(self.texts):
            rows.setdefault(folded(text), []).append(row)
        return rows

    @cached_property
    def _judged(self) -> NDArray[np.int64]:
        """The training query of each judgment."""
        return np.repeat(np.arange(len(self.texts)), np.diff(self.starts))

    def answer(self, asked: AskedQuery) -> DocumentScores | None:
        """Scores by the most similar training query that each document is relevant for."""
        if asked.vector is None:
            return None
        cosines = self.vectors @ asked.vector
        if self.held_out:
            cosines[self._by_text.get(folded(asked.query.text), [])] = 0
        scores = np.zeros(len(self.ids), np.float32)
        np.maximum.at(scores, self.documents, cosines[self._judged] * self.gains)
        return self.scored(scores)


def without_own_queries(retrievers: Mapping[str, Retriever]) -> dict[str, Retriever]:
    """The retrievers for train queries: none finds itself among the known queries."""
    return {name: replace(one, held_out=True) if isinstance(one, KnownQueries) else one for name, one in retrievers.items()}


def write_known_queries(
    folder: Path, ids: Sequence[str], texts: Sequence[str], vectors: Vectors, grades: Sequence[Mapping[str, int]]
) -> int:
    """Write the artifact's files; returns the number of judgments that it holds.

    Args:
        folder: to write into.
        ids: document ids of the corpus, sorted.
        texts: of the training queries.
        vectors: float32, (training queries, dimensions).
        grades: of each training query, grade by document id; those not of the corpus, and grades of 0, are left out.
    """
    positions = {document: row for row, document in enumerate(ids)}
    highest = max((grade for judged in grades for grade in judged.values()), default=1)
    kept = [
        sorted((positions[name], grade) for name, grade in judged.items() if grade > 0 and name in positions)
        for judged in grades
    ]
    np.save(folder / "vectors.npy", np.asarray(vectors, np.float32))
    np.savez(
        folder / "judged.npz",
        starts=np.cumsum([0, *map(len, kept)], dtype=np.int64),
        documents=np.array([row for judged in kept for row, _ in judged], np.int32),
        gains=np.array([grade / highest for judged in kept for _, grade in judged], np.float32),
    )
    (folder / "texts.json").write_text(json.dumps(list(texts), ensure_ascii=False), encoding="utf-8")
    return sum(map(len, kept))


def load_known_queries(artifact: Artifact, ids: Sequence[str]) -> KnownQueries:
    """Load the artifact.

    Args:
        artifact: of kind `known_queries`.
        ids: document ids of its corpus, sorted.

    Raises:
        CorruptArtifact: its files are not of one length.
    """
    texts: list[str] = artifact.json("texts.json")
    vectors = np.load(artifact.path("vectors.npy"), allow_pickle=False)
    with np.load(artifact.path("judged.npz"), allow_pickle=False) as arrays:
        starts, documents, gains = arrays["starts"], arrays["documents"], arrays["gains"]
    sizes = (len(vectors) - len(texts), len(starts) - len(texts) - 1, len(documents) - len(gains), starts[-1] - len(gains))
    if any(sizes) or documents.max(initial=0) >= max(len(ids), 1):
        raise CorruptArtifact(f"known queries {artifact.id}, whose files differ in length", "one length", "index them again")
    return KnownQueries(ids, texts, vectors, starts, documents, gains)
