"""The names that users, programs and stored files rely on stay: commands, options, results, settings, DAGs, log keys."""

import json

import pytest

from tests.dags.conftest import airflow_database, bag  # noqa: F401
from tests.golden import names

GOLDEN = json.loads(names.NAMES.read_text())
AGAIN = "a public name is not as committed: keep it, or add the new one with `python -m tests.golden.names`"


@pytest.mark.parametrize("room", ["steps", "settings", "log", "mlflow", "kinds"])
def test_public_names_are_as_committed(room):
    now = {
        "steps": names.step_names, "settings": names.setting_names, "log": names.log_keys, "mlflow": names.mlflow_names,
        "kinds": names.kinds,
    }[room]()  # fmt: skip
    assert now == GOLDEN[room], AGAIN


def test_dags_tasks_and_assets_are_as_committed(bag):  # noqa: F811
    assert names.dag_names(bag) == GOLDEN["dags"], AGAIN


def test_the_ways_in_are_there():
    """Imports that notebooks and images use."""
    import images.serve.__main__
    import pipelines.__main__
    import pipelines.score
    from pipelines.train import train

    assert callable(train)
    assert all(callable(main) for main in (pipelines.__main__.main, images.serve.__main__.main))
    assert callable(pipelines.score.score)
