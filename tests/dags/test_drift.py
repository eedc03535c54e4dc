"""The DAG report_drift: a day without drift starts nothing, a planted one starts what the policy says once in a cool-down."""

import json
from datetime import UTC, datetime, timedelta

from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.dags.conftest import third
from tests.golden.names import starts_on

TASKS = ("page", "roll_back", "re_judge", "re_index", "re_embed", "rebuild")
POLICY = """
name: shop
description: For a test.
areas: {embeddings: {watch: 0.02, act: 0.05, repairs: [page, re-judge, re-embed]}}
"""
COUPLE = "zweifarbiges Abzeichen mit rundem Rahmen für Verkehr und Technik"


def translated(icons):
    """Every fourth icon has a label in another language, and is of another family."""
    for name in sorted(icons)[::4]:
        icons[name]["label"] = f"{COUPLE} {name}"
        icons[name]["free"] = ["brands" if "brands" in icons[name]["svg"] else icons[name]["free"][0]]


def test_an_unchanged_collection_is_quiet_and_nothing_follows(run_dag, champion):
    run = run_dag("report_drift", evidently=False)
    assert run.state == "success"
    assert {task for task, states in run.tasks.items() if states == ["skipped"]} == set(TASKS)
    assert run.note == "QUIET: nothing beyond chance"
    assert run.results["find_reference"]["corpus"] == champion.corpus
    assert run.events == []


def test_the_day_is_the_one_that_is_over_when_the_run_begins(run_dag, champion):
    """The run of midnight: of the day that has just begun there is nothing yet."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert call("find_reference").day == yesterday
    shown = [
        {"request_id": f"r{number}", "at": f"{yesterday}T10:00:00Z", "user": f"u{number}", "query": "flag", "results": []}
        for number in range(60)
    ]
    (champion.home / "events").mkdir(exist_ok=True)
    (champion.home / "events/exposures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in shown))
    run = run_dag("report_drift", log="server", evidently=False)
    assert run.results["find_reference"]["day"] == run.results["take_snapshot"]["day"] == yesterday
    assert run.results["take_snapshot"]["rows"]["searches"] == 60


def test_a_planted_drift_starts_refresh_embeddings_once(run_dag, champion, icons_folder, tmp_path, capsys):
    today = call("ingest", folder=str(icons_folder("today", keep=third, edit=translated))).corpus
    run = run_dag("report_drift", evidently=False)
    assert run.results["find_reference"]["corpus"] == today
    started = {task: run.tasks[task] for task in TASKS if run.tasks[task] != ["skipped"]}
    assert started == {"page": ["success"], "re_embed": ["success"]}
    assert run.note.startswith("ACT: embeddings: vectors of documents moved by")
    assert run.events == [("corpus", {"id": today})]
    entries = [entry for entry in Journal(open_store()).entries if entry.action == "repair"]
    assert [entry.to for entry in entries] == ["page", "re-embed"]
    assert all("since the data drifted: act: embeddings" in entry.why for entry in entries)
    assert capsys.readouterr().out.count("PAGE: page, since the data drifted") == 1

    report = json.loads(load_exactly(open_store(), "drift", run.results["judge_drift"]["drift"]).text("report.json"))
    assert [row[:2] for row in report["first"][0]["rows"]][:2] == [["embeddings", "act"], ["tokens", "act"]]
    words = next(table for table in report["tables"] if table["title"] == "Words of documents that rise or fall")
    assert {"verkehr", "technik"} <= {row[0] for row in words["rows"]}

    (policy := tmp_path / "policy.yaml").write_text(POLICY)
    again = run_dag("report_drift", evidently=False, policy=str(policy))
    started = {task: again.tasks[task] for task in TASKS if again.tasks[task] != ["skipped"]}
    assert started == {"re_judge": ["success"]}, "the others cool down"
    assert again.note.startswith("ACT: "), "what cools down is still told"
    assert (again.events, "PAGE" in capsys.readouterr().out) == ([("rejudge", {"id": today})], False)


def test_what_an_alarm_starts_is_told_by_the_assets_of_other_dags(bag):
    tasks = {task.task_id: task for task in bag.dags["report_drift"].tasks if task.task_id in TASKS}
    told = {name: ([asset.name for asset in task.outlets], task.emits) for name, task in tasks.items()}
    assert told == {
        "page": ([], ""), "roll_back": (["rollback"], "reason"), "re_judge": (["rejudge"], "corpus"),
        "re_index": (["retrain"], "corpus"), "re_embed": (["corpus"], "corpus"), "rebuild": (["rebuild"], "degradation"),
    }  # fmt: skip
    assert starts_on(bag.dags["refresh_embeddings"]) == ["corpus", "retrain"]


def test_without_a_champion_there_is_no_reference(run_dag, trained):
    run = run_dag("report_drift")
    assert run.state == "success"
    assert set(map(tuple, run.tasks.values())) == {("skipped",)}
