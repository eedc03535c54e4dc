"""doctor: what is missing on this machine, and the command that installs or starts it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, StepError
from pipelines.logs import log
from pipelines.settings import PROJECT, Settings, extra_packages, install_command, missing_packages, settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1
LEAST_DISK_GB = 5
DEFAULT_EXTRAS = ("steps", "quality", "cpu", "demo", "airflow", "serve")
"""What `make install` installs."""
ALTERNATIVES = {"cpu": "gpu", "gpu": "cpu"}
"""Extras that exclude each other: one of the two is enough."""


class DoctorParams(Params):
    extras: list[str] = Field(list(DEFAULT_EXTRAS), description="Which parts to look at")


class DoctorResult(Result):
    checked: int
    problems: list[str]


def doctor(params: DoctorParams) -> DoctorResult:
    """Check this machine and print the fix of each problem; exit 2 if there are any."""
    current = settings()
    checks = [*_machine(current), *_packages(params.extras), *_services(current)]
    for name, problem in checks:
        log().info("ok" if not problem else "missing", check=name, **({"fix": problem} if problem else {}))
    problems = [f"{name}: {problem}" for name, problem in checks if problem]
    if problems:
        raise InputError(f"{len(problems)} problems: {' · '.join(problems)}", "none", "apply the fixes, then run doctor again")
    return DoctorResult(checked=len(checks), problems=problems)


def _machine(current: Settings) -> Iterator[tuple[str, str]]:
    version = sys.version_info[:2]
    yield "python", "" if (3, 11) <= version <= (3, 13) else "install Python 3.11, 3.12 or 3.13, then `make clean demo`"
    folder = next(path for path in (current.home, *current.home.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free / 1e9
    fix = f"free {LEAST_DISK_GB - free_gb:.1f} GB under {folder} (there are {free_gb:.1f} GB)"
    yield "disk", "" if free_gb >= LEAST_DISK_GB else fix
    yield "store", _store_problem()


def _store_problem() -> str:
    try:
        Journal(open_store())
    except StepError as error:
        return str(error)
    return ""


def _packages(extras: list[str]) -> Iterator[tuple[str, str]]:
    packages = extra_packages()
    if not packages:
        in_image = not (PROJECT / "pyproject.toml").exists()  # an image is built with its packages and without the project
        yield "packages", "" if in_image else "`make install` (the project itself is not installed)"
        return
    unknown = sorted(set(extras) - set(packages))
    if unknown:
        raise InputError(f"--extras {', '.join(unknown)}", f"some of {', '.join(sorted(packages))}", "leave --extras out")
    for extra in extras:
        missing = missing_packages(extra)
        alternative = ALTERNATIVES.get(extra, "")
        complete = not missing or (alternative in packages and not missing_packages(alternative))
        yield extra, "" if complete else f"`{install_command(extra)}` (no {', '.join(missing)})"


def _services(current: Settings) -> Iterator[tuple[str, str]]:
    if current.runtime == "kubernetes":
        config = Path.home() / ".kube" / "config"
        there = config.exists() or Path("/var/run/secrets/kubernetes.io").exists()
        yield "kubernetes", "" if there else f"put a kubeconfig at {config}, or set RATCHET_RUNTIME=process"
    if current.server_url:
        yield "server", _service_problem(f"{current.server_url}/healthz")
    if current.mlflow_uri.startswith("http"):
        yield "mlflow", _service_problem(f"{current.mlflow_uri}/health")


def _service_problem(url: str) -> str:
    import httpx

    try:
        httpx.get(url, timeout=5).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"start it with `make up` ({url}: {error})"
    return ""
