"""The choice of an encoder variant: the fastest of those that rank as fp32 does and are batch-invariant.

The rule is one for encoders, which are measured here, and for rerankers (`variant_rule`).

Whether a variant ranks as fp32 does is decided by `fidelity`, for the pair that will serve: documents by the variant, queries
by the query variant. The judgments of a collection are mostly too few to tell a variant that changes nothing from one that
changes one result in eight. So retention of nDCG@10 by them is shown, and refuses a variant only where it is significantly
too low.

No text of a test query is encoded here: what is chosen by test queries could no longer be judged by them.
"""

import heapq
import multiprocessing
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.corpus.documents import Document, documents, queries
from pipelines.corpus.text_rules import folded
from pipelines.errors import InputError
from pipelines.evaluation.fidelity import QUERIES, FidelityQuery, measure_fidelity, sample_queries
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.qrels import NoRelevant, Topics, judged_topics
from pipelines.evaluation.variant_rule import (
    LEAST_QUERIES,
    PROBES,
    REFERENCE,
    RULE,
    Rule,
    VariantMeasurement,
    influence_of_mates,
    kept,
    why_not_taken,
)
from pipelines.logs import log
from pipelines.models.encoder import Encoder, Vectors, load_encoder
from pipelines.retrieval.run import Run
from pipelines.statistics.intervals import Floats
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store
from pipelines.store.recipes import digest

CHUNK = 4096
"""Texts that each variant encodes before the next takes its turn."""
WARM_UP = 64
"""Texts that each variant encodes before it is timed."""
ALONE = 16
"""Texts that are encoded alone where the batches are the sample's own."""
COMPARED = 32
"""Queries whose scores are compared between a text alone and in a batch."""


@dataclass(frozen=True)
class Sample:
    """The documents and queries that every variant encodes."""

    documents: list[Document]
    of: int
    """Documents of the corpus, which the index will hold."""
    queries: list[FidelityQuery]
    topics: Topics
    """Judged train queries for the retention; without queries where there are none."""

    @property
    def own(self) -> list[int]:
        """For each query the row of its own document; −1: none, or not in the sample."""
        rows = {document.id: row for row, document in enumerate(self.documents)}
        return [rows.get(query.own, -1) for query in self.queries]

    @property
    def size(self) -> str:
        """How many queries and documents, as sentences and tables say it."""
        part = f"{len(self.documents):,} of {self.of:,}" if len(self.documents) < self.of else f"all {self.of:,}"
        return f"{len(self.queries):,} queries and {part} documents"


def draw_sample(corpus: Artifact, most: int, count: int = QUERIES, rule: NoRelevant = "exclude") -> Sample:
    """Queries and documents to choose by, drawn by hash and seed; memory grows with `most` and `count`, not with the corpus.

    Args:
        corpus: to draw from.
        most: documents, at most, the judged ones first; 0: all.
        count: queries for the fidelity, and judged train queries for the retention, at most.
        rule: of judged queries without a relevant document.

    Raises:
        InputError: fewer than two queries can be asked.
    """
    drawn = sample_queries(corpus, count)
    if len(drawn) < LEAST_QUERIES:
        raise InputError(
            f"corpus {corpus.id}, of whose train queries and titles {len(drawn)} may be asked (none that is a test query)",
            f"{LEAST_QUERIES} judged train queries or titles, or more",
            "use onnx-fp32, which needs no choice, or ingest more documents or train queries",
        )
    train = judged_topics(corpus, "train", rule)
    test = {folded(query.text) for query in queries(corpus, "test")}
    texts = [query for query in train.queries if not query.history and folded(query.text) not in test]
    kept = sorted(heapq.nsmallest(count, texts, key=lambda query: digest(query.id.encode())), key=lambda query: query.id)
    topics = replace(train, queries=kept, qrels={query.id: train.qrels[query.id] for query in kept})
    judged = {document for grades in topics.qrels.values() for document in grades}
    return Sample(
        documents=sample_documents(documents(corpus), judged, most),
        of=corpus.facts["documents"],
        queries=drawn,
        topics=topics,
    )


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


def measure(
    encoders: Mapping[str, Encoder],
    sample: Sample,
    query_variant: str,
    batch_tokens: int,
    rule: Rule = RULE,
    alone_only: bool = False,
) -> list[VariantMeasurement]:
    """Every loaded variant of documents, with the query variant, on a sample.

    The speeds are of one run in which the variants take turns chunk by chunk, so that other load slows all of them alike.

    Args:
        encoders: by the name of the variant; REFERENCE and the query variant among them.
        sample: what to encode.
        query_variant: the variant that will encode the queries, whatever encodes the documents.
        batch_tokens: tokens in one batch.
        rule: what a variant must reach.
        alone_only: compare some texts alone with the same in the sample's batches, instead of in random batches.
    """
    texts = [document.text for document in sample.documents]
    vectors, seconds = encode_in_turns(encoders, texts, batch_tokens)
    asked = [query.text for query in sample.queries] + [query.text for query in sample.topics.queries]
    by_fp32 = encoders[REFERENCE].encode(asked, "query", batch_tokens)
    by_query_variant = by_fp32 if query_variant == REFERENCE else encoders[query_variant].encode(asked, "query", batch_tokens)
    fidelity_queries, topics_queries = slice(len(sample.queries)), slice(len(sample.queries), None)
    ids = [document.id for document in sample.documents]
    reference_scores = ndcg(sample.topics, by_fp32[topics_queries], vectors[REFERENCE], ids)
    rows: list[VariantMeasurement] = []
    for name, encoder in encoders.items():
        rate = len(texts) / seconds[name]
        if name != REFERENCE and (bad := int((~np.isfinite(vectors[name])).any(1).sum())):
            rows.append(VariantMeasurement(name, f"{bad:,} of {len(texts):,} of its vectors are NaN or infinite", rate))
            continue
        fidelity = measure_fidelity(
            (by_fp32[fidelity_queries], vectors[REFERENCE]), (by_query_variant[fidelity_queries], vectors[name]), sample.own
        )
        retention, low, high = kept(ndcg(sample.topics, by_query_variant[topics_queries], vectors[name], ids), reference_scores)
        compared = by_query_variant[:COMPARED]
        mates = (
            alone_influence(encoder, texts, vectors[name], compared)
            if alone_only
            else batch_influence(encoder, texts, compared, batch_tokens)
        )
        rows.append(
            VariantMeasurement(
                variant=name,
                reason=why_not_taken(mates, fidelity, high, rule),
                docs_per_s=rate,
                fidelity=fidelity.mean,
                fidelity_low=fidelity.low or 0.0,
                overlap_at_10=fidelity.overlap_at_10,
                retention=retention,
                low=low,
                high=high,
                mates=mates,
                cosine=float((vectors[name] * vectors[REFERENCE]).sum(1).min()),
            )
        )
    return rows


def encode_in_turns(
    encoders: Mapping[str, Encoder], texts: Sequence[str], batch_tokens: int
) -> tuple[dict[str, Vectors], dict[str, float]]:
    """The texts' vectors and the seconds by variant, without the first batch, which warms the encoder up."""
    vectors: dict[str, list[Vectors]] = {name: [] for name in encoders}
    seconds = dict.fromkeys(encoders, 0.0)
    for encoder in encoders.values():
        encoder.encode(texts[:WARM_UP], "document", batch_tokens)
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
            run[query.id] = [(ids[column], float(row[column])) for column in columns]
    return ndcg_at_10(topics.qrels, run, [query.id for query in topics.queries])


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
    by_length = sorted(texts, key=lambda text: (len(text), text))
    spread = [by_length[int(part)] for part in np.linspace(0, len(texts) - 1, PROBES)]

    def drawn(random: np.random.Generator, count: int, tokens: list[int]) -> list[list[int]]:
        mates = [texts[place] for place in random.integers(0, len(texts), count)]
        return [np.resize(row, len(tokens)).tolist() for row in encoder.tokens(mates, "document")]

    def size(difference: Floats) -> float:
        return max(float(np.abs(difference).max()), float(np.abs(queries @ difference).max(initial=0)))

    def most(tokens: list[int]) -> int:
        return max(1, batch_tokens // max(1, len(tokens)) - 1)

    return influence_of_mates(encoder.tokens(spread, "document"), most, drawn, encoder.encode_tokens, size, seed)


def alone_influence(encoder: Encoder, texts: Sequence[str], vectors: Vectors, queries: Vectors) -> float:
    """By how much the vectors of ALONE texts, spread over all lengths, differ where each is encoded alone.

    Args:
        encoder: the variant.
        texts: all that were encoded together.
        vectors: theirs, (texts, dimensions).
        queries: vectors (queries, dimensions) that the scores are with.
    """
    by_length = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
    worst = 0.0
    for row in {by_length[int(part)] for part in np.linspace(0, len(texts) - 1, ALONE)}:
        difference = encoder.encode([texts[row]], "document")[0] - vectors[row]
        scores = np.abs(queries @ difference).max(initial=0)
        worst = float(np.max([worst, np.abs(difference).max(), scores]))  # NaN stays
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
