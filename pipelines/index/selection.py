"""Index selection: candidate indexes are measured against exact search (the ground truth) on the corpus's own queries."""

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
MOST_QUERIES, LEAST_QUERIES, TIMED_QUERIES = 500, 100, 50
"""Queries that recall is measured on, at most and at least (documents' vectors fill up), and those that are timed."""
TIE = 1e-6
"""Scores that differ by no more than this tie: recall counts any of the documents that tie with the tenth."""
TIE_ON_GPU = 1e-3
"""As TIE, for scores of a GPU, whose tables have 16 bits."""


@dataclass(frozen=True)
class RecallQueries:
    """The queries that recall is measured on: unit vectors, float32, (queries, dimensions), and their source in words."""

    vectors: Vectors
    source: str


@dataclass(frozen=True)
class IndexMeasurement:
    """The measurement of one candidate: a row of the table in the manifest."""

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
    """Recall@10 of the CPU copy of an index built on a GPU, against the original; None: built on the CPU."""

    def reaches(self, least: float) -> bool:
        """Whether recall, and where it was built on a GPU the copy's agreement, is at least `least`."""
        return self.recall_at_10 >= least and (self.gpu_agreement is None or self.gpu_agreement >= least)


def recall_queries(embedded: Artifact, ids: Sequence[str], vectors: Vectors, variant: str, threads: int) -> RecallQueries:
    """Up to 500 queries of the embeddings' corpus as vectors; with fewer than 100, documents' vectors fill up.

    Real queries come before synthetic ones. A query with a history is the mean of its documents' vectors, as in serving.

    Args:
        embedded: the embeddings.
        ids: document ids in the order of the vectors.
        vectors: float32, shape (documents, dimensions).
        variant: of the encoder, for the queries.
        threads: of the encoder; 0: OMP_NUM_THREADS, without it one for each core.
    """
    corpus = load_exactly(embedded.store, "corpus", embedded.inputs["corpus"])
    sampled = sorted(queries(corpus), key=lambda query: (query.synthetic, digest(query.id.encode())))[:MOST_QUERIES]
    row = {document: number for number, document in enumerate(ids)}
    histories = [known for query in sampled if (known := [row[document] for document in query.history if document in row])]
    texts = [query.text for query in sampled if not query.history]
    parts = [mean_direction(vectors[history])[None] for history in histories]
    if texts:
        encoder = load_encoder(load_exactly(embedded.store, "encoder", embedded.inputs["encoder"]), variant, threads)
        parts.append(encoder.encode(texts, "query"))
    count = len(histories) + len(texts)
    fill = np.linspace(0, len(vectors) - 1, max(0, min(LEAST_QUERIES - count, len(vectors)))).astype(int)
    parts.append(np.asarray(vectors[fill], np.float32))
    return RecallQueries(np.ascontiguousarray(np.concatenate(parts), np.float32), _source(sampled, count, len(fill)))


def _source(sampled: Sequence[Query], count: int, fill: int) -> str:
    """Whose vectors recall was measured on, in words."""
    kind = " synthetic" if sampled and sampled[0].synthetic else ""
    sources = [f"{count:,}{kind} queries"] if count else []
    return " and ".join([*sources, *([f"{fill:,} documents' own vectors"] if fill else [])])


class GroundTruth:
    """Exact search over the vectors, float32, (documents, dimensions), against which other indexes are measured."""

    def __init__(self, vectors: Vectors, queries: RecallQueries) -> None:
        self.vectors, self.queries, self.flat = vectors, queries.vectors, build_flat(vectors)
        self.depth = min(DEPTH, len(vectors))
        self.tenth = self.flat.search(self.queries, self.depth)[0][:, -1:]
        """The score of each query's last exact result: float32, (queries, 1)."""

    def recall(self, index: Any, order: NDArray[np.int64] | None = None) -> float:
        """Recall@10 of an index against exact search; a document that ties with the tenth counts as one of the ten.

        Args:
            index: a FAISS index.
            order: for each row of the index, the row of its vector; None: the same row.
        """
        rows = index.search(self.queries, self.depth)[1]
        rows = rows if order is None else np.where(rows < 0, -1, order[rows])
        scores = np.einsum("qd,qkd->qk", self.queries, self.vectors[np.maximum(rows, 0)])
        return float(((scores >= self.tenth - TIE) & (rows >= 0)).mean())

    def measure(
        self,
        algorithm: Algorithm,
        built: tuple[Any, Any],
        least: float,
        build_s: float,
        file: Path,
        order: NDArray[np.int64] | None = None,
    ) -> IndexMeasurement:
        """Set the least effort whose recall reaches `least`, else the greatest; measure the index and write it to `file`.

        Args:
            algorithm: of the index.
            built: the index, and the original on a GPU or None, as `algorithms.build` gives them.
            least: recall to reach.
            build_s: seconds that it took to build.
            file: where to write it.
            order: as for `recall`.
        """
        import faiss

        index, original = built

        @cache
        def recall_at(effort: int) -> float:
            algorithms.set_effort(index, effort)
            return self.recall(index, order)

        levels = algorithms.efforts(index)
        effort = levels[min(bisect_left(levels, least, key=recall_at), len(levels) - 1)]
        recall = recall_at(effort)
        algorithms.set_effort(index, effort)
        faiss.write_index(index, str(file))
        return IndexMeasurement(
            algorithm=algorithm,
            effort=effort,
            recall_at_10=math.floor(recall * 1e4) / 1e4,
            bytes=file.stat().st_size,
            latency_ratio=round(self._latency_ratio(index), 3),
            build_s=round(build_s, 3),
            device="gpu" if original else "cpu",
            gpu_agreement=self._agreement(index, original, effort) if original else None,
        )

    def _latency_ratio(self, index: Any) -> float:
        """Median time of one query on one thread over that of exact search; alternating, so that other load slows both."""
        import faiss

        if index is self.flat:
            return 1.0
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        timed = [self.queries[row : row + 1] for row in range(min(TIMED_QUERIES, len(self.queries)))]
        pairs = [(_search_s(index, query), _search_s(self.flat, query)) for query in timed]
        faiss.omp_set_num_threads(threads)
        candidate_s, exact_s = zip(*pairs, strict=True)
        return float(median(candidate_s) / median(exact_s))

    def _agreement(self, index: Any, original: Any, effort: int) -> float:
        """Recall@10 of the CPU copy against the original on the GPU, up to ties by the original's scores."""
        algorithms.set_effort(original, effort)
        tenth = original.search(self.queries, self.depth)[0][:, -1:]
        scores = index.search(self.queries, self.depth)[0]
        return float((scores >= tenth - TIE_ON_GPU).mean())


def _search_s(index: Any, query: Vectors) -> float:
    started = time.perf_counter()
    index.search(query, DEPTH)
    return time.perf_counter() - started


def candidates(algorithm: str, documents: int) -> tuple[Algorithm, ...]:
    """The algorithms to build: the given one, or with `auto` all that so many documents can train.

    >>> candidates("hnsw", 10), candidates("auto", 100)
    (('hnsw',), ('flat', 'hnsw', 'ivf-sq8'))
    """
    trainable = [each for each in ALGORITHMS if each != "ivf-pq" or documents >= algorithms.PQ_CENTROIDS]
    return tuple(trainable) if algorithm == "auto" else tuple(each for each in ALGORITHMS if each == algorithm)


def select(algorithm: str, truth: GroundTruth, least: float, scratch: Path, gpus: int) -> tuple[Path, list[IndexMeasurement]]:
    """Build and measure the candidates; select the fastest of those whose recall@10 is at least `least`.

    The fastest rather than the smallest: a server either has the memory or not, while every search costs time; and exact
    search, which needs the most memory, is always eligible.

    Args:
        algorithm: one, or "auto": all that can be trained.
        truth: exact search over the vectors to index.
        least: recall@10 to reach.
        scratch: a folder for the candidates' files.
        gpus: number of GPUs to build on.

    Returns:
        the file of the selected index, and the measurements of all candidates, the selected first.

    Raises:
        InputError: no candidate reaches `least`, or there are too few documents to train the algorithm.
    """
    table: list[IndexMeasurement] = []
    for candidate in candidates(algorithm, len(truth.vectors)):
        started = time.monotonic()
        device = algorithms.device_of(candidate, gpus)
        built = (truth.flat, None) if candidate == "flat" else algorithms.build(candidate, truth.vectors, device)
        table.append(truth.measure(candidate, built, least, time.monotonic() - started, scratch / f"{candidate}.faiss"))
        log().info("measured", **asdict(table[-1]))
    eligible = [row for row in table if row.reaches(least)]
    if not eligible:
        best = max(table, key=lambda row: row.recall_at_10)
        raise InputError(
            f"{best.algorithm}, which finds {best.recall_at_10:.4f} of the exact ten best at its greatest effort",
            f"at least {least}",
            "take --algorithm auto or flat, or a lower --recall",
        )
    selected = min(eligible, key=lambda row: row.latency_ratio)
    return scratch / f"{selected.algorithm}.faiss", [selected, *(row for row in table if row is not selected)]
