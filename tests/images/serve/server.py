"""Start the real server as a process of its own, for tests, benchmarks and browsers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import warm

PROJECT = Path(__file__).resolve().parents[3]
KEY = "a-key-of-the-tests"


@dataclass(frozen=True)
class RunningServer:
    """A server that listens, and a client that holds its key."""

    url: str
    key: str
    process: subprocess.Popen[str]
    client: httpx.Client
    stderr: Path

    def search(self, q: str, **params: Any) -> httpx.Response:
        return self.client.get("/v1/search", params={"q": q, **params})

    def ready(self) -> dict[str, Any]:
        """What /readyz says to a holder of the key, whether ready or not."""
        status: dict[str, Any] = self.client.get("/readyz").json()
        return status

    def ready_to_anybody(self) -> dict[str, Any]:
        """What /readyz says without the key."""
        status: dict[str, Any] = httpx.get(f"{self.url}/readyz", timeout=30).json()
        return status

    def wait(self, holds: Callable[[dict[str, Any]], Any], within_s: float = 60) -> dict[str, Any]:
        """Look at /readyz until `holds`; fails with the last status."""
        until = time.monotonic() + within_s
        while not holds(status := self.ready()):
            assert time.monotonic() < until, f"after {within_s} s /readyz still says {status}"
            time.sleep(0.05)
        return status

    def link(self) -> str:
        """A one-time sign-in link."""
        return str(self.client.post("/v1/signin-links").json()["url"])


def for_anybody(status: dict[str, Any]) -> dict[str, Any]:
    """What /readyz says to everybody of what it says to an admin; problems apart, which are short then."""
    return {
        name: value
        for name, value in status.items()
        if name not in ("split", "shadow", "limits", "credentials", "threads", "log")
    }


def server_environment(home: Path, **env: str) -> dict[str, str]:
    """The environment of a server on a free port, serving from `home`."""
    defaults = {"RATCHET_HOME": str(home), "RATCHET_SERVER_KEY": KEY, "RATCHET_SERVER_PORT": "0", "RATCHET_POLL_S": "0.1"}
    unlimited = {f"RATCHET_LIMIT_{kind}": "1000000/second" for kind in ("KEY", "ADDRESS", "FAILURES")}
    return {**os.environ, "PYTHONPATH": str(PROJECT), "RATCHET_LOG_FORMAT": "json", **unlimited, **defaults, **env}


@contextmanager
def running_server(home: Path, module: str = "images.serve", **env: str) -> Iterator[RunningServer]:
    """`python -m images.serve` on a free port until the block ends. `env` adds to or overrides its environment."""
    environment = server_environment(home, **env)
    asked = "-m", module
    program = [sys.executable, *asked] if "PYTHONPATH" in env else warm.command(*asked)  # Python reads it when it starts
    with tempfile.NamedTemporaryFile("w", suffix=".log") as stderr:
        process = subprocess.Popen(
            program,
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the server ended: {Path(stderr.name).read_text()}"
            url, key = json.loads(line)["url"], environment["RATCHET_SERVER_KEY"]
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
                yield RunningServer(url, key, process, client, Path(stderr.name))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
