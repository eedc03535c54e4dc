"""The algorithms of an index: how each is built, how hard it can look, and where it can be built.

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
LINKS, CONSTRUCTION = 32, 100
"""Of the graph: links of a node, and candidates that are looked at for them."""
POINTS_A_LIST = 39
"""Vectors for each list that k-means asks for at least."""
CODES = 256
"""Centroids of a byte of a product quantizer: so many vectors it needs to be trained at all."""
PQ_ROUNDS, PQ_POINTS = 10, 64
"""Of a product quantizer's k-means, rounds and vectors for each centroid: FAISS's own 25 and 256 take ten times as long."""
BYTES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
"""Bytes of a vector under `ivf-pq`, of which the first that divides the dimensions is taken: those that a GPU can build."""
SLICE = 65_536
"""Rows that are added at once, so that vectors are read from disk piece by piece."""


def lists_of(documents: int) -> int:
    """Inverted lists for so many documents: 4·√n, as far as each has enough vectors to be trained by.

    >>> lists_of(100_000), lists_of(1000), lists_of(10)
    (1265, 25, 1)
    """
    return max(1, min(round(4 * math.sqrt(documents)), documents // POINTS_A_LIST))


def device_of(algorithm: Algorithm, gpus: int) -> Device:
    """Where to build: inverted lists on a GPU where there is one; a graph and a plain copy gain nothing there.

    >>> device_of("ivf-sq8", 1), device_of("ivf-sq8", 0), device_of("hnsw", 1)
    ('gpu', 'cpu', 'cpu')
    """
    return "gpu" if gpus > 0 and algorithm.startswith("ivf") else "cpu"


def empty(algorithm: Algorithm, dimensions: int, documents: int) -> Any:
    """An untrained index over inner products, sized for `documents`, with fixed seeds.

    Raises:
        InputError: too few documents to train it.
    """
    import faiss

    bytes_a_vector = next(size for size in BYTES if dimensions % size == 0)
    inverted = f"IVF{lists_of(documents)}"
    kinds = {
        "flat": "Flat",
        "hnsw": f"HNSW{LINKS}",
        "ivf-sq8": f"{inverted},SQ8",
        "ivf-pq": f"{inverted},PQ{bytes_a_vector}np",  # np: without the polysemous training, which nothing here uses
    }
    if algorithm == "ivf-pq" and documents < CODES:
        raise InputError(f"ivf-pq over {documents} documents", f"at least {CODES}", "take --algorithm auto")
    made: Any = faiss.index_factory(dimensions, kinds[algorithm], faiss.METRIC_INNER_PRODUCT)
    if algorithm == "hnsw":
        made.hnsw.efConstruction = CONSTRUCTION
    elif algorithm != "flat":
        made.cp.seed, made.cp.min_points_per_centroid = SEED, 1
    if algorithm == "ivf-pq":
        made.pq.cp.seed, made.pq.cp.niter = SEED, PQ_ROUNDS
        made.pq.cp.min_points_per_centroid, made.pq.cp.max_points_per_centroid = 1, PQ_POINTS
    return made


def build(algorithm: Algorithm, vectors: Vectors, device: Device = "cpu") -> tuple[Any, Any]:
    """Train an index and add all vectors, float32, shape (documents, dimensions), in their order.

    Returns:
        the index on the CPU; and where it was built on a GPU the original there, whose answers the first must give, else None.
    """
    import faiss

    made = empty(algorithm, vectors.shape[1], len(vectors))
    if device == "gpu":
        options = faiss.GpuClonerOptions()
        options.useFloat16 = algorithm == "ivf-pq"  # tables of 96 bytes do not fit a GPU's shared memory in 32 bits
        made = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, made, options)
    if not made.is_trained:
        made.train(np.ascontiguousarray(vectors, np.float32))
    for start in range(0, len(vectors), SLICE):
        made.add(np.ascontiguousarray(vectors[start : start + SLICE], np.float32))
    return (faiss.index_gpu_to_cpu(made), made) if device == "gpu" else (made, None)


def efforts(index: Any) -> list[int]:
    """How hard an index can look, least first: lists (`nprobe`) or candidates (`efSearch`); one that is exact has no choice."""
    if hasattr(index, "hnsw"):
        return [2**power for power in range(4, 11)]
    if hasattr(index, "nlist"):
        return [*(2**power for power in range(math.ceil(math.log2(index.nlist)))), index.nlist]
    return [0]


def set_effort(index: Any, effort: int) -> None:
    """Make an index look that hard; FAISS writes it with the index."""
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = effort
    elif hasattr(index, "nprobe"):
        index.nprobe = effort
