"""Trainings and choices of variants as runs of MLflow: params, curves, pictures and the model. Nothing reads them back.

Each artifact is one run of the experiment `ratchet`, found again by its tag `artifact`. Its model is a pointer: it names the
artifact and loads it from the store, where each file is read by its sha256, so MLflow holds no second copy that could differ.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, TryAgain
from pipelines.logs import log
from pipelines.models import pyfunc
from pipelines.projections.mlflow import connected, experiment_id, translated_errors
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact

Points = Sequence[Sequence[float]]
"""Step and value of each point of a curve."""


@dataclass(frozen=True)
class _Shown:
    """What a run shows besides params and figures of its artifact."""

    curves: Mapping[str, Points] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts by file name."""
    licence: str | None = None
    """Of the model; none: there is no model."""


def show_training(artifact: Artifact, dev: Points, licence: str) -> None:
    """Show a trained encoder or reranker with its curves and its model, where MLflow is set; an error is only a warning.

    Args:
        artifact: of `tune_encoder` or `train_reranker`.
        dev: nDCG@10 over the dev queries after each epoch; epoch 0 is before training.
        licence: of the base; empty: its card names none.
    """
    loss = artifact.facts["loss"]
    steps_of_epoch = loss[-1][0] / dev[-1][0] if loss and dev[-1][0] else 1.0
    curves = {"loss": loss, "dev_ndcg10": [(round(epoch * steps_of_epoch), value) for epoch, value in dev]}
    _show(artifact, artifact.facts, lambda: _Shown(curves, licence=licence))


def show_choice(report: Artifact, picture: Callable[[], str]) -> None:
    """Show what a choice among variants measured, where MLflow is set; an error is only a warning.

    Args:
        report: of `choose_encoder` or `choose_reranker`.
        picture: draws speed against fidelity, as SVG.
    """

    def shown() -> _Shown:
        rows = [row for row in report.facts["table"] if row["docs_per_s"]]
        measures = ("docs_per_s", "fidelity", "fidelity_low", "overlap_at_10")
        curves = {f"{row['variant']}/{name}": [(0, row[name])] for row in rows for name in measures}
        return _Shown(curves, {"speed_against_fidelity.svg": picture(), "report.html": report.text("report.html")})

    _show(report, report.facts["chosen"], shown)


def _show(artifact: Artifact, facts: Mapping[str, Any], shown: Callable[[], _Shown]) -> None:
    if not settings().mlflow_uri:
        return
    try:
        client = connected()
        with translated_errors(settings().mlflow_uri):
            place = experiment_id(client)
            if not client.search_runs([place], f"tags.artifact = '{artifact.id}'", max_results=1):
                _write_run(client, place, artifact, facts, shown())
    except (InputError, TryAgain) as error:
        log().warning("MLflow does not show this run; the same command again shows it", problem=str(error))


def _write_run(client: Any, place: str, artifact: Artifact, facts: Mapping[str, Any], shown: _Shown) -> None:
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

    recipe, stamp = artifact.manifest.recipe, int(1000 * time.time())
    run = client.create_run(place, run_name=f"{recipe.step} {artifact.id[:8]}").info.run_id
    numbers = {**facts, **artifact.manifest.cost}
    points = {name: [(0, value)] for name, value in numbers.items() if isinstance(value, int | float)} | dict(shown.curves)
    semantic = {**recipe.params, **{f"tuning.{name}": value for name, value in artifact.manifest.tuning.items()}}
    words = {"store": artifact.store.uri, "step": recipe.step, "sentence": facts["sentence"], **recipe.inputs}
    client.log_batch(
        run,
        [Metric(name, float(value), stamp, int(step)) for name, rows in points.items() for step, value in rows],
        [Param(name, str(value)) for name, value in semantic.items()],
        [RunTag(name, value) for name, value in words.items()],
    )
    for name, text in shown.files.items():
        client.log_text(run, text, name)
    if shown.licence is not None:
        model = _write_model(client, place, run, artifact, shown.licence)
        client.log_outputs(run, [LoggedModelOutput(model, 0)])
    client.set_tag(run, "artifact", artifact.id)  # last: a run that was cut off is made again
    client.set_terminated(run)


def _write_model(client: Any, place: str, run: str, artifact: Artifact, licence: str) -> str:
    """Make a model in MLflow that loads the artifact from the store; its id."""
    tags = {"licence": licence or "unknown", "artifact": artifact.id, "store": artifact.store.uri}
    model = client.create_logged_model(place, name=f"{artifact.kind}-{artifact.id}", source_run_id=run, tags=tags)
    with tempfile.TemporaryDirectory(prefix="ratchet-mlflow-") as folder:
        _save_pyfunc(Path(folder), artifact, tags)
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _save_pyfunc(folder: Path, artifact: Artifact, metadata: dict[str, str]) -> None:
    """Write MLmodel and what it names: the store and the artifact, no code and no pickle."""
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model

    named = {"store": artifact.store.uri, "s3_endpoint": artifact.store.endpoint, "kind": artifact.kind, "id": artifact.id}
    (folder / pyfunc.FILE).write_text(json.dumps(named, indent=1), encoding="utf-8")
    model = Model(signature=_signature(artifact), metadata=metadata)
    add_to_model(model, loader_module=pyfunc.__name__, data=pyfunc.FILE)
    model.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text("ratchet[steps,cpu]\n", encoding="utf-8")


def _signature(artifact: Artifact) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    if artifact.kind == "encoder":
        vectors = TensorSpec(np.dtype("float32"), (-1, artifact.facts["dimensions"]), "vectors")
        return ModelSignature(Schema([ColSpec("string", "text")]), Schema([vectors]))
    pair = [ColSpec("string", "query"), ColSpec("string", "document")]
    return ModelSignature(Schema(pair), Schema([ColSpec("float", "score")]))
