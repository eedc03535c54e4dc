"""A command as a child process: its own session, its lines as they come, and no orphan whatever becomes of its parent."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

# Waits for its input to end, which it does when the parent stops for any reason, SIGKILL included.
WATCH = 'read -r _; kill -s TERM -- "-$0"; sleep "$1"; kill -s KILL -- "-$0"'


class Child:
    """A running command whose standard output and error are read as one stream of lines."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], grace_s: float) -> None:
        self.grace_s = grace_s
        self._process = subprocess.Popen(
            command, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self._watch = subprocess.Popen(
            ["sh", "-c", WATCH, str(self._process.pid), str(grace_s)], start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # A thread of its own: the main thread may be inside `stop`, called by a signal, when the child ends.
        self._reaper = threading.Thread(target=self._reap, daemon=True)
        self._reaper.start()

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's and session's too."""
        return self._process.pid

    def run(self, tell: Callable[[str], None]) -> int:
        """Hand each line to `tell` as it comes; the exit code, or minus the signal that ended the child."""
        for line in self._process.stdout or ():
            if line.strip():
                tell(line.rstrip())
        self._reaper.join()
        return self._process.returncode

    def stop(self) -> None:
        """SIGTERM to the whole group, and SIGKILL to what is left of it after `grace_s`."""
        self._signal(signal.SIGTERM)
        self._reaper.join(self.grace_s)
        self._signal(signal.SIGKILL)

    def _reap(self) -> None:
        self._process.wait()
        self._signal(signal.SIGKILL)  # what the command left behind
        self._watch.kill()
        self._watch.communicate()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
