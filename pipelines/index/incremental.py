"""Incremental update of an index: rows are removed and added, trained centroids stay while they still fit the vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embeddings.layout import EmbeddedRow
from pipelines.models.encoder import Vectors

DRIFT = 0.02
"""How much `drift_of` may grow after the training before the lists are trained anew."""
GROWTH = 2.0
"""Factor by which the number of documents may grow or shrink after the training."""
SAMPLED = 200_000


@dataclass(frozen=True)
class UpdatedIndex:
    """An index after an incremental update."""

    index: Any
    ids: list[str]
    """Document ids in the order of its rows."""
    order: NDArray[np.int64]
    """For each row of the index, the row of its vector in the embeddings."""
    added: int
    removed: int
    drift: float
    """Of inverted lists, by `drift_of`; 0 for a graph, which has no centroids."""


def drift_of(index: Any, vectors: Vectors) -> float:
    """Mean over the vectors of 1 − cosine between the centroid of their inverted list and the mean of the list's vectors.

    Args:
        index: a trained index with inverted lists.
        vectors: unit vectors, float32, (rows, dimensions); of more than 200,000 an evenly spaced sample is used.
    """
    rows = np.linspace(0, len(vectors) - 1, min(SAMPLED, len(vectors))).astype(int)
    sample = np.ascontiguousarray(vectors[rows], np.float32)
    lists = index.quantizer.search(sample, 1)[1][:, 0]
    sums = np.zeros((index.nlist, sample.shape[1]), np.float32)
    np.add.at(sums, lists, sample)
    counts = np.bincount(lists, minlength=index.nlist)
    used = counts > 0
    centroids = index.quantizer.reconstruct_n(0, index.nlist)[used]
    lengths = np.linalg.norm(sums[used], axis=1) * np.linalg.norm(centroids, axis=1)
    cosines = (sums[used] * centroids).sum(1) / np.maximum(lengths, 1e-12)
    return float(np.average(1 - cosines, weights=counts[used]))


def update(
    index: Any, before: Sequence[EmbeddedRow], after: Sequence[EmbeddedRow], vectors: Vectors, trained: dict[str, float]
) -> UpdatedIndex | None:
    """Update an index from the rows of `before` to those of `after`; None where it must be built anew.

    Built anew are: a graph from which a row was removed, since FAISS can't delete nodes; inverted lists that drifted beyond
    DRIFT, or that hold more or fewer documents than GROWTH allows; an exact index, whose build is a copy.

    Args:
        index: the index of `before`; it is modified.
        before: the documents of its rows, in their order.
        after: the documents of the vectors, in their order.
        vectors: float32, (len(after), dimensions).
        trained: `drift` and `documents` at the time of the training.
    """
    row_after = {(row.id, row.content): number for number, row in enumerate(after)}
    target = np.array([row_after.pop((row.id, row.content), -1) for row in before], np.int64)
    added = np.array(sorted(row_after.values()), np.int64)
    removed = np.flatnonzero(target < 0)
    if hasattr(index, "hnsw") and not removed.size:
        index.add(np.ascontiguousarray(vectors[added], np.float32))
        order = np.concatenate([target, added])
        return UpdatedIndex(index, [after[row].id for row in order.tolist()], order, len(added), 0, 0.0)
    if not hasattr(index, "nlist") or not 1 / GROWTH <= len(after) / trained["documents"] <= GROWTH:
        return None
    drift = drift_of(index, vectors)
    if drift > trained["drift"] + DRIFT:
        return None
    _renumber(index, removed, target)
    index.add_with_ids(np.ascontiguousarray(vectors[added], np.float32), added)
    return UpdatedIndex(index, [row.id for row in after], np.arange(len(after)), len(added), len(removed), drift)


def _renumber(index: Any, removed: NDArray[np.int64], target: NDArray[np.int64]) -> None:
    """Remove rows from inverted lists and give each remaining row the number `target[row]`."""
    import faiss

    index.remove_ids(removed)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
            ids[:] = target[ids]
