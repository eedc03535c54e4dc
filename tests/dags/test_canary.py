"""The DAG deploy_release by evidence: it looks, waits without a worker, widens, and deploys or goes back."""

from types import SimpleNamespace

import pytest

from tests.pipelines.deployment.conftest import counted, server  # noqa: F401
from tests.releases import _releases_once, releases  # noqa: F401

TERMS = {"mode": "canary", "shares": "0.5", "searches": "500", "shadow": 0, "minutes": 0, "tick_s": 0.1, "without": ["overlap"]}
SKIPPED = ["skipped"]
PASSED = {
    "judge_canary": ["success"], "judge_while_asked": SKIPPED, "ask": ["success"], "deploy": ["success"],
    "end_canary": SKIPPED, "reconcile": SKIPPED,
}  # fmt: skip


@pytest.fixture
def both(server, releases):  # noqa: F811
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    return releases


def test_it_waits_without_a_worker_and_deploys_what_is_healthy(run_dag, both):
    for entry in (3, 4):
        counted(entry)
    run = run_dag("deploy_release", **TERMS)
    assert (run.state, run.tasks) == ("success", PASSED)
    entries = both.journal.entries[3:]
    shares = [entry.routing.split and entry.routing.split.share for entry in entries]
    assert [(entry.action, share) for entry, share in zip(entries, shares, strict=True)] == [("stage", 0.5), ("deploy", None)]
    assert both.journal.routing.champion == both.b
    assert entries[-1].why.startswith("PASSED: no guardrail is broken after 1,000 of 500 searches")
    assert run.results["judge_canary"]["outcome"] == "passed"
    assert ("champion", {"id": both.b}) in run.events


def test_harm_while_a_person_is_asked_ends_the_question(bag, monkeypatch):
    """`dag.test` runs one task at a time, so that no question can wait beside another task: what would be skipped is told."""
    task = bag.dags["deploy_release"].get_task("judge_while_asked")
    skipped = set()
    monkeypatch.setitem(task.__dict__, "skip", lambda ti, tasks: skipped.update(one.task_id for one in tasks))
    context = {"ti": SimpleNamespace(xcom_push=lambda *_: None)}
    task._finish(context, {"waits": False, "over": True, "wait_s": 60.0})
    assert skipped == {"ask", "deploy", "end_canary", "reconcile"}
