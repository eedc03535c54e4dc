"""docs/add-a-step.md, as a reader would follow it, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.settings import environment
from tests.conftest import PROJECT

PAGE = PROJECT / "docs" / "add-a-step.md"
BLOCK = re.compile(r"^```(\w+)[ ]*(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_DAG = """
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("dags/count_words.py")
assert not bag.import_errors, bag.import_errors
run = bag.dags["count_words"].test(run_conf={"corpus": %r})
print("ended", str(run.state))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with the page's files in it."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("pipelines", "plugins", "dags", "tests"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for _, mark, body in BLOCK.findall(PAGE.read_text()):
        if mark.startswith("file="):
            path = folder / mark.removeprefix("file=")
            assert not path.exists()
            path.write_text(body)
    return folder


def run(command, copy: Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "PYTHONPATH": str(copy),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(copy / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(copy / "plugins"),
        **more,
    }
    return subprocess.run(command, cwd=copy, env=environment({}) | variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("mark", "body"), [(mark, body) for kind, mark, body in BLOCK.findall(PAGE.read_text()) if kind == "sh"]
)
def test_commands(copy, home, mark, body):
    done = run(["bash", "-ec", body], copy)
    assert done.returncode == int(mark.removeprefix("exit=") or 0), done.stderr
    assert "Traceback" not in done.stderr


def test_the_dag_runs(copy, home, airflow_database):
    corpus = run(["bash", "-c", "python -m pipelines ingest"], copy).stdout.split('"')[3]
    done = run([sys.executable, "-c", RUN_DAG % corpus], copy)
    assert "ended success" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_its_test_passes(copy):
    done = run([sys.executable, "-m", "pytest", "tests/pipelines/test_count_words.py"], copy)
    assert done.returncode == 0, done.stdout[-2000:]


def test_its_files_are_as_clean_as_the_project(copy):
    files = [mark.removeprefix("file=") for _, mark, _ in BLOCK.findall(PAGE.read_text()) if mark.startswith("file=")]
    assert len(files) == 3
    for command in (["ruff", "check", *files], ["ruff", "format", "--check", *files]):
        done = run([sys.executable, "-m", *command], copy)
        assert done.returncode == 0, done.stdout + done.stderr
