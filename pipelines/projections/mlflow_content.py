"""What the runs of this store's releases in MLflow hold, and its erasure: files are deleted, tags and descriptions replaced.

Params can't be changed, nor anything of a deleted run: it stays until `mlflow gc` deletes the run for good.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.projections.mlflow import MISSING, Registry, is_own, translated_errors
from pipelines.settings import settings
from pipelines.store.journal import Journal
from pipelines.store.objects import Store

ERASED = "erased"


def found(store: Store, holds: Callable[[bytes], bool]) -> list[str]:
    """Where MLflow holds something, as `version N: file NAME`; empty, too, where the settings name no MLflow.

    Args:
        store: whose releases are looked at.
        holds: whether some bytes hold it.

    Raises:
        TryAgain: MLflow does not answer.
    """
    return [place for place, _ in _places(store, holds)]


def erase(store: Store, holds: Callable[[bytes], bool]) -> None:
    """Erase what `found` finds. A file is deleted at once; MLflow keeps no earlier version of files, tags and descriptions.

    A run with a param that holds it is only marked as deleted, and is found until `mlflow gc` has deleted it.

    Raises:
        TryAgain: MLflow does not answer.
    """
    for _, act in list(_places(store, holds)):
        with translated_errors(settings().mlflow_uri):
            act()


def _places(store: Store, holds: Callable[[bytes], bool]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if not settings().mlflow_uri:
        return
    registry, journal = Registry(store), Journal(store)
    promoted = {entry.to for entry in journal.entries}
    with translated_errors(registry.uri):
        versions = registry.client.search_model_versions(f"name='{registry.model}'")
        for version in (one for one in versions if is_own(one.tags, journal.identity, promoted)):
            for place, act in (*_of_version(registry, version, holds), *_of_run(registry, version.run_id, holds)):
                yield f"version {version.version}: {place}", act


def _of_version(registry: Registry, version: Any, holds: Callable[[bytes], bool]) -> Iterator[tuple[str, Callable[[], Any]]]:
    client, name, number = registry.client, registry.model, version.version
    if holds((version.description or "").encode()):
        yield "description", partial(client.update_model_version, name, number, ERASED)
    for key, value in version.tags.items():
        if holds(str(value).encode()):
            yield f"tag {key}", partial(client.set_model_version_tag, name, number, key, ERASED)


def _of_run(registry: Registry, run_id: str, holds: Callable[[bytes], bool]) -> Iterator[tuple[str, Callable[[], Any]]]:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, run = registry.client, _run(registry, run_id)
    if run is None:
        return
    delete, deleted = partial(client.delete_run, run_id), run.info.lifecycle_stage == "deleted"
    for_good = f"only `mlflow gc --run-ids {run_id}` deletes for good"
    for key, value in run.data.tags.items():
        if holds(str(value).encode()):
            place = f"tag {key} of its run"
            yield (f"{place}, which {for_good}", delete) if deleted else (place, partial(client.set_tag, run_id, key, ERASED))
    if any(holds(str(value).encode()) for value in run.data.params.values()):
        yield f"a param of its run, which {for_good}", delete
    files = get_artifact_repository(run.info.artifact_uri, tracking_uri=registry.uri)
    with TemporaryDirectory(prefix="ratchet-mlflow-") as folder:
        for path in _files(client, run_id, ""):
            if holds(Path(client.download_artifacts(run_id, path, folder)).read_bytes()):
                yield f"file {path}", partial(files.delete_artifacts, path)


def _run(registry: Registry, run_id: str | None) -> Any:
    """The run; None where a version has none, or `mlflow gc` has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        return registry.client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code == MISSING:
            return None
        raise


def _files(client: Any, run_id: str, folder: str) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder or None):
        yield from _files(client, run_id, entry.path) if entry.is_dir else [entry.path]
