"""The blend of a release: its weights by the dev queries, and whether it ranks them better than the stages before it.

The weights of a kind of query are those of the softmax over a query's candidates that comes nearest to its judgments (ListNet's
top one: Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007), with a penalty on their
squares, so there is one best answer and no seed. Figures are cross-fitted, as those of fusions are: the value of a query comes
from weights fitted without its fold. A kind is blended only where the interval of its gain in nDCG@10 lies above 0.

Features are read as of the last cut before a query's time, so no value holds what the query asks for, or anything later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.corpus.interaction_arrays import interaction_arrays
from pipelines.evaluation.dev import PastOfCorpus, dev_histories, past_of
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.stage_choice import CONFIDENCE, DEPTH, FOLDS, LEAST_DEV, dev_topics
from pipelines.evaluation.stage_measuring import retrievers_of_past
from pipelines.index.vector_index import load_index, mean_direction
from pipelines.models.encoder import load_encoder
from pipelines.models.recommenders import user_counts
from pipelines.retrieval.release import Parts, load_rerank
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery
from pipelines.retrieval.stages.blend import (
    RERANKER,
    Blend,
    BlendCard,
    BlendFeature,
    Candidates,
    Floats,
    Found,
    StoredValues,
    Terms,
    in_unit,
)
from pipelines.retrieval.stages.card import RERANK, QueryKind, StageCard, named
from pipelines.retrieval.stages.known_queries import without_own_queries
from pipelines.retrieval.stages.ranker import RERANKED_TOGETHER, Ranker
from pipelines.retrieval.stages.table import load_retrievers, stage_artifacts
from pipelines.statistics.intervals import Interval, interval
from pipelines.store.artifacts import Artifact
from pipelines.wording import signed, value

PENALTY = 1.0
"""On the squares of the weights, in units of the terms' deviations, beside the sum of the queries' losses."""
DAY = 86_400
STEPS, NEAR = 50, 1e-9
"""Of Newton's method at most, and the step at which it ends."""
ROUNDING = 1e-6
"""A spread of less than this share of the values is rounding, and no difference: scores are float32."""


@dataclass(frozen=True)
class Sample:
    """A dev query with the terms of its candidates."""

    query: str
    found: Found
    terms: Terms
    grades: Floats
    """(documents,)"""
    choices: Floats
    """(documents,): how many users had chosen each before."""


@dataclass(frozen=True)
class Samples:
    """The dev queries of one kind, with their judgments."""

    kind: QueryKind
    samples: Sequence[Sample]
    """Empty where the judged queries are too few."""
    qrels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class FittedKind:
    """The weights for one kind of query, and what they gain."""

    kind: QueryKind
    weights: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]]
    """Of the blend, of the stages before it and of popularity: `name`, nDCG@10 and the blend's gain over it."""
    gain: Interval
    """Over the stages before."""
    queries: int

    @property
    def taken(self) -> bool:
        """Whether it is better than the stages before it beyond chance."""
        return (self.gain.low or 0) > 0


@dataclass(frozen=True)
class FittedBlend:
    """A blend, and the reason for it or against it."""

    card: BlendCard
    kinds: Sequence[FittedKind]
    sentence: str

    @property
    def queries(self) -> str:
        """Which queries it is for, as a stage's card says it; empty: none."""
        kinds = list(self.card.weights)
        return "all" if len(kinds) > 1 else kinds[0] if kinds else ""


def standardized(features: Sequence[BlendFeature], stored: StoredValues) -> tuple[BlendFeature, ...]:
    """The features with default, mean and deviation of the last cut's values: the median stands in for what is missing."""
    made = []
    for place, feature in enumerate(features):
        known = stored.values[-1, :, place]
        known = known[~np.isnan(known)]
        made.append(feature.model_copy(update=_constants(known, feature.unit) if len(known) else {}))
    return tuple(made)


def _constants(known: Floats, unit: str) -> dict[str, float]:
    """Default, mean and deviation; 1 where all values are one, so that others which come later are not taken for far away."""
    scaled = in_unit(known, unit)
    deviation = float(scaled.std())
    varied = deviation > ROUNDING * float(np.abs(scaled).max())
    return {"default": float(np.median(known)), "mean": float(scaled.mean()), "deviation": deviation if varied else 1.0}


def fitted_blend(
    parts: Parts,
    stages: Sequence[StageCard],
    query_variant: str,
    features: Sequence[BlendFeature],
    stored: StoredValues,
    log: str,
    candidates: int,
) -> FittedBlend:
    """Fit the weights for texts and for histories, as far as there are dev queries.

    Args:
        parts: of the release.
        stages: before the blend.
        query_variant: of the encoder.
        features: that are read, without their constants.
        stored: their values, as of a cut before the time of each dev query.
        log: where they come from, see `BlendCard`.
        candidates: how many first documents are blended.
    """
    unfitted = BlendCard(candidates=candidates, features=standardized(features, stored), log=log, weights={})
    blend = Blend(unfitted, stored)
    asked = [text_samples(parts, stages, query_variant, blend, stored), history_samples(parts, stages, blend, stored)]
    enough = [samples for samples in asked if len(samples.samples) >= LEAST_DEV]
    kinds = [_fitted_kind(samples, stages, 1 - (1 - CONFIDENCE) / len(enough)) for samples in enough]
    weights = {one.kind: dict(one.weights) for one in kinds if one.taken}
    sentence = " ".join(_sentence(one, stages) for one in kinds)
    if not kinds:
        counted = " and ".join(f"{len(samples.qrels)} of {samples.kind}" for samples in asked)
        sentence = f"Nothing is blended: dev queries, {counted}, are fewer than {LEAST_DEV} of each."
    return FittedBlend(unfitted.model_copy(update={"weights": weights}), kinds, sentence)


def text_samples(parts: Parts, stages: Sequence[StageCard], query_variant: str, blend: Blend, stored: StoredValues) -> Samples:
    """The judged dev queries of text; none where they are too few."""
    topics = dev_topics(parts.corpus)
    if len(topics.queries) < LEAST_DEV:
        return Samples("text", [], topics.qrels)
    by_id = {document.id: document for document in documents(parts.corpus)}
    artifacts = stage_artifacts(parts.corpus.store, stages, parts.ids)
    retrievers = without_own_queries(load_retrievers(artifacts, load_index(parts.index), list(by_id)))
    ranker = Ranker(stages, retrievers, load_rerank(stages, artifacts, by_id))
    vectors = load_encoder(parts.encoder, query_variant).encode([query.text for query in topics.queries], "query")
    asked = [AskedQuery(query, "text", vector=vector) for query, vector in zip(topics.queries, vectors, strict=True)]
    left_out: list[set[str]] = [set() for _ in asked]
    return Samples("text", list(_samples(ranker, asked, left_out, topics.qrels, blend, stored)), topics.qrels)


def history_samples(parts: Parts, stages: Sequence[StageCard], blend: Blend, stored: StoredValues) -> Samples:
    """The dev next-item queries, each ranked by models of what was before its time; none where they are too few."""
    ids = [document.id for document in documents(parts.corpus)]
    dev = dev_histories(past_of(parts.corpus, ids))
    if len(dev.queries) < LEAST_DEV:
        return Samples("history", [], dev.qrels)
    index, artifacts = load_index(parts.index), stage_artifacts(parts.corpus.store, stages, parts.ids)
    wanted = {card.stage for card in Ranker(stages, {}).retriever_cards("history")}
    artifacts = {name: artifact for name, artifact in artifacts.items() if name in wanted}
    samples: list[Sample] = []
    for time in sorted({query.time or 0 for query in dev.queries}):
        ranker = Ranker(stages, retrievers_of_past(artifacts, index, ids, time))
        queries = [query for query in dev.queries if (query.time or 0) == time]
        asked = [AskedQuery(query, "history", query.history, mean_direction(index.vectors(query.history))) for query in queries]
        samples += _samples(ranker, asked, [dev.seen[query.id] for query in queries], dev.qrels, blend, stored)
    return Samples("history", samples, dev.qrels)


def _samples(
    ranker: Ranker,
    asked: Sequence[AskedQuery],
    left_out: Sequence[set[str]],
    qrels: Mapping[str, Mapping[str, int]],
    blend: Blend,
    stored: StoredValues,
) -> Iterator[Sample]:
    for start in range(0, len(asked), RERANKED_TOGETHER):
        part = asked[start : start + RERANKED_TOGETHER]
        depths = [blend.card.candidates] * len(part)
        before = ranker.before_blend(part, depths, left_out[start : start + RERANKED_TOGETHER])
        found = [one.found for one in before]
        for query, one, terms in zip(part, found, blend.terms(found), strict=True):
            grades = [float(qrels[query.query.id].get(document, 0)) for document in terms.documents]
            choices = stored.chosen(Candidates(terms.documents, one.time))
            yield Sample(query.query.id, one, terms, np.array(grades), np.nan_to_num(choices))


def _fitted_kind(samples: Samples, stages: Sequence[StageCard], confidence: float) -> FittedKind:
    names = list(samples.samples[0].terms.names)
    reranked = samples.kind == "text" and any(stage.stage == RERANK for stage in stages)
    columns = [place for place, name in enumerate(names) if name != RERANKER or reranked]
    of = samples.samples
    runs = {
        "blended": {one.query: _first(one, one.terms.scaled[:, columns] @ w) for one, w in _held_out(of, columns)},
        named(stages): {one.query: one.found.ranking[:DEPTH] for one in of},
        "popularity, of the same documents": {one.query: _first(one, one.choices) for one in of},
    }
    queries = [one.query for one in of]
    values = {name: np.array(ndcg_at_10(samples.qrels, run, queries)) for name, run in runs.items()}
    gains = {name: interval((values["blended"] - other).tolist(), confidence) for name, other in values.items()}
    weights = listwise_weights([(one.terms.scaled[:, columns], one.grades) for one in of])
    return FittedKind(
        samples.kind,
        {names[column]: round(float(weight), 6) for column, weight in zip(columns, weights, strict=True)},
        [_row(name, values[name], gains[name] if name != "blended" else None) for name in runs],
        gains[named(stages)],
        len(of),
    )


def _held_out(samples: Sequence[Sample], columns: list[int]) -> Iterator[tuple[Sample, Floats]]:
    """Each dev query with the weights that were fitted without its fold."""
    for fold in range(FOLDS):
        outside = [(one.terms.scaled[:, columns], one.grades) for n, one in enumerate(samples) if n % FOLDS != fold]
        weights = listwise_weights(outside)
        yield from ((one, weights) for n, one in enumerate(samples) if n % FOLDS == fold)


def listwise_weights(queries: Sequence[tuple[Floats, Floats]]) -> Floats:
    """The weights whose softmax over each query's documents is nearest to its grades, by Newton's method; (terms,).

    A term that never differs within a query has weight 0.

    Args:
        queries: of each the terms, (documents, terms), and the grades, (documents,); one without a relevant one is left out.
    """
    usable = [(terms, grades / grades.sum()) for terms, grades in queries if grades.sum() > 0]
    width = queries[0][0].shape[1]
    if not usable:
        return np.zeros(width)
    centred = [terms - terms.mean(0) for terms, _ in usable]
    deviations = np.sqrt(np.square(np.concatenate(centred)).mean(0))
    sizes = np.sqrt(np.square(np.concatenate([terms for terms, _ in usable])).mean(0))
    unit = np.where(deviations > ROUNDING * sizes, deviations, np.inf)
    scaled = [(terms / unit, shares) for terms, (_, shares) in zip(centred, usable, strict=True)]
    weights = np.zeros(width)
    for _ in range(STEPS):
        gradient, curvature = PENALTY * weights, PENALTY * np.eye(width)
        for terms, shares in scaled:
            likely = _softmax(terms @ weights)
            mean = likely @ terms
            gradient = gradient + mean - shares @ terms
            curvature = curvature + (terms.T * likely) @ terms - np.outer(mean, mean)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # no term moves by more than 1 at once
        if np.abs(step).max() < NEAR:
            break
    return np.asarray(weights / unit)


def _softmax(scores: Floats) -> Floats:
    likely = np.exp(scores - scores.max())
    return np.asarray(likely / likely.sum())


def _first(sample: Sample, scores: Floats) -> Ranking:
    """The candidates by other scores, ties in their first order."""
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return [(sample.terms.documents[row], float(scores[row])) for row in order]


def _row(name: str, values: Floats, gain: Interval | None) -> dict[str, Any]:
    mean = interval(values.tolist(), CONFIDENCE, least=0)
    return {
        "name": name, "mean": mean.mean, "low": mean.low, "high": mean.high, "gain": gain and gain.mean,
        "gain_low": gain and gain.low, "gain_high": gain and gain.high,
    }  # fmt: skip


def _sentence(one: FittedKind, stages: Sequence[StageCard]) -> str:
    figures = f"nDCG@10 {value(one.rows[0]['mean'])} over {one.queries:,} dev queries"
    gain = f"{signed(one.gain.mean)} [{signed(one.gain.low)}, {signed(one.gain.high)}] against {named(stages)}"
    verdict = "blended" if one.taken else "not blended, since that is not better beyond chance"
    return f"{one.kind.capitalize()}: {figures}, {gain}; {verdict}."


def asked_times(past: PastOfCorpus, now: int = 0) -> list[int]:
    """The times that features are wanted of, in seconds since 1970: those of dev queries, of the test, and of texts.

    Texts have no time. Theirs is that of the test, where the corpus has one; else it is a day after the last interaction.

    Args:
        past: of the corpus.
        now: the time of texts, where events are of a log that has nothing to do with the corpus's times; 0: they are not.
    """
    times = past.interactions.times
    after_all = int(times.max()) + DAY if len(times) else DAY
    cutoff = past.test_cutoff or 0
    return [*past.dev_cutoffs, *([cutoff] if cutoff else []), now or cutoff or after_all]


def choices_before(corpus: Artifact, ids: Sequence[str], cuts: Sequence[int]) -> Floats:
    """How many users had chosen each document before each cut, (cuts, documents)."""
    past = interaction_arrays(corpus, ids)
    return np.array([user_counts(past.before(cut).choices()) for cut in cuts], float)
