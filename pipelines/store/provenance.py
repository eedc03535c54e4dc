"""Provenance and cost of an artifact, which its manifest records beside the recipe and which never enter its id."""

import platform
import resource
import socket
import subprocess
import time
from typing import Any

from pipelines import tracing
from pipelines.contract import step_started
from pipelines.settings import PROJECT, settings

UTC = "%Y-%m-%dT%H:%M:%SZ"


class Meter:
    """Wall, CPU and GPU seconds since it was made, and the process's peak memory; a GPU counts while it is reserved."""

    def __init__(self) -> None:
        self.began = time.time()
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall = time.monotonic() - self.wall
        return {
            "wall_s": round(wall, 3),
            "cpu_s": round(time.process_time() - self.cpu, 3),
            "gpu_s": round(wall * settings().gpus, 3),
            "peak_memory_mb": round(peak_kib / 1024, 1),
        }


def provenance(began: float) -> dict[str, Any]:
    """The provenance of an artifact that is committed now.

    Args:
        began: when the work on it began, in seconds since 1970; where a step does it, the step's own start is recorded.
    """
    current = settings()
    return {
        "at": time.strftime(UTC, time.gmtime()),
        "who": current.who,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "git_sha": current.git_sha or _git_sha(),
        "image": current.image_digest,
        "pod": current.pod,
        "node": current.node,
        "queued_at": current.queued_at,
        "started_at": time.strftime(UTC, time.gmtime(step_started() or began)),
        "traceparent": tracing.traceparent() or current.traceparent,
        "dag_run": "/".join(part for part in (current.dag, current.dag_run, current.task) if part),
    }


def _git_sha() -> str:
    command = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
