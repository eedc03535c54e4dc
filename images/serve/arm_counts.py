"""Counts of a deployment by evidence: what each arm answered, by minute, written into the store while there is a challenger."""

import hashlib
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from images.serve.cache import forget
from images.serve.request_ids import Origin
from images.serve.watcher import State
from pipelines.corpus.exposure import Policy
from pipelines.deployment.canary import PREFIX
from pipelines.deployment.counts import ARMS, TALLIES, Arm, Minute, ServerCounts, Tally, write_counts
from pipelines.deployment.guardrails import GROUPS, HOUR, bucket_of
from pipelines.errors import StepError
from pipelines.logs import log
from pipelines.store.objects import Store

MOST_RECENT = 10_000
"""Searches whose click is counted, as many as the exposure log knows."""
MOST_ENTRIES = 2
"""Entries of the journal that are counted: the present one, and the one before, whose clicks still come."""


class Ranked(NamedTuple):
    """What came of a search that a release ranked unseen."""

    milliseconds: float | None
    """None: it did not rank it."""
    results: int
    failed: bool
    """Whether that would have been an error of the server. What a release lacks is none: a search without a result."""


@dataclass
class _Arm:
    """One arm in one minute; `counted` is by the names in TALLIES, `latency` by bucket."""

    counted: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)

    def count(self, names: list[str], milliseconds: float | None) -> None:
        self.counted.update(names)
        if milliseconds is not None:
            self.latency[int(bucket_of(milliseconds))] += 1

    def tally(self) -> Tally:
        return Tally(**self.counted, latency=dict(self.latency))


def _arms() -> dict[Arm, _Arm]:
    return {arm: _Arm() for arm in ARMS}


@dataclass
class _Minute:
    ready: bool = True
    memory_mb: float | None = None
    arms: dict[Arm, _Arm] = field(default_factory=_arms)
    shadow: dict[Arm, _Arm] = field(default_factory=_arms)
    overlap: float = 0.0
    overlapped: int = 0
    told: Minute | None = None
    """As it is written; none: it has changed since. A minute that is over changes by a late click alone."""

    def as_written(self, number: int) -> Minute:
        """The minute as the store has it."""
        if self.told is None:
            self.told = Minute(
                minute=number,
                ready=self.ready,
                memory_mb=self.memory_mb,
                champion=self.arms["champion"].tally(),
                challenger=self.arms["challenger"].tally(),
                shadow_champion=self.shadow["champion"].tally(),
                shadow_challenger=self.shadow["challenger"].tally(),
                overlap=round(self.overlap, 6),
                overlapped=self.overlapped,
            )
        return self.told


@dataclass
class _Entry:
    minutes: dict[int, _Minute] = field(default_factory=dict)
    groups: dict[Arm, list[Counter[str]]] = field(
        default_factory=lambda: {arm: [Counter() for _ in range(GROUPS)] for arm in ARMS}
    )
    changed: bool = True

    def changing(self, minute: int) -> _Minute:
        """A minute that is about to change; both are written the next time."""
        self.changed = True
        of_minute = self.minutes.setdefault(minute, _Minute())
        of_minute.told = None
        return of_minute


class ArmCounts:
    """Counts searches by arm and minute, and writes them. Used by several threads.

    Args:
        store: where to; what can't be written is kept and written the next time.
        state: gives what serves now.
        interval_s: seconds of a minute.
        server: host and port of this process.
    """

    def __init__(self, store: Store, state: Callable[[], State], interval_s: float, server: str) -> None:
        self._store, self._state, self._interval_s, self._server = store, state, interval_s, server
        self._started, self._stop, self._lock = time.time(), threading.Event(), threading.Lock()
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._recent: OrderedDict[str, tuple[int, int, Policy, int] | None] = OrderedDict()
        self._problem, self._writing = "", threading.Lock()

    def answered(
        self, state: State, policy: Policy, user: str, milliseconds: float | None, request_id: str, results: int
    ) -> None:
        """Count a search of a user whom nobody but the split assigned; without a request id it ended with an error.

        Without milliseconds its latency does not count, since it was ranked together with one whose latency does, or before.
        """
        if state.challenger is None or policy == "previous":
            return
        names = _named(failed=not request_id, empty=not results)
        group, now = group_of(user), self._minute()
        with self._lock:
            of_entry = self._of(state.entry)
            minute = of_entry.changing(now)
            minute.arms[policy].count(names, milliseconds if request_id else None)
            of_entry.groups[policy][group].update(names)
            if request_id:
                self._recent[request_id] = (state.entry, now, policy, group)
                forget(self._recent, MOST_RECENT)

    def shadowed(self, entry: int, ranked: Mapping[Arm, Ranked], overlap: float | None) -> None:
        """Count a search that both releases ranked unseen.

        Args:
            entry: of the journal, under which they did.
            ranked: by arm, what came of it.
            overlap: the share of the first ten that both have; None: not both ranked it.
        """
        with self._lock:
            of_entry = self._of(entry)
            minute = of_entry.changing(self._minute())
            for arm, (milliseconds, results, failed) in ranked.items():
                minute.shadow[arm].count(_named(failed=failed, empty=not results), milliseconds)
            if overlap is not None:
                minute.overlap += overlap
                minute.overlapped += 1

    def clicked(self, request_id: str, origin: Origin | None = None) -> None:
        """Count a search as clicked, at its first click here; its origin says how, where another replica answered it."""
        with self._lock:
            carried = None
            if origin and origin.group is not None:
                carried = origin.entry, self._minute(origin.milliseconds / 1000), origin.policy, origin.group
            place = self._recent.get(request_id, carried)
            if place is None:
                return
            self._recent[request_id] = None
            forget(self._recent, MOST_RECENT)
            entry, minute, policy, group = place
            if policy == "previous":
                return
            of_entry = self._entries.get(entry)
            if of_entry and minute in of_entry.minutes:
                of_entry.changing(minute).arms[policy].counted["clicked"] += 1
                of_entry.groups[policy][group]["clicked"] += 1

    def run(self) -> None:
        """Write what has changed every 5 s until `stop`, twice a minute where a minute is shorter."""
        wait_s = min(self._interval_s / 2, 5.0)
        while not self._stop.wait(wait_s):
            self.write()

    def stop(self) -> None:
        """End `run`, and write what has not been written yet."""
        self._stop.set()
        self.write()

    def write(self) -> None:
        """Write what has changed, if there is a challenger or a split. A problem of the store is logged once."""
        state = self._state()
        if state.challenger is None and state.split is None:
            return
        with self._writing:  # what was counted last is written last, also by who stops
            for number, body in self._changed(state):
                try:
                    write_counts(self._store, body)
                    self._problem = ""
                except StepError as error:
                    self._retry(number, str(error))

    def _changed(self, state: State) -> list[tuple[int, ServerCounts]]:
        with self._lock:
            now, of_entry = self._minute(), self._of(state.entry)
            if not (
                state.split and state.split.name.startswith(PREFIX)
            ):  # nothing is judged: an hour tells what signals arrive
                of_entry.minutes = {n: kept for n, kept in of_entry.minutes.items() if n > now - HOUR}
            minute = of_entry.minutes.setdefault(now, _Minute())
            if minute.memory_mb is None or minute.ready != state.ready:
                minute = of_entry.changing(now)
                if state.challenger:  # what a release takes while it is loaded is no growth
                    minute.memory_mb = minute.memory_mb or memory_mb()
                minute.ready = state.ready
            bodies = [(number, self._body(number, kept)) for number, kept in self._entries.items() if kept.changed]
            for number, _ in bodies:
                self._entries[number].changed = False
        return bodies

    def _retry(self, number: int, problem: str) -> None:
        with self._lock:
            if number in self._entries:
                self._entries[number].changed = True
        if problem != self._problem:
            self._problem = problem
            log().warning("counts can't be written", problem=problem)

    def _of(self, entry: int) -> _Entry:
        if entry not in self._entries and self._entries and entry < max(self._entries):
            return _Entry()  # a search that began long ago: what is written of its entry stays as it is
        of_entry = self._entries.setdefault(entry, _Entry())
        forget(self._entries, MOST_ENTRIES)
        return of_entry

    def _minute(self, at: float | None = None) -> int:
        return int((time.time() if at is None else at) / self._interval_s)

    def _body(self, number: int, kept: _Entry) -> ServerCounts:
        minutes = [of_minute.as_written(minute) for minute, of_minute in kept.minutes.items()]
        groups = {arm: [[group[name] for name in TALLIES] for group in of_arm] for arm, of_arm in kept.groups.items()}
        return ServerCounts(
            server=self._server,
            started=self._started,
            entry=number,
            interval_s=self._interval_s,
            minutes=minutes,
            groups=groups,
        )


def _named(failed: bool, empty: bool) -> list[str]:
    """What a search counts as, by the names in TALLIES."""
    return ["searches", *(["errors"] if failed else ["empty"] if empty else [])]


def group_of(user: str) -> int:
    """The group of a user, which has nothing to do with the split.

    >>> group_of("ann")
    29
    """
    return int.from_bytes(hashlib.sha256(f"group\0{user}".encode()).digest()[:8]) % GROUPS


def memory_mb() -> float | None:
    """The megabytes of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2)
