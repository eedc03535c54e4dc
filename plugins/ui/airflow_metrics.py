"""What Prometheus reads of Airflow's database: heartbeats, dag runs, tasks, and what steps cost.

Each question is answered by an index and gives a bounded number of rows, so that reading stays cheap in a database of years.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from airflow.api.common.airflow_health import HEALTHY, get_airflow_health
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.state import State, TaskInstanceState
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import func, select

from pipelines.contract import COST

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MOST_ROWS = 5_000
"""Dag runs, and steps, that are read at most: the newest."""
PARTS = ("scheduler", "dag_processor", "triggerer")
WAITING = sorted(state.value for state in State.unfinished if state is not None)


class StepCost(BaseModel):
    """What one step cost, as its task keeps it; another's XCom of this name is none."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    step: str
    wall_s: float
    cpu_s: float
    gpu_s: float
    peak_memory_mb: float


def airflow_metrics(session: Any, now: datetime) -> Iterator[Metric]:
    """All metrics, as of `now`.

    Args:
        session: of Airflow's database.
        now: with a time zone.
    """
    yield from _health(now)
    yield from _dag_runs(session, now)
    yield from _tasks(session, now)
    yield from _steps(session, now)


def _health(now: datetime) -> Iterator[Metric]:
    """A part that never ran has no heartbeat; a triggerer that never ran is not needed."""
    healthy = _gauge("ratchet_airflow_healthy", "Whether a part of Airflow is alive, as Airflow judges it", "part")
    age = _gauge("ratchet_airflow_heartbeat_age_seconds", "Time since the last heartbeat of a part of Airflow", "part")
    health = get_airflow_health()
    for part in PARTS:
        latest = health[part][f"latest_{part}_heartbeat"]
        if health[part]["status"]:
            healthy.add_metric([part], health[part]["status"] == HEALTHY)
        if latest:
            age.add_metric([part], (now - datetime.fromisoformat(latest)).total_seconds())
    yield from (healthy, age)


def _dag_runs(session: Any, now: datetime) -> Iterator[Metric]:
    open_runs = _gauge("ratchet_dag_runs_open", "Dag runs that wait or run", "dag", "state")
    for state in sorted(State.unfinished_dr_states):  # Airflow has an index of its own for each
        counted = select(DagRun.dag_id, func.count()).where(DagRun.state == state).group_by(DagRun.dag_id)
        for dag, count in session.execute(counted):
            open_runs.add_metric([dag, str(state)], count)
    due = "of those due in the last 7 days"
    ended = _gauge("ratchet_dag_runs_ended", f"Dag runs that ended in the last 24 hours, {due}", "dag", "state")
    seconds = _gauge("ratchet_dag_last_run_seconds", f"Duration of the last dag run that ended, {due}", "dag")
    failed = _gauge("ratchet_dag_last_run_failed", f"Whether the last dag run that ended, {due}, failed", "dag")
    of_week = (DagRun.run_after >= now - WEEK, DagRun.state.in_(State.finished_dr_states), DagRun.end_date.is_not(None))
    rows = select(DagRun.dag_id, DagRun.state, DagRun.start_date, DagRun.end_date).where(*of_week)
    seen: set[str] = set()
    counts: Counter[tuple[str, str]] = Counter()
    for dag, state, start, end in session.execute(rows.order_by(DagRun.end_date.desc()).limit(MOST_ROWS)):
        if end >= now - DAY:
            counts[dag, str(state)] += 1
        if dag not in seen:
            seen.add(dag)
            failed.add_metric([dag], state == "failed")
            seconds.add_metric([dag], (end - (start or end)).total_seconds())
    for dag in sorted(seen):
        for state in sorted(State.finished_dr_states):
            ended.add_metric([dag, str(state)], counts[dag, str(state)])
    yield from (open_runs, ended, seconds, failed)


def _tasks(session: Any, now: datetime) -> Iterator[Metric]:
    tasks = _gauge("ratchet_tasks", "Task instances that have not ended", "state")
    counted = select(TaskInstance.state, func.count()).where(TaskInstance.state.in_(WAITING)).group_by(TaskInstance.state)
    counts = {str(state): count for state, count in session.execute(counted)}
    for state in WAITING:
        tasks.add_metric([state], counts.get(state, 0))
    queued = select(func.min(TaskInstance.queued_dttm)).where(TaskInstance.state == TaskInstanceState.QUEUED)
    oldest = session.scalar(queued)
    wait = _gauge("ratchet_tasks_queued_oldest_seconds", "How long the task waits that was queued first; 0: none is queued")
    wait.add_metric([], (now - oldest).total_seconds() if oldest else 0)
    yield from (tasks, wait)


def _steps(session: Any, now: datetime) -> Iterator[Metric]:
    of_week = XComModel.dag_run_id.in_(select(DagRun.id).where(DagRun.run_after >= now - WEEK))
    of_day = (of_week, XComModel.key == COST, XComModel.timestamp >= now - DAY)
    rows = select(XComModel.dag_id, XComModel.value).where(*of_day).order_by(XComModel.timestamp.desc()).limit(MOST_ROWS)
    costs: defaultdict[tuple[str, str], list[StepCost]] = defaultdict(list)
    for row in session.execute(rows):
        try:
            cost = StepCost.model_validate(XComModel.deserialize_value(row))
        except ValidationError:
            continue
        costs[row.dag_id, cost.step].append(cost)
    names = ("dag", "step")
    runs = _gauge("ratchet_step_runs", "Steps that were done in the last 24 hours, of dag runs due in the last 7 days", *names)
    wall = _gauge("ratchet_step_wall_seconds", "Seconds that the last tries of these took", *names)
    cpu = _gauge("ratchet_step_cpu_seconds", "CPU seconds that the last tries of these took", *names)
    gpu = _gauge("ratchet_step_gpu_seconds", "GPU seconds that the last tries of these reserved", *names)
    memory = _gauge("ratchet_step_peak_memory_bytes", "Peak memory of the largest of these", *names)
    for labels, done in costs.items():
        runs.add_metric(labels, len(done))
        wall.add_metric(labels, sum(cost.wall_s for cost in done))
        cpu.add_metric(labels, sum(cost.cpu_s for cost in done))
        gpu.add_metric(labels, sum(cost.gpu_s for cost in done))
        memory.add_metric(labels, max(cost.peak_memory_mb for cost in done) * 2**20)
    yield from (runs, wall, cpu, gpu, memory)


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=labels)
