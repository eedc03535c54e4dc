"""The algorithms of an index, by FAISS: how each is built, on which device, and its search effort (`efSearch`, `nprobe`).

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs"
(2018), for `hnsw`; Jégou, Douze and Schmid, "Product quantization for nearest neighbor search" (2011), for `ivf-pq`.
"""

import math
from typing import Any, Literal

import numpy as np

from pipelines.errors import InputError
from pipelines.models.encoder import Vectors

Algorithm = Literal["flat", "hnsw", "ivf-sq8", "ivf-pq"]
ALGORITHMS: tuple[Algorithm, ...] = ("flat", "hnsw", "ivf-sq8", "ivf-pq")
Device = Literal["cpu", "gpu"]
SEED = 1234
HNSW_LINKS, EF_CONSTRUCTION = 32, 100
POINTS_PER_LIST = 39
"""Vectors per inverted list that k-means needs at least."""
PQ_CENTROIDS = 256
"""Centroids of one byte of a product quantizer; training needs at least as many vectors."""
PQ_ITERATIONS, PQ_POINTS_PER_CENTROID = 10, 64
"""Of a product quantizer's k-means: FAISS's defaults of 25 and 256 take ten times as long."""
PQ_BYTES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
"""Bytes per vector that a GPU can build under `ivf-pq`; the first that divides the dimensions is used."""
ROWS_PER_ADD = 65_536
"""Rows added at once, so that vectors are read from disk piece by piece."""


def lists_of(documents: int) -> int:
    """The number of inverted lists: 4·√n, but no more than leaves POINTS_PER_LIST vectors for each.

    >>> lists_of(100_000), lists_of(1000), lists_of(10)
    (1265, 25, 1)
    """
    return max(1, min(round(4 * math.sqrt(documents)), documents // POINTS_PER_LIST))


def device_of(algorithm: Algorithm, gpus: int) -> Device:
    """Where to build: inverted lists on a GPU where there is one; `hnsw` and `flat` gain nothing from it.

    >>> device_of("ivf-sq8", 1), device_of("ivf-sq8", 0), device_of("hnsw", 1)
    ('gpu', 'cpu', 'cpu')
    """
    return "gpu" if gpus > 0 and algorithm.startswith("ivf") else "cpu"


def empty(algorithm: Algorithm, dimensions: int, documents: int) -> Any:
    """An untrained index over inner products, sized for a number of documents, with fixed seeds.

    Raises:
        InputError: there are too few documents to train it.
    """
    import faiss

    pq_bytes = next(size for size in PQ_BYTES if dimensions % size == 0)
    inverted = f"IVF{lists_of(documents)}"
    kinds = {
        "flat": "Flat",
        "hnsw": f"HNSW{HNSW_LINKS}",
        "ivf-sq8": f"{inverted},SQ8",
        "ivf-pq": f"{inverted},PQ{pq_bytes}np",  # np: without polysemous training, which nothing here uses
    }
    if algorithm == "ivf-pq" and documents < PQ_CENTROIDS:
        raise InputError(f"ivf-pq over {documents} documents", f"at least {PQ_CENTROIDS}", "take --algorithm auto")
    index: Any = faiss.index_factory(dimensions, kinds[algorithm], faiss.METRIC_INNER_PRODUCT)
    if algorithm == "hnsw":
        index.hnsw.efConstruction = EF_CONSTRUCTION
    elif algorithm != "flat":
        index.cp.seed, index.cp.min_points_per_centroid = SEED, 1
    if algorithm == "ivf-pq":
        index.pq.cp.seed, index.pq.cp.niter = SEED, PQ_ITERATIONS
        index.pq.cp.min_points_per_centroid, index.pq.cp.max_points_per_centroid = 1, PQ_POINTS_PER_CENTROID
    return index


def build(algorithm: Algorithm, vectors: Vectors, device: Device = "cpu") -> tuple[Any, Any]:
    """Train an index and add all vectors, float32, shape (documents, dimensions), in their order.

    Returns:
        the index on the CPU, and the original on the GPU where it was built there, else None.
    """
    import faiss

    index = empty(algorithm, vectors.shape[1], len(vectors))
    if device == "gpu":
        options = faiss.GpuClonerOptions()
        options.useFloat16 = algorithm == "ivf-pq"  # tables for 96 bytes do not fit a GPU's shared memory in 32 bits
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index, options)
    if not index.is_trained:
        index.train(np.ascontiguousarray(vectors, np.float32))
    for start in range(0, len(vectors), ROWS_PER_ADD):
        index.add(np.ascontiguousarray(vectors[start : start + ROWS_PER_ADD], np.float32))
    return (faiss.index_gpu_to_cpu(index), index) if device == "gpu" else (index, None)


def efforts(index: Any) -> list[int]:
    """The search efforts to try, ascending: `nprobe` of inverted lists, `efSearch` of a graph; [0] for an exact index."""
    if hasattr(index, "hnsw"):
        return [2**power for power in range(4, 11)]
    if hasattr(index, "nlist"):
        return [*(2**power for power in range(math.ceil(math.log2(index.nlist)))), index.nlist]
    return [0]


def set_effort(index: Any, effort: int) -> None:
    """Set `efSearch` or `nprobe`, which FAISS writes with the index; an exact index has neither."""
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = effort
    elif hasattr(index, "nprobe"):
        index.nprobe = effort
