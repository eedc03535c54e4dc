"""The DAG deploy_release by evidence: it looks, waits without a worker, widens, and deploys or goes back."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tests.pipelines.deployment.conftest import counted, server  # noqa: F401
from tests.releases import _releases_once, both, releases  # noqa: F401

TERMS = {"mode": "canary", "shares": "0.5", "searches": "500", "shadow": 0, "minutes": 0, "tick_s": 0.1, "without": ["overlap"]}
NOW = datetime(2026, 11, 30, tzinfo=UTC)
SKIPPED = ["skipped"]
PASSED = {
    "judge_canary": ["success"], "judge_while_asked": SKIPPED, "ask": ["success"], "deploy": ["success"],
    "end_canary": SKIPPED, "reconcile": SKIPPED,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("server")


def test_it_waits_without_a_worker_and_deploys_what_is_healthy(run_dag, both):  # noqa: F811
    for entry in (3, 4):
        counted(entry)
    run = run_dag("deploy_release", **TERMS, why="Friday")
    assert (run.state, run.tasks) == ("success", PASSED)
    entries = both.journal.entries[3:]
    shares = [entry.routing.split and entry.routing.split.share for entry in entries]
    actions = [(entry.action, share) for entry, share in zip(entries, shares, strict=True)]
    assert actions == [("stage", 0.5), ("stage", 0.5), ("deploy", None)]
    assert both.journal.routing.champion == both.b
    assert entries[-1].why.startswith("PASSED: no guardrail is broken after 1,000 of 500 searches")
    assert (entries[-1].why, entries[-2].why.count("PASSED")) == (f"{entries[-2].why}; Friday", 1), "what was seen, and why"
    assert run.results["judge_canary"]["outcome"] == "passed"
    assert ("champion", {"id": both.b}) in run.events


def test_a_no_ends_it_with_the_question_and_who_answered(run_dag, both):  # noqa: F811
    """Other tasks can not look meanwhile in `dag.test`, nor can anybody answer: the operator gets the answer of a person."""

    def edit(dag):
        event = {"chosen_options": ["Reject"], "params_input": {}, "responded_by_user": {"id": "1", "name": "ada"}}
        ask, meanwhile = dag.get_task("ask"), dag.get_task("judge_while_asked")
        object.__setattr__(ask, "execute", lambda context: ask.execute_complete(context, event | {"responded_at": NOW}))
        object.__setattr__(meanwhile, "execute", lambda context: None)

    counted(3)
    run = run_dag("deploy_release", edit=edit, **{**TERMS, "most_minutes": 1e-6})
    assert (run.state, run.tasks["deploy"], run.tasks["end_canary"]) == ("success", ["skipped"], ["success"])
    end = both.journal.entries[-1]
    assert (end.who, end.routing.split, both.journal.routing.champion) == ("ada", None, both.a)
    assert end.why == (
        f"the answer was no: May all users have release {both.b[:8]}, which 50 % of them have, on too little evidence?"
    )


def test_a_yes_is_for_the_release_that_was_judged(bag):
    tasks = bag.dags["deploy_release"]
    for task in ("deploy", "judge_while_asked"):
        assert tasks.get_task(task).step_params["release"].startswith("{{ ti.xcom_pull(task_ids='judge_canary', key='release')")


def test_harm_while_a_person_is_asked_ends_the_question(bag, monkeypatch):
    """`dag.test` runs one task at a time, so that no question can wait beside another task: what would be skipped is told."""
    task = bag.dags["deploy_release"].get_task("judge_while_asked")
    skipped = set()
    monkeypatch.setitem(task.__dict__, "skip", lambda ti, tasks: skipped.update(one.task_id for one in tasks))
    context = {"ti": SimpleNamespace(xcom_push=lambda *_: None)}
    task._finish(context, {"waits": False, "over": True, "wait_s": 60.0})
    assert skipped == {"ask", "deploy", "end_canary", "reconcile"}


def test_a_step_that_looks_again_and_again_is_soon_tried_again(bag):
    """Its tries count through a whole deployment, and nobody looks while it waits."""
    from operators.failures import StepFailed

    for name in ("judge_canary", "judge_while_asked"):
        task = bag.dags["deploy_release"].get_task(name)
        assert task.retry_policy.evaluate(StepFailed("the store is busy", 75), 44, 1000).retry_delay == timedelta(minutes=1)
