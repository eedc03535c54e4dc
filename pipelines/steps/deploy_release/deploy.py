"""deploy: the challenger becomes the champion and serves, or the champion before it stays."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, TryAgain
from pipelines.logs import log
from pipelines.store.artifacts import find, load, load_exactly
from pipelines.store.journal import Entry, Journal, Routing
from pipelines.store.objects import Store, open_store

if TYPE_CHECKING:
    from pipelines.deployment.resume import Case

VERSION = 1


class DeployParams(Params):
    release: str = Field("", description="Release id; empty: the challenger")
    why: str = Field("", description="Reason for the journal, besides what a canary saw; empty: that of its promotion")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server, before and after")


class DeployResult(Result):
    release: str
    entry: int
    changed: bool
    outcome: Literal["deployed", "unchanged"]
    waited_s: float
    judgments: str
    """The corpus of the release, if its judgments are others than those of the champion before: models can learn from it."""


def deploy(params: DeployParams) -> DeployResult:
    """Make the challenger the champion once the server has it warm; roll back if the server does not follow."""
    from pipelines.deployment.resume import deployment_start
    from pipelines.projections.mlflow import project

    store = open_store()
    release = load(store, "release", params.release).id if params.release else ""
    journal = Journal(store)
    case, entry = deployment_start(journal, release)
    entry, warmed_s = (entry, 0.0) if entry else _write_entry(journal, release, params)
    try:
        waited_s = _wait_for_server(journal, entry, case, params)
    finally:
        project(store, journal)
    return DeployResult(
        release=entry.to,
        entry=entry.n,
        changed=case != "in effect",
        outcome="deployed" if case == "new" else "unchanged",
        waited_s=warmed_s + waited_s,
        judgments="" if case == "in effect" else _new_judgments(store, entry),
    )


def _new_judgments(store: Store, entry: Entry) -> str:
    """The corpus of the entry's release, where its judgments are others than those of the champion before; else empty."""
    releases = [find(store, "release", name) for name in (entry.from_, entry.to) if name]
    corpora = [find(store, "corpus", release.inputs["corpus"]) for release in releases if release]
    before, now = corpora if len(corpora) == 2 else (None, None)
    if before is None or now is None or not now.facts["judgments"]:
        return ""
    return now.id if now.manifest.files["qrels.txt"] != before.manifest.files["qrels.txt"] else ""


def _write_entry(journal: Journal, release: str, params: DeployParams) -> tuple[Entry, float]:
    """Make the challenger champion as soon as the server has it in memory; the entry, and the seconds that it took.

    Raises:
        InputError: there is no challenger, or `release` is not it or may not serve: a part is gone, or it did harm, say.
    """
    from pipelines.deployment.canary import check_not_harmful, check_passed, deployed_because
    from pipelines.deployment.readiness import wait_until_warm
    from pipelines.projections.feast import check_online
    from pipelines.reports.features import report_parity
    from pipelines.retrieval.release import stored_parts

    release = release or journal.routing.challenger or ""
    if not release:
        raise InputError("no challenger", "a release that was promoted", "run `promote` with a verdict that passed")
    promotion = journal.latest("promote", to=release)
    if release != journal.routing.challenger or promotion is None:
        raise _not_challenger(journal, release)
    check_not_harmful(journal)
    check_passed(journal)
    stored_parts(journal.store, release)
    check_online(load_exactly(journal.store, "release", release), report_parity)
    waited_s = wait_until_warm(release, params.wait_s)
    why = deployed_because(journal, params.why, promotion)
    entry = journal.append("deploy", release, why, Routing(champion=release), promotion.verdict, params.who)
    log().info("deployed", release=release, entry=entry.n, before=entry.from_, why=why)
    return entry, waited_s


def _not_challenger(journal: Journal, release: str) -> InputError:
    again = "run `promote` with its verdict, or `gate` for a verdict against this champion"
    next_action = f"run `rollback --to {release}`" if release in journal.champions() else again
    given = f"release {release}, which is not the challenger ({journal.routing.challenger or 'there is none'})"
    return InputError(given, "a release whose promotion stands", next_action)


def _wait_for_server(journal: Journal, entry: Entry, case: "Case", params: DeployParams) -> float:
    """Wait until the server serves the entry's release; the seconds that it took.

    Raises:
        InputError: another entry has routed since, or the server does not follow, and the champion before serves again.
        TryAgain: the server is silent, and the entry stays.
    """
    from pipelines.deployment.readiness import wait_until

    if case == "superseded":
        raise _superseded(journal, entry)
    follows, answer, waited_s = wait_until(lambda server: server.champion == entry.to, params.wait_s)
    if follows:
        return waited_s
    serving = f"{answer.champion or 'nothing'} ({answer.problem or 'no problem told'})"
    given = f"{answer.name} that serves {serving} {waited_s:.0f} s after entry {entry.n}"
    journal.refresh()
    if journal.deployment() != entry:
        raise _superseded(journal, entry)
    stays = f"entry {entry.n} is not of this run and stays"
    done = stays if case == "in effect" else _go_back(journal, entry, given, params.who)
    error = TryAgain if answer.silent and journal.deployment() == entry else InputError
    raise error(given, f"release {entry.to}", f"look at the server's log; {done}")


def _superseded(journal: Journal, entry: Entry) -> InputError:
    last = journal.deployment()
    assert last is not None
    given = f"release {entry.to} of entry {entry.n}, after which {last.who} wrote entry {last.n}, {last.action} to {last.to}"
    return InputError(given, "a deployment that stands", "look at `history`; to deploy it again, start a new run")


def _go_back(journal: Journal, entry: Entry, given: str, who: str) -> str:
    """Roll back to the champion before, if there is one that can serve; says what was done."""
    from pipelines.retrieval.release import stored_parts

    if entry.from_ is None:
        return "there is no champion to go back to"
    try:
        stored_parts(journal.store, entry.from_)
    except InputError as error:
        return f"the champion before can't serve ({error})"
    back = journal.append("rollback", entry.from_, f"rolled back: {given}", Routing(champion=entry.from_), None, who)
    return f"rolled back to {back.to} by entry {back.n}"
