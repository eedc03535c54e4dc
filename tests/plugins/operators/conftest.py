"""Airflow's home must be set before the plugins import it."""

from typing import Any

import pytest

from tests.airflow_home import task_context


@pytest.fixture
def context() -> dict[str, Any]:
    """What `execute` gets of Airflow's context."""
    return task_context()
