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
    from pipelines.deployment.resume import rollback_start
    from pipelines.projections.mlflow import project

    started = time.monotonic()
    store = open_store()
    to = load(store, "release", params.to).id if params.to else ""
    journal = Journal(store)
    case, entry = rollback_start(journal, to)
    if entry is None:
        entry = _write_entry(journal, to, params)
    try:
        if case == "superseded":
            _warn_superseded(journal, entry)
        else:
            _wait_for_server(entry, params.wait_s)
    finally:
        project(store, journal)
    waited_s = round(time.monotonic() - started, 3)
    return RollbackResult(release=entry.to, entry=entry.n, waited_s=waited_s, left=entry.from_ or "")


def _warn_superseded(journal: Journal, entry: Entry) -> None:
    last = journal.deployment()
    assert last is not None
    log().warning("rolled back before, routed on since", release=entry.to, entry=entry.n, now=last.to, by=last.n)


def _wait_for_server(entry: Entry, wait_s: float) -> None:
    """Wait until the server serves the entry's release.

    Raises:
        InputError: the server tells why it can't.
        TryAgain: it is silent, or still loading.
    """
    from pipelines.deployment.readiness import wait_until

    follows, answer, waited_s = wait_until(lambda server: server.champion == entry.to, wait_s)
    if not follows:
        serving = f"{answer.champion or 'nothing'} after {waited_s:.0f} s ({answer.problem or 'no problem told'})"
        raise answer.failure(
            f"server that serves {serving}",
            f"release {entry.to}, which entry {entry.n} routes to",
            f"look at the server's log, then run `rollback --to {entry.to}`",
        )


def _write_entry(journal: Journal, to: str, params: RollbackParams) -> Entry:
    """Go back to `to`, else to the champion before; the entry.

    Raises:
        InputError: there is no such release that served before, or it is not whole.
    """
    release = _target(journal, to)
    why = params.why or "no reason given"
    entry = journal.append("rollback", release, why, Routing(champion=release), None, params.who)
    log().warning("rolled back", release=release, entry=entry.n, left=entry.from_, why=why)
    return entry


def _target(journal: Journal, to: str) -> str:
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
