"""rollback: the previous champion serves again, by one journal entry."""

import time

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.journal import Entry, Journal, Routing
from pipelines.store.objects import open_store

VERSION = 1


class RollbackParams(Params):
    to: str = Field("", description="Release id; empty: the champion before this one")
    why: str = Field("", description="Reason for the journal")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait until the server follows")


class RollbackResult(Result):
    release: str
    entry: int
    waited_s: float
    left: str


def rollback(params: RollbackParams) -> RollbackResult:
    """Go back to a release that was champion before and wait until the server serves it."""
    from pipelines.projections.mlflow import project

    started = time.monotonic()
    store = open_store()
    to = load(store, "release", params.to).id if params.to else ""
    journal = Journal(store)
    entry = _written(journal, to) or _write(journal, to, params)
    try:
        _follow(journal, entry, params.wait_s)
    finally:
        project(store, journal)
    return RollbackResult(
        release=entry.to, entry=entry.n, waited_s=round(time.monotonic() - started, 3), left=entry.from_ or ""
    )


def _follow(journal: Journal, entry: Entry, wait_s: float) -> None:
    """Wait until the server serves the entry's release, if it still is champion when a retry comes to it."""
    from pipelines.deployment.readiness import wait_until

    last = journal.deployment()
    if last and last != entry:
        log().warning("rolled back before, routed on since", release=entry.to, entry=entry.n, now=last.to, by=last.n)
        return
    follows, said, waited_s = wait_until(lambda server: server.champion == entry.to, wait_s)
    if not follows:
        raise said.failure(
            f"server that serves {said.champion or 'nothing'} after {waited_s:.0f} s ({said.problem or 'no problem told'})",
            f"release {entry.to}, which entry {entry.n} routes to",
            f"look at the server's log, then run `rollback --to {entry.to}`",
        )


def _written(journal: Journal, to: str) -> Entry | None:
    """This very rollback: by a try that was cut off, or the last entry, if it goes to the release asked for."""
    if earlier := journal.resumed("rollback", to):
        return earlier
    last = journal.last_routing() if to else None
    return last if last and last.action == "rollback" and last.to == to else None


def _write(journal: Journal, to: str, params: RollbackParams) -> Entry:
    release = _target(journal, to)
    why = params.why or "no reason given"
    entry = journal.append("rollback", release, why, Routing(champion=release), None, params.who)
    log().warning("rolled back", release=release, entry=entry.n, left=entry.from_, why=why)
    return entry


def _target(journal: Journal, to: str) -> str:
    """The release to go back to, which served before and is whole.

    Raises:
        InputError: there is none.
    """
    from pipelines.retrieval.release import stored_parts

    others = sorted(set(journal.champions()) - {journal.routing.champion})
    release = to or journal.previous_champion()
    if release not in others:
        raise InputError(
            f"release {to}" if to else f"champion {journal.routing.champion or 'none'} and none before it",
            "a release that was champion before and is not now",
            f"pass --to, one of {', '.join(others)}" if others else "deploy a second release first",
        )
    stored_parts(journal.store, release)
    return release
