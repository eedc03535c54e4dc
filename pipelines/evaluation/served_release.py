"""A release on a search server of its own, as a process of this machine, so that it can be measured without being routed."""

import http.client
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.errors import InputError, TryAgain
from pipelines.settings import PROJECT, environment, install_command, missing_packages

POLL_S = 0.02
REQUEST_TIMEOUT_S = 30.0
STOP_S = 10.0
NO_LIMIT = "1000000/second"


class ServedRelease:
    """`python -m images.serve` on a free port of 127.0.0.1, serving one release whatever the journal routes to.

    It reads the store of this process's settings; its key is drawn, and its logs go into `scratch`. Call `stop` in the end.
    """

    program: tuple[str, ...] = ("-m", "images.serve")
    """What Python runs."""
    startup_s = 0.0
    """Seconds from its start until it was ready; 0 before."""

    def __init__(self, release: str, scratch: Path) -> None:
        self.release = release
        self._key = secrets.token_hex(16)
        scratch.mkdir(parents=True)
        self._stdout, self._stderr = scratch / "stdout", scratch / "stderr"
        variables = {
            "RATCHET_SERVED_RELEASE": release,
            "RATCHET_SERVER_KEY": self._key,
            "RATCHET_SERVER_KEY_FILE": "",
            "RATCHET_SERVER_HOST": "127.0.0.1",
            "RATCHET_SERVER_PORT": "0",
            "RATCHET_EVENTS": str(scratch / "events"),
            "RATCHET_LOG_FORMAT": "json",
            "RATCHET_LIMIT_KEY": NO_LIMIT,
            "RATCHET_LIMIT_ADDRESS": NO_LIMIT,
            "RATCHET_VALKEY_URL": "",
        }
        self._connection: http.client.HTTPConnection | None = None
        self._began = time.monotonic()
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            command = [sys.executable, *self.program]
            self._process = subprocess.Popen(
                command, cwd=PROJECT, env=environment(variables), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )

    def look(self) -> bool:
        """Whether it is ready now; the first time that it is, `startup_s` is set.

        Raises:
            InputError: it has ended, or it can't load the release.
        """
        if self.startup_s:
            return True
        if self._process.poll() is not None:
            raise self._failure(f"which ended with exit code {self._process.returncode}: {self._last_line()}")
        if self._connection is None and not self._connect():
            return False
        status, body = self._get("/readyz")
        if status == 200:
            self.startup_s = time.monotonic() - self._began
            return True
        problem = str(json.loads(body).get("problem") or "")
        if problem and not problem.startswith("loading"):
            raise self._failure(problem)
        return False

    def search(self, target: str) -> float:
        """Ask for `target`, a path with its query; the milliseconds until the whole answer was there.

        Raises:
            InputError: the answer is not a result.
        """
        began = time.perf_counter_ns()
        status, body = self._get(target)
        took = (time.perf_counter_ns() - began) / 1e6
        if status != 200:
            raise self._failure(f"which answered {status} to {target[:120]}: {body[:200].decode(errors='replace')}")
        return took

    def memory_mb(self) -> float | None:
        """The resident memory of its process now; None on a system that has no /proc."""
        path = Path(f"/proc/{self._process.pid}/status")
        if not path.is_file():
            return None
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024

    def stop(self) -> None:
        """End the process, and wait until it has ended."""
        if self._connection is not None:
            self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _connect(self) -> bool:
        """Open the connection once the server has said where it listens."""
        line = self._stdout.read_text()
        if not line.endswith("\n"):
            return False
        address = urlsplit(json.loads(line)["url"])
        self._connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 0), timeout=REQUEST_TIMEOUT_S)
        return True

    def _get(self, target: str) -> tuple[int, bytes]:
        assert self._connection is not None
        try:
            self._connection.request("GET", target, headers={"Authorization": f"Bearer {self._key}"})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(f"which did not answer ({error or type(error).__name__}): {self._last_line()}") from None

    def _last_line(self) -> str:
        lines = self._stderr.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"

    def _failure(self, reason: str) -> InputError:
        next_action = "load it alone: RATCHET_SERVED_RELEASE=ID python -m images.serve"
        return InputError(f"a server of release {self.release}, {reason}", "one that serves it", next_action)


def check_server_is_installed() -> None:
    """Refuse to measure where the search server can't be started.

    Raises:
        InputError: a package of the extra serve is missing, or this installation lacks the server's code.
    """
    if missing := missing_packages("serve"):
        given = f"a machine without {' and '.join(missing)}"
        raise InputError(given, "the packages of the search server", f"run `{install_command('serve')}`")
    if not (PROJECT / "images/serve").is_dir():
        raise InputError(f"{PROJECT} without images/serve", "the search server's code", "measure where it is, or in its image")


def wait_until_ready(servers: Sequence[ServedRelease], wait_s: float) -> None:
    """Wait until all servers serve.

    Raises:
        TryAgain: one of them still loads after `wait_s` seconds.
        InputError: see `ServedRelease.look`.
    """
    until = time.monotonic() + wait_s
    while [server for server in servers if not server.look()]:
        if time.monotonic() > until:
            late = next(server.release for server in servers if not server.startup_s)
            raise TryAgain(
                f"a server of release {late} that still loads after {wait_s:g} s", "one that is ready", "raise --wait-s"
            )
        time.sleep(POLL_S)
