"""A home for the Airflow that tests import: it must be in the environment before the first import of Airflow."""

import os
import secrets
import tempfile
from types import SimpleNamespace
from typing import Any

from tests.conftest import PROJECT

HOME = tempfile.mkdtemp(prefix="ratchet-airflow-")
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    AIRFLOW__LOGGING__NAMESPACE_LEVELS="airflow.task=INFO",  # so that tests see what a task says
    AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),  # 64 bytes, what HS512 asks for
)


class TaskStateStore(dict[str, Any]):
    """Airflow's store of a task's state, as far as the operator asks it."""

    def set(self, key: str, value: Any) -> None:
        assert value is not None, "Airflow refuses None"
        self[key] = value


class TaskInstance(SimpleNamespace):
    """A task instance that keeps what is pushed."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def task_context() -> dict[str, Any]:
    """What `execute` gets of Airflow's context."""
    ti = TaskInstance(
        id="01234567-89ab-7cde-8f01-23456789abcd",
        dag_id="ingest_corpus",
        run_id="manual__2026-01-01T00:00:00+00:00",
        task_id="ingest",
        map_index=-1,
        try_number=1,
        pushed={},
    )
    return {
        "ti": ti, "run_id": ti.run_id, "dag": SimpleNamespace(), "dag_run": SimpleNamespace(triggering_user_name="ursula"),
        "task_state_store": TaskStateStore(), "outlet_events": {},
    }  # fmt: skip
