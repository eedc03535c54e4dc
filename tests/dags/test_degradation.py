"""The DAG check_degradation: a champion is held to its promotion, and what the policy says starts once in a cool-down."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.dags.conftest import third

POLICY = """
name: shop
description: For a test.
cool_down_hours: {hours}
rules:
  - {{name: same queries, measure: nDCG@10, queries: common, margin: 0.02, repairs: [{repairs}]}}
"""
TASKS = ("page", "roll_back", "re_index", "re_embed", "rebuild")


def other_terms(icons):
    """Today every icon is judged for the terms of another: what was relevant no longer is."""
    names = sorted(icons)
    terms = [icons[name]["search"] for name in names]
    for name, search in zip(names, terms[7:] + terms[:7], strict=True):
        icons[name]["search"] = search


@pytest.fixture
def today(champion, icons_folder):
    """A corpus of the same icons under other judgments."""
    return call("ingest", folder=str(icons_folder("today", keep=third, edit=other_terms))).corpus


@pytest.fixture
def policy(tmp_path):
    def write(repairs, hours=24):
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(repairs=repairs, hours=hours))
        return str(path)

    return write


def test_an_unchanged_champion_holds_and_nothing_follows(run_dag, champion):
    run = run_dag("check_degradation")
    assert run.state == "success"
    assert {task: states for task, states in run.tasks.items() if states != ["success"]} == {
        task: ["skipped"] for task in TASKS
    }
    assert run.note.startswith("HELD: nDCG@10 0.000 [0.000, 0.000] since its promotion")
    assert run.results["find_champion"]["corpus"] == champion.corpus
    assert run.events == []


def test_a_degraded_champion_starts_what_the_policy_says_once(run_dag, champion, today, policy, capsys):
    file = policy("re-embed, page")
    run = run_dag("check_degradation", policy=file)
    started = {task: run.tasks[task] for task in TASKS if run.tasks[task] != ["skipped"]}
    assert started == {"page": ["success"], "re_embed": ["success"]}
    assert run.note.startswith("DEGRADED: nDCG@10 −0.")
    assert run.results["find_champion"]["corpus"] == today, "the newest corpus of the collection"
    assert run.events == [("corpus", {"id": today})]
    entries = [entry for entry in Journal(open_store()).entries if entry.action == "repair"]
    assert [entry.to for entry in entries] == ["page", "re-embed"]
    assert all(entry.routing.champion == champion.release and "degraded: nDCG@10" in entry.why for entry in entries)
    assert capsys.readouterr().out.count("PAGE: page, since release") == 1

    again = run_dag("check_degradation", policy=file)
    assert {task: again.tasks[task] for task in TASKS} == {task: ["skipped"] for task in TASKS}
    assert again.note.startswith("DEGRADED: "), "what cools down is still told"
    assert (again.events, "PAGE" in capsys.readouterr().out) == ([], False)

    rebuilt = run_dag("check_degradation", policy=policy("roll back, re-index, re-embed, rebuild", hours=0))
    assert rebuilt.tasks["roll_back"] == ["skipped"], "there is no champion before the first"
    assert rebuilt.tasks["re_embed"] == ["skipped"], "re-index embeds, too"
    judged = rebuilt.results["judge_degradation"]["degradation"]
    assert rebuilt.events == [("retrain", {"id": today}), ("rebuild", {"id": judged})]


def test_each_repair_tells_of_its_asset(bag):
    tasks = {task.task_id: task for task in bag.dags["check_degradation"].tasks if task.task_id in TASKS}
    told = {name: ([asset.name for asset in task.outlets], task.emits) for name, task in tasks.items()}
    assert told == {
        "page": ([], ""), "roll_back": (["rollback"], "reason"), "re_index": (["retrain"], "corpus"),
        "re_embed": (["corpus"], "corpus"), "rebuild": (["rebuild"], "degradation"),
    }  # fmt: skip
    (rollback,) = bag.dags["rollback_release"].tasks[:1]
    assert "triggering_asset_events" in rollback.step_params["why"], "the reason of the event goes into the journal"


def test_without_a_champion_nothing_is_held(run_dag, trained):
    run = run_dag("check_degradation")
    assert run.state == "success"
    assert set(map(tuple, run.tasks.values())) == {("skipped",)}


def test_the_report_is_read_to_its_verdict(champion, today, policy):
    found = call("find_champion")
    asked = {name: getattr(found, name) for name in ("release", "corpus", "split", "no_relevant", "depth")}
    evaluation = call("evaluate", **asked, baseline="none").evaluation
    judged = call("judge_degradation", evaluation=evaluation, promotion=found.promotion, policy=policy("page"))
    artifact = load_exactly(open_store(), "degradation", judged.degradation)
    report = json.loads(artifact.text("report.json"))
    assert (report["verdict"], report["sentence"]) == ("degraded", judged.sentence)
    assert report["warnings"] == ["The policy shop starts: page."]
    assert [row[:2] for row in report["tables"][0]["rows"]] == [["same queries", "degraded"]]
    ends = datetime.now(UTC) + timedelta(hours=24)
    first = call("start_repair", degradation=judged.degradation, repair="page")
    assert first.reason.endswith(judged.sentence)
    with pytest.raises(Exception, match=rf"page was started by entry {first.entry}, and may start again from {ends:%Y-%m-%d}"):
        call("start_repair", degradation=judged.degradation, repair="page")
    with pytest.raises(Exception, match="rebuild is not called for: degraded"):
        call("start_repair", degradation=judged.degradation, repair="rebuild")
