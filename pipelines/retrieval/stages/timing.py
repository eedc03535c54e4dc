"""How long each stage takes, for whoever wants to know; where nobody does, nothing is measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ENCODE = "encode"
"""The name of what comes before every stage that needs vectors."""
_seconds: ContextVar[dict[str, float] | None] = ContextVar("seconds_of_stages", default=None)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds by stage of all that is ranked within the block, by this thread.

    >>> with timed() as seconds, stage_time("dense"):
    ...     pass
    >>> list(seconds), seconds["dense"] >= 0
    (['dense'], True)
    """
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def stage_time(stage: str) -> Iterator[None]:
    """Add the time of the block to the stage's."""
    seconds = _seconds.get()
    if seconds is None:
        yield
        return
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
