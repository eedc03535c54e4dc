"""SIGTERM: most steps exit at once; a step that stores finished work defers the signal until it has done so."""

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
def defer_sigterm() -> Iterator[Callable[[], bool]]:
    """Defer SIGTERM within the context; yields a function that says whether it has arrived.

    On leaving, a signal that arrived takes its usual effect. In a thread other than the main one, where signals never
    arrive, the function always returns False.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if received.is_set():
        signal.raise_signal(signal.SIGTERM)
