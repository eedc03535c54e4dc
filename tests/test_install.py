"""What a machine lacks is said in one sentence, before anything is installed."""

import os
import shutil
import stat
import subprocess

import pytest

from tests.conftest import PROJECT


@pytest.fixture
def clone(tmp_path):
    """A folder with only what the installer needs."""
    (tmp_path / "demo").mkdir()
    shutil.copy(PROJECT / "demo/install.sh", tmp_path / "demo")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


def install(clone, **environment):
    given = {**os.environ, **environment}
    return subprocess.run(
        ["sh", "demo/install.sh", "steps"], cwd=clone, env=given, capture_output=True, text=True, timeout=60, check=False
    )


def python(folder, body):
    """A stand-in for a Python that this machine does not have."""
    path = folder / "python-stand-in"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def refused(answer, *words):
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert all(word in answer.stderr for word in ("given", "expected", "next", *words)), answer.stderr


def test_wrong_python_that_was_asked_for(clone):
    old = python(clone, 'case "$1" in --version) echo Python 3.9.1;; *) exit 1;; esac')
    refused(install(clone, PYTHON=old), "Python 3.9.1", "3.11, 3.12 or 3.13")
    assert not (clone / ".venv").exists()


def test_no_supported_python_on_the_path(clone):
    for tool in ("dirname", "sh", "tr", "head", "df", "awk"):
        (clone / "bin").mkdir(exist_ok=True)
        (clone / "bin" / tool).symlink_to(shutil.which(tool))
    refused(install(clone, PATH=str(clone / "bin"), PYTHON=""), "no supported Python")


def test_python_without_ensurepip(clone):
    bare = python(clone, 'case "$*" in *ensurepip*) exit 1;; --version) echo Python 3.12.3;; *) exit 0;; esac')
    refused(install(clone, PYTHON=bare), "Python 3.12.3 without ensurepip", "python3-venv")
    assert not (clone / ".venv").exists()


def test_no_room_on_the_disk(clone):
    refused(install(clone, ROOM_MB="999999999"), "MB free", "999999999 MB")
    assert not (clone / ".venv").exists()


def test_says_what_it_is_about_to_download_without_a_cpu_torch(clone):
    """With a stand-in for pip that installs nothing, so that only the note is seen."""
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("python", "uv"):
        (clone / ".venv/bin" / name).write_text("#!/bin/sh\nexit 0\n")
        (clone / ".venv/bin" / name).chmod(0o755)
    answer = install(clone, PIP_FIND_LINKS="", TORCH_WHEELS="")
    assert answer.returncode == 0
    assert "about 3 GB" in answer.stderr
    assert "TORCH_WHEELS=" in answer.stderr
    (clone / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    (clone / ".venv/.installed-steps").unlink()
    assert "3 GB" not in install(clone, TORCH_WHEELS=str(clone)).stderr


def test_installed_already_is_quick_and_silent(clone):
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").symlink_to("/bin/false")
    (clone / ".venv/.installed-steps").touch()
    answer = install(clone)
    assert (answer.returncode, answer.stderr) == (0, "")


def standing(clone, version):
    """A finished `.venv` whose Python says this version."""
    (clone / ".venv/bin").mkdir(parents=True)
    shutil.move(python(clone, f"echo Python {version}"), clone / ".venv/bin/python")
    (clone / ".venv/.installed-steps").touch()


def test_another_python_than_the_one_that_the_environment_has(clone):
    standing(clone, "3.12")
    asked = python(clone, 'case "$2" in *print*) echo Python 3.13;; esac')
    refused(install(clone, PYTHON=asked), f"PYTHON={asked} (Python 3.13)", "made with Python 3.12", "make clean")
    (clone / ".venv/.installed-steps").unlink()
    refused(install(clone, PYTHON=asked), "made with Python 3.12")


def test_the_same_python_as_the_one_that_the_environment_has(clone):
    standing(clone, "3.13")
    answer = install(clone, PYTHON=python(clone, "echo Python 3.13"))
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_python_that_does_not_exist_is_said_though_the_environment_is_there(clone):
    standing(clone, "3.13")
    refused(install(clone, PYTHON="/nonexistent/python"), "/nonexistent/python", "3.11, 3.12 or 3.13")
