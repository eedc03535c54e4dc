"""Rerank: the first documents of the stages before are ordered anew by a joint score of theirs and a reranker's.

The joint score is `first_stage · score + weight · reranker's score`; documents beyond the candidates follow in their order. A
search that has little time left reranks fewer candidates, and none where not one fits: then the order is the first stages'.

Searches that come at the same time are scored together: whoever finds the reranker free scores what has been waiting.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.models.backends import Tokens
from pipelines.models.reranker import KIND, Reranker, Scores, card_of
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.card import RERANK, StageCard
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import Store

SMOOTHING = 0.2
"""Weight of the last measured speed in the expected one."""


@dataclass(frozen=True)
class Reranked:
    """How many documents of a search were candidates, and how many of these were scored in its time."""

    candidates: int
    scored: int
    scores: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    """By document; of those that were scored."""

    @property
    def late(self) -> bool:
        """Whether time was too short for all."""
        return self.scored < self.candidates

    @property
    def counts(self) -> dict[str, int | bool]:
        """What an answer says of it."""
        return {"candidates": self.candidates, "scored": self.scored, "late": self.late}


@dataclass
class _Search:
    """The pairs of one search, best candidate first, until it has its scores."""

    pairs: Sequence[Tokens]
    deadline: float | None
    scores: Scores | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.scores is not None or self.error is not None


@dataclass
class SharedReranker:
    """A reranker that several threads use at once; it computes for one batch of searches after another."""

    reranker: Reranker
    token_s: float = 0.0
    """Expected seconds for one token; 0: not measured yet."""
    searches: int = 0
    late: int = 0
    """Of these, those for which fewer candidates than all were scored."""
    _waiting: list[_Search] = field(default_factory=list)
    _queue: threading.Lock = field(default_factory=threading.Lock)
    _computing: threading.Lock = field(default_factory=threading.Lock)

    def scores(self, query: str, documents: Sequence[str], deadline: float | None = None) -> Scores:
        """The scores of one search, see `scores_together`."""
        return self.scores_together([(query, documents)], deadline)[0]

    def scores_together(self, searches: Sequence[tuple[str, Sequence[str]]], deadline: float | None = None) -> list[Scores]:
        """For each search the scores of its first documents, float32: of all, or of as many as fit before the deadline.

        Args:
            searches: a text each, with the texts of its documents, the best candidate first.
            deadline: by `time.monotonic`; none: all are scored.
        """
        own = [_Search(self.reranker.tokens(query, documents), deadline) for query, documents in searches]
        with self._queue:
            self._waiting.extend(own)
        with self._computing:
            if not all(search.done for search in own):
                with self._queue:
                    waiting, self._waiting = self._waiting, []
                self._compute(waiting)
        return [self._scores_of(search) for search in own]

    def _scores_of(self, search: _Search) -> Scores:
        if search.error is not None:
            raise search.error
        assert search.scores is not None
        with self._queue:
            self.searches += 1
            self.late += len(search.scores) < len(search.pairs)
        return search.scores

    def _compute(self, searches: Sequence[_Search]) -> None:
        """Score what fits of each search, all pairs together: a batch holds pairs of one length, of whichever search."""
        kept = self._what_fits(searches)
        pairs = [pair for of_search in kept for pair in of_search]
        started = time.monotonic()
        try:
            scores = self.reranker.score(pairs)
        except Exception as error:  # noqa: BLE001  # each waiting search raises it
            for search in searches:
                search.error = error
            return
        if pairs:
            measured = (time.monotonic() - started) / _tokens(pairs)
            self.token_s = (1 - SMOOTHING) * self.token_s + SMOOTHING * measured if self.token_s else measured
        ends = np.cumsum([len(of_search) for of_search in kept])
        for search, part in zip(searches, np.split(scores, ends[:-1]), strict=True):
            search.scores = part

    def _what_fits(self, searches: Sequence[_Search]) -> list[Sequence[Tokens]]:
        """The first pairs of each search: as many as can be scored before the earliest deadline, shared equally by tokens.

        A search for which not one pair fits is left out, and the others share the time before the next deadline.
        """
        now = time.monotonic()
        kept: list[Sequence[Tokens]] = [search.pairs if search.deadline is None else () for search in searches]
        timed = sorted((search.deadline, row) for row, search in enumerate(searches) if search.deadline is not None)
        in_time = [(deadline, row) for deadline, row in timed if deadline > now]
        for first, (deadline, earliest) in enumerate(in_time):
            share = (deadline - now) / self.token_s / (len(in_time) - first) if self.token_s else math.inf
            if _prefix(searches[earliest].pairs, share):
                for _, row in in_time[first:]:
                    kept[row] = searches[row].pairs[: _prefix(searches[row].pairs, share)]
                return kept
        if any(searches[row].pairs for _, row in in_time):  # one slow moment, never measured again, must not end all reranking
            self.token_s *= 1 - SMOOTHING
        return kept


def _tokens(pairs: Sequence[Tokens]) -> int:
    return sum(len(pair.ids) for pair in pairs)


def _prefix(pairs: Sequence[Tokens], tokens: float) -> int:
    """How many of the first pairs have at most so many tokens together.

    >>> _prefix([Tokens([1] * 4, [0] * 4)] * 3, 9)
    2
    """
    return int(np.searchsorted(np.cumsum([len(pair.ids) for pair in pairs]), tokens, side="right"))


@dataclass(frozen=True)
class FirstStage:
    """What the stages before the reranker said of a query."""

    text: str
    ranking: Ranking
    """At least the candidates."""
    scale: float
    """What its scores are divided by, so that they mean the same for every query."""


@dataclass(frozen=True)
class Rerank:
    """The stage, loaded."""

    card: StageCard
    shared: SharedReranker
    texts: Mapping[str, str]
    """Documents' texts by their ids."""

    def rank_together(self, firsts: Sequence[FirstStage], deadline: float | None) -> list[tuple[Ranking, Reranked]]:
        """Each ranking with its candidates ordered anew, ties in their first order; all are scored together.

        Args:
            firsts: what the stages before said of each query.
            deadline: by `time.monotonic`; none: all candidates are scored.
        """
        candidates = [[document for document, _ in first.ranking[: self.card.candidates]] for first in firsts]
        searches = [
            (first.text, [self.texts[document] for document in documents])
            for first, documents in zip(firsts, candidates, strict=True)
        ]
        scored = self.shared.scores_together(searches, deadline)
        return [self._joined(*search) for search in zip(firsts, candidates, scored, strict=True)]

    def _joined(self, before: FirstStage, candidates: list[str], scores: Scores) -> tuple[Ranking, Reranked]:
        ranking, count = before.ranking, len(scores)
        if not count:
            return ranking, Reranked(len(candidates), 0)
        first = self.card.first_stage * np.array([score for _, score in ranking], np.float64) / before.scale
        joint = first[:count] + self.card.weight * scores
        order = np.argsort(-joint, kind="stable")
        reranked = [(candidates[row], float(joint[row])) for row in order]
        below = min(float(joint.min()) - first[count - 1], 0.0) if count < len(ranking) else 0.0
        rest = [(document, float(first[row] + below)) for row, (document, _) in enumerate(ranking[count:], count)]
        by_document = dict(zip(candidates, scores.tolist(), strict=False))  # of the first, where time was short
        return reranked + rest, Reranked(len(candidates), count, by_document)


def rerank_card(store: Store, chosen: Artifact) -> StageCard:
    """The stage that a report of `choose_reranker` names, with the weights that training fitted.

    Args:
        store: that has the reranker's variants.
        chosen: the report.
    """
    variants = load_exactly(store, KIND, chosen.inputs[KIND])
    trained = card_of(variants).trained
    return StageCard(
        stage=RERANK,
        artifact=variants.id,
        weight=trained.fusion.reranker_weight,
        variant=chosen.facts["chosen"]["variant"],
        candidates=trained.candidates,
        first_stage=trained.fusion.first_stage_weight * trained.fusion.scale,
        queries="text",
    )
