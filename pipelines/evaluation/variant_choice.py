"""Which variant of an encoder to take: the fastest of those that rank as well and whose vectors depend on nothing else."""

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
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store

REFERENCE = "onnx-fp32"
INDEPENDENT = 1e-5
"""Largest difference of a coordinate or a score, alone and among others, of a variant that heeds no batch-mates."""
PART, MATES, ALONE, RESAMPLES = 4096, 20, 4, 2000


@dataclass(frozen=True)
class VariantMeasurement:
    """What one variant showed. `reason` says why it can't be taken; empty: it can."""

    variant: str
    reason: str = ""
    docs_per_s: float = 0.0
    retention: float = 0.0
    low: float = 0.0
    high: float = 0.0
    mates: float = 0.0
    cosine: float = 0.0
    memory_mb: float = 0.0
    scores: list[float] = field(default_factory=list, repr=False)
    """nDCG@10 of each query, in the order of the topics."""


def sample_documents(documents: Iterable[Document], judged: Collection[str], most: int, seed: int = 0) -> list[Document]:
    """Every judged document and, up to `most` altogether, others drawn by seed, in the order they come; `most` 0: all.

    The documents are read once, and no more of them held than are given back.

    >>> found = [Document(id=f"d{number}", text="t") for number in range(9)]
    >>> [one.id for one in sample_documents(found, {"d7", "d8"}, 4)], len(sample_documents(found, (), 0))
    (['d2', 'd3', 'd7', 'd8'], 9)
    >>> [one.id for one in sample_documents(found, {"d7", "d8"}, 1)]
    ['d7', 'd8']
    """
    if not most:
        return list(documents)
    chance = np.random.default_rng(seed)
    ranked = ((-1.0 if one.id in judged else float(chance.random()), place, one) for place, one in enumerate(documents))
    return [one for _, _, one in sorted(heapq.nsmallest(max(most, len(judged)), ranked), key=lambda row: row[1])]


def loadable(encoder: Artifact, names: Sequence[str], threads: int) -> tuple[dict[str, Encoder], list[VariantMeasurement]]:
    """The variants that can run here, loaded, and those that can't with the reason."""
    loaded, unable = {}, []
    for name in names:
        try:
            loaded[name] = load_encoder(encoder, name, threads)
        except InputError as error:
            unable.append(VariantMeasurement(name, f"cannot run here: {error.given}"))
    return loaded, unable


def measure(
    encoders: Mapping[str, Encoder], documents: Sequence[Document], topics: Topics, batch_tokens: int, least: float
) -> list[VariantMeasurement]:
    """Every loaded variant, REFERENCE among them, on all documents and queries.

    Speeds are of one run, in which the variants take turns part by part, so that what else the machine does meets all.
    """
    vectors, seconds = encode_in_turns(encoders, [one.text for one in documents], batch_tokens)
    asked = [query.text for query in topics.queries]
    reference = vectors[REFERENCE]
    found: list[VariantMeasurement] = []
    exact: list[float] = []
    for name in sorted(encoders, key=lambda name: name != REFERENCE):  # what is compared with comes first
        queries = encoders[name].encode(asked, "query", batch_tokens)
        scores = ndcg(topics, queries, vectors[name], [one.id for one in documents])
        exact = exact or scores
        retention, low, high = ratio(scores, exact)
        mates = batch_influence(encoders[name], [one.text for one in documents], queries[:32], batch_tokens)
        cosine = float((vectors[name] * reference).sum(1).min())
        reason = why_ineligible(retention, least, mates)
        rate = len(documents) / seconds[name]
        found.append(VariantMeasurement(name, reason, rate, retention, low, high, mates, cosine, scores=scores))
    return found


def why_ineligible(retention: float, least: float, mates: float) -> str:
    """Why a variant can't be taken; empty: it can.

    >>> why_ineligible(0.997, 0.995, 0.0), why_ineligible(0.979, 0.995, 1e-3)
    ('', 'batch-mates change it by 1.0e-03; keeps 97.90 % of nDCG@10, at least 99.50 % needed')
    """
    reasons = [f"batch-mates change it by {mates:.1e}"] if not mates <= INDEPENDENT else []
    if not retention >= least:
        reasons.append(f"keeps {retention:.2%} of nDCG@10, at least {least:.2%} needed".replace("%", " %"))
    return "; ".join(reasons)


def encode_in_turns(
    encoders: Mapping[str, Encoder], texts: Sequence[str], batch_tokens: int
) -> tuple[dict[str, Vectors], dict[str, float]]:
    """The texts' vectors by each encoder, and the seconds it took; what a first batch costs is not counted."""
    vectors: dict[str, list[Vectors]] = {name: [] for name in encoders}
    seconds = dict.fromkeys(encoders, 0.0)
    for encoder in encoders.values():
        encoder.encode(texts[:64], "document", batch_tokens)
    for start in range(0, len(texts), PART):
        for name, encoder in encoders.items():
            started = time.perf_counter()
            vectors[name].append(encoder.encode(texts[start : start + PART], "document", batch_tokens))
            seconds[name] += time.perf_counter() - started
        log().info("encoded by every variant", done=min(start + PART, len(texts)), total=len(texts))
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


def ratio(scores: Sequence[float], exact: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """The ratio of the means over the same queries, with its 95 % interval by a paired bootstrap (Efron, 1979).

    >>> ratio([0.5, 0.5], [0.5, 0.5])
    (1.0, 1.0, 1.0)
    """
    pairs = np.array([scores, exact])
    if not pairs[1].sum():
        return 0.0, 0.0, 0.0
    drawn = np.random.default_rng(seed).integers(0, pairs.shape[1], (RESAMPLES, pairs.shape[1]))
    above, below = pairs[0][drawn].sum(1), pairs[1][drawn].sum(1)
    low, high = np.quantile(above[below > 0] / below[below > 0], [0.025, 0.975])
    return float(pairs[0].sum() / pairs[1].sum()), float(low), float(high)


def batch_influence(encoder: Encoder, texts: Sequence[str], queries: Vectors, batch_tokens: int, seed: int = 0) -> float:
    """By how much batch-mates change a text: the largest difference of a coordinate, or of its score for one of `queries`.

    ALONE texts, spread over all lengths, are each encoded by themselves and within MATES random batches, of two rows up to as
    many as `batch_tokens` allows. A batch holds one length, so the mates are random texts cut, or repeated, to the text's.
    """
    random = np.random.default_rng(seed)
    by_length = sorted(texts, key=lambda text: (len(text), text))
    spread = [by_length[int(part)] for part in np.linspace(0, len(texts) - 1, ALONE)]
    worst = 0.0
    for tokens in encoder.tokens(spread, "document"):
        alone = encoder.encode_tokens([tokens])[0]
        most = max(1, batch_tokens // max(1, len(tokens)) - 1)
        for size in np.geomspace(1, most, MATES).astype(int):
            batch = [texts[mate] for mate in random.integers(0, len(texts), size)]
            batch = [np.resize(mate, len(tokens)).tolist() for mate in encoder.tokens(batch, "document")]
            place = int(random.integers(0, size + 1))
            difference = encoder.encode_tokens([*batch[:place], tokens, *batch[place:]])[place] - alone
            worst = max(worst, float(np.abs(difference).max()), float(np.abs(queries @ difference).max(initial=0)))
    return worst


def peak_memory_mb(encoder: Artifact, variant: str, texts: Sequence[str], batch_tokens: int) -> float:
    """Peak memory of a process that loads the variant and encodes the texts, and does nothing else; 0 where /proc is not."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, encoder.id, variant, list(texts), batch_tokens).result()


def _peak(encoder_id: str, variant: str, texts: list[str], batch_tokens: int) -> float:
    load_encoder(load_exactly(open_store(), "encoder", encoder_id), variant).encode(texts, "document", batch_tokens)
    status = Path("/proc/self/status")  # getrusage would count the parent's memory, out of which this process came
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")) if status.exists() else "0 0"
    return int(peak.split()[1]) / 1024
