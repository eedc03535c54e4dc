"""Artifacts: immutable, named by their recipe; one exists once its manifest is written.

`<store>/<kind>/<id>/manifest.json` names files that lie under `<store>/blobs/<sha256>`.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.errors import CorruptArtifact, InputError, NewerVersion, is_newer
from pipelines.logs import log
from pipelines.store import lineage
from pipelines.store.objects import Store
from pipelines.store.provenance import Meter, provenance
from pipelines.store.recipes import Kind, Manifest, Recipe, blob_path

MIN_PREFIX = 4


@dataclass(frozen=True)
class Artifact:
    """A committed artifact. `found`: it was there before, so that nothing was computed."""

    store: Store = field(repr=False)
    manifest: Manifest
    found: bool = False

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def kind(self) -> str:
        return self.manifest.recipe.kind

    @property
    def inputs(self) -> dict[str, str]:
        return self.manifest.recipe.inputs

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest.facts

    @cached_property
    def uri(self) -> str:
        return f"{self.store.uri}/{self.kind}/{self.id}"

    def path(self, name: str) -> Path:
        """A local path to the verified file `name`.

        Raises:
            InputError: the artifact has no such file.
            CorruptArtifact: the stored bytes differ from the manifest.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise InputError(
                f"file {name!r} of {self.kind} {self.id}", f"one of {', '.join(self.manifest.files)}", "name one of these"
            )
        return self.store.fetch(f"{self.kind}/{self.id}/{name}", entry)

    def check_files(self) -> None:
        """Check that all files are there and have their size, without reading them.

        Raises:
            CorruptArtifact: a file is missing or has another size.
        """
        for name, entry in self.manifest.files.items():
            if self.store.size(blob_path(entry)) != entry.bytes:
                raise self.store.corrupt(f"{self.kind}/{self.id}/{name}", entry)

    def text(self, name: str) -> str:
        """The verified file `name` as text."""
        return self.path(name).read_text(encoding="utf-8")

    def json(self, name: str) -> Any:
        """The verified JSON file `name`."""
        return json.loads(self.text(name))


def find(store: Store, kind: Kind, artifact_id: str) -> Artifact | None:
    """The committed artifact, None if there is none.

    Raises:
        CorruptArtifact: the manifest is torn, or says another recipe than its id.
        NewerVersion: it has a field or a kind that this version does not know.
    """
    path = f"{kind}/{artifact_id}/manifest.json"
    try:
        body = store.read(path)
    except FileNotFoundError:
        return None
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        if is_newer(error, {"kind", "layout"}):
            raise NewerVersion(f"{store.uri}/{path}", error) from None
        raise _corrupt_manifest(store, path, error.errors()[0]["msg"]) from None
    if manifest.id != artifact_id or manifest.recipe.id != artifact_id or manifest.recipe.kind != kind:
        raise _corrupt_manifest(store, path, f"it describes {manifest.recipe.kind} {manifest.recipe.id}")
    return Artifact(store, manifest, found=True)


def _corrupt_manifest(store: Store, path: str, reason: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{store.uri}/{path}: {reason}", "the manifest that Ratchet wrote", "restore it, or delete it and run the step again"
    )


def committed(store: Store, kind: Kind, prefix: str = "") -> list[str]:
    """The ids of a kind that begin with `prefix`, sorted. A folder without a manifest is no artifact: its writer was killed."""
    names = [name for name in store.names(f"{kind}/") if name.startswith(prefix)]
    return [name for name in names if store.size(f"{kind}/{name}/manifest.json") is not None]


def readable(store: Store, kind: Kind) -> tuple[list[Artifact], list[str]]:
    """The artifacts of a kind, newest first, and a message for each that can't be read."""
    artifacts: list[Artifact] = []
    damaged: list[str] = []
    for name in committed(store, kind):
        try:
            artifact = find(store, kind, name)
        except CorruptArtifact as error:
            damaged.append(str(error))
        else:
            artifacts += [artifact] if artifact else []
    return sorted(artifacts, key=lambda one: (str(one.manifest.provenance.get("at")), one.id), reverse=True), damaged


def load(store: Store, kind: Kind, artifact_id: str) -> Artifact:
    """The committed artifact whose id is, or begins with, `artifact_id` (4 digits or more).

    Raises:
        InputError: none or several do.
    """
    exact = find(store, kind, artifact_id) if artifact_id.isalnum() else None
    if exact is not None:
        return exact
    ids = committed(store, kind, artifact_id) if len(artifact_id) >= MIN_PREFIX else []
    if len(ids) != 1:
        raise InputError(
            f"{kind} {artifact_id!r}, which {f'{len(ids)} ids begin with' if ids else 'is not in ' + store.uri}",
            f"the id of one {kind}",
            "run `python -m pipelines history`, or the step that makes it",
        )
    return load_exactly(store, kind, ids[0])


def report_of(store: Store, option: str, report: str) -> Artifact:
    """The report that an option of a step names, which must be of the step that makes such a choice.

    Args:
        store: that has it.
        option: such as `stages`, whose reports are of `choose_stages`.
        report: its id, or the first digits of it.

    Raises:
        InputError: there is none, or it is of another step.
    """
    chosen, step = load(store, "report", report), f"choose_{option}"
    if chosen.manifest.recipe.step != step:
        raise InputError(
            f"--{option} {chosen.id}, a report of {chosen.manifest.recipe.step}", f"one of {step}", "pass its report"
        )
    return chosen


def load_exactly(store: Store, kind: Kind, artifact_id: str) -> Artifact:
    """The committed artifact with this id.

    Raises:
        InputError: there is none.
    """
    artifact = find(store, kind, artifact_id)
    if artifact is None:
        raise InputError(f"{kind} {artifact_id}", f"an artifact in {store.uri}", "run the step that makes it")
    return artifact


def produce(
    store: Store, recipe: Recipe, build: Callable[[Path], dict[str, Any]], tuning: dict[str, Any] | None = None
) -> Artifact:
    """The artifact of `recipe`: found if it was made before, else made by `build` and committed.

    `build` writes files into the folder it is given and returns facts (numbers, names) for the manifest.
    The artifact appears all at once; when two runs race, the first manifest wins and the other run's is discarded.
    """
    done = find(store, recipe.kind, recipe.id)
    if done is not None:
        log().info("found", kind=recipe.kind, id=recipe.id)
        return done
    meter = Meter()
    with tempfile.TemporaryDirectory(prefix=f"ratchet-{recipe.kind}-") as folder:
        facts = build(Path(folder))
        written = {str(path.relative_to(folder)): path for path in sorted(Path(folder).rglob("*")) if path.is_file()}
        files = {name: store.keep(path) for name, path in written.items()}
        manifest = Manifest(
            id=recipe.id,
            recipe=recipe,
            files=files,
            facts=facts,
            tuning=tuning or {},
            provenance=provenance(meter.began),
            cost=meter.read(),
        )
        artifact = _commit(store, manifest)
        for name, path in written.items():  # gc may have moved it before the manifest named it
            if artifact.manifest == manifest and store.size(blob_path(files[name])) is None:
                store.keep(path)
    return artifact


def _commit(store: Store, manifest: Manifest) -> Artifact:
    kind = manifest.recipe.kind
    if store.create(f"{kind}/{manifest.id}/manifest.json", manifest.model_dump_json(indent=1).encode()):
        log().info("committed", kind=kind, id=manifest.id, files=len(manifest.files), **manifest.cost)
        lineage.emit(store, manifest)
        return Artifact(store, manifest)
    winner = load_exactly(store, kind, manifest.id)
    differing = sorted(
        name
        for name in manifest.files.keys() | winner.manifest.files.keys()
        if manifest.files.get(name) != winner.manifest.files.get(name)
    )
    write_log = log().warning if differing else log().info
    write_log("lost the race: another run committed first, its files are kept", kind=kind, id=manifest.id, differing=differing)
    return winner
