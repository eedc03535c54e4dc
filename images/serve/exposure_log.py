"""The exposure log: exposures, clicks and conversions as JSON lines, each written before the request is answered."""

import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pipelines.corpus.exposure import Click, Conversion, Exposure, FailedSearch, ShadowSearch
from pipelines.errors import InputError, StepError, TryAgain

MAX_RECENT = 10_000
TAIL = 262_144
"""Bytes at the end of the log in which its latest queries are looked for."""


class UnknownExposure(InputError):
    """A click for a request that is none of the latest exposures."""


class ExposureLog:
    """The logs' files, and the latest exposures in memory, against which clicks and conversions are checked."""

    def __init__(self, folder: Path, max_recent: int = MAX_RECENT) -> None:
        self.folder, self._max_recent = folder, max_recent
        self._recent: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def log_exposures(self, exposures: Sequence[Exposure]) -> None:
        """Append exposures, all in one write.

        Raises:
            TryAgain: they could not be written; the searches must not be answered then.
        """
        append_events(self.folder / "exposures.jsonl", exposures)
        with self._lock:
            for exposure in exposures:
                self._recent[exposure.request_id] = tuple(shown.document for shown in exposure.results)
            while len(self._recent) > self._max_recent:
                self._recent.popitem(last=False)

    def log_failure(self, failure: FailedSearch) -> None:
        """Append a search that a release did not answer.

        Raises:
            TryAgain: it could not be written.
        """
        append_events(self.folder / "failures.jsonl", [failure])

    def log_shadow(self, seen: ShadowSearch) -> None:
        """Append what the challenger would have answered.

        Raises:
            TryAgain: it could not be written.
        """
        append_events(self.folder / "shadow.jsonl", [seen])

    def latest_queries(self, most: int) -> list[str]:
        """The texts of the last searches that were written down, each once, the latest first; none where there is no log."""
        try:
            with (self.folder / "exposures.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                lines = file.read(TAIL).splitlines()
        except OSError:
            return []
        return list(dict.fromkeys(query for line in reversed(lines) if (query := _query_of(line))))[:most]

    def log_events(self, clicks: Sequence[Click], conversions: Sequence[Conversion]) -> None:
        """Append clicks and conversions, unless one of them can't be.

        Raises:
            UnknownExposure: a request is none of the latest.
            InputError: another document, or none, was shown at a click's position; a conversion's document was not shown.
            TryAgain: they could not be written. Conversions may have been, and are written again when they are told again.
        """
        for click in clicks:
            if self._shown(click.request_id)[click.position - 1 : click.position] != (click.document,):
                raise InputError(
                    f"document {click.document[:64]!r} at position {click.position}",
                    "a document at the position where it was shown",
                    "send both as the search answered them",
                )
        for conversion in conversions:
            if conversion.document not in self._shown(conversion.request_id):
                raise InputError(
                    f"document {conversion.document[:64]!r}", "a document that was shown", "send it as the search answered it"
                )
        for name, events in (("conversions.jsonl", conversions), ("clicks.jsonl", clicks)):
            if events:
                append_events(self.folder / name, events)

    def _shown(self, request_id: str) -> tuple[str, ...]:
        with self._lock:
            shown = self._recent.get(request_id)
        if shown is None:
            raise UnknownExposure(
                f"request_id {request_id[:64]!r}", f"one of the last {self._max_recent} searches", "search again"
            )
        return shown


def _query_of(line: bytes) -> str:
    """The query of a line; empty where it has none, or is cut off."""
    try:
        return Exposure.model_validate_json(line).query
    except ValidationError:
        return ""


def append_events(path: Path, events: Sequence[BaseModel]) -> None:
    """Append events, each as one line of JSON.

    Raises:
        TryAgain: they could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        append_line(path, b"\n".join(event.model_dump_json().encode() for event in events))
    except OSError as error:
        raise _write_error(path, error) from error


def append_line(path: Path, line: bytes) -> None:
    """Append a line, or several that belong together, in one write: all or none. After a truncated line it starts on a new one.

    The file is locked meanwhile: a long line is written page by page, and another writer would take it for a truncated one.
    Where it was replaced while this waited for the lock, as an erasure does, the new file is taken.

    Raises:
        OSError: it could not be written, or not all of it.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists() or not os.path.samestat(os.fstat(file), path.stat()):
            return append_line(path, line)
        size = os.fstat(file).st_size
        truncated = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        body = (b"\n" if truncated else b"") + line + b"\n"
        if os.write(file, body) != len(body):
            os.ftruncate(file, size)
            raise OSError("only a part of the line could be written")
    finally:
        os.close(file)


def _write_error(path: Path, error: OSError) -> StepError:
    reason = error.strerror or str(error)
    return TryAgain(
        f"{path}: {reason}",
        "a log that can be written before the answer",
        "make room on its disk or set RATCHET_EVENTS",
    )
