"""restore: what served at a time serves again, or what of it is gone is named."""

import time
from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.store.journal import Journal, moment
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.store.closure import Closure

VERSION = 1


class RestoreParams(Params):
    at: str = Field(description="A time such as 2026-11-23T14:00 (UTC unless it says otherwise): what served then serves again")
    why: str = Field("", description="Reason for the journal; empty: the time")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait until the server follows")


class RestoreResult(Result):
    release: str
    entry: int
    left: str
    waited_s: float
    note: str


def restore(params: RestoreParams) -> RestoreResult:
    """Make the champion of a time, or its successor after an erasure, champion again; name what is gone, and how it is made."""
    from pipelines.deployment.going_back import go_back, wait_for_server, warn_superseded
    from pipelines.deployment.resume import rollback_start
    from pipelines.projections.mlflow import project

    started = time.monotonic()
    journal = Journal(open_store())
    then = journal.at(moment("--at", params.at))
    served = _champion(then, params.at)
    release, told = _standing(journal, served, params.at)
    case, entry = rollback_start(journal, release)
    if entry is None:
        if release == journal.routing.champion:
            raise NothingToDo(f"{told}, serves now")
        _check_whole(journal, release)
        why = params.why or f"restored: what served at {params.at}"
        entry = go_back(journal, release, why if release == served else f"{why} ({told})", params.who)
    try:
        if case == "superseded":
            warn_superseded(journal, entry)
        else:
            wait_for_server(entry, params.wait_s)
        waited_s = round(time.monotonic() - started, 3)
    finally:
        project(journal.store, journal)
    return RestoreResult(
        release=entry.to,
        entry=entry.n,
        left=entry.from_ or "",
        waited_s=waited_s,
        note=f"RESTORED: {told}",
    )


def _champion(then: Journal, at: str) -> str:
    if then.routing.champion is None:
        first = "nothing had been deployed" if then.entries else "the journal had no entry"
        raise InputError(f"--at {at}, when {first}", "a time at which a release served", "look at `history`")
    return then.routing.champion


def _standing(journal: Journal, served: str, at: str) -> tuple[str, str]:
    """The release to restore, and what it is in words: what served, or the successor of it where an erasure took it away.

    Raises:
        InputError: it held what was erased since, and none took its place. It is gone for good, whatever its recipes say.
    """
    from pipelines.store.erasures import Erasures

    release = Erasures(journal).successor(served)
    if release == served:
        return release, f"release {release}, which served at {at}"
    erasure = journal.latest("erase", to=served)
    assert erasure is not None
    taken = f"which entry {erasure.n} by {erasure.who} took away"
    if release:
        place = f"in place of release {served}, which served at {at} and {taken} ({erasure.why})"
        return release, f"release {release}, {place}"
    raise InputError(
        f"release {served}, {taken}: {erasure.why}",
        "a release that holds nothing which was erased since, or a successor that took its place",
        "replay erasures with `python -m pipelines erase`, and release the corpus that it leaves; or restore a later time",
    )


def _check_whole(journal: Journal, release: str) -> None:
    """Refuse a release of which a part is gone, and say how each part was made."""
    from pipelines.store.closure import closure, told

    whole: Closure = closure(journal.store, {"release": release})
    if whole.gone:
        recipes = [told(journal.store, role, name) for name, role in whole.gone.items()]
        for recipe in recipes:
            log().warning("gone", recipe=recipe)
        raise InputError(
            f"release {release}, of which is gone: {'; '.join(recipes)}",
            "a release that is whole",
            "run these steps again in this order, or restore the files from a backup",
        )
