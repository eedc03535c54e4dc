"""Shadow: the challenger ranks searches that the champion has answered, which nobody sees, to compare the two before users do.

A search is taken after its answer was sent, and only while no search of a user waits or is worked on; what finds no room is
dropped and counted. Both releases rank it, each alone, in turns which of them is first: what users waited for includes their
queue and their batch, and would make any challenger look fast. A challenger that hangs holds up its own thread, nothing else;
one that ends the process, as a fault in a native library does, ends the server, as it would with a user's search.
"""

import contextvars
import itertools
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from images.serve.arm_counts import ArmCounts, Ranked
from images.serve.errors import reason_of
from images.serve.exposure_log import ExposureLog
from images.serve.metrics import Metrics
from images.serve.routing import Search
from images.serve.search import Answer, Answerer
from images.serve.watcher import State, id_of
from pipelines.corpus.exposure import ShadowSearch
from pipelines.deployment.counts import DEPTH, overlap
from pipelines.errors import TryAgain
from pipelines.logs import log
from pipelines.retrieval.release import Release

MOST_WAITING = 32
"""Searches that wait: of more, none would be from the same minute as its answer."""
PATIENCE_S = 2.0
"""Seconds for which a search waits for a moment without users'."""
LOOK_S = 0.005


class Shadow:
    """One thread that ranks what was offered. `offer` is called from the event loop.

    Args:
        state: gives what serves now.
        answerer: ranks.
        exposure_log: where each comparison is written down.
        metrics: counts them.
        idle: whether the server has nothing to do for users.
        arms: counts what each release did, for a deployment by evidence; none: nobody does.
    """

    def __init__(
        self,
        state: Callable[[], State],
        answerer: Answerer,
        exposure_log: ExposureLog,
        metrics: Metrics,
        idle: Callable[[], bool],
        arms: ArmCounts | None = None,
    ) -> None:
        self._state, self._answerer, self._log, self._metrics, self._idle = state, answerer, exposure_log, metrics, idle
        self._arms = arms
        self._waiting: queue.Queue[tuple[Search, Answer]] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._last_logged: dict[str, tuple[str, str]] = {}

    def offer(self, search: Search, answer: Answer) -> None:
        """Take a search that was answered, if the champion answered it by default and it is in the share."""
        state = self._state()
        if not (state.shadow and state.challenger) or search.parameters.release or answer["release"] != id_of(state.champion):
            return
        if int(answer["request_id"][:8], 16) >= state.shadow * 2**32:  # of a random id
            return
        try:
            self._waiting.put_nowait((search, answer))
        except queue.Full:
            self._metrics.shadow_dropped("full")
            return
        if self._thread is None:
            run = contextvars.Context().run  # of no request in particular
            self._thread = threading.Thread(target=run, args=(self._run,), name="shadow", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        for turn in itertools.count():
            search, answer = self._waiting.get()
            if dropped := self._take(search, answer, challenger_first=turn % 2 == 1):
                self._metrics.shadow_dropped(dropped)

    def _take(self, search: Search, answer: Answer, challenger_first: bool) -> str:
        """Compare the releases once no user waits, count it and write it down; why it was dropped, empty: it was not."""
        until = time.monotonic() + PATIENCE_S
        while not self._idle():
            if time.monotonic() > until:
                return "busy"
            time.sleep(LOOK_S)
        try:
            seen = self.compared(search, answer, challenger_first)
        except Exception:  # noqa: BLE001  # the champion's, of which the challenger must not be blamed
            return "champion"
        if seen is None:
            return "routing"
        self._metrics.shadowed(seen)
        try:
            self._log.log_shadow(seen)
        except TryAgain:
            return "log"
        return ""

    def compared(self, search: Search, answer: Answer, challenger_first: bool = False) -> ShadowSearch | None:
        """What both releases have for a search, counted by arm; None: other releases serve meanwhile.

        Raises:
            Exception: the champion can't rank it now.
        """
        state = self._state()
        champion, challenger = state.champion, state.challenger
        if not (state.shadow and champion and challenger) or champion.id != answer["release"]:
            return None
        tried = self._tried(search, challenger) if challenger_first else None
        ours, our_ms, our_error = self._tried(search, champion)
        theirs, their_ms, error = tried or self._tried(search, challenger)
        both = None if our_error or error else overlap(ours, theirs)
        if self._arms:
            mine, other = _outcome(ours, our_ms, our_error), _outcome(theirs, their_ms, error)
            self._arms.shadowed(state.entry, {"champion": mine, "challenger": other}, both)
        for role, release, failure in (("champion", champion, our_error), ("challenger", challenger, error)):
            if failure:
                self._report(role, release, failure)
        if our_error:
            raise our_error
        return ShadowSearch(
            request_id=answer["request_id"],
            at=datetime.now(UTC),
            entry=state.entry,
            champion=champion.id,
            challenger=challenger.id,
            champion_ms=our_ms,
            challenger_ms=their_ms,
            champion_results=len(ours),
            challenger_results=len(theirs),
            overlap=both,
            reason=reason_of(error) if error else None,
            error=type(error).__name__ if error else "",
        )

    def _tried(self, search: Search, release: Release) -> tuple[list[str], float, Exception | None]:
        """The first documents that a release has, the milliseconds that took, and why there are none."""
        ranked: list[str] = []
        failed: Exception | None = None
        began = time.perf_counter()
        try:
            ranked = self._answerer.first(search, release, DEPTH)
        except Exception as error:  # noqa: BLE001  # that it fails is what is to be known
            failed = error
        return ranked, round(1000 * (time.perf_counter() - began), 3), failed

    def _report(self, role: str, release: Release, error: Exception) -> None:
        """Log that a release fails, not once for each search."""
        if (named := (release.id, type(error).__name__)) != self._last_logged.get(role):
            self._last_logged[role] = named
            log().warning(f"the {role} did not answer in shadow", release=release.id, exc_info=error)


def _outcome(ranked: list[str], milliseconds: float, error: Exception | None) -> Ranked:
    return Ranked(None if error else milliseconds, len(ranked), error is not None and reason_of(error) == "failed")
