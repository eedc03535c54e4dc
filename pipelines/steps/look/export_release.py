"""export_release: a release with its evidence and the journal becomes one file that serves and verifies without the store."""

import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact
from pipelines.store.erasures import Erasures
from pipelines.store.journal import Journal, entry_path
from pipelines.store.objects import open_store
from pipelines.store.provenance import UTC
from pipelines.store.recipes import blob_path
from pipelines.store.releases import resolve

VERSION = 1


class ExportReleaseParams(Params):
    release: str = Field("champion", description="Release id, its first digits, or: champion, challenger")
    file: str = Field("", description="File to write; empty: release-ID.bundle here")


class ExportReleaseResult(Result):
    release: str
    verdict: str
    """The one that it was promoted on; empty: none, and the bundle has no evidence."""
    file: str
    bytes: int
    artifacts: int
    sentence: str


def export_release(params: ExportReleaseParams) -> ExportReleaseResult:
    """Write a release, its verdict, all that both were made from, certificates of erasures and the journal into one file."""
    from pipelines.store.bundle import BundleCard, write_bundle
    from pipelines.store.closure import closure

    journal = Journal(open_store())
    release = resolve(journal, params.release)
    promotion = journal.latest("promote", to=release.id)
    verdict = (promotion.verdict if promotion else None) or ""
    certificates = {f"certificate {n}": one.id for n, one in enumerate(Erasures(journal).certificates())}
    made = closure(journal.store, {"release": release.id, "verdict": verdict, **certificates})
    if release.id not in made.artifacts or {*release.inputs.values()} & set(made.gone):
        raise InputError(f"release {release.id}, of which parts are missing", "a whole release", "run `verify` for the first")
    target = Path(params.file or f"release-{release.id[:8]}.bundle")
    if target.exists():
        raise InputError(f"--file {target}, which is there already", "a name that is free", "pass another, or remove it")
    artifacts = list(made.artifacts.values())
    card = BundleCard(
        release=release.id,
        made_at=time.strftime(UTC, time.gmtime()),
        made_by=settings().who,
        journal=journal.identity,
        members=[path for path, _ in _members(journal, artifacts, read=False)],
    )
    size = write_bundle(target, card, _members(journal, artifacts))
    sentence = f"{target} has release {release.id} with {len(artifacts)} artifacts: {size / 1e6:,.1f} MB"
    log().info(sentence, next=f"RATCHET_STORE=bundle://{target.absolute()} serves and verifies it")
    return ExportReleaseResult(
        release=release.id, verdict=verdict, file=str(target), bytes=size, artifacts=len(artifacts), sentence=sentence
    )


def _members(journal: Journal, artifacts: list[Artifact], read: bool = True) -> Iterator[tuple[str, Path | bytes]]:
    """The objects of a bundle, in its order: the journal, manifests, files. Files are read one by one, and checked.

    Args:
        journal: all its entries.
        artifacts: whose manifests and files.
        read: whether their content is given; else it is empty.
    """
    manifests = [f"{artifact.kind}/{artifact.id}/manifest.json" for artifact in artifacts]
    for path in [*(entry_path(entry.n) for entry in journal.entries), *manifests]:
        yield path, journal.store.read(path) if read else b""
    kept: set[str] = set()
    for artifact in artifacts:
        for name, entry in artifact.manifest.files.items():
            path = blob_path(entry)
            if path not in kept:
                kept.add(path)
                yield path, artifact.path(name) if read else b""
