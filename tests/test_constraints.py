"""What pyproject.toml asks for is what constraints.txt pins, and what it pins is what is installed."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT

ASKED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
PINS = (PROJECT / "constraints.txt").read_text()
UNRESOLVED = {"gpu"}
"""Exclusive of `cpu`, so in no resolution with it: its requirements carry their pins themselves."""
SYSTEMS = {"linux": ("Linux", "posix", "x86_64"), "darwin": ("Darwin", "posix", "arm64"), "win32": ("Windows", "nt", "AMD64")}
PYTHONS = ("3.11.2", "3.11.9", "3.12.4", "3.13.1")
UV = Path(sys.prefix) / "bin" / "uv"


def environment(python, system):
    platform_system, os_name, machine = SYSTEMS[system]
    return {
        **default_environment(),
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": system,
        "platform_system": platform_system,
        "platform_machine": machine,
        "os_name": os_name,
    }


ENVIRONMENTS = [environment(python, system) for python in PYTHONS for system in SYSTEMS]
HERE = default_environment()


def requirements(lines) -> list[Requirement]:
    return [Requirement(line) for line in lines]


def asked(project=ASKED) -> list[Requirement]:
    """All that the project and its extras ask for, but for what is in no resolution."""
    extras = project["optional-dependencies"]
    return requirements([*project["dependencies"], *(one for name in extras if name not in UNRESOLVED for one in extras[name])])


def applicable(lines: list[Requirement], where) -> dict[str, list[Requirement]]:
    """The lines that hold in an environment, by the package's name."""
    found: dict[str, list[Requirement]] = {}
    for line in lines:
        if line.marker is None or line.marker.evaluate(where):
            found.setdefault(canonicalize_name(line.name), []).append(line)
    return found


def pinned_version(pin: Requirement) -> str:
    (exactly,) = pin.specifier
    assert exactly.operator == "=="
    return exactly.version


def unmet(wanted: list[Requirement], pins: list[Requirement], where) -> Iterator[str]:
    """What is asked for in an environment and has not one pin there, or one of another version."""
    held = applicable(pins, where)
    yield from (f"{name} has {len(lines)} pins" for name, lines in held.items() if len(lines) > 1)
    for name, lines in applicable(wanted, where).items():
        if name not in held:
            yield f"{name} has no pin"
            continue
        version = pinned_version(held[name][0])
        yield from (f"{line} has {version}" for line in lines if not line.specifier.contains(version, prereleases=True))


def installed() -> dict[str, str]:
    """The versions of all distributions here; the first on the path is the one that is imported."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        found.setdefault(canonicalize_name(one.name), one.version)
    return found


def drifted(pins: list[Requirement], versions: dict[str, str]) -> list[str]:
    """The distributions that are installed in another version than the pinned; a local build (2.13.0+cpu) is its version."""
    return [
        f"{name} {versions[name]}, pinned {pinned_version(pin)}"
        for name, (pin, *_) in applicable(pins, HERE).items()
        if name in versions and not pin.specifier.contains(versions[name], prereleases=True)
    ]


def check(python) -> subprocess.CompletedProcess[str]:
    if not UV.exists():
        pytest.skip(f"no {UV.name} beside this Python")
    command = [UV, "pip", "check", "--python", python]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("where", ENVIRONMENTS, ids=lambda where: f"{where['python_full_version']}-{where['sys_platform']}")
def test_all_that_is_asked_for_has_one_pin(where):
    assert list(unmet(asked(), requirements(PINS.splitlines()), where)) == []


def test_what_is_in_no_resolution_carries_its_pin():
    lines = requirements(one for extra in UNRESOLVED for one in ASKED["optional-dependencies"][extra])
    assert [pinned_version(line) for line in lines]


def test_what_silently_goes_back_is_asked_for_by_its_version():
    """Unpinned, these can resolve without an error to a version of years ago."""
    exact = {line.name for line in asked() if str(line.specifier).startswith("==")}
    assert {"evidently", "feast", "mlflow"} <= exact


def test_installed_is_what_is_pinned():
    pins = requirements(PINS.splitlines())
    assert drifted(pins, installed()) == []
    assert len({canonicalize_name(pin.name) for pin in pins} & installed().keys()) > 100


def test_installed_fits_together():
    answer = check(sys.executable)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("pattern", "instead", "said"),
    [
        (r"^feast==.*\n", "", "feast has no pin"),
        (r"^mlflow==.*", "mlflow==1.27.0", "has 1.27.0"),
        (r"^pydantic==.*", "pydantic==2.0", "has 2.0"),
        (r"^onnx==[^ \n]*", r"\g<0> ; python_full_version >= '3.12'", "onnx has no pin"),
        (r"^onnx==[^ \n]*", r"\g<0>\nonnx==1.0 ; python_full_version < '3.12'", "onnx has 2 pins"),
    ],
)
def test_a_wrong_line_of_constraints_is_seen(pattern, instead, said):
    planted, changes = re.subn(pattern, instead, PINS, flags=re.MULTILINE)
    assert changes == 1
    assert said in ", ".join(unmet(asked(), requirements(planted.splitlines()), environment("3.11.9", "linux")))


def test_another_version_than_the_pinned_is_seen():
    pins = requirements(["torch==2.13.0", "click==8.5.1", "pywin32==312 ; sys_platform == 'nowhere'", "feast==0.67.0"])
    assert drifted(pins, {"torch": "2.13.0+cpu", "click": "8.5.1", "pywin32": "311"}) == []
    assert drifted(pins, {"torch": "2.12.0", "feast": "0.1.2"}) == ["torch 2.12.0, pinned 2.13.0", "feast 0.1.2, pinned 0.67.0"]


def test_what_does_not_fit_together_is_seen(tmp_path):
    venv.create(tmp_path, with_pip=False, symlinks=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    for name, needs in (("tenacity", ""), ("feast", "Requires-Dist: tenacity<9\n")):
        (packages / f"{name}-9.2.1.dist-info").mkdir()
        (packages / f"{name}-9.2.1.dist-info/METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.2.1\n{needs}"
        )
    answer = check(tmp_path / "bin/python")
    assert answer.returncode == 1
    assert "tenacity" in answer.stderr
