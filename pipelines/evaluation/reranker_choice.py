"""The choice of a reranker's variant, by `variant_rule`: the fastest that ranks as fp32 does, batch-invariant.

Every variant scores the same pairs: train queries and titles (`fidelity.sample_queries`), each with its nearest documents by
the index that will serve. What is compared is the order that will be served: the joint score of first stage and reranker. No
text of a test query is scored here.

Speeds are of queries one after another, as a server answers them; the variants take turns at each query, so that other load
slows all of them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.corpus.text_rules import folded
from pipelines.errors import InputError
from pipelines.evaluation.fidelity import FidelityQuery, fidelity_at_10, mean_fidelity, sample_queries
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.qrels import judged_topics
from pipelines.evaluation.variant_rule import (
    LEAST_QUERIES,
    PROBES,
    REFERENCE,
    Rule,
    VariantMeasurement,
    fastest,
    influence_of_mates,
    kept,
    why_not_taken,
)
from pipelines.index.vector_index import load_index
from pipelines.logs import log
from pipelines.models.backends import FORMATS, Tokens
from pipelines.models.encoder import load_encoder
from pipelines.models.reranker import BATCH_TOKENS, Reranker, Scores
from pipelines.models.reranker_card import Fusion
from pipelines.retrieval.release import Parts
from pipelines.retrieval.run import Ranking
from pipelines.statistics.intervals import Floats

PAIRS, PAIR_TOKENS = 50, 64
"""Pairs, and tokens of each, of the latency by which variants are shown."""
SIZES = (8, 32, 100)
"""Pairs whose latency is measured for the variant that is taken."""
REPETITIONS, LEAST_REPETITIONS = 200, 3
NOT_NAMED = "another was named"
"""Why a variant that may be taken is not, where one was named by hand."""
UNSERVED = "no image of the server has torch; to be named by hand"
"""Why a variant that may be taken is not, unless it is named."""
LATENCY_S = 15.0
"""Seconds after which a latency is not measured more often."""


@dataclass(frozen=True)
class CandidateQuery:
    """A query with its first stage."""

    query: FidelityQuery
    grades: Mapping[str, int]
    """Of its judgments, by document id; empty: it is not judged."""
    ranking: Ranking


@dataclass(frozen=True)
class PairSample:
    """The pairs that every variant scores."""

    queries: list[CandidateQuery]
    texts: Mapping[str, str]
    """Documents' texts by their ids."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every query with every of its candidates."""
        return [(asked.query.text, self.texts[document]) for asked in self.queries for document, _ in asked.ranking]

    @cached_property
    def size(self) -> str:
        """How many queries and candidates, as sentences and tables say it."""
        return f"{len(self.queries):,} queries with {max(len(asked.ranking) for asked in self.queries)} candidates"


@dataclass(frozen=True)
class MeasuredReranker:
    """Every variant's row, in the order of the variants, and the latency of PAIRS pairs of PAIR_TOKENS tokens of each."""

    rows: list[VariantMeasurement]
    latency_ms: Mapping[str, float]
    """Its median."""


def draw_pairs(parts: Parts, query_variant: str, count: int, candidates: int, judged_only: bool = False) -> PairSample:
    """Queries with their nearest documents, drawn by hash.

    Args:
        parts: encoder, index and corpus.
        query_variant: of the encoder.
        count: queries, at most.
        candidates: documents of each.
        judged_only: only train queries that are judged, no titles.

    Raises:
        InputError: fewer than two queries can be asked.
    """
    train = judged_topics(parts.corpus, "train", "exclude")
    grades = {folded(query.text): train.qrels[query.id] for query in train.queries if not query.history}
    drawn = [query for query in sample_queries(parts.corpus, count) if not (judged_only and query.own)]
    if len(drawn) < LEAST_QUERIES:
        raise InputError(
            f"corpus {parts.corpus.id}, of whose train queries {'' if judged_only else 'and titles '}{len(drawn)} may be asked",
            f"{LEAST_QUERIES} or more",
            "ingest a corpus with judged train queries",
        )
    texts = {document.id: document.text for document in documents(parts.corpus)}
    vectors = load_encoder(parts.encoder, query_variant).encode([query.text for query in drawn], "query")
    own = [(query.own,) if query.own else () for query in drawn]
    rankings = load_index(parts.index).search(vectors, candidates, own)
    asked = [
        CandidateQuery(query, grades.get(folded(query.text), {}) if not query.own else {}, ranking)
        for query, ranking in zip(drawn, rankings, strict=True)
    ]
    return PairSample([one for one in asked if one.ranking], texts)


def joint_scores(fusion: Fusion, ranking: Ranking, scores: Scores) -> Floats:
    """The score by which candidates are ranked: float64, (candidates,)."""
    return fusion.fused(np.array([score for _, score in ranking]), scores)


def agreement_with(
    sample: PairSample, reference: Sequence[Scores], variant: Sequence[Scores], fusion: Fusion
) -> tuple[Floats, Floats]:
    """Fidelity and overlap@10 of each query's joint ranking, each float64, (queries,)."""
    both = [
        fidelity_at_10(joint_scores(fusion, asked.ranking, exact)[None], joint_scores(fusion, asked.ranking, other)[None], [-1])
        for asked, exact, other in zip(sample.queries, reference, variant, strict=True)
    ]
    fidelities, overlaps = (np.concatenate(column) for column in zip(*both, strict=True))
    return fidelities, overlaps


def agreement_on(sample: PairSample, fusion: Fusion) -> Callable[[Reranker, Reranker], float]:
    """The mean fidelity of a second reranker's joint rankings to those of the first."""

    def scores(reranker: Reranker) -> list[Scores]:
        return [
            reranker.score(reranker.tokens(asked.query.text, [sample.texts[document] for document, _ in asked.ranking]))
            for asked in sample.queries
        ]

    def agreement(exact: Reranker, other: Reranker) -> float:
        return float(agreement_with(sample, scores(exact), scores(other), fusion)[0].mean())

    return agreement


def measure(
    rerankers: Mapping[str, Reranker], sample: PairSample, fusion: Fusion, rule: Rule, latency_s: float = LATENCY_S
) -> MeasuredReranker:
    """Every loaded variant on a sample.

    Args:
        rerankers: by the name of the variant; REFERENCE among them.
        sample: what to score.
        fusion: of first stage and reranker, by which the served order is made.
        rule: what a variant must reach.
        latency_s: seconds that measuring latencies takes, about.
    """
    scores, seconds = score_in_turns(rerankers, sample)
    exact = scores[REFERENCE]
    exact_ndcg = ndcg(sample, exact, fusion)
    pairs = sum(len(asked.ranking) for asked in sample.queries)
    candidates = max(len(asked.ranking) for asked in sample.queries)
    rows = []
    for name, reranker in rerankers.items():
        mates = mates_influence(reranker, sample)
        unscored = sum(not np.isfinite(one).all() for one in scores[name])
        if unscored:
            rows.append(VariantMeasurement(name, f"scores of {unscored} queries that are NaN or infinite", mates=mates))
            continue
        fidelity = mean_fidelity(*agreement_with(sample, exact, scores[name], fusion), candidates)
        retention, low, high = kept(ndcg(sample, scores[name], fusion), exact_ndcg)
        rows.append(
            VariantMeasurement(
                variant=name,
                reason=why_not_taken(mates, fidelity, high, rule),
                docs_per_s=pairs / seconds[name],
                fidelity=fidelity.mean,
                fidelity_low=fidelity.low or 0.0,
                overlap_at_10=fidelity.overlap_at_10,
                retention=retention,
                low=low,
                high=high,
                mates=mates,
            )
        )
    return MeasuredReranker(rows, latencies(rerankers, sample, latency_s))


def score_in_turns(rerankers: Mapping[str, Reranker], sample: PairSample) -> tuple[dict[str, list[Scores]], dict[str, float]]:
    """The scores of each query's candidates and the seconds, by variant; the first query warms the variants up."""
    scores: dict[str, list[Scores]] = {name: [] for name in rerankers}
    seconds = dict.fromkeys(rerankers, 0.0)
    tokenizing = rerankers[REFERENCE]
    for number, asked in enumerate(sample.queries, 1):
        pairs = tokenizing.tokens(asked.query.text, [sample.texts[document] for document, _ in asked.ranking])
        for name, reranker in rerankers.items():
            if number == 1:
                reranker.score(pairs)
            started = time.perf_counter()
            scores[name].append(reranker.score(pairs))
            seconds[name] += time.perf_counter() - started
        if number % 100 == 0 or number == len(sample.queries):
            log().info("reranked by every variant", done=number, total=len(sample.queries))
    return scores, seconds


def ndcg(sample: PairSample, scores: Sequence[Scores], fusion: Fusion) -> list[float]:
    """nDCG@10 of each judged query's joint ranking."""
    run, qrels = {}, {}
    for number, (asked, of_query) in enumerate(zip(sample.queries, scores, strict=True)):
        if any(asked.grades.values()):
            joint = joint_scores(fusion, asked.ranking, of_query)
            best = np.argsort(-joint, kind="stable")[:10]
            run[str(number)] = [(asked.ranking[row][0], float(joint[row])) for row in best]
            qrels[str(number)] = dict(asked.grades)
    return ndcg_at_10(qrels, run, list(qrels))


def mates_influence(reranker: Reranker, sample: PairSample, seed: int = 0) -> float:
    """By how much the other pairs of a batch change a score, relative to scores above 1.

    PROBES pairs, spread over all lengths, are each scored alone and in random batches. A batch holds one length, so the other
    pairs are random ones, cut or repeated to it.
    """
    pairs = sample.pairs
    by_length = sorted(pairs, key=lambda pair: (sum(map(len, pair)), pair))
    spread = [by_length[int(part)] for part in np.linspace(0, len(pairs) - 1, PROBES)]
    probes = reranker.tokens_of_pairs(spread)
    size = max(1.0, float(np.abs(reranker.score(probes)).max()))

    def drawn(random: np.random.Generator, count: int, probe: Tokens) -> list[Tokens]:
        mates = reranker.tokens_of_pairs([pairs[place] for place in random.integers(0, len(pairs), count)])
        return [Tokens(*(np.resize(part, len(probe.ids)).tolist() for part in mate)) for mate in mates]

    return influence_of_mates(
        probes,
        lambda probe: max(1, min(BATCH_TOKENS // len(probe.ids), max(SIZES)) - 1),
        drawn,
        reranker.score_batch,
        lambda difference: float(np.abs(difference).max()) / size,
        seed,
    )


def latencies(rerankers: Mapping[str, Reranker], sample: PairSample, most_s: float = LATENCY_S) -> dict[str, float]:
    """The median milliseconds of PAIRS pairs of PAIR_TOKENS tokens, by variant; the variants take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in rerankers}
    batch = pairs_of_length(rerankers[REFERENCE], sample, PAIRS)
    started = time.monotonic()
    for repetition in range(REPETITIONS):
        for name, reranker in rerankers.items():
            began = time.perf_counter()
            reranker.score_batch(batch)
            seconds[name].append(time.perf_counter() - began)
        if repetition + 1 >= LEAST_REPETITIONS and time.monotonic() - started > most_s:
            break
    return {name: 1000 * float(np.median(times[1:])) for name, times in seconds.items()}


def percentiles(reranker: Reranker, sample: PairSample, most_s: float = LATENCY_S) -> list[dict[str, float]]:
    """For each of SIZES: the pairs, p50, p95 and p99 of their latency in milliseconds, and how often it was measured."""
    rows = []
    for size in SIZES:
        batch = pairs_of_length(reranker, sample, size)
        reranker.score_batch(batch)
        times: list[float] = []
        started = time.monotonic()
        while len(times) < LEAST_REPETITIONS or (len(times) < REPETITIONS and time.monotonic() - started < most_s):
            began = time.perf_counter()
            reranker.score_batch(batch)
            times.append(1000 * (time.perf_counter() - began))
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        rows.append({"pairs": size, "p50": float(p50), "p95": float(p95), "p99": float(p99), "repetitions": len(times)})
    return rows


def pairs_of_length(reranker: Reranker, sample: PairSample, count: int) -> list[Tokens]:
    """So many pairs of the sample, each cut or repeated to PAIR_TOKENS tokens."""
    tokens = reranker.tokens_of_pairs((sample.pairs * count)[:count])
    return [Tokens(*(np.resize(part, PAIR_TOKENS).tolist() for part in pair)) for pair in tokens]


def taken(rows: Sequence[VariantMeasurement], variant: str = "") -> tuple[VariantMeasurement, list[VariantMeasurement], str]:
    """The variant that is taken, all rows with their reasons, and why it is REFERENCE although it may not be; mostly empty.

    Args:
        rows: of every measured variant.
        variant: taken by hand; empty: the fastest that may be taken and that an image of the server can run.

    Raises:
        InputError: the one named may not be taken, or was not measured.
    """
    if variant:
        named = next((row for row in rows if row.variant == variant), None)
        if named is None or named.reason:
            reason = named.reason if named else "it was not made, or can't run here"
            raise InputError(f"variant {variant}: {reason}", "one that may be taken", "name another, or none")
        by_speed = sorted(rows, key=lambda row: -row.docs_per_s)
        rest = [row if row.reason else replace(row, reason=NOT_NAMED) for row in by_speed if row is not named]
        return named, [named, *rest], ""
    served = [
        replace(row, reason=UNSERVED) if not row.reason and FORMATS[row.variant].backend == "torch" else row for row in rows
    ]
    try:
        return *fastest(served), ""
    except InputError as error:
        exact = next(row for row in rows if row.variant == REFERENCE)
        return exact, sorted(served, key=lambda row: -row.docs_per_s), f"no variant may be taken ({error.given}), so fp32 is"
