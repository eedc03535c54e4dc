"""What this process's environment becomes for its children and for libraries that read it themselves."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.settings.project import PROJECT


def environment(changes: dict[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, and this code first on the path: what a child process gets."""
    paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}


def thread_limit() -> int:
    """The threads that OMP_NUM_THREADS allows a process, which runtimes without OpenMP do not read; 0: no limit is set."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # one number for each nested level
    return int(given) if given.isdecimal() else 0


def bound_evidently() -> None:
    """Keep Evidently from reporting home. What is set already stays."""
    os.environ.setdefault("DO_NOT_TRACK", "1")


def bound_feast() -> None:
    """Keep Feast from reporting home and from drawing bars into logs. What is set already stays."""
    for name, value in {"FEAST_USAGE": "False", "TQDM_DISABLE": "1"}.items():
        os.environ.setdefault(name, value)


def bound_mlflow() -> None:
    """Keep MLflow's client from waiting for minutes, printing on stdout and reporting home. What is set already stays."""
    bounds = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    for name, value in bounds.items():
        os.environ.setdefault(name, value)


@contextmanager
def absent(package: str) -> Iterator[None]:
    """Let no import find a package in this block, for libraries that import what nobody here asks them for.

    What is imported already stays, and whoever imports it later gets it.

    >>> with absent("tabnanny"):
    ...     import tabnanny
    Traceback (most recent call last):
    ModuleNotFoundError: import of tabnanny halted; None in sys.modules
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
