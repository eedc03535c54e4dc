"""What the runs of this store's releases in MLflow hold, and its erasure: files are deleted, tags and descriptions replaced."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.projections.mlflow import Registry, translated_errors
from pipelines.settings import settings
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

    Raises:
        TryAgain: MLflow does not answer.
    """
    for _, act in list(_places(store, holds)):
        with translated_errors(settings().mlflow_uri):
            act()


def _places(store: Store, holds: Callable[[bytes], bool]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if not settings().mlflow_uri:
        return
    registry = Registry(store)
    with translated_errors(registry.uri):
        for version in registry.client.search_model_versions(f"name='{registry.model}'"):
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

    client = registry.client
    run = client.get_run(run_id)
    for key, value in run.data.tags.items():
        if holds(str(value).encode()):
            yield f"tag {key} of its run", partial(client.set_tag, run_id, key, ERASED)
    if any(holds(str(value).encode()) for value in run.data.params.values()):  # params can't be changed
        yield "a param of its run", partial(client.delete_run, run_id)
    files = get_artifact_repository(run.info.artifact_uri, tracking_uri=registry.uri)
    with TemporaryDirectory(prefix="ratchet-mlflow-") as folder:
        for path in _files(client, run_id, ""):
            if holds(Path(client.download_artifacts(run_id, path, folder)).read_bytes()):
                yield f"file {path}", partial(files.delete_artifacts, path)


def _files(client: Any, run_id: str, folder: str) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder or None):
        yield from _files(client, run_id, entry.path) if entry.is_dir else [entry.path]
