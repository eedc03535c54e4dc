"""The public names of Ratchet: what users, other programs and stored files know it by.

`python -m tests.golden.names` writes them. A name that is committed in names.json stays. New ones are added by running this
program again.
"""

import ast
import json
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
NAMES = Path(__file__).resolve().parent / "names.json"


def step_names() -> dict[str, Any]:
    """Every CLI command: its options with their defaults, and the fields of its result, which are XCom keys."""
    from pipelines.contract import load_step, step_names

    found = {}
    for name in step_names():
        step = load_step(name)
        fields = {**step.params.model_fields, **(step.tuning.model_fields if step.tuning else {})}
        options = {key: "required" if field.is_required() else repr(field.default) for key, field in fields.items()}
        found[name] = {"version": step.version, "options": options, "result": list(step.result.model_fields)}
    return found


def setting_names() -> dict[str, str]:
    """Every variable of the environment with its default; paths within the project are relative to it."""
    from pipelines.settings import Settings

    def shown(field: Any) -> str:
        default = field.get_default(call_default_factory=True)
        in_project = isinstance(default, Path) and default.is_relative_to(PROJECT)
        return f"PROJECT/{default.relative_to(PROJECT)}" if in_project else str(default)

    def names(name: str, field: Any) -> list[str]:
        alias = field.validation_alias
        return [str(one) for one in alias.choices] if alias else [f"RATCHET_{name.upper()}"]

    return {" ".join(names(name, field)): shown(field) for name, field in Settings.model_fields.items()}


def log_keys() -> dict[str, list[str]]:
    """The events that are logged, and the keys of each; and the keys that every line has."""
    found: dict[str, set[str]] = {"*": {"step", "dag", "dag_run", "task", "try", "trace_id"}}
    for path in sorted((PROJECT / "pipelines").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _is_log(node.func) and node.args and isinstance(node.args[0], ast.Constant):
                keys = {word.arg for word in node.keywords if word.arg}
                found.setdefault(str(node.args[0].value), set()).update(keys)
    return {event: sorted(keys) for event, keys in sorted(found.items())}


def _is_log(function: ast.expr) -> bool:
    """`log().info`, `log().warning`, `log().error`."""
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Call):
        return False
    return isinstance(function.value.func, ast.Name) and function.value.func.id == "log"


def mlflow_names() -> dict[str, Any]:
    """The registered model, the experiment, the aliases and how a measure is written as a tag."""
    from pipelines.evaluation.measures import CONDENSED, MEASURES
    from pipelines.projections import mlflow as registry

    tags = [registry.tag(name) for name in (*MEASURES, CONDENSED)]
    fixed = ["release", "entry", "who", "verdict", "corpus", "encoder", "embeddings", "index", "store"]
    return {
        "model": setting_names()["RATCHET_MLFLOW_MODEL"],
        "experiment": setting_names()["RATCHET_MLFLOW_EXPERIMENT"],
        "aliases": list(registry.ALIASES),
        "tags": fixed + tags,
    }


def dag_names(bag: Any) -> dict[str, Any]:
    """Every DAG with its tasks, its form, and the assets that start it and that it tells of."""
    return {
        dag.dag_id: {
            "tasks": [task.task_id for task in dag.tasks],
            "params": sorted(dag.params),
            "starts_on": starts_on(dag),
            "tells_of": sorted({outlet.name for task in dag.tasks for outlet in task.outlets}),
        }
        for dag in bag.dags.values()
    }


def starts_on(dag: Any) -> list[str]:
    """The assets that start a DAG, alone or beside a time."""
    if isinstance(dag.schedule, list):
        return sorted(asset.name for asset in dag.schedule)
    condition = getattr(dag.schedule, "asset_condition", dag.schedule)
    return sorted(asset.name for asset in getattr(condition, "objects", ()))


def kinds() -> list[str]:
    """The kinds of artifact, which are folders of the store."""

    from pipelines.store.recipes import KINDS

    return list(KINDS)


def public_names(bag: Any) -> dict[str, Any]:
    return {
        "steps": step_names(), "settings": setting_names(), "log": log_keys(), "mlflow": mlflow_names(),
        "dags": dag_names(bag), "kinds": kinds(),
    }  # fmt: skip


def main() -> None:
    from tests import airflow_home

    print(f"Airflow's home is {airflow_home.HOME}")  # it must be set before the first import of Airflow
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    NAMES.write_text(json.dumps(public_names(DagBag()), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
