"""split: the challenger answers a share of the users, the champion the others, or the split ends."""

from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Split
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.store.journal import Entry

VERSION = 1


class SplitParams(Params):
    share: float = Field(0.5, ge=0, le=1, description="Share of the users whom the challenger answers; 0 ends the split")
    name: str = Field(
        "",
        pattern=r"^([\w.-]{1,60})?$",
        description="Name of the experiment, by which users are assigned and the log is analyzed; empty: that of the split that"
        " runs, else split-N by the journal's entry",
    )
    why: str = Field("", description="Reason for the journal")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server, before and after")


class SplitResult(Result):
    champion: str
    challenger: str
    share: float
    name: str
    """The experiment; `analyze --log server:NAME` compares the two releases by its searches."""
    entry: int
    waited_s: float
    note: str


def split(params: SplitParams) -> SplitResult:
    """Give the challenger a share of the users once the server has it in memory; a user stays with a release."""
    from pipelines.deployment.readiness import wait_until_followed, wait_until_warm
    from pipelines.projections.feast import check_online
    from pipelines.reports.features import report_parity

    journal = Journal(open_store())
    entry, warmed_s = journal.resumed("weight"), 0.0
    if entry is None:
        wanted = _wanted(journal, params)
        if wanted:
            challenger, running = str(journal.routing.challenger), journal.routing.split
            if running is None or wanted.share > running.share:  # to take users from it waits for no feature
                check_online(load_exactly(journal.store, "release", challenger), report_parity)
            warmed_s = wait_until_warm(challenger, params.wait_s)
        entry = _write_entry(journal, wanted, params)
    waited_s = wait_until_followed(entry.n, params.wait_s, "`split --share 0` ends the split")
    champion, challenger = str(entry.routing.champion), str(entry.routing.challenger)
    running = entry.routing.split
    log().info("split", champion=champion, challenger=challenger, share=running.share if running else 0, entry=entry.n)
    return SplitResult(
        champion=champion,
        challenger=challenger,
        share=running.share if running else 0.0,
        name=running.name if running else _running(journal.until(entry.n - 1)).name,
        entry=entry.n,
        waited_s=warmed_s + waited_s,
        note=f"SPLIT: {_told(running, challenger, champion)}",
    )


def _told(running: Split | None, challenger: str, champion: str) -> str:
    if running is None:
        return f"ended; release {champion} answers everybody"
    return f"release {challenger} answers {running.share:.4g} of the users, {champion} the others, as experiment {running.name}"


def _wanted(journal: Journal, params: SplitParams) -> Split | None:
    """The split that is asked for; None: none.

    Raises:
        InputError: there are no two releases, another experiment runs, or the name is one of deployments by evidence.
        NothingToDo: it runs already so, or none runs that could end.
    """
    from pipelines.deployment.canary import PREFIX

    routing = journal.routing
    running = routing.split
    if running and params.name not in ("", running.name):
        raise InputError(
            f"--name {params.name} while {running.name} runs with a share of {running.share:.4g}",
            "one split at a time",
            "end it by `split --share 0`, or leave --name out to change its share",
        )
    if not params.share:
        _running(journal)
        return None
    if params.name.startswith(PREFIX) and not running:
        raise InputError(
            f"--name {params.name}", f"another name: {PREFIX} begins those of deployments by evidence", "give another name"
        )
    if not (routing.champion and routing.challenger):
        raise InputError(
            f"champion {routing.champion or 'none'} and challenger {routing.challenger or 'none'}",
            "both, to split users between them",
            "run `promote` with a verdict that passed (with deploy_release paused, which would deploy it), then `split` again",
        )
    wanted = Split(name=params.name or (running.name if running else f"split-{len(journal.entries) + 1}"), share=params.share)
    if wanted == running:
        raise NothingToDo(f"{running.name} runs already with a share of {running.share:.4g}")
    return wanted


def _running(journal: Journal) -> Split:
    if journal.routing.split is None:
        raise NothingToDo("no split runs")
    return journal.routing.split


def _write_entry(journal: Journal, wanted: Split | None, params: SplitParams) -> "Entry":
    running = journal.routing.split
    unseen = {"shadow": None} if running and not running.share else {}  # the stage before the first users ends with its shadow
    routing = journal.routing.model_copy(update={"split": wanted, **unseen})
    why = params.why or "no reason given"
    return journal.append("weight", str(routing.challenger), why, routing, None, params.who)
