"""An index of earlier embeddings, changed in place: rows go and come, what was trained stays, as long as it still fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embeddings.layout import EmbeddedRow
from pipelines.models.encoder import Vectors

DRIFT = 0.02
"""How much further (in 1 − cosine, on average) lists may lie from what is in them now than when they were trained."""
GROWTH = 2.0
"""How many times more, or fewer, documents than at the training the lists may hold."""
SAMPLED = 200_000


@dataclass(frozen=True)
class Updated:
    """An index that was changed in place."""

    index: Any
    ids: list[str]
    """Document ids in the order of its rows."""
    order: NDArray[np.int64]
    """Which of the vectors each of its rows is."""
    added: int
    removed: int
    drift: float
    """Of inverted lists; 0 for a graph, which has no centroids."""


def drift_of(index: Any, vectors: Vectors) -> float:
    """How far the centroids of inverted lists lie from the means of the vectors that belong to them: mean of 1 − cosine.

    Args:
        index: with inverted lists, trained.
        vectors: unit vectors, float32, (rows, dimensions); more than 200,000 are sampled at equal distances.
    """
    rows = np.linspace(0, len(vectors) - 1, min(SAMPLED, len(vectors))).astype(int)
    some = np.ascontiguousarray(vectors[rows], np.float32)
    own = index.quantizer.search(some, 1)[1][:, 0]
    sums = np.zeros((index.nlist, some.shape[1]), np.float32)
    np.add.at(sums, own, some)
    counts = np.bincount(own, minlength=index.nlist)
    used = counts > 0
    centroids = index.quantizer.reconstruct_n(0, index.nlist)[used]
    lengths = np.linalg.norm(sums[used], axis=1) * np.linalg.norm(centroids, axis=1)
    cosines = (sums[used] * centroids).sum(1) / np.maximum(lengths, 1e-12)
    return float(np.average(1 - cosines, weights=counts[used]))


def changed(
    index: Any, before: Sequence[EmbeddedRow], after: Sequence[EmbeddedRow], vectors: Vectors, trained: dict[str, float]
) -> Updated | None:
    """The index with the rows of `after` instead of `before`; None where it must be built anew.

    Built anew are: a graph from which a node would go, since FAISS can't take one out and hidden ones would pile up; lists
    that drifted, or that hold far more or fewer documents than they were trained for; an exact index, whose build is a copy.

    Args:
        index: of `before`; it is changed.
        before: what its rows stand for, in their order.
        after: what the vectors stand for.
        vectors: float32, (len(after), dimensions).
        trained: `drift` and `documents` of the training.
    """
    place = {(row.id, row.content): number for number, row in enumerate(after)}
    target = np.array([place.pop((row.id, row.content), -1) for row in before], np.int64)
    fresh = np.array(sorted(place.values()), np.int64)
    gone = np.flatnonzero(target < 0)
    if hasattr(index, "hnsw") and not gone.size:
        index.add(np.ascontiguousarray(vectors[fresh], np.float32))
        order = np.concatenate([target, fresh])
        return Updated(index, [after[row].id for row in order.tolist()], order, len(fresh), 0, 0.0)
    if not hasattr(index, "nlist") or not 1 / GROWTH <= len(after) / trained["documents"] <= GROWTH:
        return None
    drift = drift_of(index, vectors)
    if drift > trained["drift"] + DRIFT:
        return None
    _renumber(index, gone, target)
    index.add_with_ids(np.ascontiguousarray(vectors[fresh], np.float32), fresh)
    return Updated(index, [row.id for row in after], np.arange(len(after)), len(fresh), len(gone), drift)


def _renumber(index: Any, gone: NDArray[np.int64], target: NDArray[np.int64]) -> None:
    """Take rows out of inverted lists and give the others the number `target[row]`."""
    import faiss

    index.remove_ids(gone)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
            ids[:] = target[ids]
