"""docs/add-a-feature.md, as a reader would follow it, in a copy of the project."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet
import pytest

from pipelines.features.online import open_online, read_features
from pipelines.settings import environment
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.pipelines.features.conftest import DOCUMENTS, END, choices, corpus_of, materialized

PAGE = PROJECT / "docs" / "add-a-feature.md"
BLOCK = re.compile(r"^```(\w+)[ ]*(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DBT = PROJECT / "build/dbt/bin"


def blocks_of(section: str) -> list[tuple[str, str, str]]:
    """Language, mark and body of each block up to the section of dbt, or from it on."""
    parts = dict(zip(("before", "dbt"), PAGE.read_text().split("## 4. A dbt model"), strict=True))
    return BLOCK.findall(parts[section])


def files_of(blocks: list[tuple[str, str, str]]) -> dict[str, str]:
    return {mark.removeprefix("file="): body for _, mark, body in blocks if mark.startswith("file=")}


def test_the_page(home, tmp_path):
    copy = tmp_path / "project"
    for part in ("pipelines", "feature_repo"):
        shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", copy)
    blocks = blocks_of("before")
    ((name, body),) = files_of(blocks).items()
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


@pytest.mark.skipif(not (DBT / "dbt").exists(), reason="no dbt in build/dbt: run `make build/dbt/bin/dbt`")
def test_a_dbt_model_is_a_source(home, tmp_path, monkeypatch):
    blocks = blocks_of("dbt")
    for name, body in files_of(blocks).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body)
    monkeypatch.setenv("RATCHET_EVENTS", str(tmp_path / "events"))
    ((_, _, commands),) = [one for one in blocks if one[:2] == ("sh", "dbt")]
    path = os.pathsep.join([str(DBT), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", commands], cwd=tmp_path, env=environment({"PATH": path}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    declare(monkeypatch, tmp_path / "feature_repo/document_price.py")
    made = materialized(corpus_of([]), "document_price", history=2)
    table = pyarrow.parquet.read_table(load_exactly(open_store(), "features", made.features).path("features.parquet"))
    known = {(str(row["event_timestamp"])[:10], row["document_id"]): row for row in table.to_pylist()}
    assert [known[f"2023-12-{day}", "d00"]["cents"] for day in (17, 18, 19, 20)] == [1000, 1000, 800, 800]
    assert [known[f"2023-12-{day}", "d01"]["cents"] for day in (19, 20)] == [None, 1500]
    assert known["2023-12-20", "d00"]["cents_7d_before"] == 1000
    assert call("check_parity", features=[made.features], end=END).values == 2 * 12


def declare(monkeypatch, view: Path) -> None:
    """Let `feature_repo` be the entities and this file."""
    package = importlib.import_module("feature_repo")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(view.parent)])
    monkeypatch.setitem(sys.modules, f"feature_repo.{view.stem}", None)
    monkeypatch.delitem(sys.modules, f"feature_repo.{view.stem}")
