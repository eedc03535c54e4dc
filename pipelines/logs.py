"""Structured logs on stderr: one JSON object per line, or coloured text on a terminal."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from pipelines.masking import masked_event
from pipelines.settings import Settings

Item = TypeVar("Item")
EVERY_S = 5.0
"""Seconds between two log lines of progress."""


class StandardError:
    """Writes lines to stderr. A line that can't be written, as on a full disk, is lost: whatever logs it goes on."""

    _lock = threading.Lock()

    def msg(self, message: str) -> None:
        """Write a line."""
        with self._lock, suppress(OSError, ValueError):  # ValueError: stderr is closed, or can't encode the line
            print(message, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = exception = msg


def configure(settings: Settings, step: str) -> None:
    """Send structlog's events to stderr, each with step, dag, dag run, task, try and trace id, and without personal data."""
    plain = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if plain else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            masked_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=lambda *_: StandardError(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**_context(settings, step))


def _context(settings: Settings, step: str) -> dict[str, Any]:
    trace = settings.traceparent.split("-")
    fields = {
        "step": step,
        "dag": settings.dag,
        "dag_run": settings.dag_run,
        "task": settings.task,
        "try": settings.try_number,
        "trace_id": trace[1] if len(trace) == 4 else "",
    }
    return {key: value for key, value in fields.items() if value}


def log() -> Any:
    """The logger of the running step."""
    return structlog.get_logger()


def progress(items: Iterable[Item], total: int, noun: str, done_of: Callable[[Any], int] = lambda _: 1) -> Iterator[Item]:
    """Yield `items` and log done, total, rate and ETA at most every 5 s; on a terminal, show a progress bar instead.

    Args:
        items: what is worked on.
        total: how many there are, in the unit of `done_of`.
        noun: what they are called.
        done_of: how many an item counts for.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, noun, done_of)
        return
    started = logged = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += done_of(item)
        now = time.monotonic()
        if now - logged >= EVERY_S:
            logged = now
            rate = done / (now - started)
            log().info("progress", noun=noun, done=done, total=total, per_s=round(rate, 1), eta_s=round((total - done) / rate))


def _bar(items: Iterable[Item], total: int, noun: str, done_of: Callable[[Any], int]) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(noun, total=total)
        for item in items:
            yield item
            bar.advance(task, done_of(item))
