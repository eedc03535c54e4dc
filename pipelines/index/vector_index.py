"""An index: nearest neighbours over embeddings. The artifact holds `index.faiss` and `ids.json` (row to document id).

How hard an approximate index looks (`efSearch`, `nprobe`) lies in `index.faiss`, so every reader searches alike.
"""

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import CorruptArtifact
from pipelines.models.encoder import Vectors
from pipelines.store.artifacts import Artifact

CANCELLED = 1e-4
"""A mean of unit vectors that is shorter than this has no direction but that of rounding."""


class Index:
    """A FAISS index over inner products, with the document ids of its rows."""

    def __init__(self, faiss_index: Any, ids: Sequence[str]) -> None:
        self.faiss_index, self.ids = faiss_index, np.asarray(ids, dtype=object)
        if hasattr(faiss_index, "make_direct_map"):  # inverted lists find a row's vector only through this
            faiss_index.make_direct_map()

    @cached_property
    def rows(self) -> dict[str, int]:
        """Document ids to rows."""
        return {str(document): row for row, document in enumerate(self.ids)}

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """The vectors of documents as the index stores them, float32, shape (len(ids), dimensions).

        Compressed indexes (`ivf-sq8`, `ivf-pq`) give what is left of a vector after compression.
        """
        rows = np.array([self.rows[one] for one in ids], np.int64)
        return np.asarray(self.faiss_index.reconstruct_batch(rows), np.float32)

    def search(self, queries: Vectors, k: int, left_out: Sequence[Collection[str]] = ()) -> list[list[tuple[str, float]]]:
        """The k best documents of each query vector, best first; equal scores in the order of document ids.

        Where the part that an approximate index looks at holds fewer than k, all of it is looked at.

        Args:
            queries: float32, shape (queries, dimensions).
            k: documents for each query.
            left_out: for each query, documents that must not be among its results; empty: none.
        """
        without = left_out or [()] * len(queries)
        deepest = min(k + max(map(len, without), default=0), len(self.ids))
        scores, positions = self._nearest(np.ascontiguousarray(queries, np.float32), deepest)
        return [
            [pair for pair in self._ranked(*row) if pair[0] not in out][:k]
            for *row, out in zip(positions, scores, without, strict=True)
        ]

    def _nearest(self, queries: Vectors, k: int) -> tuple[Any, Any]:
        """Scores and rows, shape (queries, k). FAISS says -1 where it has found no more."""
        scores, positions = self.faiss_index.search(queries, k)
        short = np.flatnonzero((positions < 0).any(1))
        if short.size:
            scores[short], positions[short] = self.faiss_index.search(queries[short], k, params=everywhere(self.faiss_index))
        return scores, positions

    def _ranked(self, positions: Any, scores: Any) -> list[tuple[str, float]]:
        found = positions >= 0  # a graph may leave a row unreachable
        pairs = zip(self.ids[positions[found]].tolist(), map(float, scores[found]), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def everywhere(faiss_index: Any) -> Any:
    """The search parameters by which an approximate index looks at all its rows; an exact one has none."""
    import faiss

    if hasattr(faiss_index, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=faiss_index.ntotal)  # type: ignore[attr-defined]
    if hasattr(faiss_index, "nlist"):
        return faiss.SearchParametersIVF(nprobe=faiss_index.nlist)  # type: ignore[call-arg]
    return None


def mean_direction(vectors: Vectors) -> Vectors:
    """The direction of the mean of unit vectors; the last vector's own where they cancel each other out."""
    mean = vectors.mean(0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > CANCELLED else vectors[-1], np.float32)


def build_flat(vectors: Vectors) -> Any:
    """An exact index: every query is compared with every vector."""
    import faiss

    built = faiss.IndexFlatIP(vectors.shape[1])
    built.add(np.ascontiguousarray(vectors, np.float32))
    return built


def write_index(folder: Path, built: Any, ids: Sequence[str]) -> None:
    """Write the two files of an index artifact into `folder`."""
    import faiss

    faiss.write_index(built, str(folder / "index.faiss"))
    write_ids(folder, ids)


def write_ids(folder: Path, ids: Sequence[str]) -> None:
    """Write the document ids of an index's rows into `folder`."""
    (folder / "ids.json").write_text(json.dumps(list(ids), ensure_ascii=False), encoding="utf-8")


def load_index(index: Artifact) -> Index:
    """The index, ready to search.

    Raises:
        CorruptArtifact: it has another number of vectors than of document ids.
    """
    import faiss

    built, ids = faiss.read_index(str(index.path("index.faiss"))), index.json("ids.json")
    if built.ntotal != len(ids):
        raise CorruptArtifact(
            f"index {index.id}: {built.ntotal} vectors", f"{len(ids)}, one for each document", "build it again"
        )
    return Index(built, ids)
