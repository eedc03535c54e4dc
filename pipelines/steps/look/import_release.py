"""import_release: a bundle's artifacts go into the store, under the ids that they had."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, find
from pipelines.store.objects import Store, open_store

VERSION = 1


class ImportReleaseParams(Params):
    file: str = Field(description="A bundle that `export_release` wrote")


class ImportReleaseResult(Result):
    release: str
    artifacts: int
    added: int
    """Those that the store did not have."""
    sentence: str


def import_release(params: ImportReleaseParams) -> ImportReleaseResult:
    """Put a bundle's artifacts into the store; its journal stays outside, since each store has its own."""
    from pipelines.store.bundle import unpack
    from pipelines.store.gc import artifacts

    store = open_store()
    with TemporaryDirectory(prefix="ratchet-import-") as scratch:
        folder, release = unpack(Path(params.file), Path(scratch))
        bundle = Store(folder.as_uri())
        known = artifacts(bundle)
        for artifact in known.values():  # all are checked before the first goes anywhere
            for name in artifact.manifest.files:
                artifact.path(name)
        added = sum(_copy(artifact, store) for artifact in known.values())
    sentence = f"release {release} with {len(known)} artifacts is in {store.uri}, {added} of them new"
    log().info(sentence, next=f"python -m pipelines verify {release}")
    return ImportReleaseResult(release=release, artifacts=len(known), added=added, sentence=sentence)


def _copy(artifact: Artifact, store: Store) -> bool:
    """Put an artifact into the store, files first; False: it is there already and stays as it is."""
    if find(store, artifact.kind, artifact.id) is not None:
        return False
    for name in artifact.manifest.files:
        store.keep(artifact.path(name))
    path = f"{artifact.kind}/{artifact.id}/manifest.json"
    return store.create(path, artifact.store.read(path))
