"""What a server computes beside searches: at low priority, and with rests."""

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

NICE = 10
"""Added to the niceness: where a search and this want the same core, the search has nine tenths of it (Linux: sched(7))."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_low_priority(work: Callable[[Item], Result], items: Iterable[Item], rests: float) -> list[Result]:
    """What `work` gives for each item, computed on a thread of low priority, which rests after each.

    A thread may not raise its priority again, and those that it starts have the same. So it has a thread of its own, and
    what keeps threads for later, such as a session of a model, must exist before. Only Linux has a priority for each thread.

    Args:
        work: raises what it likes; the first error ends it, and is raised here.
        items: taken one after another, on that thread.
        rests: the pause after each, as a multiple of the time that it took: where a container's CPU has a limit, a priority
            leaves the others no more of it.

    >>> at_low_priority(len, ["moon", "sun"], rests=0.0)
    [4, 3]
    """
    future: Future[list[Result]] = Future()

    def run() -> None:
        results = []
        try:
            _lower_priority()
            for item in items:
                began = time.monotonic()
                results.append(work(item))
                time.sleep(rests * (time.monotonic() - began))
            future.set_result(results)
        except BaseException as error:  # noqa: BLE001  # raised where the result is read
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="beside searches", daemon=True).start()
    return future.result()


def _lower_priority() -> None:
    """Lower the priority of this thread, where that is possible."""
    if sys.platform != "linux":
        return
    identity = threading.get_native_id()
    with suppress(OSError):  # a sandbox may forbid it
        os.setpriority(os.PRIO_PROCESS, identity, os.getpriority(os.PRIO_PROCESS, identity) + NICE)
