"""`ingest` as a user runs it, with what it took, for `proofs/data.py`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from tests.conftest import PROJECT


@dataclass(frozen=True)
class Answer:
    """How the command line ended."""

    code: int
    result: dict[str, Any]
    said: str
    peak_mb: float
    seconds: float


def ingest(*options: str) -> Answer:
    """`python -m pipelines ingest` as a user runs it, with its peak memory, or this process's own where that is larger.

    The system counts a process's memory from its fork on. A shell in between starts small, so what the step itself
    measures and keeps in its manifest is its own.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "pipelines", "ingest", *options]
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=PROJECT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        answer, said = out.read().decode(), err.read().decode(errors="replace")
    result = json.loads(answer) if child.returncode == 0 else {}
    return Answer(child.returncode, result, said, used.ru_maxrss / 1024, time.monotonic() - started)
