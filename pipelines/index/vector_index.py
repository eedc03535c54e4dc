"""The index as it is searched. The artifact holds `index.faiss` and `ids.json` (the document id of each row).

The search effort of an approximate index (`efSearch`, `nprobe`) is part of `index.faiss`, so that every reader gets equal
results.
"""

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.document_fields import Places
from pipelines.errors import CorruptArtifact
from pipelines.models.encoder import Vectors
from pipelines.store.artifacts import Artifact

CANCELLED = 1e-4
"""A mean of unit vectors that is shorter than this has no direction but that of rounding errors."""
SCORED_TOGETHER = 4_096
"""Vectors that are in memory at once while some documents are scored."""


class Index:
    """A FAISS index over inner products, with the document ids of its rows."""

    def __init__(self, faiss_index: Any, ids: Sequence[str]) -> None:
        self.faiss_index, self.ids = faiss_index, np.asarray(ids, dtype=object)
        if hasattr(faiss_index, "make_direct_map"):  # inverted lists need it to reconstruct a row's vector
            faiss_index.make_direct_map()

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row by document id."""
        return {str(document): row for row, document in enumerate(self.ids)}

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """The vectors of documents as the index stores them, float32, shape (len(ids), dimensions).

        Compressed indexes (`ivf-sq8`, `ivf-pq`) give the vectors as they are after compression.

        Raises:
            KeyError: a document is not in the index.
        """
        rows = np.array([self.rows[document] for document in ids], np.int64)
        return np.asarray(self.faiss_index.reconstruct_batch(rows), np.float32)

    def search(self, queries: Vectors, k: int, left_out: Sequence[Collection[str]] = ()) -> list[list[tuple[str, float]]]:
        """The k best documents of each query vector with their inner products, best first; ties in the order of document ids.

        Where an approximate index finds fewer than k with its effort, it searches all its rows.

        Args:
            queries: float32, shape (queries, dimensions).
            k: documents for each query.
            left_out: for each query, documents that must not be among its results; empty: none.
        """
        excluded = left_out or [()] * len(queries)
        depth = min(k + max(map(len, excluded), default=0), len(self.ids))
        scores, rows = self._nearest(np.ascontiguousarray(queries, np.float32), depth)
        return [
            [pair for pair in self._ranking(*result) if pair[0] not in out][:k]
            for *result, out in zip(rows, scores, excluded, strict=True)
        ]

    @cached_property
    def by_id(self) -> NDArray[np.int64]:
        """The row of each document, in the order of their ids."""
        return np.argsort(self.ids, kind="stable")

    def search_among(self, query: Vectors, k: int, among: Places, left_out: Collection[str] = ()) -> list[tuple[str, float]]:
        """The k best of some documents with their inner products, best first; ties in the order of document ids.

        Each of them is scored, whatever the index: as many are found as there are.

        Args:
            query: float32, shape (dimensions,).
            k: documents.
            among: which documents.
            left_out: documents of these that must not be among the results.
        """
        rows = self.by_id[among]
        parts = [rows[start : start + SCORED_TOGETHER] for start in range(0, len(rows), SCORED_TOGETHER)]
        scores = [np.asarray(self.faiss_index.reconstruct_batch(part) @ query, np.float32) for part in parts]
        return best_of(self.ids, rows, np.concatenate([*scores, np.zeros(0, np.float32)]), k, left_out)

    def _nearest(self, queries: Vectors, k: int) -> tuple[Any, Any]:
        """Scores and rows, each of shape (queries, k). FAISS gives row -1 where it finds no more."""
        scores, rows = self.faiss_index.search(queries, k)
        short = np.flatnonzero((rows < 0).any(1))
        if short.size:
            scores[short], rows[short] = self.faiss_index.search(queries[short], k, params=exhaustive(self.faiss_index))
        return scores, rows

    def _ranking(self, rows: Any, scores: Any) -> list[tuple[str, float]]:
        present = rows >= 0  # a row of a graph may be unreachable
        pairs = zip(self.ids[rows[present]].tolist(), map(float, scores[present]), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def best_of(
    ids: Sequence[str] | NDArray[Any], places: Places, scores: NDArray[np.float32], k: int, left_out: Collection[str]
) -> list[tuple[str, float]]:
    """The k best documents with their scores, best first; ties in the order of `places`.

    Args:
        ids: document ids.
        places: of the documents in `ids`.
        scores: of these documents, (len(places),).
        k: documents.
        left_out: documents that must not be among them.
    """
    enough = k + len(left_out)
    if len(places) > 4 * enough:  # the rest needs no sorting
        kept = scores >= np.partition(scores, -enough)[-enough]
        places, scores = places[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:enough]
    best = zip(places[order].tolist(), scores[order].tolist(), strict=True)
    return [(ids[place], score) for place, score in best if ids[place] not in left_out][:k]


def exhaustive(faiss_index: Any) -> Any:
    """The search parameters with which an approximate index searches all its rows; None for an exact index."""
    import faiss

    if hasattr(faiss_index, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=faiss_index.ntotal)  # type: ignore[attr-defined]
    if hasattr(faiss_index, "nlist"):
        return faiss.SearchParametersIVF(nprobe=faiss_index.nlist)  # type: ignore[call-arg]
    return None


def mean_direction(vectors: Vectors) -> Vectors:
    """The mean of unit vectors, (vectors, dimensions), scaled to length 1; the last vector where they cancel out."""
    mean = vectors.mean(0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > CANCELLED else vectors[-1], np.float32)


def build_flat(vectors: Vectors) -> Any:
    """An exact index over vectors, float32, (documents, dimensions)."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return index


def write_index(folder: Path, faiss_index: Any, ids: Sequence[str]) -> None:
    """Write the two files of an index artifact into `folder`."""
    import faiss

    faiss.write_index(faiss_index, str(folder / "index.faiss"))
    write_ids(folder, ids)


def write_ids(folder: Path, ids: Sequence[str]) -> None:
    """Write `ids.json`, the document id of each row, into `folder`."""
    (folder / "ids.json").write_text(json.dumps(list(ids), ensure_ascii=False), encoding="utf-8")


def load_index(index: Artifact) -> Index:
    """Load an index artifact.

    Raises:
        CorruptArtifact: the numbers of vectors and of document ids differ.
    """
    import faiss

    faiss_index, ids = faiss.read_index(str(index.path("index.faiss"))), index.json("ids.json")
    if faiss_index.ntotal != len(ids):
        raise CorruptArtifact(
            f"index {index.id}: {faiss_index.ntotal} vectors", f"{len(ids)}, one for each document", "build it again"
        )
    return Index(faiss_index, ids)
