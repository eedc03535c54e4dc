"""What several test processes share: things that are built once, and ports that only one of them has."""

import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

PORTS = range(20_000, 30_000)
"""Below the ports that the kernel hands out itself, so nobody gets one of these by chance."""
_held: list[IO[str]] = []


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes that lock this path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder for this run of the tests, one for all of its processes."""
    base = factory.getbasetemp()
    return base.parent if base.name.startswith("popen-gw") else base


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], Any]) -> tuple[Path, Any]:
    """A folder that one of the test processes fills, and the JSON-like answer of `build(folder)`, for all of them."""
    shared = shared_folder(factory)
    folder, answer = shared / f"{name}-shared", shared / f"{name}-shared.json"
    with locked(shared / f"{name}.lock"):
        if not answer.exists():
            folder.mkdir()
            answer.write_text(json.dumps(build(folder)))
    return folder, json.loads(answer.read_text())


def linked(source: Path, target: Path) -> None:
    """Hard-link the files of `source` into `target`, which may have some of them. Copy before you damage one."""

    def link(file: str, link: str) -> None:
        if not os.path.lexists(link):
            os.link(file, link)

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no other test process gets as long as this one lives."""
    found: list[int] = []
    folder = Path(tempfile.gettempdir()) / "ratchet-test-ports"
    folder.mkdir(exist_ok=True)
    for port in PORTS:
        if len(found) == count:
            return found
        lock = (folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)  # released when the process ends
        found.append(port)
    raise RuntimeError(f"given {count} ports to find in {PORTS}; expected free ones; next: end other test runs")
