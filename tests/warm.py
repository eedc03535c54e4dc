"""Programs whose imports are done when they start. A step works for tenths of a second and imports for seconds.

`command("-m", "pipelines", …)` starts what `[sys.executable, "-m", "pipelines", …]` starts: a process with its own environment,
signals and exit code, but forked from one that has imported everything. Tests of imports, of memory, of what Python reads when
it starts and of code in another folder start `sys.executable`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sharing import locked

PROJECT = Path(__file__).resolve().parents[1]
CLIENT = PROJECT / "tests/warm_client.py"
_folder: Path | None = None


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Programs may be warm until the block ends; processes that name one folder share one server."""
    global _folder  # noqa: PLW0603
    _folder = folder
    try:
        yield
    finally:
        _folder = None


def command(*arguments: str) -> list[str]:
    """The command line that runs Python with these arguments, warm where tests run."""
    if _folder is None:
        return [sys.executable, *arguments]
    return [sys.executable, "-I", "-S", str(CLIENT), str(_door(_folder)), *arguments]


def _door(folder: Path) -> Path:
    """The socket of the server, which the first who needs it starts. It ends with the process that leads the tests."""
    door, log = folder / "warm", folder / "warm.log"
    with locked(folder / "warm.lock"):
        if not door.exists():
            leader = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
            variables = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET_", "AWS_"))}
            variables |= {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}", "OMP_NUM_THREADS": "1"}
            with log.open("wb") as told:
                child = subprocess.Popen(
                    [sys.executable, "-m", "tests.warm_server", str(door), str(leader)],
                    cwd=PROJECT, env=variables, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True,
                )  # fmt: skip
            while not door.exists():
                assert child.poll() is None, log.read_text()[-3000:]
                time.sleep(0.05)
    return door
