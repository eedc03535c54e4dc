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
def defer_sigterm(*others: signal.Signals) -> Iterator[Callable[[], bool]]:
    """Defer SIGTERM, and `others`, within the context; yields a function that says whether one has arrived.

    On leaving, the first that arrived takes its usual effect. A signal that this process ignores stays ignored. In a thread
    other than the main one, where signals never arrive, the function always returns False.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    heeded = [number for number in (signal.SIGTERM, *others) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in heeded}
    try:
        yield lambda: bool(received)
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
    if received:
        signal.raise_signal(received[0])
