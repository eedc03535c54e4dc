"""Airflow in this process: one home and one database for all DAG tests."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import airflow_home, warm
from tests.conftest import PROJECT, Trained, call, embedded_release, write_icons
from tests.sharing import built_once

PAUSE_S = 0.2
"""How long `DAG.test` waits before it looks for tasks again, in place of a second."""

FIRST_WAIT = timedelta(seconds=0.5)
"""After which a step that may work later is tried again, in place of 10 s."""
IDLE_S = 120
"""How long a dag run may sleep in all: nobody answers a question."""


@dataclass(frozen=True)
class DagRun:
    """How a dag run ended: its state, its tasks' states (a list for a mapped task) and their results."""

    state: str
    note: str | None
    tasks: dict[str, list[str]]
    results: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


def third(name: str) -> bool:
    """Whether the icon of this name is in the first third."""
    return name < "e"


@pytest.fixture(scope="session")
def _champion_once(_trained_once: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    def build(folder: Path) -> dict[str, str]:
        home = folder / "home"
        shutil.copytree(_trained_once.home, home, copy_function=os.link)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(home))
            corpus = call("ingest", folder=str(write_icons(folder / "then", keep=third))).corpus
            made = embedded_release(home, corpus, _trained_once.encoder)
            evaluated = call("evaluate", release=made.release)
            call("promote", verdict=call("gate", evaluation=evaluated.evaluation).verdict)
            call("deploy")
        return {key: str(value) for key, value in vars(made).items()}

    folder, ids = built_once(tmp_path_factory, "champion", build)
    return Trained(**{**ids, "home": folder / "home"})


@pytest.fixture
def champion(_champion_once: Trained, home: Path) -> Trained:
    """A home of this test's own whose champion is of a third of the icons, judged as a first release."""
    shutil.copytree(_champion_once.home, home, copy_function=os.link)
    return replace(_champion_once, home=home)


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


@contextmanager
def dags_written_once() -> Iterator[None]:
    """`DAG.test` parses the whole folder and writes every DAG to the database for each run; the first time is enough."""
    from airflow.dag_processing import dagbag

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dagbag, "BundleDagBag", cache(dagbag.BundleDagBag))
        patch.setattr(dagbag, "sync_bag_to_db", cache(dagbag.sync_bag_to_db))
        yield


@pytest.fixture(scope="session")
def _dags_written_once(airflow_database: None) -> Iterator[None]:
    with dags_written_once():
        yield


@pytest.fixture
def run_dag(_dags_written_once: None) -> Callable[..., DagRun]:
    return run_to_its_end


def run_to_its_end(dag_id: str, edit: Callable[[Any], None] = lambda dag: None, **answers: Any) -> DagRun:
    """Run a DAG to its end, after `edit(dag)`, with the form's answers; in tests its steps start with their imports done."""
    from airflow.dag_processing.dagbag import DagBag
    from kubernetes.client import Configuration
    from operators import retries, step

    one = Configuration()  # each object of a pod makes one of its own, which takes longer than all else that it does
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Configuration, "get_default_copy", lambda: one)
        patch.setattr(step, "ChildProcess", _warm_child(step.ChildProcess))
        patch.setattr(retries, "FIRST_WAIT", FIRST_WAIT)
        patch.setattr(time, "sleep", bounded_sleep(dag_id, time.sleep, IDLE_S))
        # Parsed anew, as for every run in earnest: `test` leaves one run's answers in the DAG's params.
        dag = DagBag(str(PROJECT / "dags" / f"{dag_id}.py")).dags[dag_id]
        dag.deadline = None  # `DAG.test` looks a deadline up by its definition in place of its id, and fails
        edit(dag)
        return _seen(dag.test(run_conf=answers))


def _warm_child(child: type[Any]) -> Callable[..., Any]:
    """The operator's child process, by the warm server's client."""
    return lambda command, *how: child(warm.command(*command[1:]), *how)


def bounded_sleep(dag_id: str, sleep: Callable[[float], None], idle_s: float) -> Callable[[float], None]:
    """A sleep that is short, and an error once it was idle for too long.

    `DAG.test` sleeps for ever while a task waits for a person, or where one has no end, as one that pytest interrupted after
    its timeout: Airflow takes that for an error of the task, and pytest interrupts once.
    """
    left = idle_s

    def bounded(seconds: float) -> None:
        nonlocal left
        left -= min(seconds, PAUSE_S)
        if left < 0:
            raise TimeoutError(f"dag run of {dag_id}, which slept for {idle_s} s: {_unfinished(dag_id)}")
        sleep(min(seconds, PAUSE_S))

    return bounded


def _unfinished(dag_id: str) -> str:
    """The tasks of a DAG that have not ended, with their states."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import State
    from sqlalchemy import select

    with create_session() as session:
        tasks = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id))
        return ", ".join(f"{task.task_id} {task.state}" for task in tasks if task.state not in State.finished)


def answered(yes: bool) -> Callable[[Any], None]:
    """Replaces the question by its answer: `dag.test` has nobody who could give it."""
    from airflow.sdk.exceptions import AirflowSkipException

    def edit(dag: Any) -> None:
        def execute(context: Any) -> None:
            if not yes:
                raise AirflowSkipException("rejected")

        object.__setattr__(dag.get_task("ask"), "execute", execute)

    return edit


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
