"""docs/add-a-feature.md, as a reader would follow it, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta

from pipelines.features.online import open_online, read_features
from pipelines.settings import environment
from tests.conftest import PROJECT
from tests.pipelines.features.conftest import DOCUMENTS, END, choices, corpus_of

PAGE = PROJECT / "docs" / "add-a-feature.md"
BLOCK = re.compile(r"^```(\w+)[ ]*(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page(home, tmp_path):
    copy = tmp_path / "project"
    for part in ("pipelines", "feature_repo"):
        shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", copy)
    blocks = BLOCK.findall(PAGE.read_text())
    ((name, body),) = [(mark.removeprefix("file="), body) for _, mark, body in blocks if mark.startswith("file=")]
    (copy / name).write_text(body)
    variables = {"PYTHONPATH": str(copy), "CORPUS": corpus_of(choices())}
    variables["PATH"] = os.pathsep.join([str(PROJECT / ".venv/bin"), os.environ["PATH"]])
    said = []
    for kind, mark, block in blocks:
        if kind == "sh":
            command = ["bash", "-ec", block]
            done = subprocess.run(
                command, cwd=copy, env=environment({}) | variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == int(mark.removeprefix("exit=") or 0), done.stderr
            assert "Traceback" not in done.stderr
            said.append(done.stdout + done.stderr)
    assert "PARITY: 12 values of 12 entities are online as offline (document_audience)" in said[0]
    assert "which is in the future" in said[1]
    at = datetime.fromisoformat(f"{END}T00:00:00+00:00")
    rows = read_features(open_online(), "document_audience", "document_id", ["users_7d"], DOCUMENTS, at, timedelta(days=3))
    week = [one for one in choices() if (at - timedelta(days=7)).timestamp() <= one.time < at.timestamp()]
    assert [row["users_7d"] for row in rows] == [len({one.user for one in week if one.document == name}) for name in DOCUMENTS]
    for command in (["check", name], ["format", "--check", name]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
