"""The DAG promote_environment: copied, judged there by that environment's rules, asked about where it asks, promoted there."""

import json
import time

import pytest

from pipelines.settings import settings
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call

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


def test_rollback_and_restore_act_on_the_environment_of_the_form(run_dag, served, staging):
    journal, later = staging(), "b" * 20
    call("copy_release", to="staging")
    first = journal.append("deploy", served.release, "for a test", Routing(champion=served.release))
    time.sleep(1.1)  # a time of the journal is a second
    journal.append("deploy", later, "for a test", Routing(champion=later))
    here = len(Journal(open_store()).entries)
    rolled_back = run_dag("rollback_release", environment="staging", why="it was worse there")
    assert rolled_back.tasks == {"rollback": ["success"], "reconcile": ["skipped"]}
    journal.refresh()
    journal.append("deploy", later, "for a test", Routing(champion=later))
    restored = run_dag("restore_release", environment="staging", at=first.at)
    assert restored.tasks == {"restore": ["success"], "reconcile": ["skipped"]}
    journal.refresh()
    told = [(entry.action, entry.to) for entry in journal.entries]
    assert told == [("deploy", served.release), ("deploy", later), ("rollback", served.release), *told[1:3]]
    assert len(Journal(open_store()).entries) == here, "this store's champion stays"


@pytest.mark.parametrize("rules", ["full", "file"])
def test_the_form_judges_by_the_rules_of_its_environment(rules, monkeypatch, tmp_path):
    from operators.form import form

    from pipelines.steps.evaluate_release.gate import GateParams
    from pipelines.steps.promote_release.promote import PromoteParams

    rules = str(tmp_path / "shop.yaml") if rules == "file" else rules
    named = {"staging": {"store": f"file://{tmp_path}/staging", "gate_file": rules}}
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps(named))
    here = form(GateParams)["gate_file"]
    monkeypatch.setenv("RATCHET_ENVIRONMENT", "staging")
    there = form(GateParams)["gate_file"]
    assert (here.value, there.value, rules in there.schema["enum"]) == ("default", rules, True)
    assert there.resolve() == rules, "the form takes what it proposes"
    assert form(PromoteParams)["gate_file"].value == ""


def test_the_form_offers_the_environments_and_no_other(staging, monkeypatch):
    from operators.form import environment_field

    staging()
    assert environment_field()["environment"].schema["enum"] == ["", "staging"]
    assert environment_field()["environment"].value == ""
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", "")
    assert environment_field()["environment"].schema["enum"] == [""]
