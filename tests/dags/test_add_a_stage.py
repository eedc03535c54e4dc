"""docs/add-a-stage.md, as a reader would follow it, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.retrieval.release import load_release
from pipelines.settings import environment
from pipelines.store.artifacts import committed, load
from pipelines.store.objects import open_store
from tests.conftest import PROJECT

PAGE = PROJECT / "docs" / "add-a-stage.md"
BLOCK = re.compile(r"^```(\w+)[ ]*(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOP = """
import sys
from pipelines.corpus.documents import Query
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
asked = Query(id="q", text="House", split="test")
print(list(load_release(open_store(), sys.argv[1]).rank_stages([asked], 5, {})[0].stages))
"""


def test_the_page(trained, tmp_path):
    """Its files and lines make a stage that ranks; what it says is refused is refused; its files are clean."""
    for part in ("pipelines", "plugins", "dags"):
        shutil.copytree(PROJECT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    blocks = BLOCK.findall(PAGE.read_text())
    files = {mark.removeprefix("file="): body for _, mark, body in blocks if mark.startswith("file=")}
    assert len(files) == 2
    for name, body in files.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(body)
    for kind, mark, body in blocks:
        if kind == "sh":
            done = run(["bash", "-ec", body], tmp_path, INDEX=trained.index)
            assert done.returncode == int(mark.removeprefix("exit=") or 0), done.stderr
            assert "Traceback" not in done.stderr
    (release,) = [one for one in committed(open_store(), "release") if one != trained.release]
    assert load(open_store(), "release", release).inputs["exact_title"]
    shown = run([sys.executable, "-c", TOP, release], tmp_path)
    assert "exact_title" in shown.stdout, shown.stderr
    for command in (["ruff", "check", *files], ["ruff", "format", "--check", *files]):
        done = run([sys.executable, "-m", *command], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(Exception, match="exact_title"):
        load_release(open_store(), release)  # this version does not know the stage


def run(command, copy: Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": str(copy), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return subprocess.run(
        command, cwd=copy, env=environment({}) | variables | more, capture_output=True, text=True, check=False
    )
