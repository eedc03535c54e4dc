"""Garbage collection: what no release needs any more, and its removal beside commits that run at the same time.

Live are the releases that the journal routes to or routed to within the retention time, the last three champions, the one that
a rollback returns to and the anchor, their verdicts, the certificates of erasures, every artifact younger than the retention
time, and the inputs of all of these.

The newest audit and the newest drill stay, too: each holds what the ones before it said. Of what is taken away the recipe
stays (`closure.py`), so that it can be named and made again.

Garbage is moved to `trash/<second>/` first; a later run deletes it from there. A commit checks, after it has written its
manifest, that its files are there, and stores again what is missing. A run of gc checks, after it has moved files, whether a
manifest written meanwhile names one of them, and moves that back. Whichever checks last sees the other's work, so no order of
the two loses a file.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.closure import RECIPES, keep_recipe
from pipelines.store.journal import Journal
from pipelines.store.objects import Listed, Store
from pipelines.store.recipes import KINDS, Manifest, blob_path
from pipelines.store.releases import anchor_id

TRASH = "trash"
CHAMPIONS = 3
RECORDS = ("audit", "drill")
"""Steps whose newest report stays, since it holds what the ones before it said."""
NOTES = ("checkpoints", "results")
"""Folders of files that no manifest names: checkpoints, and results of tasks."""
COUNTS = "counts"
"""What servers counted of deployments, by entry of the journal. Reports have the numbers that decided."""
OTHER_FOLDERS = (*NOTES, COUNTS, TRASH, RECIPES, "access", "blobs", "events", "journal", "lineage")
"""Folders of the store that hold no artifacts."""


@dataclass
class Garbage:
    """What may be removed: artifacts, files that no live artifact names, trash, and notes: old checkpoints, results, counts."""

    artifacts: list[Artifact] = field(default_factory=list)
    files: list[Listed] = field(default_factory=list)
    notes: list[Listed] = field(default_factory=list)
    trash: list[Listed] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in [*self.files, *self.notes])


def artifacts(store: Store) -> dict[str, Artifact]:
    """Every artifact by its id.

    Raises:
        CorruptArtifact: a manifest can't be read, so the files that it names are unknown and nothing is removed.
        InputError: the store has artifacts of a kind that this version does not know, whose files would count as garbage.
    """
    unknown = [kind for kind in store.names("") if kind not in (*KINDS, *OTHER_FOLDERS) and _has_manifests(store, kind)]
    if unknown:
        raise InputError(
            f"artifacts of kind {', '.join(unknown)} in {store.uri}, written by a newer version",
            f"kinds of this version: {', '.join(KINDS)}",
            "upgrade, then run gc again",
        )
    return {name: load_exactly(store, kind, name) for kind in KINDS for name in committed(store, kind)}


def _has_manifests(store: Store, folder: str) -> bool:
    return any(store.size(f"{folder}/{name}/manifest.json") is not None for name in store.names(f"{folder}/"))


def live(known: dict[str, Artifact], journal: Journal, since: float) -> set[str]:
    """The ids that must stay.

    Args:
        since: seconds since 1970; what is younger stays.
    """
    roots = {*_last(journal.champions()), journal.routing.challenger, journal.previous_champion(), anchor_id(journal)}
    for entry in journal.entries:
        if seconds(entry.at) >= since:
            roots |= {entry.to, entry.from_, entry.verdict, entry.routing.champion, entry.routing.challenger}
    roots |= {entry.verdict for entry in journal.entries if entry.to in roots or entry.action == "erase"}
    roots |= {newest(artifact for artifact in known.values() if artifact.manifest.recipe.step == step) for step in RECORDS}
    young = {name for name, artifact in known.items() if seconds(str(artifact.manifest.provenance["at"])) >= since}
    return _closure(known, {root for root in roots if root} | young)


def newest(artifacts: Iterable[Artifact]) -> str | None:
    """The id of the artifact that was made last; None: there is none."""
    return max(((str(one.manifest.provenance["at"]), one.id) for one in artifacts), default=("", None))[1]


def _last(champions: list[str]) -> list[str]:
    """The last three different champions, the present one first."""
    return list(dict.fromkeys(reversed(champions)))[:CHAMPIONS]


def _closure(known: dict[str, Artifact], roots: set[str]) -> set[str]:
    """The roots that are artifacts, and the inputs of all of them, transitively."""
    closure: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in known and name not in closure:
            closure.add(name)
            waiting += known[name].inputs.values()
    return closure


def seconds(at: str) -> float:
    """A time of a manifest or a journal entry in seconds since 1970.

    >>> seconds("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(at).timestamp()


def garbage(store: Store, since: float, grace_s: float) -> Garbage:
    """What may be removed now.

    Args:
        since: seconds since 1970; what is younger stays.
        grace_s: seconds for which files that no artifact names are kept, since a commit may be under way, and the trash.
    """
    known, journal = artifacts(store), Journal(store)
    stay = live(known, journal, since)
    counted = [file for file in store.listed(f"{COUNTS}/") if file.path < f"{COUNTS}/{_last_split(journal):08d}"]
    notes = [file for folder in NOTES for file in store.listed(f"{folder}/")]
    named = _blobs_of(artifact for name, artifact in known.items() if name in stay)
    grace_began = time.time() - grace_s
    return Garbage(
        artifacts=[artifact for name, artifact in known.items() if name not in stay],
        files=[file for file in store.listed("blobs/") if file.path not in named and file.written < grace_began],
        notes=[file for file in [*notes, *counted] if file.written < since],
        trash=[file for file in store.listed(f"{TRASH}/") if int(file.path.split("/")[1]) < grace_began],
    )


def _last_split(journal: Journal) -> int:
    """The number of the entry with which the youngest split began: counts from there on are evidence, or still grow."""
    names = [entry.routing.split.name for entry in journal.entries if entry.routing.split]
    began = (entry.n for entry in journal.entries if entry.routing.split and entry.routing.split.name == names[-1])
    return next(began, len(journal.entries) + 1)


def sweep(store: Store, unneeded: Garbage) -> list[str]:
    """Delete the old trash and move the garbage there; returns the files that were moved back, since a manifest names them."""
    returned = put_back(store)
    for file in [*unneeded.trash, *unneeded.notes]:
        store.delete(file.path)
    place = f"{TRASH}/{int(time.time())}"
    for artifact in unneeded.artifacts:  # first, so that no manifest ever names what is gone
        path = f"{artifact.kind}/{artifact.id}/manifest.json"
        keep_recipe(artifact)
        store.move(path, f"{place}/{path}")
    for file in unneeded.files:
        store.move(file.path, f"{place}/{file.path}")
    return returned + put_back(store)


def put_back(store: Store) -> list[str]:
    """Move files that an artifact names and the store lacks out of the trash; returns their paths."""
    trashed = {file.path.split("/", 2)[2]: file.path for file in store.listed(f"{TRASH}/") if "/blobs/" in file.path}
    missing = [path for path in _blobs_of(artifacts(store).values()) if path in trashed and store.size(path) is None]
    for path in missing:
        store.move(trashed[path], path)
    return missing


def _blobs_of(artifacts: Iterable[Artifact]) -> set[str]:
    return {blob_path(entry) for artifact in artifacts for entry in artifact.manifest.files.values()}


def files_of(manifest: bytes) -> set[str]:
    """The paths of the files that a manifest names, wherever it lies; none where it is torn."""
    try:
        return {blob_path(entry) for entry in Manifest.model_validate_json(manifest).files.values()}
    except ValidationError:
        return set()


def counts_by_kind(artifacts: Iterable[Artifact]) -> Iterator[str]:
    """How many artifacts there are of each kind, as text: `3 shard`."""
    counted: dict[str, int] = {}
    for artifact in artifacts:
        counted[artifact.kind] = counted.get(artifact.kind, 0) + 1
    yield from (f"{count} {kind}" for kind, count in sorted(counted.items()))
