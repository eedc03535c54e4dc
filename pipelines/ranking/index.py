"""An index: nearest neighbours over embeddings. The artifact holds `index.faiss` and `ids.json` (row to document id)."""

import json
from collections.abc import Sequence
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

    def search(self, queries: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """The k best documents of each query vector, best first; equal scores in the order of document ids."""
        scores, positions = self.faiss_index.search(np.ascontiguousarray(queries, np.float32), min(k, len(self.ids)))
        return [
            sorted(zip(self.ids[row].tolist(), map(float, score), strict=True), key=lambda pair: (-pair[1], pair[0]))
            for row, score in zip(positions, scores, strict=True)
        ]


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
