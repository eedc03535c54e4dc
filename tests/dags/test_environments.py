"""The DAG promote_environment: copied, judged there by that environment's rules, asked about where it asks, promoted there."""

import json

import pytest

from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

STRICT = """
name: strict
description: Nothing passes this.
rules:
  - {name: main, measure: nDCG@10, comparison: champion, margin: 0.02}
  - {name: least, measure: nDCG@10, comparison: absolute, least: 0.99}
"""


@pytest.fixture
def staging(served, monkeypatch, tmp_path):
    def made(**how):
        named = {"staging": {"store": f"file://{tmp_path}/staging", "approval": False, **how}}
        monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps(named))
        return Journal(open_store(settings("staging")))

    return made


def test_the_champion_goes_to_the_next_environment(run_dag, served, staging):
    journal = staging()
    run = run_dag("promote_environment", to="staging")
    done = {task for task, states in run.tasks.items() if states == ["success"]}
    assert done == {"copy_release", "evaluate", "gate", "ask", "promote"}
    assert run.tasks["reconcile"] == ["skipped"], "no MLflow is set"
    assert run.results["evaluate"]["found"], "its evidence came with it"
    assert run.results["promote"]["release"] == served.release
    journal.refresh()
    assert [(entry.action, entry.to) for entry in journal.entries] == [("promote", served.release)]
    assert len(Journal(open_store()).entries) == 2


def test_the_environments_own_rules_decide(run_dag, served, staging, tmp_path):
    (tmp_path / "strict.yaml").write_text(STRICT)
    journal = staging(gate_file=str(tmp_path / "strict.yaml"))
    run = run_dag("promote_environment", to="staging")
    assert run.state == "success", "a no is green"
    assert (run.tasks["gate"], run.tasks["ask"], run.tasks["promote"]) == (["success"], ["skipped"], ["skipped"])
    assert run.note.startswith("REJECTED")
    assert journal.refresh() is False
