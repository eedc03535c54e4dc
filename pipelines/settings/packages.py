"""Which packages an extra of this project needs, and which of them are not installed."""

import importlib.metadata
import re

DEPENDENCY = re.compile(r"""(?P<package>[\w.-]+).*;.*\bextra == ['"](?P<extra>[\w-]+)['"]""")


def extra_packages() -> dict[str, list[str]]:
    """The packages of each extra, by the metadata of the installed project; empty where the project is not installed."""
    try:
        requirements = importlib.metadata.requires("ratchet") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    packages: dict[str, list[str]] = {}
    for requirement in filter(None, map(DEPENDENCY.match, requirements)):
        packages.setdefault(requirement["extra"], []).append(requirement["package"])
    return packages


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra that are not installed; empty, too, where the project's metadata does not tell."""
    return [package for package in extra_packages().get(extra, []) if not _installed(package)]


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False
