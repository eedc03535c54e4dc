"""Being told to stop (SIGTERM): most steps end at once; one that keeps finished work hears it and ends where it chooses."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def end_at_once() -> None:
    """Let SIGTERM end this process as an exit, 143, so that scratch folders go."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: Any) -> None:  # noqa: ARG001  # the signature of a signal's function
    raise SystemExit(128 + number)


@contextmanager
def heard() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM is only remembered: the step asks whether it came, between two pieces of its work.

    A signal that came and was not acted upon has its usual effect afterwards. In a thread, where signals never
    arrive, the answer is always no.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if told.is_set():
        signal.raise_signal(signal.SIGTERM)
