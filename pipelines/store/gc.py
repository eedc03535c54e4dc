"""What the store no longer needs, and how it goes so that no commit at the same time can lose anything.

Live are the releases that the journal routes to or routed to within the retention time, the last three champions and the one
a rollback returns to, their verdicts, every artifact younger than the retention time, and all that these were made from.

Garbage is moved to `trash/<second>/` first; a later run deletes it from there. A commit looks, after its manifest is there,
whether its files are, and stores again what is missing; a run of gc looks, after it has moved, whether a manifest that came
meanwhile names what it moved, and moves that back. Whichever looks last sees the other, so no order of the two loses a file.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, committed, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Listed, Store
from pipelines.store.recipes import KINDS, blob_path

TRASH = "trash"
CHAMPIONS = 3
NOTES = ("checkpoints", "results")
"""Folders of what no manifest names: notes between tries."""
ROOMS = (*NOTES, TRASH, "blobs", "journal", "lineage")
"""Folders of the store that hold no artifacts."""


@dataclass
class Garbage:
    """What may go: artifacts, files that no other artifact names, stale notes, and what is in the trash since the last run."""

    artifacts: list[Artifact] = field(default_factory=list)
    files: list[Listed] = field(default_factory=list)
    notes: list[Listed] = field(default_factory=list)
    trash: list[Listed] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in [*self.files, *self.notes])


def artifacts(store: Store) -> dict[str, Artifact]:
    """Every artifact by its id.

    Raises:
        CorruptArtifact: a manifest can't be read, so nobody knows what it names; nothing may go then.
        InputError: the store has artifacts of a kind that this version does not know, whose files would be taken for garbage.
    """
    unknown = [kind for kind in store.names("") if kind not in (*KINDS, *ROOMS) and _has_manifests(store, kind)]
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
    roots = {*_last(journal.champions()), journal.routing.challenger, journal.previous_champion()}
    for entry in journal.entries:
        if seconds(entry.at) >= since:
            roots |= {entry.to, entry.from_, entry.verdict, entry.routing.champion, entry.routing.challenger}
    roots |= {entry.verdict for entry in journal.entries if entry.to in roots}
    young = {name for name, artifact in known.items() if seconds(str(artifact.manifest.provenance["at"])) >= since}
    return _closure(known, {root for root in roots if root} | young)


def _last(champions: list[str]) -> list[str]:
    """The last three different ones, of whom the present one is first."""
    return list(dict.fromkeys(reversed(champions)))[:CHAMPIONS]


def _closure(known: dict[str, Artifact], roots: set[str]) -> set[str]:
    """The roots that are artifacts, and all that they were made from."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found.add(name)
            waiting += known[name].inputs.values()
    return found


def seconds(at: str) -> float:
    """A time of a manifest or a journal entry in seconds since 1970.

    >>> seconds("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(at).timestamp()


def garbage(store: Store, since: float, grace_s: float) -> Garbage:
    """What may go now.

    Args:
        since: seconds since 1970; what is younger stays.
        grace_s: a file that no artifact names may be that of a commit under way for so long, and trash is kept so long.
    """
    known = artifacts(store)
    stay = live(known, Journal(store), since)
    named = _named(artifact for name, artifact in known.items() if name in stay)
    settled = time.time() - grace_s
    return Garbage(
        artifacts=[artifact for name, artifact in known.items() if name not in stay],
        files=[one for one in store.listed("blobs/") if one.path not in named and one.written < settled],
        notes=[one for room in NOTES for one in store.listed(f"{room}/") if one.written < since],
        trash=[one for one in store.listed(f"{TRASH}/") if int(one.path.split("/")[1]) < settled],
    )


def sweep(store: Store, found: Garbage) -> list[str]:
    """Take garbage away: empty the old trash, move the rest there; the files that were moved back, since they are named."""
    returned = put_back(store)
    for one in [*found.trash, *found.notes]:
        store.delete(one.path)
    place = f"{TRASH}/{int(time.time())}"
    for artifact in found.artifacts:  # first, so that no manifest ever names what is gone
        path = f"{artifact.kind}/{artifact.id}/manifest.json"
        store.move(path, f"{place}/{path}")
    for one in found.files:
        store.move(one.path, f"{place}/{one.path}")
    return returned + put_back(store)


def put_back(store: Store) -> list[str]:
    """Move files out of the trash that an artifact names and the store lacks; which."""
    trashed = {one.path.split("/", 2)[2]: one.path for one in store.listed(f"{TRASH}/") if "/blobs/" in one.path}
    missing = [path for path in _named(artifacts(store).values()) if path in trashed and store.size(path) is None]
    for path in missing:
        store.move(trashed[path], path)
    return missing


def _named(those: Iterable[Artifact]) -> set[str]:
    return {blob_path(entry) for artifact in those for entry in artifact.manifest.files.values()}


def kinds(those: Iterable[Artifact]) -> Iterator[str]:
    """How many of each kind, as words: `3 shard`."""
    counted: dict[str, int] = {}
    for artifact in those:
        counted[artifact.kind] = counted.get(artifact.kind, 0) + 1
    yield from (f"{count} {kind}" for kind, count in sorted(counted.items()))
