"""What holds for every DAG file, also for those that are still to come."""

import ast
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from pipelines.settings import environment
from tests.conftest import PROJECT
from tests.golden.names import starts_on

FILES = sorted((PROJECT / "dags").glob("*.py"))
HEAVY = ("numpy", "torch", "pandas", "faiss", "mlflow", "scipy", "matplotlib", "transformers", "onnxruntime", "ir_measures")
PARSE = f"""
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag()
print(json.dumps([bag.import_errors, [name for name in {HEAVY} if name in sys.modules], sorted(bag.dags)]))
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_file_only_declares(file):
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert functions == []
    assert len(FILES) >= 7
    assert len(file.read_text().splitlines()) <= 60


def test_the_bag_parses_without_heavy_imports(airflow_database):
    paths = {"PYTHONPATH": str(PROJECT), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    done = subprocess.run([sys.executable, "-c", PARSE], env=environment(paths), capture_output=True, text=True, check=True)
    errors, heavy, names = json.loads(done.stdout.splitlines()[-1])
    assert errors == {}
    assert heavy == []
    assert names == sorted(file.stem for file in FILES)


def test_dags_by_the_clock_wait_for_their_time_and_page_where_they_are_late(bag, monkeypatch):
    moment = datetime(2026, 11, 29, 0, 1, tzinfo=UTC)  # a minute after both the daily and the weekly time
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: moment)
    planned = {dag.dag_id: decode_timetable(encode_timetable(dag.timetable)) for dag in bag.dags.values()}
    by_the_clock = set()
    for name, timetable in planned.items():
        restriction = TimeRestriction(None, None, catchup=False)
        first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
        assert first is None or first.run_after > moment, name
        by_the_clock |= {name} if first else set()
    assert {"build_encoder", "build_reranker", "check_degradation"} <= by_the_clock
    assert {name for name, dag in bag.dags.items() if dag.deadline} == by_the_clock, "`deadline=over_within(…)` for each, only"
    for name in by_the_clock:
        (alert,) = bag.dags[name].deadline
        assert alert.callback.path == "operators.paging.page_late"
        assert timedelta(hours=1) <= alert.interval <= timedelta(days=6), f"{name}: before the next run is due"


def test_every_dag_explains_itself(bag):
    assert len(bag.dags) >= 7
    for dag in bag.dags.values():
        verb, _, noun = dag.dag_id.partition("_")
        assert verb
        assert noun
        assert len(dag.doc_md) > 80
        when_red = dag.doc_md.partition("\n## When it is red\n")[2].strip().replace("\n  ", " ").splitlines()
        assert 3 <= len(when_red) <= 6, f"{dag.dag_id}: say where to look, what is safe to do and what never to do"
        assert all(any(f"`{task_id}`" in line for line in when_red) for task_id in dag.task_ids), dag.dag_id
        assert "Never " in when_red[-1]
        assert dag.tags
        assert dag.owner not in ("", "airflow")
        assert dag.catchup is False
        assert dag.max_active_runs == 1
        assert dag.params
        for name in dag.params:
            assert dag.params.get_param(name).description, f"{dag.dag_id}: {name}"


def test_every_task_retries_by_the_steps_exit_code(bag):
    from operators.approval import AskBefore, AskWhereUndecided
    from operators.arrival import S3Arrival
    from operators.retries import StepRetryPolicy
    from operators.step import StepOperator

    for dag in bag.dags.values():
        for task in dag.tasks:
            names = (StepOperator.__name__, S3Arrival.__name__, AskBefore.__name__, AskWhereUndecided.__name__)
            assert (getattr(task, "operator_class", None) or type(task)).__name__ in names
            policy = task.partial_kwargs["retry_policy"] if task.is_mapped else task.retry_policy
            assert type(policy).__name__ == StepRetryPolicy.__name__
            assert task.retries >= 1


def test_a_sensor_holds_no_worker(bag):
    waiting = [task for dag in bag.dags.values() for task in dag.tasks if hasattr(task, "poke")]
    assert [(task.mode, task.deferrable, task.timeout) for task in waiting] == [("reschedule", False, 86_400)]


def test_the_assets_chain_the_dags(bag):
    emitted, awaited = {}, {}
    for dag in sorted(bag.dags.values(), key=lambda dag: dag.dag_id):
        for name in {outlet.name.partition("-if-")[0] for task in dag.tasks for outlet in task.outlets}:
            emitted.setdefault(name, []).append(dag.dag_id)
        for asset in starts_on(dag):
            awaited.setdefault(asset, []).append(dag.dag_id)
    assert emitted == {
        "corpus": ["check_degradation", "erase_subject", "ingest_corpus", "report_drift"],
        "index": ["build_encoder", "refresh_embeddings"],
        "verdict": ["build_recommender", "build_reranker", "evaluate_release"],
        "challenger": ["promote_release"],
        "champion": ["deploy_release", "restore_release", "rollback_release"],
        "judgments": ["deploy_release"],
        "rebuild": ["check_degradation", "report_drift"],
        "rejudge": ["report_drift"],
        "retrain": ["check_degradation", "report_drift"],
        "rollback": ["check_degradation", "report_drift"],
    }
    assert awaited == {
        "corpus": ["refresh_embeddings"],
        "index": ["evaluate_release"],
        "verdict": ["promote_release"],
        "challenger": ["deploy_release"],
        "champion": ["erase_subject"],
        "rebuild": ["build_recommender"],
        "rejudge": ["check_degradation"],
        "retrain": ["refresh_embeddings"],
        "rollback": ["rollback_release"],
        "judgments": ["build_encoder", "build_reranker"],
    }


def test_the_form_has_bounds_choices_and_may_stay_empty(bag):
    params = bag.dags["refresh_embeddings"].params
    shards = params.get_param("shards")
    assert (shards.schema["minimum"], shards.schema["maximum"]) == (1, 1000)
    assert params.get_param("corpus").value == ""
    assert params.get_param("corpus").schema["type"] == ["string", "null"]
    assert bag.dags["ingest_corpus"].params.get_param("text").schema["enum"] == ["label", "label+category"]
    for dag in bag.dags.values():
        dag.params.validate()


@pytest.mark.parametrize("dag_id", ["promote_release", "deploy_release", "rollback_release"])
def test_a_form_cannot_name_who_acts(bag, dag_id):
    """The journal names the user that Airflow knows to have triggered the run, or who answered its question."""
    from operators.approval import answered_by

    dag = bag.dags[dag_id]
    assert "who" not in dag.params
    assert "why" in dag.params
    acting = [task for task in dag.tasks if hasattr(task, "step_params")]
    named = {task.task_id: task.step_params["who"] for task in acting if "who" in task.step_params}
    asking = {"promote_release": ["promote"], "deploy_release": ["deploy", "end_canary"]}
    assert named == ({task: answered_by(dag.get_task("ask")) for task in asking[dag_id]} if dag_id in asking else {})
