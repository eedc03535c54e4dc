"""The choice of a release's stages, by the dev queries: which retrievers, fused how, with which weights.

A candidate replaces the default only where the interval of its paired difference in nDCG@10 lies above 0, at a confidence that
allows for the number of candidates (Bonferroni). Of those, all that are not significantly worse than the best count as equal,
and the one with the fewest retrievers is taken: a stage must earn its place. Weights are fitted on dev queries as well, so the
figures of a weighted candidate are cross-fitted: the value of a query comes from weights fitted without its fold.

The default needs no queries: cosines and BM25, weighted 0.8 to 0.2; for histories, collaborative scores and popularity in equal
parts. Of the fusions that were tried on judged collections it is the one whose worst loss against the better retriever was
smallest (docs/rankers.md, docs/recommendation.md).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any, Literal

import numpy as np

from pipelines.corpus.documents import dev_queries
from pipelines.errors import InputError
from pipelines.evaluation.qrels import Topics, judged_topics
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.card import BLEND, FUSION, RERANK, FusionMethod, QueryKind, StageCard, named
from pipelines.retrieval.stages.fusion import CANDIDATES, RANK_CONSTANT
from pipelines.retrieval.stages.ranker import ranked_by
from pipelines.retrieval.stages.table import DENSE, RETRIEVERS, answered, check_stages
from pipelines.statistics.intervals import Floats, Interval, interval
from pipelines.store.artifacts import Artifact
from pipelines.wording import signed, value

LEAST_DEV = 50
"""Dev queries below which nothing is chosen by measuring."""
DEFAULT_WEIGHTS: Mapping[QueryKind, Mapping[str, float]] = {
    "text": {DENSE: 0.8, "lexical": 0.2},
    "history": {"collaborative": 0.5, "popularity": 0.5},
}
"""By the retrievers that there are; without any of them, dense."""
CONFIDENCE = 0.95
DEPTH, FOLDS, STEPS = 10, 5, 10
"""Documents that nDCG looks at, folds of cross-fitting, and steps of the grid of weights."""
DISCOUNTS = 1 / np.log2(np.arange(2, DEPTH + 2))


@dataclass(frozen=True)
class Candidate:
    """Retrievers with weights, and how they are fused; one retriever alone needs no fusion."""

    weights: Mapping[str, float]
    method: FusionMethod | None = None

    def cards(self, artifacts: Mapping[str, str], kind: QueryKind | Literal["all"] = "all") -> list[StageCard]:
        """The stages of a release, for queries of one kind or all; `artifacts` are ids by the retrievers' names."""
        rounded = {name: round(weight, 4) for name, weight in self.weights.items()}
        retrievers = [
            StageCard(stage=name, artifact=artifacts.get(name, ""), weight=weight, queries=kind)
            for name, weight in rounded.items()
        ]
        fusion = [StageCard(stage=FUSION, method=self.method, queries=kind)] if self.method and len(retrievers) > 1 else []
        return retrievers + fusion

    @property
    def name(self) -> str:
        """The candidate in words."""
        return named(self.cards({}))


@dataclass(frozen=True)
class MeasuredCandidate:
    """A candidate with its nDCG@10 on the dev queries, and its difference to the default."""

    candidate: Candidate
    values: Floats
    """By dev query."""
    mean: Interval
    difference: Interval
    """Against the default, at the confidence that allows for the number of candidates."""
    fitted: bool = False
    """Whether its weights were fitted on the dev queries."""
    reason: str = ""
    """Why it was not taken; empty: it was."""


@dataclass(frozen=True)
class DevScores:
    """The scores of the candidates' documents for one dev query, by retriever."""

    names: Sequence[str]
    scores: Floats
    """(documents, retrievers), divided as weighted fusion divides them."""
    ranks: Floats
    """(documents, retrievers): from 1; infinite where a retriever did not rank the document."""
    gains: Floats
    """(documents,): grades."""
    ideal: float
    """The largest DCG that the query's judgments allow."""

    def ndcg(self, candidate: Candidate) -> float:
        """nDCG@10 of the query, as ir_measures has it. What no retriever of the candidate finds anything for, dense ranks."""
        columns = [self.names.index(name) for name in candidate.weights]
        weights = np.array(list(candidate.weights.values()))
        ranks = self.ranks[:, columns]
        inside = np.isfinite(ranks).any(1)
        if not inside.any():
            columns, weights = [self.names.index(DENSE)], np.ones(1)
            ranks = self.ranks[:, columns]
            inside = np.isfinite(ranks).any(1)
        fused = (1 / (RANK_CONSTANT + ranks)) @ weights if candidate.method == "rrf" else self.scores[:, columns] @ weights
        order = np.argsort(-np.where(inside, fused, -np.inf), kind="stable")[: min(DEPTH, int(inside.sum()))]
        return float(self.gains[order] @ DISCOUNTS[: len(order)]) / self.ideal


def dev_topics(corpus: Artifact) -> Topics:
    """The judged dev queries of text, in the order of their ids; queries that were made from documents are none."""
    train = judged_topics(corpus, "train", "exclude")
    asked = [query for query in train.queries if not query.history and not query.synthetic]
    kept = sorted(dev_queries(asked), key=lambda query: query.id)
    return replace(train, queries=kept, qrels={query.id: train.qrels[query.id] for query in kept})


def dev_scores(
    asked: AskedQuery, retrievers: Mapping[str, Retriever], grades: Mapping[str, int], left_out: Collection[str] = ()
) -> DevScores:
    """The documents that any retriever ranks for a query, with their scores by all."""
    ranked = {
        name: found
        for name, retriever in retrievers.items()
        if (found := ranked_by(retriever, 1.0, asked, CANDIDATES, left_out)) is not None
    }
    documents = sorted({document for found in ranked.values() for document, _ in found.ranking})
    row = {document: number for number, document in enumerate(documents)}
    scores, ranks = np.zeros((len(documents), len(retrievers))), np.full((len(documents), len(retrievers)), np.inf)
    for column, name in enumerate(retrievers):
        if name in ranked:
            found = ranked[name]
            scores[:, column] = found.answer.of(documents) / found.scale if documents else 0
            ranks[[row[document] for document, _ in found.ranking], column] = np.arange(1, len(found.ranking) + 1)
    gains = np.array([float(grades.get(document, 0)) for document in documents])
    best = sorted(grades.values(), reverse=True)[:DEPTH]
    return DevScores(list(retrievers), scores, ranks, gains, float(np.array(best, float) @ DISCOUNTS[: len(best)]))


def grid(names: Sequence[str]) -> list[Candidate]:
    """Weighted fusions of these retrievers: every weight from 0.1 in steps of 0.1, which sum to 1.

    >>> len(grid(["a", "b"])), len(grid(["a", "b", "c"]))
    (9, 36)
    """
    parts = range(1, STEPS)
    return [
        Candidate(dict(zip(names, (part / STEPS for part in weights), strict=True)), "weighted")
        for weights in product(parts, repeat=len(names))
        if sum(weights) == STEPS
    ]


def cross_fitted(names: Sequence[str], scores: Sequence[DevScores]) -> tuple[Candidate, Floats]:
    """The weights that rank the dev queries best, and for each query its value by weights fitted without its fold."""
    tried = grid(names)
    values = np.array([[of_query.ndcg(candidate) for of_query in scores] for candidate in tried])
    return tried[int(values.mean(1).argmax())], held_out(values)


def held_out(values: Floats) -> Floats:
    """For each query its value by what is best for the queries of the other folds: (queries,), of (tried, queries).

    A single query has none but its own, and gets its value by the first that was tried.
    """
    honest = np.empty(values.shape[1])
    for fold in range(min(FOLDS, values.shape[1])):
        inside = np.arange(values.shape[1]) % FOLDS == fold
        best = 0 if inside.all() else int(values[:, ~inside].mean(1).argmax())
        honest[inside] = values[best, inside]
    return honest


def default_candidate(names: Collection[str], kind: QueryKind) -> Candidate:
    """What is taken where nothing can be measured: the stated weights of those retrievers that are there."""
    weights = {name: weight for name, weight in DEFAULT_WEIGHTS[kind].items() if name in names} or {DENSE: 1.0}
    return Candidate(weights, "weighted") if len(weights) > 1 else Candidate(dict.fromkeys(weights, 1.0))


def measure_candidates(names: Sequence[str], kind: QueryKind, scores: Sequence[DevScores]) -> list[MeasuredCandidate]:
    """Every candidate on the dev queries, with the choice made: the one without a `reason`. The default comes first.

    Args:
        names: the retrievers that there are.
        kind: of the queries.
        scores: of the dev queries, two or more.
    """
    default = default_candidate(names, kind)
    subsets = [subset for size in range(2, len(names) + 1) for subset in combinations(names, size)]
    alone = [candidate for name in names if (candidate := Candidate({name: 1.0})) != default]
    equal = [Candidate(dict.fromkeys(subset, 1.0), "rrf") for subset in subsets]
    found = [(candidate, _values(candidate, scores), False) for candidate in (default, *alone, *equal)]
    found += [(*cross_fitted(one, scores), True) for one in subsets]
    strict = 1 - (1 - CONFIDENCE) / max(len(found) - 1, 1)
    measured = [
        MeasuredCandidate(
            candidate,
            values,
            interval(values.tolist(), CONFIDENCE, least=0),
            interval((values - found[0][1]).tolist(), strict),
            fitted,
        )
        for candidate, values, fitted in found
    ]
    return _with_reasons(measured)


def _values(candidate: Candidate, scores: Sequence[DevScores]) -> Floats:
    return np.array([of_query.ndcg(candidate) for of_query in scores])


def _with_reasons(measured: Sequence[MeasuredCandidate]) -> list[MeasuredCandidate]:
    default, *others = measured
    better = [one for one in others if (one.difference.low or 0) > 0]
    if not better:
        return [default, *(replace(one, reason="not better than the default beyond chance") for one in others)]
    best = max(better, key=lambda one: one.values.mean())
    equal = [one for one in better if (interval((best.values - one.values).tolist(), CONFIDENCE).low or 0) <= 0]
    taken = min(equal, key=lambda one: (len(one.candidate.weights), -one.values.mean()))

    def reason(one: MeasuredCandidate) -> str:
        if one is taken:
            return ""
        if one is default:
            return "a better one was measured"
        if one not in better:
            return "not better than the default beyond chance"
        return (
            "not better beyond chance than the simpler one that was taken"
            if one in equal
            else "worse than the best beyond chance"
        )

    return [replace(one, reason=reason(one)) for one in measured]


@dataclass(frozen=True)
class Choice:
    """The stages of a release with the reason for them."""

    stages: list[StageCard]
    """Empty: encoder and index alone."""
    sentence: str
    how: Literal["measured", "default", "kept", "named"]
    dev_queries: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    """A row for each candidate that was measured, as `row_of` makes it."""
    reranked: list[dict[str, Any]] = field(default_factory=list)
    """What a reranker was compared with on the dev queries, and its gains over these; empty: no reranker was measured."""
    histories: "Choice | None" = None
    """The choice for queries that are histories, where it is one of its own; its stages are among `stages`."""


def _stages(candidate: Candidate, artifacts: Mapping[str, str]) -> list[StageCard]:
    """The stages of a candidate; none where it is dense retrieval alone, which every release has."""
    return [] if list(candidate.weights) == [DENSE] else candidate.cards(artifacts)


def measured_choice(
    names: Sequence[str], artifacts: Mapping[str, str], scores: Sequence[DevScores], kind: QueryKind = "text"
) -> Choice:
    """The best candidate by the dev queries.

    Args:
        names: the retrievers that there are.
        artifacts: ids by the retrievers' names.
        scores: of the dev queries, two or more.
        kind: of the dev queries.
    """
    measured = measure_candidates(names, kind, scores)
    taken, default = next(one for one in measured if not one.reason), measured[0]
    figures = (
        f"nDCG@10 {value(taken.mean.mean)} [{value(taken.mean.low)}, {value(taken.mean.high)}] over {len(scores):,} dev queries"
    )
    if taken is default:
        why = "the default, which none of the others beats beyond chance"
    else:
        gain = taken.difference
        why = f"{signed(gain.mean)} [{signed(gain.low)}, {signed(gain.high)}] against the default, {default.candidate.name}"
    rows = [row_of(one) for one in sorted(measured, key=lambda one: -one.values.mean())]
    return Choice(
        _stages(taken.candidate, artifacts), f"{taken.candidate.name}: {figures}; {why}.", "measured", len(scores), rows
    )


def default_choice(artifacts: Mapping[str, str], dev_queries: int, kind: QueryKind = "text") -> Choice:
    """The stated default, where there are too few dev queries to choose by."""
    default = default_candidate([DENSE, *artifacts], kind)
    few = f"{dev_queries} dev queries are judged, fewer than {LEAST_DEV}, so nothing was measured to choose by"
    page = "docs/rankers.md" if kind == "text" else "docs/recommendation.md"
    sentence = f"{default.name}, the default: {few} ({page} says why this one)."
    return Choice(_stages(default, artifacts), sentence, "default", dev_queries)


def of_both_kinds(text: Choice, histories: Choice) -> Choice:
    """One choice for a release that answers texts and histories: the stages of each, for its kind alone.

    Args:
        text: whose stages for texts are taken.
        histories: whose stages are all for histories.
    """
    dense = [StageCard(stage=DENSE)]
    stages: list[StageCard] = []
    by_kind: dict[QueryKind, list[StageCard]] = {"text": text.stages or dense, "history": histories.stages or dense}
    for kind, cards in by_kind.items():
        kept = [card for card in cards if (card.answers(kind) if card.stage == FUSION else kind in answered(card))]
        stages += [card.model_copy(update={"queries": kind}) for card in kept]
    stages.sort(key=lambda card: card.stage == RERANK)  # it comes after the stages of both kinds
    if all(card.stage == DENSE for card in stages):
        stages = []
    sentence = f"Texts: {text.sentence} Histories: {histories.sentence}"
    return replace(text, stages=stages, sentence=sentence, histories=histories)


def champion_choice(champion: Artifact, artifacts: Mapping[str, str]) -> Choice:
    """The champion's stages with today's artifacts, so that a refresh changes what is searched and not how.

    Its blend is none of them: `fit_blend` fits one to what these stages find now.

    Raises:
        InputError: an artifact is missing that a stage needs.
    """
    cards = _champion_cards(champion)
    missing = [card.stage for card in cards if card.artifact and card.stage not in (*artifacts, RERANK)]
    if missing:
        raise InputError(
            f"no {missing[0]}, which champion {champion.id} has among its stages ({named(cards)})",
            f"--{RETRIEVERS[missing[0]].artifact.replace('_', '-')} of this corpus",
            "pass it, or choose anew with --take best",
        )
    stages = [card.model_copy(update={"artifact": artifacts.get(card.stage, card.artifact)}) for card in cards]
    return Choice(stages, f"{named(stages) or DENSE}: the stages of champion {champion.id[:8]} are kept.", "kept")


def champion_text_choice(champion: Artifact, artifacts: Mapping[str, str]) -> Choice:
    """The champion's stages for texts, each with today's artifact, or with its own where none is given."""
    cards = _champion_cards(champion)
    kept = [card for card in cards if (card.answers("text") if card.stage == FUSION else "text" in answered(card))]
    stages = [card.model_copy(update={"artifact": artifacts.get(card.stage, card.artifact)}) for card in kept]
    names = named(stages) or DENSE
    return Choice(stages, f"{names}: the stages of champion {champion.id[:8]} are kept.", "kept")


def _champion_cards(champion: Artifact) -> list[StageCard]:
    cards = [StageCard(**stage) for stage in champion.manifest.recipe.params.get("stages", [])]
    return [card for card in cards if card.stage != BLEND]


def named_choice(take: str, artifacts: Mapping[str, str]) -> Choice:
    """Stages by name: `dense+lexical` is fused by ranks, `dense=0.7+lexical=0.3` by weighted scores.

    >>> named_choice("dense=0.5+lexical=0.5", {"lexical": "ab"}).sentence
    'dense 0.5 + lexical 0.5: named by hand.'

    Raises:
        InputError: a name twice or without its artifact, a weight that is no number of at least 0, or weights that sum to 0.
    """
    pairs = [name.strip().partition("=") for name in take.split("+")]
    names = [name for name, _, _ in pairs]
    able = [DENSE, *artifacts]
    if len(set(names)) < len(names) or not set(names) <= set(able):
        raise InputError(
            f"--take {take}",
            f"auto, best, histories, or each once of {', '.join(able)}",
            "pass the stage's artifact, or another name",
        )
    weighted = any(equals for _, equals, _ in pairs)
    try:
        weights = {name: float(weight) if weighted else 1.0 for name, _, weight in pairs}
        candidate = Candidate(weights, None if len(names) == 1 else "weighted" if weighted else "rrf")
        stages = _stages(candidate, artifacts)
    except ValueError:  # pydantic's ValidationError among them
        raise InputError(
            f"--take {take}", "a weight of at least 0 for each, or for none", "such as dense=0.7+lexical=0.3"
        ) from None
    if stages:
        check_stages(stages)
    return Choice(stages, f"{candidate.name}: named by hand.", "named")


def row_of(measured: MeasuredCandidate) -> dict[str, Any]:
    """A measured candidate as a row of the report."""
    return {
        "name": measured.candidate.name + (", fitted" if measured.fitted else ""),
        "mean": measured.mean.mean,
        "low": measured.mean.low,
        "high": measured.mean.high,
        "difference": measured.difference.mean,
        "difference_low": measured.difference.low,
        "difference_high": measured.difference.high,
        "reason": measured.reason,
    }
