"""deploy: the challenger becomes the champion and serves, or the champion before it stays."""

from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, TryAgain
from pipelines.logs import log
from pipelines.store.artifacts import load
from pipelines.store.journal import Entry, Journal, Routing
from pipelines.store.objects import open_store

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
    outcome: Literal["deployed", "unchanged"]
    waited_s: float


def deploy(params: DeployParams) -> DeployResult:
    """Make the challenger the champion once the server has it warm; roll back if the server does not follow."""
    from pipelines.projections.mlflow import project

    store = open_store()
    release = load(store, "release", params.release).id if params.release else ""
    journal = Journal(store)
    before = len(journal.entries)
    entry, warmed_s = _entry(journal, release, params)
    own = entry.n > before or entry == journal.resumed("deploy", release)
    try:
        waited_s = _follow(journal, entry, params, own)
    finally:
        project(store, journal)
    outcome: Literal["deployed", "unchanged"] = "deployed" if entry.n > before else "unchanged"
    return DeployResult(release=entry.to, entry=entry.n, changed=own, outcome=outcome, waited_s=warmed_s + waited_s)


def _entry(journal: Journal, release: str, params: DeployParams) -> tuple[Entry, float]:
    """The entry that makes the release champion, written now or before, and the seconds until the server had it warm."""
    from pipelines.deployment.readiness import wait_until_warm

    routing, deployment = journal.routing, journal.deployment()
    if earlier := journal.resumed("deploy", release):
        return earlier, 0.0
    if deployment and release == routing.champion:
        return deployment, 0.0
    release = release or routing.challenger or ""
    if not release:
        raise InputError("no challenger", "a release that was promoted", "run `promote` with a verdict that passed")
    promotion = journal.latest("promote", to=release)
    if release != routing.challenger or promotion is None:
        raise _not_challenger(journal, release)
    waited_s = wait_until_warm(release, params.wait_s)
    why, verdict = params.why or promotion.why, promotion.verdict
    entry = journal.append("deploy", release, why, Routing(champion=release), verdict, params.who)
    log().info("deployed", release=release, entry=entry.n, before=entry.from_, why=why)
    return entry, waited_s


def _not_challenger(journal: Journal, release: str) -> InputError:
    was_champion = release in journal.champions()
    return InputError(
        f"release {release}, which is not the challenger ({journal.routing.challenger or 'there is none'})",
        "a release whose promotion stands",
        f"run `rollback --to {release}`"
        if was_champion
        else "run `promote` with its verdict, or `gate` for a verdict against this champion",
    )


def _follow(journal: Journal, entry: Entry, params: DeployParams, own: bool) -> float:
    """Wait until the server serves the entry's release. If it does not, go back, but only from one's own entry."""
    from pipelines.deployment.readiness import wait_until

    _check_stands(journal, entry)
    follows, said, waited_s = wait_until(lambda server: server.champion == entry.to, params.wait_s)
    if follows:
        return waited_s
    serving = f"{said.champion or 'nothing'} ({said.problem or 'no problem told'})"
    given = f"server that serves {serving} {waited_s:.0f} s after entry {entry.n}"
    journal.refresh()
    _check_stands(journal, entry)
    done = _went_back(journal, entry, given, params.who) if own else f"entry {entry.n} is not of this run and stays"
    kind = TryAgain if said.silent and journal.deployment() == entry else InputError
    raise kind(given, f"release {entry.to}", f"look at the server's log; {done}")


def _check_stands(journal: Journal, entry: Entry) -> None:
    last = journal.deployment()
    if last and last != entry:
        given = (
            f"release {entry.to} of entry {entry.n}, after which {last.who} wrote entry {last.n}, {last.action} to {last.to}"
        )
        raise InputError(given, "a deployment that stands", "look at `history`; to deploy it again, start a new run")


def _went_back(journal: Journal, entry: Entry, given: str, who: str) -> str:
    """Write the entry that goes back, if the champion before can serve; what was done, in words."""
    from pipelines.retrieval.release import stored_parts

    if entry.from_ is None:
        return "there is no champion to go back to"
    try:
        stored_parts(journal.store, entry.from_)
    except InputError as error:
        return f"the champion before can't serve ({error})"
    back = journal.append("rollback", entry.from_, f"rolled back: {given}", Routing(champion=entry.from_), None, who)
    return f"rolled back to {back.to} by entry {back.n}"
