"""How searches are answered: those of a moment together, each from one release, written down before it is answered."""

import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from images.serve.arm_counts import ArmCounts
from images.serve.cache import RankingCache
from images.serve.errors import NotFound, status_of
from images.serve.exposure_log import ExposureLog
from images.serve.requests import SearchRequest
from images.serve.watcher import State
from pipelines import tracing
from pipelines.corpus.documents import Document
from pipelines.corpus.exposure import Exposure, FailedSearch, ListKind, Policy, Reason, ShownDocument
from pipelines.deployment.toggles import Toggles
from pipelines.errors import InputError, TryAgain
from pipelines.experiments.assignment import assign
from pipelines.masking import masked
from pipelines.retrieval.release import Release, query_of
from pipelines.retrieval.stages.fusion import CANDIDATES
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.retrieval.stages.table import POPULARITY

if TYPE_CHECKING:
    from opentelemetry.trace import Span

FRESH_S = 60
"""Seconds within which a kept ranking may have features of before."""
Answer = dict[str, Any]
UNTOGGLED = Toggles(rerank_ms=0)


@dataclass(frozen=True)
class Search:
    """A search that waits for its answer."""

    parameters: SearchRequest
    user: str
    """The user's id, by which a release is assigned; empty: unknown."""
    pseudonym: str
    """Of the user, as it is written down."""
    caller: str
    kind: ListKind = "search"
    since: float = field(default_factory=time.perf_counter)
    span: "Span | None" = field(default_factory=tracing.current_span)
    """Of the request that it is, if it is traced."""


@dataclass(frozen=True)
class _Assigned:
    """A search with the release that is to answer it."""

    search: Search
    release: Release
    policy: Policy
    experiment: str = ""
    """The split that assigned the user; empty: none did, or the caller's own experiment goes on."""

    @property
    def in_experiment(self) -> dict[str, str]:
        """The experiment and its variant, as both are written down: the split's, or the caller's own."""
        own = self.search.parameters
        return {
            "experiment": self.experiment or masked(own.experiment),
            "variant": self.policy if self.experiment else masked(own.variant),
        }


@dataclass(frozen=True)
class _Routed(_Assigned):
    """With the documents of `like` and `exclude` that the release has."""

    history: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    minute: int = 0
    """In which it was asked, where features may change its ranking; else 0."""

    @property
    def k(self) -> int:
        """How many documents are asked for."""
        return self.search.parameters.k or UNTOGGLED.k

    @property
    def depth(self) -> int:
        """How many documents each stage ranks."""
        return max(self.k, CANDIDATES) if self.search.parameters.explain else self.k

    @property
    def group(self) -> Hashable:
        """What searches that are ranked together have in common: one of an index is as deep as most documents are left out."""
        return self.release.id, self.depth, len({*self.history, *self.exclude}), tuple(self.search.parameters.filter)

    @property
    def key(self) -> Hashable:
        """What the ranking follows from."""
        parameters = self.search.parameters
        chosen = tuple(parameters.filter), frozenset(self.exclude)
        return self.release.id, self.minute, self.depth, parameters.q or "", tuple(self.history), *chosen

    def is_assigned(self, state: State) -> bool:
        """Whether nothing but the split chose the release, so that the search is one that releases are compared by."""
        by_caller = self.search.parameters.release or self.search.parameters.experiment
        return bool(self.search.user and not by_caller and (self.experiment or state.split is None))

    @property
    def about_nobody(self) -> bool:
        """Whether it asks for recommendations, and the release has none of the user's items."""
        return self.search.kind == "recommendation" and not self.history

    @property
    def wanted(self) -> dict[str, list[str]]:
        """By field, the values of which a document must have one; empty: any document will do."""
        wanted: dict[str, list[str]] = {}
        for name, _, value in (part.partition("=") for part in self.search.parameters.filter):
            wanted.setdefault(name, []).append(value)
        return wanted


class Answerer:
    """Answers searches. Used by several threads.

    Args:
        state: gives what serves now.
        exposure_log: where each search is written down before it is answered.
        toggles: gives whether a search reranks, and until when.
        cache: how many rankings are kept, to answer with them again.
        failed: told of each search that a release did not answer, with the release's id.
        arms: counts the searches of a deployment by evidence; none: nobody does.
    """

    def __init__(
        self,
        state: Callable[[], State],
        exposure_log: ExposureLog,
        toggles: Callable[[], Toggles] = lambda: UNTOGGLED,
        cache: int = 0,
        failed: Callable[[str, Reason], None] = lambda *_: None,
        arms: ArmCounts | None = None,
    ) -> None:
        self._state, self._exposure_log, self._toggles = state, exposure_log, toggles
        self._failed, self._arms = failed, arms
        self.cache = RankingCache(cache)

    def answer_all(self, searches: Sequence[Search]) -> list[Answer | Exception]:
        """The answer to each search, or why it has none. All are ranked by what serves at one moment.

        An answer does not depend on the other searches: those that are ranked together have the same release, depth and
        filter, and leave out as many documents, since an approximate index finds others when it searches deeper.
        """
        state = self._state()
        answers: dict[int, Answer | Exception] = {}
        alike: dict[Hashable, dict[int, _Routed]] = {}
        for number, search in enumerate(searches):
            assigned = None
            try:
                assigned = _assigned(state, search)
                routed = _routed(assigned)
            except Exception as error:  # noqa: BLE001  # raised to who asked
                answers[number] = error
                if assigned:
                    self._note(state, assigned, error)
            else:
                alike.setdefault(routed.group, {})[number] = routed
        for group in alike.values():
            answers |= zip(group, self._answer_alike(state, list(group.values())), strict=True)
        return [answers[number] for number in range(len(searches))]

    def _answer_alike(self, state: State, group: Sequence[_Routed]) -> Sequence[Answer | Exception]:
        """Rank and write down the searches of one group. One that can't be ranked does not spoil the others."""
        began = time.perf_counter()
        try:
            ranked, anew = self._ranked(group)
            exposures = [_exposure(state, *pair) for pair in zip(group, ranked, strict=True)]
        except Exception as error:  # noqa: BLE001  # raised to who asked
            if len(group) > 1:
                return [self._answer_alike(state, [routed])[0] for routed in group]
            self._note(state, group[0], error)
            return self._counted(state, group, None, [error])
        try:
            self._exposure_log.log_exposures(exposures)
        except TryAgain as error:
            return self._counted(state, group, None, [error] * len(group))
        milliseconds = 1000 * (time.perf_counter() - began)
        answers = [_answer(*parts) for parts in zip(group, ranked, exposures, strict=True)]
        return self._counted(state, group, milliseconds if anew else None, answers)

    def _counted(
        self, state: State, group: Sequence[_Routed], milliseconds: float | None, answers: Sequence[Answer | Exception]
    ) -> Sequence[Answer | Exception]:
        """The same answers, counted by arm: those of users whom the split assigned, or would, and not what callers did wrong.

        How long they took is what the release took for them: searches wait for each other whichever release answers them. It
        counts once for all that were ranked together, and not at all where the cache had them all, as it has more of the
        release that answers more users: None.
        """
        for routed, answer in zip(group, answers, strict=True):
            if self._arms is None or not routed.is_assigned(state):
                continue
            if not isinstance(answer, Exception):
                request_id, results = answer["request_id"], len(answer["results"])
                self._arms.answered(state, routed.policy, routed.search.user, milliseconds, request_id, results)
                milliseconds = None
            elif status_of(answer) >= 500:
                self._arms.answered(state, routed.policy, routed.search.user, None, "", 0)
        return answers

    def first(self, search: Search, release: Release, k: int) -> list[str]:
        """The first k documents that a release has for a search, ranked alone, without the cache, and written down nowhere.

        Raises:
            InputError: the release lacks what is asked for.
        """
        parameters = search.parameters.model_copy(update={"k": k, "explain": False})
        routed = _routed(_Assigned(replace(search, parameters=parameters), release, "champion"))
        (ranked,) = self._rank([routed], self._toggles())
        return [document for document, _ in ranked.result[:k]]

    def _note(self, state: State, assigned: _Assigned, error: Exception) -> None:
        """Count and write down a search that its release did not answer. Who asked is told the same if the log can't grow."""
        reason = reason_of(error)
        self._failed(assigned.release.id, reason)
        with suppress(TryAgain):
            self._exposure_log.log_failure(
                FailedSearch(
                    at=datetime.now(UTC),
                    kind=assigned.search.kind,
                    release=assigned.release.id,
                    policy=assigned.policy,
                    entry=state.entry,
                    reason=reason,
                    error=type(error).__name__,
                    latency_ms=_ms_since(assigned.search.since),
                    caller=assigned.search.caller,
                    **assigned.in_experiment,
                )
            )

    def _ranked(self, group: Sequence[_Routed]) -> tuple[list[StageRankings], int]:
        """The rankings of a group, and how many of them the cache did not have; equal searches are ranked once."""
        toggles = self._toggles()
        keys = [(toggles.rerank, routed.key) for routed in group]
        different = dict(zip(keys, group, strict=True))
        found = {key: kept for key in different if (kept := self.cache.get(key))}
        missing = {key: routed for key, routed in different.items() if key not in found}
        for key, ranking in zip(missing, self._rank(list(missing.values()), toggles), strict=True):
            found[key] = ranking
            self.cache.keep(key, ranking)
        return [found[key] for key in keys], len(missing)

    def _rank(self, alike: Sequence[_Routed], toggles: Toggles) -> list[StageRankings]:
        if not alike:
            return []
        release, depth, wanted = alike[0].release, alike[0].depth, alike[0].wanted
        among = release.fields.matching(wanted) if wanted else None
        deadline = time.monotonic() + toggles.rerank_s if toggles.rerank_s else None
        queries = [
            query_of(routed.search.parameters.q or "", routed.history, str(number)) for number, routed in enumerate(alike)
        ]
        left_out = {str(number): routed.exclude for number, routed in enumerate(alike)}
        rankings = release.rank_stages(queries, depth, left_out, deadline=deadline, among=among, reranks=toggles.rerank)
        for number, routed in enumerate(alike):
            if routed.about_nobody:
                popular = release.popular(depth, routed.exclude, among)
                rankings[number] = StageRankings({POPULARITY: popular}, popular)
        return rankings


def reason_of(error: Exception) -> Reason:
    """Whether a release lacks what was asked for, or failed."""
    return "refused" if isinstance(error, InputError) else "failed"


def _ms_since(moment: float) -> float:
    return round(1000 * (time.perf_counter() - moment), 3)


def _assigned(state: State, search: Search) -> _Assigned:
    parameters = search.parameters
    role = None if parameters.release else _role(state, search.user)
    policy = parameters.release or role or "champion"
    experiment = state.split.name if state.split and role and not parameters.experiment else ""
    return _Assigned(search, routed_release(state, policy), policy, experiment)


def _routed(assigned: _Assigned) -> _Routed:
    search, release, parameters = assigned.search, assigned.release, assigned.search.parameters
    known = release.known(parameters.like), release.known(parameters.exclude)
    minute = int(time.time() // FRESH_S) if release.ranker and release.ranker.blend else 0
    routed = _Routed(search, release, assigned.policy, assigned.experiment, *known, minute)
    release.fields.check(routed.wanted)
    if routed.about_nobody:
        _check_popular(release)
    elif parameters.like and not routed.history:
        raise NotFound(
            f"like {', '.join(parameters.like)[:80]!r}",
            f"a document of release {release.id[:8]}",
            "take an id from a search's results",
        )
    return routed


def _role(state: State, user: str) -> Literal["champion", "challenger"] | None:
    """The role of the release that a user is assigned to; None: no split runs, or it is not known who asks.

    A server that has not yet loaded the challenger assigns nobody: the champion answers, and no experiment counts it.
    """
    if not (user and state.split and state.challenger):
        return None
    weights = {"challenger": state.split.share, "champion": 1 - state.split.share}
    return "challenger" if assign(user, state.split.name, weights) == "challenger" else "champion"


def _exposure(state: State, routed: _Routed, ranked: StageRankings) -> Exposure:
    search, parameters = routed.search, routed.search.parameters
    return Exposure(
        request_id=uuid.uuid4().hex,
        at=datetime.now(UTC),
        user=search.pseudonym,
        query=masked(parameters.q or ""),
        history=tuple(routed.history),
        kind=search.kind,
        filter=tuple(masked(part) for part in parameters.filter),
        exclude=tuple(routed.exclude),
        release=routed.release.id,
        policy=routed.policy,
        entry=state.entry,
        results=tuple(_shown(ranked.result[: routed.k])),
        latency_ms=_ms_since(search.since),
        segment={masked(name): masked(value) for name, _, value in (part.partition("=") for part in parameters.segment)},
        caller=search.caller,
        reranked=ranked.reranked.scored if ranked.reranked else None,
        **routed.in_experiment,
    )


def _answer(routed: _Routed, ranked: StageRankings, exposure: Exposure) -> Answer:
    release, parameters = routed.release, routed.search.parameters
    results = [_result(release, shown) for shown in exposure.results]
    answer: Answer = {
        "request_id": exposure.request_id,
        "release": release.id,
        "query": parameters.q or "",
        "like": [{"id": document_id, "title": _title(release.documents[document_id])} for document_id in routed.history],
        "results": results,
    }
    if ranked.reranked:
        answer["reranked"] = ranked.reranked.counts
    if ranked.blended:
        answer["blended"] = ranked.blended.counts
    if parameters.explain:
        places = {stage: _places(ranking) for stage, ranking in ranked.stages.items()}
        for result in results:
            result["stages"] = {stage: of_stage.get(result["id"]) for stage, of_stage in places.items()}
            if ranked.blended:
                result["terms"] = ranked.blended.explained(result["id"])
        answer["stages"] = [card.model_dump(exclude_none=True) for card in release.card.stages]
    return answer


def _places(ranking: list[tuple[str, float]]) -> dict[str, dict[str, float]]:
    """By document: its position in a stage's ranking, from 1, and its score there."""
    return {document: {"position": position, "score": score} for position, (document, score) in enumerate(ranking, 1)}


def _check_popular(release: Release) -> None:
    """Check that the release can recommend something to somebody of whom it knows nothing.

    Raises:
        NotFound: it does not count what users choose.
    """
    if not release.counts_choices:
        raise NotFound(
            f"no item that release {release.id[:8]} has",
            "an item, or a release with the stage popularity",
            "send documents that the user chose as item",
        )


def routed_release(state: State, policy: Policy) -> Release:
    """The release that has a role now.

    Raises:
        TryAgain: nothing serves yet.
        NotFound: no release has this role.
    """
    if state.champion is None:
        short = state.problem.short if state.problem else "loading"
        raise TryAgain(f"a search ({short})", "a champion to answer it", "ask again later; /readyz tells more with the key")
    if policy == "champion":
        return state.champion
    if policy == "previous":
        if state.previous is None:
            raise NotFound("release=previous", "a champion before the present one", "leave it out, or deploy another release")
        return state.previous
    if state.challenger is None:
        raise NotFound("release=challenger", "a challenger beside the champion", "leave it out, or promote a release")
    return state.challenger


def _shown(ranking: list[tuple[str, float]]) -> list[ShownDocument]:
    """The ranking as the exposure log records it. The ranking is deterministic, so each propensity is 1."""
    return [
        ShownDocument(document=document, position=position, score=score, propensity=1.0)
        for position, (document, score) in enumerate(ranking, 1)
    ]


def _result(release: Release, shown: ShownDocument) -> dict[str, Any]:
    document = release.documents[shown.document]
    return {
        "id": document.id,
        "title": _title(document),
        "segment": document.segment,
        "score": shown.score,
        "position": shown.position,
        "picture": f"/v1/pictures/{release.id}/{quote(document.id, safe='')}" if document.picture else "",
    }


def _title(document: Document) -> str:
    return document.title or document.text
