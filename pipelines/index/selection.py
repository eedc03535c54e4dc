"""What an approximate index loses and wins, measured against exact search on the corpus's own queries."""

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.documents import Query, queries
from pipelines.errors import InputError
from pipelines.index import algorithms
from pipelines.index.algorithms import ALGORITHMS, Algorithm
from pipelines.index.vector_index import build_flat, mean_direction
from pipelines.logs import log
from pipelines.models.encoder import Vectors, load_encoder
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.recipes import digest

DEPTH = 10
MOST, LEAST, TIMED = 500, 100, 50
"""Queries that recall is measured by at most; where there are fewer than LEAST, documents stand in; and how many are timed."""
SAME = 1e-6
"""Scores closer than this are one: of documents that tie, any may be found."""
SAME_ON_GPU = 1e-3
"""The same for scores of a GPU, whose tables have 16 bits."""


@dataclass(frozen=True)
class RecallQueries:
    """What is asked to measure an index: unit vectors, float32, (queries, dimensions), and whose they are."""

    vectors: Vectors
    source: str


@dataclass(frozen=True)
class IndexMeasurement:
    """One candidate, as the table in the manifest has it."""

    algorithm: Algorithm
    effort: int
    """`nprobe` or `efSearch`; 0: exact."""
    recall_at_10: float
    bytes: int
    latency_ratio: float
    """Median time of one query on one thread, over that of exact search in the same run."""
    build_s: float
    device: str
    gpu_agreement: float | None
    """Of an index that was built on a GPU: recall@10 of the copy for the CPU against the original; none: built on the CPU."""

    def reaches(self, least: float) -> bool:
        """Whether it may be served: it finds enough, and so does a copy of what a GPU built."""
        return self.recall_at_10 >= least and (self.gpu_agreement is None or self.gpu_agreement >= least)


def recall_queries(embedded: Artifact, ids: Sequence[str], vectors: Vectors, variant: str, threads: int) -> RecallQueries:
    """Up to 500 queries of the embeddings' corpus as vectors; where it has fewer than 100, documents stand in for the rest.

    Real queries come before synthetic ones. One with a history is the mean of its documents' vectors, as the server asks it.

    Args:
        embedded: the embeddings.
        ids: document ids in the order of the vectors.
        vectors: float32, shape (documents, dimensions).
        variant: of the encoder, for the queries.
        threads: of the encoder; 0: one for each core.
    """
    corpus = load_exactly(embedded.store, "corpus", embedded.inputs["corpus"])
    ordered = sorted(queries(corpus), key=lambda query: (query.synthetic, digest(query.id.encode())))[:MOST]
    row = {document: number for number, document in enumerate(ids)}
    histories = [known for query in ordered if (known := [row[one] for one in query.history if one in row])]
    words = [query for query in ordered if not query.history]
    parts = [mean_direction(vectors[history])[None] for history in histories]
    if words:
        encoder = load_encoder(load_exactly(embedded.store, "encoder", embedded.inputs["encoder"]), variant, threads)
        parts.append(encoder.encode([query.text for query in words], "query"))
    count = len(histories) + len(words)
    spread = np.linspace(0, len(vectors) - 1, max(0, min(LEAST - count, len(vectors)))).astype(int)
    parts.append(np.asarray(vectors[spread], np.float32))
    return RecallQueries(np.ascontiguousarray(np.concatenate(parts), np.float32), _source(ordered, count, len(spread)))


def _source(ordered: Sequence[Query], count: int, stand_ins: int) -> str:
    """Whose vectors recall was measured by, in words."""
    kind = " synthetic" if ordered and ordered[0].synthetic else ""
    said = [f"{count:,}{kind} queries"] if count else []
    return " and ".join([*said, *([f"{stand_ins:,} documents' own vectors"] if stand_ins else [])])


class GroundTruth:
    """Exact search over the vectors: what other indexes are measured against."""

    def __init__(self, vectors: Vectors, asked: RecallQueries) -> None:
        self.vectors, self.asked, self.flat = vectors, asked, build_flat(vectors)
        self.depth = min(DEPTH, len(vectors))
        self.worst = self.flat.search(asked.vectors, self.depth)[0][:, -1:]

    def recall(self, index: Any, order: NDArray[np.int64] | None = None) -> float:
        """The part of the exact ten best that the index finds; a document that ties with the tenth is one of them.

        Args:
            index: what is measured.
            order: which of the vectors each of its rows is; None: the same row.
        """
        found = index.search(self.asked.vectors, self.depth)[1]
        found = found if order is None else np.where(found < 0, -1, order[found])
        scores = np.einsum("qd,qkd->qk", self.asked.vectors, self.vectors[np.maximum(found, 0)])
        return float(((scores >= self.worst - SAME) & (found >= 0)).mean())

    def measure(
        self,
        algorithm: Algorithm,
        made: tuple[Any, Any],
        least: float,
        build_s: float,
        file: Path,
        order: NDArray[np.int64] | None = None,
    ) -> IndexMeasurement:
        """Give an index the least effort that reaches the recall `least`, else the most there is; measure it; write it."""
        import faiss

        index, original = made

        @cache
        def found(effort: int) -> float:
            algorithms.set_effort(index, effort)
            return self.recall(index, order)

        levels = algorithms.efforts(index)
        effort = levels[min(bisect_left(levels, least, key=found), len(levels) - 1)]
        recall = found(effort)
        algorithms.set_effort(index, effort)
        faiss.write_index(index, str(file))
        return IndexMeasurement(
            algorithm=algorithm, effort=effort, recall_at_10=math.floor(recall * 1e4) / 1e4, bytes=file.stat().st_size,
            latency_ratio=round(self._latency_ratio(index), 3), build_s=round(build_s, 3),
            device="gpu" if original else "cpu", gpu_agreement=self._agreement(index, original, effort) if original else None,
        )  # fmt: skip

    def _latency_ratio(self, index: Any) -> float:
        """Median time of one query on one thread over that of exact search; in turns, so that a busy machine slows both."""
        import faiss

        if index is self.flat:
            return 1.0
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        queries = [self.asked.vectors[row : row + 1] for row in range(min(TIMED, len(self.asked.vectors)))]
        pairs = [(_timed(index, query), _timed(self.flat, query)) for query in queries]
        faiss.omp_set_num_threads(threads)
        ours, exact = zip(*pairs, strict=True)
        return float(median(ours) / median(exact))

    def _agreement(self, index: Any, original: Any, effort: int) -> float:
        """The part of the original's ten best that the copy finds, up to ties by the original's scores."""
        algorithms.set_effort(original, effort)
        worst = original.search(self.asked.vectors, self.depth)[0][:, -1:]
        scores = index.search(self.asked.vectors, self.depth)[0]
        return float((scores >= worst - SAME_ON_GPU).mean())


def _timed(index: Any, query: Vectors) -> float:
    started = time.perf_counter()
    index.search(query, DEPTH)
    return time.perf_counter() - started


def candidates(wanted: str, documents: int) -> tuple[Algorithm, ...]:
    """The algorithms to build: the wanted one, or with `auto` all that so many documents can train.

    >>> candidates("hnsw", 10), candidates("auto", 100)
    (('hnsw',), ('flat', 'hnsw', 'ivf-sq8'))
    """
    trainable = [one for one in ALGORITHMS if one != "ivf-pq" or documents >= algorithms.CODES]
    return tuple(trainable) if wanted == "auto" else tuple(one for one in ALGORITHMS if one == wanted)


def choose(wanted: str, yardstick: GroundTruth, least: float, scratch: Path, gpus: int) -> tuple[Path, list[IndexMeasurement]]:
    """Build and measure the candidates; the fastest of those that reach the recall `least`.

    The fastest, not the smallest: memory is what a server has or has not, and exact search, which needs most of it, is
    always eligible; time is what each search costs.

    Returns:
        the winner's file, and the table of all, the winner first.

    Raises:
        InputError: none reaches `least`.
    """
    table: list[IndexMeasurement] = []
    for algorithm in candidates(wanted, len(yardstick.vectors)):
        started = time.monotonic()
        device = algorithms.device_of(algorithm, gpus)
        built = (yardstick.flat, None) if algorithm == "flat" else algorithms.build(algorithm, yardstick.vectors, device)
        table.append(yardstick.measure(algorithm, built, least, time.monotonic() - started, scratch / f"{algorithm}.faiss"))
        log().info("measured", **asdict(table[-1]))
    eligible = [one for one in table if one.reaches(least)]
    if not eligible:
        best = max(table, key=lambda one: one.recall_at_10)
        raise InputError(
            f"{best.algorithm}, which finds {best.recall_at_10:.4f} of the exact ten best at its greatest effort",
            f"at least {least}", "take --algorithm auto or flat, or a lower --recall",
        )  # fmt: skip
    winner = min(eligible, key=lambda one: one.latency_ratio)
    return scratch / f"{winner.algorithm}.faiss", [winner, *(one for one in table if one is not winner)]
