"""Releases by what people call them: champion, challenger, an id, or the first digits of an id."""

from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, find, load, load_exactly
from pipelines.store.journal import Journal


def resolve(journal: Journal, release: str) -> Artifact:
    """The release that the journal routes to under a role, or whose id is, or begins with, `release`.

    Args:
        journal: the routing, and by its store the releases.
        release: `champion`, `challenger`, an id, or its first digits (4 or more).

    Raises:
        InputError: no release has that role yet, or there is no such release.
    """
    routing = journal.routing.model_dump()
    if release not in routing:
        return load(journal.store, "release", release)
    if routing[release] is None:
        raise InputError(
            release, f"a {release}, and there is none yet", "run `python -m pipelines history`, or pass a release id"
        )
    return load_exactly(journal.store, "release", routing[release])


def champion_release(journal: Journal, *, missing_ok: bool = False) -> Artifact | None:
    """The champion's release; None before the first deployment.

    Args:
        journal: the routing, and by its store the releases.
        missing_ok: whether a release that is no longer in the store is None, too, rather than an error.

    Raises:
        InputError: the release is no longer in the store, unless `missing_ok`.
    """
    champion = journal.routing.champion
    if champion is None:
        return None
    return (find if missing_ok else load_exactly)(journal.store, "release", champion)
