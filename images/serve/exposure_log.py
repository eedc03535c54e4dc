"""The exposure log: exposures, clicks and conversions as JSON lines, each written before the request is answered."""

import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from images.serve.request_ids import RequestIds
from pipelines.corpus.event_log import COLUMNS, close, closed_files, has_name, local_files
from pipelines.corpus.exposure import Click, Conversion, Exposure, FailedSearch, ShadowSearch
from pipelines.errors import InputError, StepError, TryAgain

MAX_RECENT = 10_000
TAIL = 262_144
"""Bytes at the end of the log in which its latest queries are looked for."""


class UnknownExposure(InputError):
    """A click for a request that no search of these servers was."""


@dataclass(frozen=True)
class Unshipped:
    """What of the logs is on this machine alone, or is not yet deleted here."""

    closed: int
    """Files that are closed."""
    bytes: int
    """Of these and of those that are written."""
    oldest_s: float
    """Seconds since the last line of the closed file that was closed first; 0: there is none."""


class ExposureLog:
    """The logs' files, and the latest exposures in memory, against which clicks and conversions are checked.

    Args:
        folder: of the files.
        max_recent: how many exposures are kept in memory.
        file_bytes: beyond which a file is closed; the next day (UTC) closes it, too.
        room: bytes that all files may take; beyond them nothing is written, as on a full disk. 0: what the disk has.
        key: that replicas share, to recognise each other's searches; empty: only those of this process are.
    """

    def __init__(
        self, folder: Path, max_recent: int = MAX_RECENT, file_bytes: int = 64_000_000, room: int = 0, key: str = ""
    ) -> None:
        self.request_ids = RequestIds(key)
        self.folder, self._max_recent = folder, max_recent
        self._file_bytes, self._room = file_bytes, room
        self._closed_bytes = 0
        self.measure()
        self._recent: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def log_exposures(self, exposures: Sequence[Exposure]) -> None:
        """Append exposures, all in one write.

        Raises:
            TryAgain: they could not be written; the searches must not be answered then.
        """
        self._append("exposures", exposures)
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
        self._append("failures", [failure])

    def log_shadow(self, seen: ShadowSearch) -> None:
        """Append what the challenger would have answered.

        Raises:
            TryAgain: it could not be written.
        """
        self._append("shadow", [seen])

    def latest_queries(self, most: int) -> list[str]:
        """The texts of the last searches that were written down, each once, the latest first; none where there is no log.

        A file that was just closed leaves few in the one that is written, so that those before are read, too.
        """
        queries: dict[str, None] = {}
        with suppress(OSError):
            for path in local_files(self.folder, "exposures"):
                queries |= dict.fromkeys(query for line in reversed(_last_lines(path)) if (query := _query_of(line)))
                if len(queries) >= most:
                    break
        return list(queries)[:most]

    def log_events(self, clicks: Sequence[Click], conversions: Sequence[Conversion]) -> None:
        """Append clicks and conversions, unless one of them can't be.

        What a search of another process, or of long ago, has shown is not known here: whoever joins the logs checks it.

        Raises:
            UnknownExposure: a request is no search of these servers.
            InputError: another document, or none, was shown at a click's position; a conversion's document was not shown.
            TryAgain: they could not be written. Conversions may have been, and are written again when they are told again.
        """
        for click in clicks:
            shown = self._shown(click.request_id)
            if shown is not None and shown[click.position - 1 : click.position] != (click.document,):
                raise InputError(
                    f"document {click.document[:64]!r} at position {click.position}",
                    "a document at the position where it was shown",
                    "send both as the search answered them",
                )
        for conversion in conversions:
            shown = self._shown(conversion.request_id)
            if shown is not None and conversion.document not in shown:
                raise InputError(
                    f"document {conversion.document[:64]!r}", "a document that was shown", "send it as the search answered it"
                )
        if conversions:
            self._append("conversions", conversions)
        if clicks:
            self._append("clicks", clicks)

    def measure(self) -> Unshipped:
        """What is on this machine now."""
        closed: list[os.stat_result] = []
        with suppress(OSError):  # of a disk that does not answer nothing is known
            closed = [status for path in closed_files(self.folder) if (status := _status(path))]
        self._closed_bytes = sum(status.st_size for status in closed)
        now = time.time()
        oldest = min((status.st_mtime for status in closed), default=now)
        return Unshipped(len(closed), self._bytes(), max(0.0, now - oldest))

    @property
    def is_half_full(self) -> bool:
        """Whether the logs take half of their room."""
        return self._room > 0 and 2 * self.measure().bytes >= self._room

    def _append(self, name: str, events: Sequence[BaseModel]) -> None:
        """Append events to a log; a file that is full, or of a day before, is closed first.

        Raises:
            TryAgain: they could not be written, or the room for logs is used up.
        """
        path = self.folder / f"{name}.jsonl"
        status = _status(path)
        if status and self._is_due(status):
            with suppress(OSError):  # it is as well to go on in the same file
                close(path, self._is_due)
            self.measure()
        if self._is_full():
            self.measure()  # another process may have shipped what was here
            if self._is_full():
                raise TryAgain(
                    f"{self._bytes()} bytes of logs in {self.folder} that are not yet shipped and deleted",
                    f"less than the {self._room} of RATCHET_LOG_ROOM_MB",
                    "see in /readyz why they are not shipped, or raise RATCHET_LOG_ROOM_MB",
                )
        append_events(path, events)

    def _bytes(self) -> int:
        """Bytes of all files: of the closed ones as they were last measured, of those that are written as they are."""
        written = (_status(self.folder / f"{name}.jsonl") for name in COLUMNS)
        return self._closed_bytes + sum(status.st_size for status in written if status)

    def _is_full(self) -> bool:
        return self._room > 0 and self._bytes() >= self._room

    def _is_due(self, status: os.stat_result) -> bool:
        last = datetime.fromtimestamp(status.st_mtime, UTC).date()
        return status.st_size > 0 and (status.st_size >= self._file_bytes or last < datetime.now(UTC).date())

    def _shown(self, request_id: str) -> tuple[str, ...] | None:
        """None: it is a search of another process with the same key, or none of the latest here."""
        with self._lock:
            shown = self._recent.get(request_id)
        if shown is None and self.request_ids.origin(request_id) is None:
            raise UnknownExposure(f"request_id {request_id[:64]!r}", "that of a search of these servers", "search again")
        return shown


def _status(path: Path) -> os.stat_result | None:
    """None: it is not there, or its disk does not answer, which whoever writes to it says."""
    try:
        return path.stat()
    except OSError:
        return None


def _last_lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        return file.read(TAIL).splitlines()


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
    Where it was closed or replaced while this waited for the lock, as an erasure does, the new file is taken.

    Raises:
        OSError: it could not be written, or not all of it.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not has_name(file, path):
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
