"""An index: nearest neighbours over embeddings. The artifact holds `index.faiss` and `ids.json` (row to document id)."""

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import Artifact
from pipelines.errors import CorruptArtifact
from pipelines.ranking.encoder import Vectors


class Index:
    """A FAISS index over inner products, with the document ids of its rows."""

    def __init__(self, faiss_index: Any, ids: Sequence[str]) -> None:
        self.faiss_index, self.ids = faiss_index, np.asarray(ids, dtype=object)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Document ids to rows."""
        return {str(document): row for row, document in enumerate(self.ids)}

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """The stored vectors of documents, float32, shape (len(ids), dimensions)."""
        rows = np.array([self.rows[one] for one in ids], np.int64)
        return np.asarray(self.faiss_index.reconstruct_batch(rows), np.float32)

    def search(self, queries: Vectors, k: int, left_out: Sequence[Collection[str]] = ()) -> list[list[tuple[str, float]]]:
        """The k best documents of each query vector, best first; equal scores in the order of document ids.

        Args:
            queries: float32, shape (queries, dimensions).
            k: documents for each query.
            left_out: for each query, documents that must not be among its results; empty: none.
        """
        without = left_out or [()] * len(queries)
        deepest = min(k + max(map(len, without), default=0), len(self.ids))
        scores, positions = self.faiss_index.search(np.ascontiguousarray(queries, np.float32), deepest)
        return [
            [pair for pair in self._ranked(*row) if pair[0] not in out][:k]
            for *row, out in zip(positions, scores, without, strict=True)
        ]

    def _ranked(self, positions: Any, scores: Any) -> list[tuple[str, float]]:
        pairs = zip(self.ids[positions].tolist(), map(float, scores), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


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
