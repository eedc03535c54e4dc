"""deploy: the challenger becomes the champion and serves, or the champion before it stays."""

from typing import Literal

from pydantic import Field

from pipelines.artifacts import open_store
from pipelines.contract import Params, Result
from pipelines.errors import InputError, TryAgain
from pipelines.journal import Entry, Journal, Routing
from pipelines.logs import log

VERSION = 1


class DeployParams(Params):
    release: str = Field("", description="Release id; empty: the challenger")
    why: str = Field("", description="Reason for the journal; empty: that of its promotion")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server, before and after")


class DeployResult(Result):
    release: str
    entry: int
    changed: bool
    outcome: Literal["deployed", "rolled back", "unchanged"]
    waited_s: float


def deploy(params: DeployParams) -> DeployResult:
    """Make the challenger the champion once the server has it warm; roll back if the server does not follow."""
    from pipelines.registry import project

    store = open_store()
    journal = Journal(store)
    before = len(journal.entries)
    entry, warmed_s = _entry(journal, params)
    try:
        waited_s = _follow(journal, entry, params)
    finally:
        project(store, journal)
    changed = len(journal.entries) > before
    return DeployResult(
        release=entry.to,
        entry=entry.n,
        changed=changed,
        outcome="deployed" if changed else "unchanged",
        waited_s=warmed_s + waited_s,
    )


def _entry(journal: Journal, params: DeployParams) -> tuple[Entry, float]:
    """The entry that makes the release champion, written now or before, and the seconds until the server had it warm."""
    routing = journal.routing
    release = params.release or routing.challenger or _champion_again(journal)
    if release == routing.champion:
        return next(entry for entry in reversed(journal.entries) if entry.to == release and entry.action != "promote"), 0.0
    promotion = journal.latest("promote", to=release)
    if release != routing.challenger or promotion is None:
        raise _not_challenger(journal, release)
    waited_s = _warm(release, params.wait_s)
    why, verdict = params.why or promotion.why, promotion.verdict
    entry = journal.append("deploy", release, why, Routing(champion=release), verdict, params.who)
    log().info("deployed", release=release, entry=entry.n, before=entry.from_, why=why)
    return entry, waited_s


def _champion_again(journal: Journal) -> str:
    """With no challenger: the champion, if it is this dag run that deployed it before it was cut off."""
    if last := journal.cut_off("deploy"):
        return last.to
    raise InputError("no challenger", "a release that was promoted", "run `promote` with a verdict that passed")


def _not_challenger(journal: Journal, release: str) -> InputError:
    was_champion = release in journal.champions()
    return InputError(
        f"release {release}, which is not the challenger ({journal.routing.challenger or 'there is none'})",
        "a release whose promotion stands",
        f"run `rollback --to {release}`"
        if was_champion
        else "run `promote` with its verdict, or `gate` for a verdict against this champion",
    )


def _warm(release: str, wait_s: float) -> float:
    """Wait until the server has the release in memory; nothing is written before it has."""
    from pipelines.server import readiness, wait_until
    from pipelines.settings import settings

    if url := settings().server_url:
        readiness(url)
    warm, said, waited_s = wait_until(lambda server: release in server.warm, wait_s)
    if not warm:
        raise (InputError if said.problem else TryAgain)(
            f"server without release {release} in memory after {waited_s:.0f} s ({said.problem or 'still loading'})",
            "a server that has loaded the challenger; the champion serves on",
            "look at the server's log, or raise --wait-s",
        )
    return waited_s


def _follow(journal: Journal, entry: Entry, params: DeployParams) -> float:
    """Wait until the server serves the entry's release; if it does not, write the entry that goes back."""
    from pipelines.server import wait_until

    follows, said, waited_s = wait_until(lambda server: server.champion == entry.to, params.wait_s)
    if follows:
        return waited_s
    serving = f"{said.champion or 'nothing'} ({said.problem or 'no problem told'})"
    given = f"server that serves {serving} {waited_s:.0f} s after entry {entry.n}"
    if entry.from_ is None or journal.entries[-1] != entry:
        raise InputError(given, f"release {entry.to}", "look at the server's log; there is no champion to go back to")
    back = journal.append("rollback", entry.from_, f"rolled back: {given}", Routing(champion=entry.from_), None, params.who)
    raise InputError(given, f"release {entry.to}", f"look at the server's log; rolled back to {back.to} by entry {back.n}")
