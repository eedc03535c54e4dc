"""The server's logs without a person or a document, on this machine and in the store.

A file is replaced at once, here under the lock that the server writes and ships by. Lines go from the file that is written to a
closed one, and from there to the store, and in this order they are searched and erased, so that none slips through between.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.corpus.event_log import COLUMNS, local_files, shipped_files
from pipelines.erasure.subject import Subject, readable
from pipelines.errors import TryAgain
from pipelines.store.objects import Store

if TYPE_CHECKING:
    from pyarrow import Table

ERASED = "erased"
"""What stands in a log in place of a document: positions and scores stay, so that the log can be analyzed."""
RUNNING = timedelta(days=1)
"""An experiment whose last exposure is younger is running."""
LOCKED_WITHIN_S, LOOK_S = 30.0, 0.02
"""How long a lock is waited for, and how often it is tried."""
Change = Callable[[dict[str, Any]], dict[str, Any] | None]
"""What is left of a line; None: nothing."""


def exposures_change(subject: Subject) -> Change:
    """What is left of an exposure: of a user nothing, of a document the other results."""

    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        if subject.kind == "user":
            return None if row.get("user") in subject.names else row
        results = [shown | {"document": _other(shown["document"], subject)} for shown in row.get("results", [])]
        listed = {name: [_other(document, subject) for document in row[name]] for name in ("history", "exclude") if name in row}
        return row | ({"results": results} if "results" in row else {}) | listed

    return change


def clicks_change(subject: Subject, requests: set[str]) -> Change:
    """What is left of a click: nothing where it is one of the user's, another name where it is on the document."""

    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        if subject.kind == "user":
            return None if row.get("request_id") in requests else row
        return row | {"document": _other(row.get("document", ""), subject)}

    return change


def acts_change(subject: Subject) -> Change:
    """What is left of an act of an admin: that there was one."""

    def change(row: dict[str, Any]) -> dict[str, Any]:
        held = subject.found_in(readable(json.dumps(row).encode())) or subject.in_path(str(row.get("act")))
        return row | {"act": ERASED} if held else row

    return change


def _other(document: str, subject: Subject) -> str:
    return ERASED if document == subject.id else document


def requests_of(store: Store, folders: list[Path], subject: Subject) -> set[str]:
    """The requests of a user, by which clicks name their exposures."""
    rows = _exposures(store, folders)
    return {str(row.get("request_id")) for row in rows if row.get("user") in subject.names}


def running_experiments(store: Store, folders: list[Path], subject: Subject, now: datetime | None = None) -> set[str]:
    """The experiments that the user is in and that were exposed to somebody within the last day."""
    since = (now or datetime.now(UTC)) - RUNNING
    joined, running = set(), set()
    for row in (row for row in _exposures(store, folders) if row.get("experiment")):
        joined |= {row["experiment"]} if row.get("user") in subject.names else set()
        running |= {row["experiment"]} if datetime.fromisoformat(str(row["at"])) >= since else set()
    return joined & running


def _exposures(store: Store, folders: list[Path]) -> Iterator[dict[str, Any]]:
    for path in (path for folder in folders for path in files_of(folder, "exposures")):
        yield from _rows(path)
    for shipped in shipped_files(store, "exposures"):
        yield from _table(store, shipped).to_pylist()


def files_of(folder: Path, name: str) -> list[Path]:
    """The files of a log in a server's folder, and those of the audit log, which is never closed."""
    return local_files(folder, name) if name in COLUMNS else [folder / f"{name}.jsonl"]


def changed_in_store(store: Store, path: str, change: Change) -> int:
    """How many rows of a shipped file would be changed."""
    return sum(change(row) != row for row in _table(store, path).to_pylist())


def rewrite_in_store(store: Store, path: str, change: Change) -> None:
    """Write a shipped file anew without what was erased, unless nothing is. It keeps its name, and is not shipped again."""
    import pyarrow
    import pyarrow.parquet

    table = _table(store, path)
    rows = table.to_pylist()
    left = [change(row) for row in rows]
    if left != rows:
        kept = pyarrow.Table.from_pylist([row for row in left if row is not None], schema=table.schema)
        body = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(kept, body, compression="zstd")
        store.write(path, body.getvalue().to_pybytes())


def _table(store: Store, path: str) -> "Table":
    import pyarrow
    import pyarrow.parquet

    return pyarrow.parquet.read_table(pyarrow.BufferReader(store.read(path)))


def changed(path: Path, change: Change) -> int:
    """How many lines of a log would be changed."""
    return sum(change(row) != row for row in _rows(path))


def rewrite(path: Path, change: Change) -> None:
    """Write a log anew without what was erased, unless nothing is; a line that is no JSON stays.

    A file that was closed or shipped meanwhile is left: whoever searches again finds where its lines went.
    """
    if not changed(path, change):
        return
    with (
        suppress(FileNotFoundError),
        _locked(path) as file,
        tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as kept,
    ):
        try:
            for line in file:
                kept.write(_left(line, change))
            kept.flush()
            os.fsync(kept.fileno())
            Path(kept.name).chmod(0o600)
            written = path.stat().st_mtime_ns  # of the last line: what is of another day is closed
            os.utime(kept.name, ns=(written, written))
            Path(kept.name).replace(path)
        finally:
            Path(kept.name).unlink(missing_ok=True)


def _left(line: bytes, change: Change) -> bytes:
    row = _parsed(line)
    left = change(row) if row is not None else None
    if row is None or left == row:
        return line
    return b"" if left is None else json.dumps(left, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The file, locked; the one that has the name by then, since another erasure may have replaced it meanwhile.

    Raises:
        TryAgain: somebody else holds the lock, which a server does for as long as it writes a line.
    """
    until = time.monotonic() + LOCKED_WITHIN_S
    while True:
        with path.open("rb") as file:
            if _own(file, path):
                yield file
                return
        if time.monotonic() > until:
            raise TryAgain(
                f"{path}, which somebody has locked for {LOCKED_WITHIN_S:g} s",
                "a server that writes a line, and lets go",
                "find who has it open, then run the erasure again: it goes on where it was",
            )
        time.sleep(LOOK_S)


def _own(file: IO[bytes], path: Path) -> bool:
    """Whether the file could be locked, and still has its name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), path.stat())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(FileNotFoundError), path.open("rb") as file:
        yield from (row for line in file if (row := _parsed(line)) is not None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
