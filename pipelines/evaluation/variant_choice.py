"""The choice of an encoder variant: the fastest of those that keep nDCG@10 and are batch-invariant.

Batch-invariant: the vector of a text, and so its scores, do not depend on the other texts of its batch. Dynamic quantization is
not, since it takes its scales from the batch, nor are some bf16 kernels, which sum in another order for another shape.
"""

import heapq
import multiprocessing
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipelines.corpus.documents import Document
from pipelines.errors import InputError
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.qrels import Topics
from pipelines.logs import log
from pipelines.models.encoder import Encoder, Vectors, load_encoder
from pipelines.retrieval.run import Run, break_ties
from pipelines.statistics.bootstrap import paired_ratio_of_means
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store

REFERENCE = "onnx-fp32"
BATCH_TOLERANCE = 1e-5
"""Largest difference of a coordinate or a score, encoded alone and in a batch, at which a variant counts as batch-invariant."""
CHUNK = 4096
"""Texts that each variant encodes before the next takes its turn."""
PROBES, RANDOM_BATCHES = 4, 20
"""Texts that are encoded alone and in batches, and random batches for each of them."""


@dataclass(frozen=True)
class VariantMeasurement:
    """What was measured of one variant. The fields are keys of the table that the step's report keeps."""

    variant: str
    reason: str = ""
    """Why it is not eligible; empty: it is."""
    docs_per_s: float = 0.0
    retention: float = 0.0
    """Mean nDCG@10 divided by that of REFERENCE; `low` and `high` are its 95 % interval."""
    low: float = 0.0
    high: float = 0.0
    mates: float = 0.0
    """The largest difference that other texts of a batch make: see `batch_influence`."""
    cosine: float = 0.0
    """The least cosine between a document's vector and its vector by REFERENCE."""
    memory_mb: float = 0.0
    """Peak memory in MiB; 0: not measured."""
    scores: list[float] = field(default_factory=list, repr=False)
    """nDCG@10 of each query, in the order of the topics."""


def sample_documents(documents: Iterable[Document], judged: Collection[str], most: int, seed: int = 0) -> list[Document]:
    """Every judged document and others drawn by seed, up to `most` in all, in the corpus's order; `most` 0: all of them.

    Reads the documents once, and holds no more of them than it returns.

    >>> corpus = [Document(id=f"d{number}", text="t") for number in range(9)]
    >>> [document.id for document in sample_documents(corpus, {"d7", "d8"}, 4)], len(sample_documents(corpus, (), 0))
    (['d2', 'd3', 'd7', 'd8'], 9)
    >>> [document.id for document in sample_documents(corpus, {"d7", "d8"}, 1)]
    ['d7', 'd8']
    """
    if not most:
        return list(documents)
    random = np.random.default_rng(seed)
    keyed = (
        (-1.0 if document.id in judged else float(random.random()), place, document) for place, document in enumerate(documents)
    )
    return [document for _, _, document in sorted(heapq.nsmallest(max(most, len(judged)), keyed), key=lambda row: row[1])]


def loadable(encoder: Artifact, names: Sequence[str], threads: int) -> tuple[dict[str, Encoder], list[VariantMeasurement]]:
    """The variants that can run on this machine, loaded, and a row with the reason for each that can't."""
    loaded, unavailable = {}, []
    for name in names:
        try:
            loaded[name] = load_encoder(encoder, name, threads)
        except InputError as error:
            unavailable.append(VariantMeasurement(name, f"cannot run here: {error.given}"))
    return loaded, unavailable


def measure(
    encoders: Mapping[str, Encoder], documents: Sequence[Document], topics: Topics, batch_tokens: int, least: float
) -> list[VariantMeasurement]:
    """Every loaded variant, REFERENCE among them, on all documents and queries.

    The speeds are of one run in which the variants take turns chunk by chunk, so that other load slows all of them alike.

    Args:
        encoders: by the name of the variant.
        documents: to encode.
        topics: the judged queries.
        batch_tokens: tokens in one batch.
        least: the least retention at which a variant is eligible.
    """
    texts = [document.text for document in documents]
    vectors, seconds = encode_in_turns(encoders, texts, batch_tokens)
    query_texts = [query.text for query in topics.queries]
    rows: list[VariantMeasurement] = []
    reference_scores: list[float] = []
    for name in sorted(encoders, key=lambda name: name != REFERENCE):  # REFERENCE first: the others are compared with it
        queries = encoders[name].encode(query_texts, "query", batch_tokens)
        scores = ndcg(topics, queries, vectors[name], [document.id for document in documents])
        reference_scores = reference_scores or scores
        retention, low, high = paired_ratio_of_means(scores, reference_scores)
        mates = batch_influence(encoders[name], texts, queries[:32], batch_tokens)
        cosine = float((vectors[name] * vectors[REFERENCE]).sum(1).min())
        reason = why_ineligible(retention, least, mates)
        rate = len(documents) / seconds[name]
        rows.append(VariantMeasurement(name, reason, rate, retention, low, high, mates, cosine, scores=scores))
    return rows


def why_ineligible(retention: float, least: float, mates: float) -> str:
    """Why a variant is not eligible; empty: it is.

    >>> why_ineligible(0.997, 0.995, 0.0), why_ineligible(0.979, 0.995, 1e-3)
    ('', 'batch-mates change it by 1.0e-03; keeps 97.90 % of nDCG@10, at least 99.50 % needed')
    """
    reasons = [f"batch-mates change it by {mates:.1e}"] if not mates <= BATCH_TOLERANCE else []
    if not retention >= least:
        reasons.append(f"keeps {retention:.2%} of nDCG@10, at least {least:.2%} needed".replace("%", " %"))
    return "; ".join(reasons)


def encode_in_turns(
    encoders: Mapping[str, Encoder], texts: Sequence[str], batch_tokens: int
) -> tuple[dict[str, Vectors], dict[str, float]]:
    """The texts' vectors and the seconds by variant, without the first batch, which warms the encoder up."""
    vectors: dict[str, list[Vectors]] = {name: [] for name in encoders}
    seconds = dict.fromkeys(encoders, 0.0)
    for encoder in encoders.values():
        encoder.encode(texts[:64], "document", batch_tokens)
    for start in range(0, len(texts), CHUNK):
        for name, encoder in encoders.items():
            started = time.perf_counter()
            vectors[name].append(encoder.encode(texts[start : start + CHUNK], "document", batch_tokens))
            seconds[name] += time.perf_counter() - started
        log().info("encoded by every variant", done=min(start + CHUNK, len(texts)), total=len(texts))
    return {name: np.concatenate(parts) for name, parts in vectors.items()}, seconds


def ndcg(topics: Topics, queries: Vectors, documents: Vectors, ids: Sequence[str]) -> list[float]:
    """nDCG@10 of each topic, by exact search: queries (topics, dimensions), documents (ids, dimensions)."""
    run: Run = {}
    for start in range(0, len(queries), 256):
        scores = queries[start : start + 256] @ documents.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        for query, row, columns in zip(topics.queries[start : start + 256], scores, best, strict=True):
            run[query.id] = break_ties([(ids[column], float(row[column])) for column in columns])
    measured = per_query(topics.qrels, run)
    return [measured[query.id]["nDCG@10"] for query in topics.queries]


def batch_influence(encoder: Encoder, texts: Sequence[str], queries: Vectors, batch_tokens: int, seed: int = 0) -> float:
    """By how much the other texts of a batch change a vector: the largest difference of a coordinate or of a score.

    PROBES texts, spread over all lengths, are each encoded alone and within RANDOM_BATCHES random batches, of two rows up to as
    many as `batch_tokens` allows. A batch holds one length, so the other texts are random ones, cut or repeated to it.

    Args:
        encoder: the variant.
        texts: to take probes and batches from.
        queries: vectors (queries, dimensions) that the scores are with.
        batch_tokens: tokens in one batch.
        seed: of the batches.
    """
    random = np.random.default_rng(seed)
    by_length = sorted(texts, key=lambda text: (len(text), text))
    spread = [by_length[int(part)] for part in np.linspace(0, len(texts) - 1, PROBES)]
    worst = 0.0
    for tokens in encoder.tokens(spread, "document"):
        alone = encoder.encode_tokens([tokens])[0]
        most = max(1, batch_tokens // max(1, len(tokens)) - 1)
        for size in np.geomspace(1, most, RANDOM_BATCHES).astype(int):
            drawn = [texts[place] for place in random.integers(0, len(texts), size)]
            batch = [np.resize(row, len(tokens)).tolist() for row in encoder.tokens(drawn, "document")]
            place = int(random.integers(0, size + 1))
            difference = encoder.encode_tokens([*batch[:place], tokens, *batch[place:]])[place] - alone
            worst = max(worst, float(np.abs(difference).max()), float(np.abs(queries @ difference).max(initial=0)))
    return worst


def peak_memory_mb(encoder: Artifact, variant: str, texts: Sequence[str], batch_tokens: int) -> float:
    """Peak memory in MiB of a process that only loads the variant and encodes the texts; 0 on systems without /proc."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_mib, encoder.id, variant, list(texts), batch_tokens).result()


def _peak_mib(encoder_id: str, variant: str, texts: list[str], batch_tokens: int) -> float:
    load_encoder(load_exactly(open_store(), "encoder", encoder_id), variant).encode(texts, "document", batch_tokens)
    status = Path("/proc/self/status")  # getrusage would include the parent's memory
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")) if status.exists() else "0 0"
    return int(peak.split()[1]) / 1024
