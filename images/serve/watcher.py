"""Follows the journal: loads what it routes to beside what serves, and switches only when that is ready."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pipelines.artifacts import Store
from pipelines.errors import StepError
from pipelines.journal import Journal
from pipelines.logs import log
from pipelines.ranking.release import Release, load_release

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

    def run(self) -> None:
        """Look at the journal until `stop`."""
        while not self._stop.is_set():
            self.look()
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
        """Load, warm and switch to what the head routes to; the problem if not all of it could be."""
        routing = self._journal.routing
        loaded: dict[str, Release] = {}
        problem = self._load("champion", routing.champion, loaded)
        if problem:
            return problem
        problem = self._load("challenger", routing.challenger, loaded)
        champion, challenger = loaded.get(routing.champion or ""), loaded.get(routing.challenger or "")
        previous = self._journal.previous_champion()
        worth_keeping = {*self._journal.champions()[-2:], previous}
        kept = {release_id: release for release_id, release in self.state.warm.items() if release_id in worth_keeping}
        self.state = State(self._head, champion, challenger, {**kept, **loaded}, champion is not None, problem)
        return problem or self._load_previous(previous)

    def _tell_loading(self, champion: str | None) -> None:
        """While the first champion loads nothing serves: say that there is one."""
        if champion and self.state.champion is None:
            self.state = replace(self.state, problem=Problem("loading", f"loading champion {champion}"))

    def _load_previous(self, previous: str | None) -> Problem | None:
        """The previous champion too is in memory, even after a restart: a rollback is one journal entry."""
        loaded: dict[str, Release] = {}
        problem = self._load("previous champion", previous, loaded)
        self.state = replace(self.state, warm={**self.state.warm, **loaded})
        return problem and replace(problem, sentence=f"a rollback would fail: {problem.sentence}")

    def _load(self, role: str, release_id: str | None, loaded: dict[str, Release]) -> Problem | None:
        """Put a release into `loaded`, from memory if it is there; else say why it can't be."""

        def take() -> None:
            if release_id is not None:
                loaded[release_id] = self.state.warm.get(release_id) or _warmed(self._store, release_id, self._threads)

        return _problem_of(take, f"the {role} can't be loaded")

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


def _warmed(store: Store, release_id: str, threads: int) -> Release:
    """A release that has answered its first queries, so that no user waits for them."""
    release = load_release(store, release_id, threads)
    for probe in release.card.probes[:WARM_QUERIES]:
        release.search([release.documents[probe].text], 10)
    return release
