"""Airflow in this process: one home and one database for all DAG tests."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import airflow_home


@dataclass(frozen=True)
class DagRun:
    """How a dag run ended: its state, its tasks' states (a list for a mapped task) and their results."""

    state: str
    note: str | None
    tasks: dict[str, list[str]]
    results: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    from airflow.utils.db import initdb

    initdb()
    yield
    shutil.rmtree(airflow_home.HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def bag(airflow_database: None) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag()


@pytest.fixture
def run_dag(airflow_database: None) -> Callable[..., DagRun]:
    """Run a DAG to its end, after `edit(dag)`, with the form's answers."""
    from airflow.dag_processing.dagbag import DagBag

    def run(dag_id: str, edit: Callable[[Any], None] = lambda dag: None, **answers: Any) -> DagRun:
        # Parsed anew, as for every run in earnest: `test` leaves one run's answers in the DAG's params.
        dag = DagBag().dags[dag_id]
        edit(dag)
        return _seen(dag.test(run_conf=answers))

    return run


def _seen(dag_run: Any) -> DagRun:
    from airflow.models.asset import AssetEvent
    from airflow.models.dagrun import DagRun as DagRunRow
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from ui import notes

    with create_session() as session:
        row = session.get(DagRunRow, dag_run.id)
        if str(row.state) == "success":
            notes.on_dag_run_success(row, "")  # the scheduler's part, which `dag.test` leaves out
        tasks: dict[str, list[str]] = {}
        for instance in row.get_task_instances(session=session):
            tasks.setdefault(instance.task_id, []).append(str(instance.state))
        xcoms = session.scalars(select(XComModel).where(XComModel.run_id == row.run_id, XComModel.key == "result"))
        results = {xcom.task_id: XComModel.deserialize_value(xcom) for xcom in xcoms}
        asset_events = session.scalars(
            select(AssetEvent).where(AssetEvent.source_run_id == row.run_id, AssetEvent.source_dag_id == row.dag_id)
        )
        events = [(event.asset.name, event.extra) for event in asset_events]
        return DagRun(str(row.state), row.note, tasks, results, events)
