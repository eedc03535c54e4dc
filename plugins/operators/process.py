"""A command as a child process: in its own session, read line by line, and killed if its parent is killed."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

# The watchdog's stdin closes when the parent ends for any reason, SIGKILL included; then it ends the child's process group.
WATCHDOG = 'read -r _; kill -s TERM -- "-$0"; sleep "$1"; kill -s KILL -- "-$0"'


class ChildProcess:
    """A running command whose standard output and error are read as one stream of lines."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], grace_s: float) -> None:
        self.grace_s = grace_s
        self._process = subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._watchdog = subprocess.Popen(
            ["sh", "-c", WATCHDOG, str(self._process.pid), str(grace_s)],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # A thread of its own: the main thread may be inside `stop`, called by a signal handler, when the child ends.
        self._reaper = threading.Thread(target=self._reap, daemon=True)
        self._reaper.start()

    @property
    def pid(self) -> int:
        """The child's process id, which is also the id of its process group and session."""
        return self._process.pid

    def run(self, on_line: Callable[[str], None]) -> int:
        """Pass each line to `on_line` as it comes; the exit code, or minus the signal that ended the child."""
        for line in self._process.stdout or ():
            if line.strip():
                on_line(line.rstrip())
        self._reaper.join()
        return self._process.returncode

    def stop(self) -> None:
        """SIGTERM to the whole process group, and SIGKILL to what is left of it after `grace_s` seconds."""
        self._signal(signal.SIGTERM)
        self._reaper.join(self.grace_s)
        self._signal(signal.SIGKILL)

    def _reap(self) -> None:
        self._process.wait()
        self._signal(signal.SIGKILL)  # processes that the command left behind
        self._watchdog.kill()
        self._watchdog.communicate()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
