"""What Prometheus reads of Airflow: dag runs, what their steps cost, what waits; told to keys of scope metrics alone."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn

from images.observe.dashboards import FILES
from pipelines.access.keys import KeyLog
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.images.serve.test_metrics import parsed
from tests.images.test_observe import fired, results, until
from tests.services import prometheus
from tests.sharing import free_ports

PANELS = json.loads(FILES["batch.json"])["panels"]
DAG, STEP = ("dag", "audit_journal"), ("step", "audit")


@contextmanager
def served():
    """The plugin's application, as Airflow's API server mounts it; yields the address of its metrics."""
    from fastapi import FastAPI
    from ui.application import application

    app = FastAPI()
    app.mount("/ratchet", application())
    port = free_ports(1)[0]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{port}/ratchet/metrics"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def url(airflow_database, home, monkeypatch):
    monkeypatch.setattr("ui.metrics_page.REREAD_S", 0.0)
    with served() as address:
        yield address


@pytest.fixture
def waiting(airflow_database):
    """A scheduler that lives, and a dag run whose task is queued for two minutes: rows as Airflow writes them."""
    from airflow.jobs.job import Job
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    now = datetime.now(UTC)
    run = {"dag_id": "waits", "run_id": "by-hand"}
    rows = [
        (Job, {"job_type": "SchedulerJob", "state": "running", "latest_heartbeat": now}),
        (DagRun, {**run, "state": "running", "run_type": "manual", "run_after": now, "start_date": now}),
        (
            TaskInstance,
            {**run, "task_id": "t", "state": "queued", "queued_dttm": now - timedelta(minutes=2), "pool": "default_pool"},
        ),
    ]
    with create_session() as session:
        for model, values in rows:
            session.execute(model.__table__.insert().values(**values))
    yield
    with create_session() as session:
        for model, values in reversed(rows):
            table = model.__table__
            named = [table.c[name] == values[name] for name in ("dag_id", "run_id", "job_type") if name in values]
            session.execute(table.delete().where(*named))


def key_with(*scopes):
    return KeyLog(open_store()).make("prometheus", scopes, 1, "a test")


def ask(url, key):
    return httpx.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def told(url, key):
    answer = ask(url, key)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


def test_prometheus_reads_airflow_and_answers_each_panel(run_dag, url, waiting, tmp_path):
    _, key = key_with("metrics")
    before = told(url, key)
    Journal(open_store()).append("promote", "abcd", "why", Routing(challenger="abcd"))
    assert run_dag("audit_journal").state == "success"
    well = told(url, key)
    open_store().create("journal/00000002.json", b"{}")
    assert run_dag("audit_journal").state == "failed"
    after = told(url, key)

    def grown(name, *labels):
        return after[name, *labels] - before.get((name, *labels), 0)

    assert grown("ratchet_dag_runs_ended", DAG, ("state", "success")) == 1
    assert grown("ratchet_dag_runs_ended", DAG, ("state", "failed")) == 1
    assert (well["ratchet_dag_last_run_failed", DAG], after["ratchet_dag_last_run_failed", DAG]) == (0, 1)
    assert 0 < after["ratchet_dag_last_run_seconds", DAG] < 120
    assert grown("ratchet_step_runs", DAG, STEP) == 1, "a step that fails tells no cost"
    assert 0 < grown("ratchet_step_wall_seconds", DAG, STEP) < 120
    assert 0 < grown("ratchet_step_cpu_seconds", DAG, STEP) < 120
    assert grown("ratchet_step_gpu_seconds", DAG, STEP) == 0
    assert 2**20 < after["ratchet_step_peak_memory_bytes", DAG, STEP] < 2**40
    assert grown("ratchet_tasks", ("state", "queued")) == 0
    assert after["ratchet_tasks", ("state", "queued")] >= 1
    assert 120 <= after["ratchet_tasks_queued_oldest_seconds",] < 600
    assert after["ratchet_dag_runs_open", ("dag", "waits"), ("state", "running")] == 1
    assert after["ratchet_airflow_heartbeat_age_seconds", ("part", "scheduler")] < 300
    assert ("ratchet_airflow_healthy", ("part", "scheduler")) in after
    queries = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    with prometheus(tmp_path / "prometheus", [], key, [url]) as prometheus_url:
        until(lambda: not [title for title, query in queries if not results(prometheus_url, query)])
        (up,) = results(prometheus_url, 'up{job="airflow"}')
        assert up["value"][1] == "1"
        until(lambda: "DagRunFailed" in fired(prometheus_url))


def test_a_dag_run_counts_by_its_last_end_and_not_where_it_was_due_before_the_week(airflow_database):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from ui.airflow_metrics import airflow_metrics

    now, hour = datetime.now(UTC), timedelta(hours=1)
    ends = {"cleared": (100, 1), "before": (30, 25), "backfill": (200, 1)}
    rows = [
        {"dag_id": "counted", "run_id": name, "state": "success", "run_type": "manual",
         "run_after": now - due * hour, "start_date": now - (end + 1) * hour, "end_date": now - end * hour}
        for name, (due, end) in ends.items()
    ]  # fmt: skip
    table = DagRun.__table__
    with create_session() as session:
        session.execute(table.insert(), rows)
        told = {metric.name: metric for metric in airflow_metrics(session, now)}
        session.execute(table.delete().where(table.c.dag_id == "counted"))
    ended = told["ratchet_dag_runs_ended"]
    assert "of those due in the last 7 days" in ended.documentation
    counts = {sample.labels["state"]: sample.value for sample in ended.samples if sample.labels["dag"] == "counted"}
    assert counts == {"success": 1, "failed": 0}, "the cleared one, due four days ago"


def test_only_a_key_of_scope_metrics_is_told(url):
    assert httpx.get(url).status_code == 401
    store = open_store()
    made, key = key_with("metrics")
    for other in ("rk_", "forged", key[:-1], f"{key}x", "ÿ"):
        answer = httpx.get(url, headers={"Authorization": f"Bearer {other}".encode("latin-1")})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "; next: " in answer.json()["detail"]
    assert httpx.get(url, headers={"Authorization": f"Basic {key}"}).status_code == 401
    assert ask(url, key_with("search", "admin")[1]).status_code == 403
    assert ask(url, key).status_code == 200
    KeyLog(store).revoke(made.id, "a test")
    assert ask(url, key).status_code == 401


def test_while_the_keys_cannot_be_read_nobody_is_told(url):
    _, key = key_with("metrics")
    (open_store().local / "access/00000001.json").write_text("{}")
    assert ask(url, key).status_code == 503


def test_an_xcom_of_this_name_by_somebody_else_is_no_cost():
    from pydantic import ValidationError
    from ui.airflow_metrics import StepCost

    whole = {"step": "audit", "wall_s": 1.0, "cpu_s": 1.0, "gpu_s": 0.0, "peak_memory_mb": 1.0}
    assert StepCost.model_validate(whole).cpu_s == 1
    for other in (None, 3, "text", [], {}, {**whole, "wall_s": "long"}, {**whole, "cpu_s": float("nan")}):
        with pytest.raises(ValidationError):
            StepCost.model_validate(other)
