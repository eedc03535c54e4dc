"""The server's logs as files: the one that is written, closed ones, and those that were shipped to the store as Parquet.

Lines are appended to `NAME.jsonl` in the server's folder. The file is closed by giving it another name, with the time of its
last line: `NAME-20261129T224501Z-9f86d081884c.jsonl`. That name is what the file is from then on: in the store it is
`events/NAME/2026-11-29/NAME-20261129T224501Z-9f86d081884c.parquet`. Where it is in both places, the store's counts.

A round of `ship` puts what the store lacks, create-if-absent, and deletes here what it saw in the store. So a file is deleted a
round after it was put, and whoever is killed in between neither loses a line nor doubles one. Somebody who reads looks into the
folder first and into the store after that, the way that lines go.
"""

import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO

from pipelines.errors import InputError
from pipelines.store.objects import Store
from pipelines.wording import printable

SHIPPED = "events"
"""The folder of the store."""
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "exposures": {
        "request_id": "VARCHAR", "at": "TIMESTAMPTZ", "user": "VARCHAR", "query": "VARCHAR", "history": "VARCHAR[]",
        "kind": "VARCHAR", "filter": "VARCHAR[]", "exclude": "VARCHAR[]", "release": "VARCHAR", "policy": "VARCHAR",
        "entry": "INTEGER",
        "results": "STRUCT(document VARCHAR, position INTEGER, score DOUBLE, propensity DOUBLE)[]",
        "latency_ms": "DOUBLE", "segment": "MAP(VARCHAR, VARCHAR)", "reranked": "INTEGER", "experiment": "VARCHAR",
        "variant": "VARCHAR", "caller": "VARCHAR", "traffic": "VARCHAR",
    },
    "clicks": {
        "request_id": "VARCHAR", "document": "VARCHAR", "position": "INTEGER", "at": "TIMESTAMPTZ", "caller": "VARCHAR",
    },
    "conversions": {
        "request_id": "VARCHAR", "document": "VARCHAR", "value": "DOUBLE", "at": "TIMESTAMPTZ", "caller": "VARCHAR",
    },
    "failures": {
        "at": "TIMESTAMPTZ", "kind": "VARCHAR", "release": "VARCHAR", "policy": "VARCHAR", "entry": "INTEGER",
        "reason": "VARCHAR", "error": "VARCHAR", "latency_ms": "DOUBLE", "experiment": "VARCHAR", "variant": "VARCHAR",
        "caller": "VARCHAR", "traffic": "VARCHAR",
    },
    "shadow": {
        "request_id": "VARCHAR", "at": "TIMESTAMPTZ", "entry": "INTEGER", "champion": "VARCHAR", "challenger": "VARCHAR",
        "champion_ms": "DOUBLE", "challenger_ms": "DOUBLE", "champion_results": "INTEGER", "challenger_results": "INTEGER",
        "overlap": "DOUBLE", "reason": "VARCHAR", "error": "VARCHAR",
    },
}  # fmt: skip
"""The columns of each log and their types in DuckDB and Parquet; the meaning of each is in `exposure`."""
DEFAULTS = {
    "history": "[]", "kind": "'search'", "filter": "[]", "exclude": "[]", "segment": "MAP {}", "experiment": "''",
    "variant": "''", "caller": "''", "traffic": "'live'",
}  # fmt: skip
"""What lines of before a column was written have in it."""
LIVE = "coalesce(traffic, 'live') = 'live'"
"""Of exposures and failures: a person searched."""
AS_SHOWN = "coalesce(e.results[c.position].document = c.document, false)"
"""Of a click c and its exposure e: the document was shown there. A server does not know what another one has shown."""
OPTIONS = "format='newline_delimited', ignore_errors=true, maximum_object_size=33554432"
CLOSED = re.compile(rf"({'|'.join(COLUMNS)})-(\d{{8}})T\d{{6}}Z-[0-9a-f]{{12}}")
SHIPPING_MEMORY = "256MB"
DOWNLOADS = 16
"""Files of a bucket that are downloaded at once: they are small, so that each takes little but the way there and back."""


@dataclass(frozen=True)
class LogFiles:
    """All files of one log."""

    log: str
    lines: tuple[Path, ...]
    """Of JSON."""
    shipped: tuple[Path, ...]
    """Of Parquet, on this machine."""

    def __bool__(self) -> bool:
        return bool(self.lines or self.shipped)

    def relation(self, *columns: str) -> str:
        """The log as a relation of SQL with these columns; a line that is cut off has none of them, or is left out."""
        types = {name: COLUMNS[self.log][name] for name in columns}
        listed = ", ".join(f'"{name}"' for name in columns)
        parts = [f"SELECT {listed} FROM {_of_lines(self.lines, types)}"] if self.lines else []  # noqa: S608
        empty = _none_of(types)
        if self.shipped:  # by name: those of before a column was written lack it
            parts += [f"SELECT {listed} FROM ({empty} UNION ALL BY NAME FROM {_of_parquet(self.shipped)})"]  # noqa: S608
        return f"({' UNION ALL '.join(parts) or empty})"

    def as_lines(self, scratch: Path) -> list[Path]:
        """All files as lines of JSON; those of Parquet are written anew, into one file of `scratch`."""
        if not self.shipped:
            return [*self.lines]
        return [_as_lines(self.log, self.shipped, scratch / f"shipped-{self.log}.jsonl"), *self.lines]


def log_files(store: Store, folder: Path, name: str, scratch: Path, first: str = "", last: str = "") -> LogFiles:
    """The files of a log. Those of a bucket are downloaded into `scratch`, which must last as long as they are read.

    Args:
        store: where files were shipped to.
        folder: where this machine's server writes.
        name: a key of `COLUMNS`.
        first, last: days in ISO form; of the store's files only those are taken that can hold lines of these days. Empty: any.
    """
    written = _pinned(folder / f"{name}.jsonl", scratch)
    closed = [pinned for path in closed_files(folder, name) if (pinned := _pinned(path, scratch))]
    in_store = shipped_files(store, name)
    stems = {Path(path).stem for path in in_store}
    here = [pinned.path for pinned in closed if pinned.path.stem not in stems]
    if written and not any(written.inode == pinned.inode for pinned in closed):
        here.append(written.path)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        shipped = tuple(
            pool.map(lambda path: _local(store, path, scratch), (path for path in in_store if _may_hold(path, first, last)))
        )
    return LogFiles(name, tuple(here), shipped)


def gathered(store: Store, folder: Path, scratch: Path) -> Path:
    """A folder with each log as one file of lines: the server's own where nothing was closed yet, else one below `scratch`."""
    if not closed_files(folder) and not any(shipped_files(store, name) for name in COLUMNS):
        return folder
    whole = scratch / "whole"
    whole.mkdir()
    for name in COLUMNS:
        if files := log_files(store, folder, name, scratch / "files"):
            with (whole / f"{name}.jsonl").open("w+b") as target:
                for path in files.as_lines(scratch / "files"):
                    _append_lines(path, target)
    return whole


def _append_lines(path: Path, target: IO[bytes]) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, target)
    if target.tell():
        target.seek(-1, os.SEEK_END)
        if target.read(1) != b"\n":  # cut off by a kill: the next file begins on a new line
            target.write(b"\n")


@dataclass(frozen=True)
class _Pinned:
    path: Path
    inode: int


def _pinned(path: Path, scratch: Path) -> _Pinned | None:
    """Another name of a file, by which it is read after somebody closes or deletes it.

    From another disk the file that is written is copied; closed ones, many while the store is away, are read where they are.
    """
    target = scratch / uuid.uuid4().hex / path.name
    target.parent.mkdir(parents=True)
    with suppress(FileNotFoundError):  # it has just been closed, or deleted since it was shipped: it is among those listed next
        try:
            os.link(path, target)
            return _Pinned(target, target.stat().st_ino)
        except FileNotFoundError:
            raise
        except OSError:
            if CLOSED.fullmatch(path.stem):
                return _Pinned(path, path.stat().st_ino)
            with path.open("rb") as file, target.open("wb") as copy:
                shutil.copyfileobj(file, copy)
                return _Pinned(target, os.fstat(file.fileno()).st_ino)
    return None


def is_logged(store: Store, folder: Path, name: str = "exposures") -> bool:
    """Whether a log has any file."""
    return bool(local_files(folder, name) or shipped_files(store, name))


def require_log(store: Store, folder: Path, otherwise: str) -> None:
    """Refuse to go on where no search was logged.

    Args:
        store: where files were shipped to.
        folder: where this machine's server writes.
        otherwise: what to do where no server answers searches.

    Raises:
        InputError: there is no file of exposures.
    """
    if not is_logged(store, folder):
        raise InputError(
            f"the log of the search server, {printable(folder / 'exposures.jsonl', 200)}, which is not there",
            f"exposures.jsonl in that folder, or what a server shipped to {store.uri}",
            f"set RATCHET_EVENTS to its folder, or {otherwise}",
        )


@contextmanager
def reading_rows(source: str) -> Iterator[None]:
    """Turn what DuckDB says of rows that it can't read into a refusal.

    Args:
        source: what is read, for people.

    Raises:
        InputError: it can't be read, or does not fit into the memory.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise InputError(
            f"{source}, which can't be read: {printable(str(error).partition(chr(10))[0], 300)}",
            "lines of JSON of less than 32 MB each, or Parquet as it was shipped, which this account may read",
            "repair the file that it names; where memory was short, give it more; then run the same command again",
        ) from None


def local_files(folder: Path, name: str) -> list[Path]:
    """The files of a log in a server's folder: the one that is written first, then closed ones, the latest first."""
    written = folder / f"{name}.jsonl"
    return [*([written] if written.is_file() else []), *reversed(closed_files(folder, name))]


def closed_files(folder: Path, name: str = "") -> list[Path]:
    """Files that wait to be shipped or deleted, of one log or of all; the earliest first."""
    closed = (path for path in folder.glob(f"{name}*-*.jsonl") if CLOSED.fullmatch(path.stem))
    return sorted(closed, key=lambda path: path.name.partition("-")[2])


def shipped_files(store: Store, name: str) -> list[str]:
    """Paths in the store of a log's files, the earliest first."""
    listed = (entry.path for entry in store.listed(f"{SHIPPED}/{name}/"))
    return sorted(path for path in listed if CLOSED.fullmatch(Path(path).stem))


def shipped_path(closed: Path) -> str:
    """Where a closed file goes.

    >>> shipped_path(Path("/var/clicks-20261129T224501Z-9f86d081884c.jsonl"))
    'events/clicks/2026-11-29/clicks-20261129T224501Z-9f86d081884c.parquet'
    """
    name, day, *_ = re.split("[-T]", closed.stem)
    return f"{SHIPPED}/{name}/{date.fromisoformat(day)}/{closed.stem}.parquet"


def _may_hold(path: str, first: str, last: str) -> bool:
    """Whether a shipped file may have lines of these days: all are of the day in its path, or were begun just before midnight.

    >>> [_may_hold(f"events/clicks/2026-11-{day}/x", "2026-11-28", "2026-11-28") for day in (27, 28, 29, 30)]
    [False, True, True, False]
    """
    written = date.fromisoformat(path.split("/")[2])
    return (not first or written >= date.fromisoformat(first)) and (
        not last or written <= date.fromisoformat(last) + timedelta(days=1)
    )


def close(path: Path, due: Callable[[os.stat_result], bool] = lambda _: True) -> Path | None:
    """Close the file of a log. None: it has no lines, is not due, or somebody else has just closed or replaced it.

    Who appends holds the lock, and looks afterwards whether the file still has the name; so no line comes after the closing.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        status = os.fstat(file)
        if not has_name(file, path) or not status.st_size or not due(status):
            return None
        last_line = datetime.fromtimestamp(status.st_mtime, UTC)
        closed = path.with_name(f"{path.stem}-{last_line:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:12]}.jsonl")
        path.rename(closed)
        return closed
    finally:
        os.close(file)


def has_name(file: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Round:
    """What one round of `ship` did."""

    shipped: int
    deleted: int


def ship(store: Store, folder: Path) -> Round:
    """Close the files that are written, put what the store lacks, and delete here what it has.

    A file that an erasure or another server has locked is left for the next round.

    Raises:
        TryAgain: the store or the disk does not answer; what was put before is put.
        InputError: this account may not write there, or the packages are missing.
    """
    for name in COLUMNS:
        close(folder / f"{name}.jsonl")
    done, problems = [], []
    for path in closed_files(folder):
        try:
            done.append(_ship_file(store, path))
        except InputError as problem:  # the others are shipped all the same
            problems.append(problem)
    if problems:
        raise problems[0]
    return Round(shipped=done.count("shipped"), deleted=done.count("deleted"))


def _ship_file(store: Store, closed: Path) -> str:
    path = shipped_path(closed)
    try:
        file = os.open(closed, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "deleted by another"
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not has_name(file, closed):
            return "locked"
        if store.size(path) is not None:
            closed.unlink()
            return "deleted"
        return "shipped" if store.create(path, _as_parquet(closed)) else "shipped by another"
    except BlockingIOError:
        return "locked"
    finally:
        os.close(file)


def _as_parquet(closed: Path) -> bytes:
    """The lines of a closed file that can be read, as Parquet. A line that was cut off by a kill was never answered."""
    types = COLUMNS[closed.stem.partition("-")[0]]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "log.parquet"
        rows = f'SELECT {_completed(types)} FROM {_of_lines([closed], types)} WHERE "at" IS NOT NULL'  # noqa: S608
        _execute(f"COPY ({rows}) TO {_literal(target)} (FORMAT parquet, COMPRESSION zstd)")
        return target.read_bytes()


def _completed(types: Mapping[str, str]) -> str:
    """The columns of a log, with what lines of before one of them was written have in it."""
    return ", ".join(
        f'coalesce("{name}", CAST({DEFAULTS[name]} AS {kind})) AS "{name}"' if name in DEFAULTS else f'"{name}"'
        for name, kind in types.items()
    )


def _none_of(types: Mapping[str, str]) -> str:
    """No row, with each column in its type: what files of before a column was written are completed by."""
    columns = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in types.items())
    return f"SELECT {columns} WHERE false"


def _as_lines(log: str, shipped: Sequence[Path], target: Path) -> Path:
    moment = "strftime(\"at\" AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS \"at\""
    target.parent.mkdir(parents=True, exist_ok=True)
    types = COLUMNS[log]
    whole = f"({_none_of(types)} UNION ALL BY NAME FROM {_of_parquet(shipped)})"
    rows = f"SELECT * REPLACE ({moment}) FROM (SELECT {_completed(types)} FROM {whole})"  # noqa: S608
    _execute(f"COPY ({rows}) TO {_literal(target)} (FORMAT json)")
    return target


def _execute(statement: str) -> None:
    """Run a statement in a database of its own, in the order of the rows and in little memory.

    Raises:
        InputError: DuckDB is not installed, or a file can't be read.
    """
    try:
        import duckdb
    except ImportError:
        raise InputError("no package duckdb", "the extra `serve`", "install it: uv pip install 'ratchet[serve]'") from None
    try:
        with duckdb.connect() as db:
            db.execute(f"SET TimeZone = 'UTC'; SET threads = 1; SET memory_limit = '{SHIPPING_MEMORY}'")
            db.execute(statement)
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0][:300]
        raise InputError(
            f"a log: {reason}", "lines of less than 32 MB, or Parquet as it was shipped", "repair the file"
        ) from None


def _of_lines(paths: Sequence[Path], types: Mapping[str, str]) -> str:
    columns = ", ".join(f"\"{name}\": '{kind}'" for name, kind in types.items())
    return f"read_json({_paths(paths)}, {OPTIONS}, columns={{{columns}}})"


def _of_parquet(paths: Sequence[Path]) -> str:
    """Without what DuckDB would take for columns in the path of a store, such as /mnt/stage=live."""
    return f"read_parquet({_paths(paths)}, hive_partitioning=false, union_by_name=true)"


def _paths(paths: Sequence[Path]) -> str:
    return f"[{', '.join(map(_literal, paths))}]"


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _local(store: Store, path: str, scratch: Path) -> Path:
    if store.local is not None:
        return store.local / path
    target = scratch / Path(path).name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(store.read(path))
    return target
