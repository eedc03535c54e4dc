"""All verdicts of a store, as far as they can be read."""

from pipelines.artifacts import Artifact, Store, committed, find
from pipelines.errors import CorruptArtifact


def read_verdicts(store: Store) -> tuple[list[Artifact], list[str]]:
    """The verdicts, newest first, and what is wrong with each that can't be read: one damaged hides no other."""
    sound: list[Artifact] = []
    damaged: list[str] = []
    for name in committed(store, "verdict"):
        try:
            found = find(store, "verdict", name)
        except CorruptArtifact as error:
            damaged.append(str(error))
        else:
            sound += [found] if found else []
    return sorted(sound, key=lambda one: (str(one.manifest.provenance.get("at")), one.id), reverse=True), damaged
