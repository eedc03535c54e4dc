"""Airflow's home must be set before the plugins import it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests import airflow_home


class TaskStateStore(dict[str, Any]):
    """Airflow's store of a task's state, as far as the operator asks it."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class TaskInstance(SimpleNamespace):
    """A task instance that keeps what is pushed."""

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def context() -> dict[str, Any]:
    """What `execute` gets of Airflow's context."""
    assert airflow_home.HOME
    ti = TaskInstance(
        dag_id="ingest_corpus",
        run_id="manual__2026-01-01T00:00:00+00:00",
        task_id="ingest",
        map_index=-1,
        try_number=1,
        pushed={},
    )
    state = TaskStateStore()
    return {"ti": ti, "run_id": ti.run_id, "dag": SimpleNamespace(), "task_state_store": state, "outlet_events": {}}
