"""Follows the journal: loads what it routes to beside what serves, and switches only when that is ready."""

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace

from pipelines.errors import StepError
from pipelines.logs import log
from pipelines.retrieval.release import Release, load_release
from pipelines.store.journal import Journal
from pipelines.store.objects import Store

WARM_QUERIES = 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True)
class Problem:
    """What is wrong: in a few words for anybody, in a sentence, which may name places of the store, for holders of the key."""

    short: str
    sentence: str


NO_CHAMPION = Problem("no champion yet", "no champion yet: promote a release that passed its gate, then run deploy")
UNREAD = "the journal can't be followed"
UNKNOWN = Problem("loading", "loading: the journal was not read yet")


@dataclass(frozen=True)
class State:
    """What serves at one moment. A request takes it once and is answered from it alone."""

    entry: int = 0
    champion: Release | None = None
    challenger: Release | None = None
    warm: Mapping[str, Release] = field(default_factory=dict)
    ready: bool = False
    problem: Problem | None = UNKNOWN


class Watcher:
    """Keeps `state` in step with the journal's head. Only its own thread writes `state`, in one assignment."""

    def __init__(self, store: Store, poll_s: float, threads: int = 0) -> None:
        self.state = State()
        self._store, self._poll_s, self._threads = store, poll_s, threads
        self._journal = Journal(store, read=False)
        self._head = 0
        self._unloaded: Problem | None = None
        self._pause_s = self._due = 0.0
        self._told: object = None
        self._stop = threading.Event()
        self._coming: dict[str, Future[Release]] = {}

    def run(self) -> None:
        """Look at the journal until `stop`."""
        while not self._stop.is_set():
            self.look()
            if len(self._journal.entries) == self._head:  # else it moved while something was loaded
                self._stop.wait(self._poll_s)

    def stop(self) -> None:
        """End `run` after its present look."""
        self._stop.set()

    def look(self) -> None:
        """Read the journal once and follow it; what could not be loaded is tried again after a growing pause."""
        unread = _problem_of(self._journal.refresh, UNREAD)  # what was read before still holds
        moved = len(self._journal.entries) != self._head
        if moved:
            self._tell_loading(self._journal.routing.champion)
        if moved or (self._unloaded and time.monotonic() >= self._due):
            self._head = len(self._journal.entries)
            self._unloaded = self._follow()
            self._pause_s = FIRST_PAUSE_S if moved else min(LONGEST_PAUSE_S, 2 * self._pause_s)
            self._due = time.monotonic() + self._pause_s
        self._publish(self._unloaded or unread)

    def _follow(self) -> Problem | None:
        """Switch to what the head routes to, then bring the rest into memory; the problem if not all of it could be."""
        routing, previous = self._journal.routing, self._journal.previous_champion()
        problem, champion = self._load("champion", routing.champion)
        if problem:
            return problem
        wanted = {*self._journal.champions()[-2:], previous, routing.challenger}
        warm = {release_id: release for release_id, release in self.state.warm.items() if release_id in wanted}
        warm |= {champion.id: champion} if champion else {}
        self._coming = {release_id: coming for release_id, coming in self._coming.items() if release_id in wanted}
        challenger = warm.get(routing.challenger or "")
        self.state = State(self._head, champion, challenger, warm, champion is not None, None)
        return self._load_challenger(routing.challenger) or self._load_previous(previous)

    def _tell_loading(self, champion: str | None) -> None:
        """While the first champion loads nothing serves: say that there is one."""
        if champion and self.state.champion is None:
            self.state = replace(self.state, problem=Problem("loading", f"loading champion {champion}"))

    def _load_challenger(self, release_id: str | None) -> Problem | None:
        problem, challenger = self._load_aside("challenger", release_id)
        if challenger and self._journal.routing.challenger == challenger.id and len(self._journal.entries) == self._head:
            self.state = replace(self.state, challenger=challenger)
        return problem

    def _load_previous(self, release_id: str | None) -> Problem | None:
        """The previous champion too is in memory, even after a restart: a rollback is one journal entry."""
        problem, _ = self._load_aside("previous champion", release_id)
        return problem and replace(problem, sentence=f"a rollback would fail: {problem.sentence}")

    def _load_aside(self, role: str, release_id: str | None) -> tuple[Problem | None, Release | None]:
        """Load while the journal is still looked at: who waits for a rollback must not wait for this too.

        Another entry ends the waiting, not the loading: the next look follows that entry.
        """
        if release_id is None or release_id in self.state.warm:
            return None, self.state.warm.get(release_id or "")
        if release_id not in self._coming:
            self._coming[release_id] = _beside(lambda: _warmed(self._store, release_id, self._threads))
        coming = self._coming[release_id]
        while not wait([coming], self._poll_s).done:
            unread = _problem_of(self._journal.refresh, UNREAD)
            if self._stop.is_set() or (unread is None and len(self._journal.entries) != self._head):
                return None, None
        del self._coming[release_id]
        problem = _problem_of(coming.result, f"the {role} can't be loaded")
        if problem:
            return problem, None
        self.state = replace(self.state, warm={**self.state.warm, release_id: coming.result()})
        return None, coming.result()

    def _load(self, role: str, release_id: str | None) -> tuple[Problem | None, Release | None]:
        """A release from memory if it is there, else from the store; or why it can't be."""
        found: list[Release] = []

        def take() -> None:
            if release_id is not None:
                found.append(self.state.warm.get(release_id) or _warmed(self._store, release_id, self._threads))

        return _problem_of(take, f"the {role} can't be loaded"), next(iter(found), None)

    def _publish(self, problem: Problem | None) -> None:
        state = self.state
        ready = state.champion is not None and state.entry == self._head
        problem = problem or (None if state.champion else NO_CHAMPION)
        if (ready, problem) != (state.ready, state.problem):
            self.state = state = replace(state, ready=ready, problem=problem)
        said = {
            "entry": state.entry,
            "champion": id_of(state.champion),
            "challenger": id_of(state.challenger),
            "problem": problem and problem.sentence,
        }
        if said != self._told:
            self._told = said
            (log().warning if problem else log().info)("serving", **said)


def id_of(release: Release | None) -> str | None:
    """The release's id, None for none."""
    return release.id if release else None


def _problem_of(action: Callable[[], object], short: str) -> Problem | None:
    """Why `action` failed; None if it did not."""
    try:
        action()
    except StepError as error:
        return Problem(short, str(error))
    except Exception as error:  # noqa: BLE001  whatever is wrong with the next release, the present one goes on serving
        expected = "a store and a release that can be read"
        return Problem(short, f"given {error!r}; expected {expected}; next: run `python -m pipelines doctor`")
    return None


def _beside(load: Callable[[], Release]) -> Future[Release]:
    """Load on a thread of its own that holds up neither the journal nor the server's end."""
    coming: Future[Release] = Future()

    def run() -> None:
        try:
            coming.set_result(load())
        except BaseException as error:  # noqa: BLE001  # whoever takes the result is told
            coming.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="loader", daemon=True).start()
    return coming


def _warmed(store: Store, release_id: str, threads: int) -> Release:
    """A release that has answered its first queries, so that no user waits for them."""
    release = load_release(store, release_id, threads)
    for probe in release.card.probes[:WARM_QUERIES]:
        release.search([release.documents[probe].text], 10)
    return release
