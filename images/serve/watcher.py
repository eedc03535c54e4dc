"""Follows the journal: loads a new release while the old one serves, and switches when the new one is ready."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from images.serve.pinned import PinnedJournal
from pipelines.errors import StepError
from pipelines.logs import log
from pipelines.retrieval.low_priority import at_low_priority
from pipelines.retrieval.release import Release, load_release
from pipelines.retrieval.stages.blend import FeatureSource
from pipelines.store.artifacts import find
from pipelines.store.journal import Journal, Split, ToggleValue
from pipelines.store.objects import Store

WARM_QUERIES, WARM_S = 32, 2.0
RESTS = 4.0
"""Pauses while a release is loaded beside one that serves, as a multiple of the work before each."""
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


@dataclass(frozen=True)
class Problem:
    """What is wrong: `short` for everybody; `sentence`, which may name paths of the store, only for callers with the key."""

    short: str
    sentence: str


NO_CHAMPION = Problem("no champion yet", "no champion yet: promote a release that passed its gate, then run deploy")
JOURNAL_UNREADABLE = "the journal can't be followed"
DRAINING = Problem("draining", "draining: this server ends soon, and answers until then")
NOT_READ_YET = Problem("loading", "loading: the journal was not read yet")


@dataclass(frozen=True)
class State:
    """What serves at one moment. A request reads it once and is answered from it alone.

    `entry` is the number of the journal entry that is followed; `warm` are all releases in memory by id.
    """

    entry: int = 0
    champion: Release | None = None
    challenger: Release | None = None
    previous: Release | None = None
    """The champion before, once it is in memory: a rollback returns to it."""
    split: Split | None = None
    """Which users the challenger answers, once it is in memory."""
    shadow: float = 0.0
    """The share of the champion's searches that the challenger answers, too, unseen, once it is in memory."""
    warm: Mapping[str, Release] = field(default_factory=dict)
    ready: bool = False
    problem: Problem | None = NOT_READ_YET


class Watcher(Collector):
    """Keeps `state` up to date with the journal's head. Only its own thread writes `state`, in one assignment.

    Args:
        store: the store with the journal and the releases.
        poll_s: seconds between two polls of the journal.
        threads: threads that one search may use; 0: the libraries' default.
        pinned: id of a release to serve in place of the one that the journal routes to; empty: none.
        latest_queries: gives as many queries as are named, or fewer, that people asked, to answer before a release serves.
        features: where blends read features; none: as of the time of their releases.
        began: called once the first release is in memory.
    """

    def __init__(
        self,
        store: Store,
        poll_s: float,
        threads: int = 0,
        pinned: str = "",
        latest_queries: Callable[[int], list[str]] = lambda _: [],
        features: FeatureSource | None = None,
        began: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = State()
        self._store, self._poll_s, self._threads = store, poll_s, threads
        self._latest_queries = latest_queries
        self._features, self._began = features, began
        self._journal = PinnedJournal(store, pinned) if pinned else Journal(store, read=False)
        self._head = 0
        self._read_at = time.monotonic()
        self._ndcg: dict[str, float] = {}
        self._load_problem: Problem | None = None
        self._retry_s = self._retry_at = 0.0
        self._last_logged: object = None
        self._stop = threading.Event()
        self._loading: dict[str, Future[Release]] = {}

    def run(self) -> None:
        """Poll the journal until `stop`."""
        while not self._stop.is_set():
            self.poll()
            if len(self._journal.entries) == self._head:  # else it moved while something was loaded
                self._stop.wait(self._poll_s)

    def stop(self) -> None:
        """End `run` after the current poll."""
        self._stop.set()

    @property
    def toggles(self) -> dict[str, ToggleValue]:
        """What the journal toggles, also while the release that it routes to can't be loaded."""
        return self._journal.toggles

    def poll(self) -> None:
        """Read the journal once and follow it. A release that could not be loaded is retried after a growing pause."""
        read_problem = _problem_of(self._read, JOURNAL_UNREADABLE)  # the entries read before still hold
        moved = len(self._journal.entries) != self._head
        if moved:
            self._report_loading(self._journal.routing.champion)
        if moved or (self._load_problem and time.monotonic() >= self._retry_at):
            self._head = len(self._journal.entries)
            self._load_problem = self._follow()
            self._retry_s = FIRST_RETRY_S if moved else min(LONGEST_RETRY_S, 2 * self._retry_s)
            self._retry_at = time.monotonic() + self._retry_s
        self._publish(self._load_problem or read_problem)

    def _read(self) -> None:
        self._journal.refresh()
        self._read_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """For /metrics."""
        age = time.monotonic() - self._read_at
        yield GaugeMetricFamily("ratchet_journal_age_seconds", "Since the journal was last read", value=age)
        probed = GaugeMetricFamily(
            "ratchet_probe_ndcg",
            "Mean nDCG@10 on judged queries, by the evaluation of its promotion",
            labels=["release"],
        )
        for release_id, ndcg in self._ndcg.items():
            if release_id in self.state.warm:
                probed.add_metric([release_id], ndcg)
        yield probed

    def _follow(self) -> Problem | None:
        """Switch to the champion of the journal's head, then load previous champion and challenger; a problem."""
        routing, previous = self._journal.routing, self._journal.previous_champion()
        problem, champion = self._load("champion", routing.champion)
        if problem:
            return problem
        needed = {*self._journal.champions()[-2:], previous, routing.challenger} - self._journal.erased_releases
        warm = {release_id: release for release_id, release in self.state.warm.items() if release_id in needed}
        warm |= {champion.id: champion} if champion else {}
        self._loading = {release_id: future for release_id, future in self._loading.items() if release_id in needed}
        challenger, before = warm.get(routing.challenger or ""), warm.get(previous or "")
        roles, shares = (champion, challenger, before), (routing.split, routing.shadow or 0.0)
        self.state = State(self._head, *roles, *shares, warm, champion is not None, None)
        problem = self._load_previous(previous)  # first: a challenger may be large, or none that can be loaded
        return self._load_challenger(routing.challenger) or problem

    def _report_loading(self, champion: str | None) -> None:
        """Report that the first champion loads: nothing serves until then."""
        if champion and self.state.champion is None:
            self.state = replace(self.state, problem=Problem("loading", f"loading champion {champion}"))

    def _load_challenger(self, release_id: str | None) -> Problem | None:
        problem, challenger = self._load_while_polling("challenger", release_id)
        if challenger and self._journal.routing.challenger == challenger.id and len(self._journal.entries) == self._head:
            self.state = replace(self.state, challenger=challenger)
        return problem

    def _load_previous(self, release_id: str | None) -> Problem | None:
        """Keep the previous champion in memory, also after a restart, so that a rollback is one journal entry."""
        problem, previous = self._load_while_polling("previous champion", release_id)
        if previous and self._journal.previous_champion() == previous.id and len(self._journal.entries) == self._head:
            self.state = replace(self.state, previous=previous)
        return problem and replace(problem, sentence=f"a rollback would fail: {problem.sentence}")

    def _load_while_polling(self, role: str, release_id: str | None) -> tuple[Problem | None, Release | None]:
        """Load in the background and go on polling the journal, so that a rollback need not wait for this load.

        Another entry ends the wait, not the load: the next poll follows that entry.
        """
        if release_id is None or release_id in self.state.warm:
            return None, self.state.warm.get(release_id or "")
        if release_id not in self._loading:
            self._loading[release_id] = _in_background(lambda: self._load_and_warm(release_id))
        future = self._loading[release_id]
        while not wait([future], self._poll_s).done:
            read_problem = _problem_of(self._read, JOURNAL_UNREADABLE)
            if self._stop.is_set() or (read_problem is None and len(self._journal.entries) != self._head):
                return None, None
        del self._loading[release_id]
        problem = _problem_of(future.result, f"the {role} can't be loaded")
        if problem:
            return problem, None
        self.state = replace(self.state, warm={**self.state.warm, release_id: future.result()})
        return None, future.result()

    def _load(self, role: str, release_id: str | None) -> tuple[Problem | None, Release | None]:
        """A release from memory, otherwise from the store; or the problem."""
        loaded: list[Release] = []

        def load() -> None:
            if release_id is not None:
                loaded.append(self.state.warm.get(release_id) or self._load_and_warm(release_id))

        return _problem_of(load, f"the {role} can't be loaded"), next(iter(loaded), None)

    def _load_and_warm(self, release_id: str) -> Release:
        """Load a release and run its first queries, which are slower than later ones: what people asked last, or its probes.

        Whoever searches meanwhile has the machine for most of the time.
        """
        warm = self.state.warm.values()
        rests = RESTS if warm else 0.0
        release = load_release(self._store, release_id, self._threads, self._features, warm, rests)
        probes = [release.documents[probe].text for probe in release.card.probes[:WARM_QUERIES]]
        until = time.monotonic() + WARM_S
        first = takewhile(lambda _: time.monotonic() <= until, self._latest_queries(WARM_QUERIES) or probes)
        at_low_priority(lambda query: release.search([query], 10), first, rests)
        if not warm:
            self._began()
        with suppress(StepError, KeyError, TypeError):  # a release serves also without its evaluation
            if (ndcg := self._evaluated(release_id)) is not None:
                self._ndcg = {**self._ndcg, release_id: ndcg}
        return release

    def _evaluated(self, release_id: str) -> float | None:
        """The nDCG@10 of the evaluation by which a release was promoted; None: there is none, or not of people's queries.

        Raises:
            StepError, KeyError, TypeError: the store has it no longer, or another version wrote it.
        """
        verdicts = (entry.verdict for entry in reversed(self._journal.entries) if entry.to == release_id and entry.verdict)
        verdict = find(self._store, "verdict", named) if (named := next(verdicts, None)) else None
        evaluation = find(self._store, "evaluation", verdict.inputs["evaluation"]) if verdict else None
        if evaluation is None or evaluation.facts.get("synthetic"):
            return None
        return float(evaluation.facts["measures"]["nDCG@10"]["mean"])

    def _publish(self, problem: Problem | None) -> None:
        """Set readiness and problem of `state`; log what serves when it has changed."""
        state = self.state
        ready = state.champion is not None and state.entry == self._head
        problem = problem or (None if state.champion else NO_CHAMPION)
        if (ready, problem) != (state.ready, state.problem):
            self.state = state = replace(state, ready=ready, problem=problem)
        serving = {
            "entry": state.entry,
            "champion": id_of(state.champion),
            "challenger": id_of(state.challenger),
            "share": state.split.share if state.split else 0,
            "shadow": state.shadow,
            "problem": problem and problem.sentence,
        }
        if serving != self._last_logged:
            self._last_logged = serving
            (log().warning if problem else log().info)("serving", **serving)


def id_of(release: Release | None) -> str | None:
    """The release's id, None for none."""
    return release.id if release else None


def _problem_of(action: Callable[[], object], short: str) -> Problem | None:
    """The problem if `action` raises, otherwise None."""
    try:
        action()
    except StepError as error:
        return Problem(short, str(error))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the next release, the current one goes on serving
        expected = "a store and a release that can be read"
        return Problem(short, f"given {error!r}; expected {expected}; next: run `python -m pipelines doctor`")
    return None


def _in_background(load: Callable[[], Release]) -> Future[Release]:
    """Load on a daemon thread, which delays neither polls nor the server's shutdown."""
    future: Future[Release] = Future()

    def run() -> None:
        try:
            future.set_result(load())
        except BaseException as error:  # noqa: BLE001  # raised again where the result is read
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="loader", daemon=True).start()
    return future
