"""What the server tells of itself at /metrics, in the format of Prometheus.

No label takes a value that a caller chose: routes are named by their templates, stages and releases by their own names.
Requests that end before their head was read (408, 431, too many connections) are counted nowhere.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import prometheus_client as prometheus
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from images.serve.cache import RankingCache, forget
from images.serve.watcher import State
from pipelines.corpus.exposure import Reason, ShadowSearch
from pipelines.retrieval.stages.timing import timed
from pipelines.statistics.concentration import gini

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
METHODS = ("GET", "HEAD", "POST")
MOST_RELEASES = 4
"""Releases whose searches are counted: those of the longest ago are forgotten."""
MOST_RECENT = 10_000
"""Searches whose click is counted, as many as the exposure log knows."""


TALLIED = {
    "searches": ("ratchet_searches", "Searches that the release answered"),
    "refused": ("ratchet_searches_refused", "Searches that it refused, since it lacks what they asked for"),
    "failed": ("ratchet_searches_failed", "Searches that it failed to answer, by an error of its own"),
    "empty": ("ratchet_searches_without_results", "Answered searches without a result"),
    "clicked": ("ratchet_searches_clicked", "Answered searches with at least one click on a result"),
    "candidates": ("ratchet_rerank_candidates", "Documents that the reranker was to score"),
    "reranked": ("ratchet_rerank_scored", "Documents that it scored in its time"),
    "late": ("ratchet_rerank_late", "Searches in which it had no time for all of them"),
    "blended": ("ratchet_blend_candidates", "Documents that the blend ordered"),
    "defaulted": ("ratchet_blend_defaulted", "Documents of these for which a default stood in for a feature"),
    "without_features": ("ratchet_blend_late", "Searches whose features came too late, so that all have their defaults"),
}
"""What is counted of a release's searches: the name and the help of each counter."""
SHADOW_TALLIED = {
    "searches": ("ratchet_shadow_searches", "Searches that the release was to rank in shadow, and the champion ranked again"),
    "refused": ("ratchet_shadow_refused", "Searches of these that it refused, since it lacks what they asked for"),
    "failed": ("ratchet_shadow_failed", "Searches of these that it failed to rank"),
    "empty": ("ratchet_shadow_without_results", "Searches that both ranked, for which it had no result"),
    "champion_empty": (
        "ratchet_shadow_champion_without_results",
        "Searches that both ranked, for which the champion had no result",
    ),
    "overlap": ("ratchet_shadow_overlap", "Sum over searches that both ranked: the share of the first ten that both have"),
    "seconds": ("ratchet_shadow_seconds", "Sum over searches that both ranked: the seconds that it took"),
    "champion_seconds": (
        "ratchet_shadow_champion_seconds",
        "Sum over searches that both ranked: the seconds that the champion took",
    ),
}
"""What is counted of searches that a release ranked in shadow."""
COMPUTED = {
    "embed": ("ratchet_embed_requests", "Requests for vectors that the release answered"),
    "rerank": ("ratchet_rerank_requests", "Requests for scores of its reranker that it answered"),
    "refused": ("ratchet_compute_refused", "Requests of both kinds that it refused, since it lacks what they asked for"),
    "failed": ("ratchet_compute_failed", "Requests of both kinds that it failed to answer, by an error of its own"),
}
"""What is counted of requests for vectors and scores."""
Act = Literal["embed", "rerank"]


class ReleaseCounters:
    """Counters with the label `release`, of the latest releases; those of the longest ago are forgotten.

    Args:
        counters: the name and the help of each, by a key of ours.
    """

    def __init__(self, counters: Mapping[str, tuple[str, str]]) -> None:
        self._counters = counters
        self._counted: OrderedDict[str, dict[str, float]] = OrderedDict()

    def add(self, release: str, **amounts: float) -> None:
        """Add to counters of a release, which is from now on the latest."""
        counted = self._counted.setdefault(release, dict.fromkeys(self._counters, 0.0))
        for key, amount in amounts.items():
            counted[key] += amount
        self._counted.move_to_end(release)
        forget(self._counted, MOST_RELEASES)

    def __contains__(self, release: str) -> bool:
        return release in self._counted

    def collect(self) -> Iterator[Metric]:
        """All counters of all releases that are not forgotten."""
        for key, (name, meaning) in self._counters.items():
            family = CounterMetricFamily(name, meaning, labels=["release"])
            for release, counted in self._counted.items():
                family.add_metric([release], counted[key])
            yield family


class Metrics(Collector):
    """Counts what was answered. Used by several threads.

    Args:
        state: gives what serves now.
        waiting: gives how many searches wait now.
        cache: of rankings, which counts how often one was there.
    """

    def __init__(self, state: Callable[[], State], waiting: Callable[[], int], cache: RankingCache) -> None:
        self._state, self._waiting, self._cache, self._lock = state, waiting, cache, threading.Lock()
        self._searches, self._shadow = ReleaseCounters(TALLIED), ReleaseCounters(SHADOW_TALLIED)
        self._computed = ReleaseCounters(COMPUTED)
        self._shown: dict[str, NDArray[np.uint32]] = {}
        self._recent: OrderedDict[str, str] = OrderedDict()
        self._dropped: Counter[str] = Counter()
        self._registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "ratchet_requests", "Requests by route, method and status", ["route", "method", "status"], registry=self._registry
        )
        self._together = prometheus.Counter(
            "ratchet_batch_answers", "Answers in batches, by route and status", ["route", "status"], registry=self._registry
        )
        self._request_s = self._histogram("ratchet_request_seconds", "From a request's head to the end of its answer", "route")
        self._queue_s = self._histogram("ratchet_queue_seconds", "From a search's arrival until a thread takes it")
        self._stage_s = self._histogram("ratchet_stage_seconds", "Time of a stage, for all searches of a batch", "stage")
        self._batch = prometheus.Histogram(
            "ratchet_batch_searches", "How many searches were answered together", buckets=BATCHES, registry=self._registry
        )
        prometheus.ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def _histogram(self, name: str, meaning: str, *labels: str) -> prometheus.Histogram:
        return prometheus.Histogram(name, meaning, labels, buckets=SECONDS, registry=self._registry)

    def add(self, collector: Collector) -> None:
        """Tell what a collector tells, too."""
        self._registry.register(collector)

    def page(self) -> bytes:
        """All metrics as text. It sorts as many numbers as the champion has documents: not on the event loop."""
        return prometheus.generate_latest(self._registry)

    def requested(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; status 0: its client left before the answer."""
        named = method if method in METHODS else "other"
        self._requests.labels(route, named, str(status or "none")).inc()
        self._request_s.labels(route).observe(seconds)

    def answered_together(self, route: str, statuses: Sequence[int]) -> None:
        """Count the answers of one request that asked for several, by the status that each would have alone."""
        for status in statuses:
            self._together.labels(route, str(status)).inc()

    @contextmanager
    def batch(self, arrived: Sequence[float]) -> Iterator[dict[str, float]]:
        """Measure searches that are answered together within the block; `arrived` is by `time.perf_counter`.

        Yields the seconds of each stage, which are whole after the block.
        """
        now = time.perf_counter()
        self._batch.observe(len(arrived))
        for moment in arrived:
            self._queue_s.observe(now - moment)
        with timed() as seconds:
            yield seconds
        for stage, spent in seconds.items():
            self._stage_s.labels(stage).observe(spent)

    def searched(self, answer: dict[str, Any]) -> None:
        """Count a search by its answer, as `/v1/search` gives it."""
        release, reranked, blended = answer["release"], answer.get("reranked"), answer.get("blended")
        counted = {"searches": 1, "empty": not answer["results"]}
        if reranked:
            counted |= {"candidates": reranked["candidates"], "reranked": reranked["scored"], "late": reranked["late"]}
        if blended:
            late = {"defaulted": blended["defaulted"], "without_features": blended["late"]}
            counted |= {"blended": blended["candidates"], **late}
        with self._lock:
            self._searches.add(release, **counted)
            self._recent[answer["request_id"]] = release
            forget(self._recent, MOST_RECENT)
            self._count_shown(release, [result["id"] for result in answer["results"]])

    def _count_shown(self, release_id: str, documents: Sequence[str]) -> None:
        """Count documents by their rows: four bytes for each that the release has, while it is in memory."""
        warm = self._state().warm
        for gone in self._shown.keys() - warm.keys():
            del self._shown[gone]
        if release := warm.get(release_id):
            rows = release.documents.rows
            shown = self._shown.setdefault(release_id, np.zeros(len(rows), np.uint32))
            shown[[rows[document] for document in documents]] += 1

    def failed(self, release: str, reason: Reason) -> None:
        """Count a search that a release was to answer, and did not."""
        with self._lock:
            self._searches.add(release, **{reason: 1})

    def computed(self, release: str, outcome: Act | Reason) -> None:
        """Count a request for vectors or scores that a release answered, or did not."""
        with self._lock:
            self._computed.add(release, **{outcome: 1})

    def shadowed(self, seen: ShadowSearch) -> None:
        """Count what the challenger had for a search that the champion answered."""
        counted: dict[str, float] = {"searches": 1}
        if seen.reason:
            counted[seen.reason] = 1
        if seen.overlap is not None:
            counted |= {"empty": not seen.challenger_results, "champion_empty": not seen.champion_results}
            counted |= {"overlap": seen.overlap}
            counted |= {"seconds": seen.challenger_ms / 1000, "champion_seconds": seen.champion_ms / 1000}
        with self._lock:
            self._shadow.add(seen.challenger, **counted)

    def shadow_dropped(self, reason: str) -> None:
        """Count a search that was to be ranked in shadow and was not, or not written down."""
        with self._lock:
            self._dropped[reason] += 1

    def clicked(self, request_id: str, elsewhere: str = "") -> None:
        """Count a search as clicked, at its first click here; `elsewhere`: its release, where another replica answered it."""
        with self._lock:
            release = self._recent.get(request_id, elsewhere)
            self._recent[request_id] = ""
            forget(self._recent, MOST_RECENT)
            if release and (elsewhere or release in self._searches):
                self._searches.add(release, clicked=1)

    def collect(self) -> Iterator[Metric]:
        """What serves now, and what each release answered."""
        state = self._state()
        yield _gauge("ratchet_ready", "1: the journal's champion serves", int(state.ready))
        yield _gauge("ratchet_journal_entry", "Number of the journal's entry that is followed", state.entry)
        yield _gauge("ratchet_waiting_searches", "Searches that wait for a thread", self._waiting())
        yield _gauge(
            "ratchet_split_share",
            "Share of the users whom the challenger answers, 0: no split runs, or it is not in memory yet",
            state.split.share if state.split and state.challenger else 0,
        )
        yield _gauge(
            "ratchet_shadow_share",
            "Share of the champion's searches that the challenger ranks unseen, 0: none, or it is not in memory yet",
            state.shadow if state.challenger else 0,
        )
        lookups = CounterMetricFamily("ratchet_cache_lookups", "Rankings that were looked for in the cache", labels=["outcome"])
        lookups.add_metric(["hit"], self._cache.hits)
        lookups.add_metric(["miss"], self._cache.misses)
        yield lookups
        releases = GaugeMetricFamily("ratchet_release_info", "Releases in memory", labels=["release", "role"])
        roles = {release.id: role for role in ("challenger", "champion") if (release := getattr(state, role))}
        for release_id in state.warm:
            releases.add_metric([release_id, roles.get(release_id, "warm")], 1)
        yield releases
        with self._lock:
            yield from [*self._searches.collect(), *self._shadow.collect(), *self._computed.collect()]
            dropped = CounterMetricFamily(
                "ratchet_shadow_dropped", "Searches not ranked in shadow, or not written down, by why", labels=["reason"]
            )
            for reason, count in self._dropped.items():
                dropped.add_metric([reason], count)
        yield dropped
        yield self._concentration(state)

    def _concentration(self, state: State) -> Metric:
        """How unequally documents are shown, those that never are included; of releases that are in memory."""
        family = GaugeMetricFamily(
            "ratchet_exposure_gini", "Gini coefficient of how often documents are shown, 0: all alike", labels=["release"]
        )
        with self._lock:
            counts = {release_id: shown.astype(float) for release_id, shown in self._shown.items() if release_id in state.warm}
        for release_id, shown in counts.items():
            if shown.any():
                family.add_metric([release_id], float(gini(shown)))
        return family


class Measured:
    """Plain ASGI middleware around all others, so that what they refuse is counted, too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_with_status)
        finally:
            self.metrics.requested(route_of(scope), scope["method"], status, time.perf_counter() - started)


def route_of(scope: Scope) -> str:
    """The template of the route that answered, `other` for none."""
    route = scope.get("route")
    return route.path_format if isinstance(route, APIRoute) else "other"


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
