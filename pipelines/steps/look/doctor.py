"""doctor: what this machine lacks, and the exact fix."""

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, StepError
from pipelines.logs import log
from pipelines.settings import PROJECT, Settings, install_command, settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1
ROOM_GB = 5
PARTS = ("steps", "quality", "cpu", "demo", "airflow", "serve")
"""What `make install` installs."""
INSTEAD = {"cpu": "gpu", "gpu": "cpu"}
"""Extras that exclude each other: either will do."""
DEPENDENCY = re.compile(r"""(?P<package>[\w.-]+).*;.*\bextra == ['"](?P<extra>[\w-]+)['"]""")


class DoctorParams(Params):
    extras: list[str] = Field(list(PARTS), description="Which parts to look at")


class DoctorResult(Result):
    checked: int
    problems: list[str]


def doctor(params: DoctorParams) -> DoctorResult:
    """Look for what is missing on this machine and say the exact fix; exit 2 if anything is."""
    given = settings()
    checks = [*_machine(given), *_packages(params.extras), *_services(given)]
    for name, problem in checks:
        log().info("ok" if not problem else "missing", check=name, **({"fix": problem} if problem else {}))
    problems = [f"{name}: {problem}" for name, problem in checks if problem]
    if problems:
        raise InputError(f"{len(problems)} problems: {' · '.join(problems)}", "none", "apply the fixes, then run doctor again")
    return DoctorResult(checked=len(checks), problems=problems)


def _machine(given: Settings) -> Iterator[tuple[str, str]]:
    version = sys.version_info[:2]
    yield "python", "" if (3, 11) <= version <= (3, 13) else "install Python 3.11, 3.12 or 3.13, then `make clean demo`"
    folder = next(path for path in (given.home, *given.home.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free / 1e9
    yield "disk", "" if free_gb >= ROOM_GB else f"free {ROOM_GB - free_gb:.1f} GB under {folder} (there are {free_gb:.1f} GB)"
    yield "store", _store()


def _store() -> str:
    try:
        Journal(open_store())
    except StepError as error:
        return str(error)
    return ""


def _packages(extras: list[str]) -> Iterator[tuple[str, str]]:
    needed = _needed()
    if not needed:
        installed = not (PROJECT / "pyproject.toml").exists()  # an image has the packages, by its build, without the project
        yield "packages", "" if installed else "`make install` (the project itself is not installed)"
        return
    unknown = sorted(set(extras) - set(needed))
    if unknown:
        raise InputError(f"--extras {', '.join(unknown)}", f"some of {', '.join(sorted(needed))}", "leave --extras out")
    for extra in extras:
        missing = [name for name in needed[extra] if not _installed(name)]
        instead = needed.get(INSTEAD.get(extra, ""))
        fine = not missing or (instead and all(map(_installed, instead)))
        yield extra, "" if fine else f"`{install_command(extra)}` (no {', '.join(missing)})"


def _needed() -> dict[str, list[str]]:
    """The packages of each extra, as this project's own metadata names them; empty where it is not installed."""
    try:
        declared = importlib.metadata.requires("ratchet") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    needed: dict[str, list[str]] = {}
    for found in filter(None, map(DEPENDENCY.match, declared)):
        needed.setdefault(found["extra"], []).append(found["package"])
    return needed


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _services(given: Settings) -> Iterator[tuple[str, str]]:
    if given.runtime == "kubernetes":
        config = Path.home() / ".kube" / "config"
        there = config.exists() or Path("/var/run/secrets/kubernetes.io").exists()
        yield "kubernetes", "" if there else f"put a kubeconfig at {config}, or set RATCHET_RUNTIME=process"
    if given.server_url:
        yield "server", _answers(f"{given.server_url}/healthz")
    if given.mlflow_uri.startswith("http"):
        yield "mlflow", _answers(f"{given.mlflow_uri}/health")


def _answers(url: str) -> str:
    import httpx

    try:
        httpx.get(url, timeout=5).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"start it with `make up` ({url}: {error})"
    return ""
