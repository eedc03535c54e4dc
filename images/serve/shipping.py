"""Ships the logs to the store now and then, by a process of its own: `python -m images.serve.shipping` is one round of it.

A process of its own keeps DuckDB's memory and work out of the server, and may be killed or fail without harm: the files stay,
and the next round goes on. It may also be run by hand, beside a server or after one has gone.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from images.serve.exposure_log import ExposureLog
from pipelines import logs
from pipelines.corpus.event_log import ship
from pipelines.errors import StepError
from pipelines.settings import settings
from pipelines.store.objects import open_store

LOOK_S = 5.0
"""Seconds between two looks at the room for logs."""
RETRY_S = 60.0
"""Seconds at most until a round that failed is tried again."""
ROUND_S = 600.0
"""Seconds that a round may take; what it has put by then is put."""
LAST_ROUND_S = 15.0
"""Seconds for the last one, before the server ends."""
NICE = 10


class Shipper(Collector):
    """Runs a round every so many seconds until `stop`, or earlier where room is short, and tells of it.

    Args:
        log: whose files are shipped.
        every_s: seconds between two rounds; 0: there is none.
    """

    def __init__(self, log: ExposureLog, every_s: float) -> None:
        self._log, self._every_s = log, every_s
        self._problem = ""
        self._shipped = self._failures = 0
        self._stop = threading.Event()

    def run(self) -> None:
        """Ship until `stop`; before it is time where half of the room for logs is taken, since searches fail without room.

        What an earlier process has left is shipped at once: one that is ended again and again would never come to it.
        """
        due = time.monotonic() + (0 if self._log.measure().bytes else self._every_s)
        while self._every_s and not self._stop.wait(min(LOOK_S, max(0.0, due - time.monotonic()))):
            if time.monotonic() >= due or (not self._problem and self._log.is_half_full):
                self.round(ROUND_S)
                due = time.monotonic() + (min(self._every_s, RETRY_S) if self._problem else self._every_s)

    def stop(self) -> None:
        """End `run` after the current round."""
        self._stop.set()

    def last_round(self) -> None:
        """Ship what is left before the server ends."""
        if self._every_s:
            self.round(LAST_ROUND_S)

    def round(self, within_s: float) -> None:
        """Run one round. What goes wrong is told, and stops nothing."""
        command = [sys.executable, "-m", "images.serve.shipping"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within_s, check=False
            )
            problem = _last_line(done.stderr) or f"exit code {done.returncode}" if done.returncode else ""
            self._shipped += 0 if problem else int(json.loads(done.stdout)["shipped"])
        except subprocess.TimeoutExpired:
            problem = f"not done within {within_s:g} s"
        except (OSError, ValueError, KeyError) as error:
            problem = str(error) or type(error).__name__
        here = self._log.measure()
        if problem:
            self._failures += 1
        if problem != self._problem:
            (logs.log().warning if problem else logs.log().info)("shipping", problem=problem, **asdict(here))
        self._problem = problem

    def told(self) -> dict[str, Any]:
        """For /readyz, which is ready all the same."""
        return {**asdict(self._log.measure()), "shipped": self._shipped, "problem": self._problem}

    def collect(self) -> Iterator[Metric]:
        """For /metrics."""
        here = self._log.measure()
        yield GaugeMetricFamily(
            "ratchet_log_closed_files", "Files of logs that wait to be shipped or deleted", value=here.closed
        )
        yield GaugeMetricFamily("ratchet_log_bytes", "Bytes of logs on this machine", value=here.bytes)
        yield GaugeMetricFamily("ratchet_log_oldest_seconds", "Age of the closed file that waits longest", value=here.oldest_s)
        yield CounterMetricFamily("ratchet_log_shipped_files", "Files of logs that were shipped", value=self._shipped)
        yield CounterMetricFamily("ratchet_log_failed_rounds", "Rounds of shipping that failed", value=self._failures)


def _last_line(text: str) -> str:
    """The last line with text: its end says what to do next, so only what is longer than any message is cut."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:2000]


def main() -> int:
    """Run one round; print what it did, or say what is wrong and return the exit code."""
    try:
        os.nice(NICE)
        config = settings()
        logs.configure(config, "ship")
        done = ship(open_store(config), config.events_folder)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    print(json.dumps(asdict(done)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
