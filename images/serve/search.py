"""How searches are answered: those of a moment together, each from one release, written down before it is answered."""

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from images.serve.arm_counts import ArmCounts, group_of
from images.serve.cache import RankingCache
from images.serve.errors import reason_of
from images.serve.exposure_log import ExposureLog
from images.serve.request_ids import origin_now
from images.serve.routing import UNTOGGLED, Assigned, Routed, Search, assigned, routed
from images.serve.watcher import State
from pipelines.corpus.documents import Document
from pipelines.corpus.exposure import Exposure, FailedSearch, Reason, ShownDocument
from pipelines.deployment.toggles import Toggles
from pipelines.errors import TryAgain
from pipelines.masking import masked
from pipelines.retrieval.release import Release, query_of
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.retrieval.stages.table import POPULARITY

Answer = dict[str, Any]


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
        alike: dict[Hashable, dict[int, Routed]] = {}
        for number, search in enumerate(searches):
            assignment = None
            try:
                assignment = assigned(state, search.user, search.parameters.release)
                ready = routed(search, assignment)
            except Exception as error:  # noqa: BLE001  # raised to who asked
                answers[number] = error
                if assignment:
                    self._note(state, search, assignment, error)
            else:
                alike.setdefault(ready.group, {})[number] = ready
        for group in alike.values():
            answers |= zip(group, self._answer_alike(state, list(group.values())), strict=True)
        return [answers[number] for number in range(len(searches))]

    def _answer_alike(self, state: State, group: Sequence[Routed]) -> Sequence[Answer | Exception]:
        """Rank and write down the searches of one group. One that can't be answered does not spoil the others."""
        began = time.perf_counter()
        try:
            ranked, anew = self._ranked(group)
            exposures = [
                _exposure(self._request_id(state, ready), state, ready, rows) for ready, rows in zip(group, ranked, strict=True)
            ]
            answers = [_answer(*parts) for parts in zip(group, ranked, exposures, strict=True)]
        except Exception as error:  # noqa: BLE001  # raised to who asked
            if len(group) > 1:
                return [self._answer_alike(state, [alone])[0] for alone in group]
            self._note(state, group[0].search, group[0].assigned, error)
            return self._counted(state, group, None, [error])
        try:
            self._exposure_log.log_exposures(exposures)
        except TryAgain as error:
            return self._counted(state, group, None, [error] * len(group))
        except ValueError as error:  # one is no JSON, so that none was written; it is no fault of the release
            return [self._answer_alike(state, [alone])[0] for alone in group] if len(group) > 1 else [error]
        milliseconds = 1000 * (time.perf_counter() - began)
        return self._counted(state, group, milliseconds if anew else None, answers)

    def _request_id(self, state: State, ready: Routed) -> str:
        """A new id, by which another replica counts a click as this one would."""
        compared = self._arms and state.challenger and ready.is_compared(state)
        group = group_of(ready.search.user) if compared else None
        return self._exposure_log.request_ids.make(origin_now(state.entry, ready.assigned.policy, group))

    def _counted(
        self, state: State, group: Sequence[Routed], milliseconds: float | None, answers: Sequence[Answer | Exception]
    ) -> Sequence[Answer | Exception]:
        """The same answers, counted by arm: those of users whom the split assigned, or would, and not what callers did wrong.

        How long they took is what the release took for them: searches wait for each other whichever release answers them. It
        counts once for all that were ranked together, and not at all where the cache had them all, as it has more of the
        release that answers more users: None.
        """
        for ready, answer in zip(group, answers, strict=True):
            if self._arms is None or not ready.is_compared(state):
                continue
            if not isinstance(answer, Exception):
                request_id, results = answer["request_id"], len(answer["results"])
                self._arms.answered(state, ready.assigned.policy, ready.search.user, milliseconds, request_id, results)
                milliseconds = None
            elif reason_of(answer) == "failed":
                self._arms.answered(state, ready.assigned.policy, ready.search.user, None, "", 0)
        return answers

    def first(self, search: Search, release: Release, k: int) -> list[str]:
        """The first k documents that a release has for a search, ranked alone, without the cache, and written down nowhere.

        Raises:
            InputError: the release lacks what is asked for.
        """
        parameters = search.parameters.model_copy(update={"k": k, "explain": False})
        anew = replace(search, parameters=parameters, since=time.perf_counter())  # it has all the time of a search
        alone = routed(anew, Assigned(release, "champion"))
        (ranked,) = self._rank([alone], self._toggles())
        return [document for document, _ in ranked.result[:k]]

    def _note(self, state: State, search: Search, assignment: Assigned, error: Exception) -> None:
        """Count and write down a search that its release did not answer. Who asked is told the same if it can't be written."""
        reason = reason_of(error)
        self._failed(assignment.release.id, reason)
        with suppress(TryAgain, ValueError):
            self._exposure_log.log_failure(
                FailedSearch(
                    at=datetime.now(UTC),
                    kind=search.kind,
                    release=assignment.release.id,
                    policy=assignment.policy,
                    entry=state.entry,
                    reason=reason,
                    error=type(error).__name__,
                    latency_ms=_ms_since(search.since),
                    caller=search.caller,
                    traffic=search.parameters.traffic,
                    **assignment.in_experiment(search),
                )
            )

    def _ranked(self, group: Sequence[Routed]) -> tuple[list[StageRankings], int]:
        """The rankings of a group, and how many of them the cache did not have; equal searches are ranked once."""
        toggles = self._toggles()
        keys = [(toggles.rerank, ready.key) for ready in group]
        different = dict(zip(keys, group, strict=True))
        found = {key: kept for key in different if (kept := self.cache.get(key))}
        missing = {key: ready for key, ready in different.items() if key not in found}
        for key, ranking in zip(missing, self._rank(list(missing.values()), toggles), strict=True):
            found[key] = ranking
            self.cache.keep(key, ranking)
        return [found[key] for key in keys], len(missing)

    def _rank(self, alike: Sequence[Routed], toggles: Toggles) -> list[StageRankings]:
        if not alike:
            return []
        release, depth, wanted = alike[0].release, alike[0].depth, alike[0].wanted
        among = release.fields.matching(wanted) if wanted else None
        waited = time.perf_counter() - min(ready.search.since for ready in alike)
        deadline = time.monotonic() + toggles.rerank_s - waited if toggles.rerank_s else None
        queries = [query_of(ready.search.parameters.q or "", ready.history, str(number)) for number, ready in enumerate(alike)]
        left_out = {str(number): ready.exclude for number, ready in enumerate(alike)}
        rankings = release.rank_stages(queries, depth, left_out, deadline=deadline, among=among, reranks=toggles.rerank)
        for number, ready in enumerate(alike):
            if ready.about_nobody:
                popular = release.popular(depth, ready.exclude, among)
                rankings[number] = StageRankings({POPULARITY: popular}, popular)
        return rankings


def _ms_since(moment: float) -> float:
    return round(1000 * (time.perf_counter() - moment), 3)


def _exposure(request_id: str, state: State, ready: Routed, ranked: StageRankings) -> Exposure:
    search, parameters = ready.search, ready.search.parameters
    return Exposure(
        request_id=request_id,
        at=datetime.now(UTC),
        user=search.pseudonym,
        query=masked(parameters.q or ""),
        history=tuple(ready.history),
        kind=search.kind,
        filter=tuple(masked(part) for part in parameters.filter),
        exclude=tuple(ready.exclude),
        release=ready.release.id,
        policy=ready.assigned.policy,
        entry=state.entry,
        results=tuple(_shown(ranked.result[: ready.k])),
        latency_ms=_ms_since(search.since),
        segment={masked(name): masked(value) for name, _, value in (part.partition("=") for part in parameters.segment)},
        caller=search.caller,
        reranked=ranked.reranked.scored if ranked.reranked else None,
        traffic=parameters.traffic,
        **ready.assigned.in_experiment(search),
    )


def _answer(ready: Routed, ranked: StageRankings, exposure: Exposure) -> Answer:
    release, parameters = ready.release, ready.search.parameters
    results = [_result(release, shown) for shown in exposure.results]
    answer: Answer = {
        "request_id": exposure.request_id,
        "release": release.id,
        "query": parameters.q or "",
        "like": [{"id": document_id, "title": _title(release.documents[document_id])} for document_id in ready.history],
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
