"""shadow: the challenger ranks a share of the champion's searches, too, which nobody sees, or it ends."""

from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.store.journal import Entry

VERSION = 1


class ShadowParams(Params):
    share: float = Field(1, ge=0, le=1, description="Share of the champion's searches that the challenger ranks; 0 ends it")
    why: str = Field("", description="Reason for the journal")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server, before and after")


class ShadowResult(Result):
    champion: str
    challenger: str
    share: float
    entry: int
    """Lines of `shadow.jsonl` with this entry are of this shadow."""
    waited_s: float
    note: str


def shadow(params: ShadowParams) -> ShadowResult:
    """Let the challenger rank searches unseen once the server has it in memory, to compare it before users get it."""
    from pipelines.deployment.readiness import wait_until_followed, wait_until_warm

    journal = Journal(open_store())
    entry, warmed_s = journal.resumed("stage"), 0.0
    if entry is None:
        _check(journal, params.share)
        if params.share:
            warmed_s = wait_until_warm(str(journal.routing.challenger), params.wait_s)
        entry = _write_entry(journal, params)
    waited_s = wait_until_followed(entry.n, params.wait_s, "`shadow --share 0` ends the shadow")
    champion, challenger = str(entry.routing.champion), str(entry.routing.challenger)
    share = entry.routing.shadow or 0.0
    log().info("shadow", champion=champion, challenger=challenger, share=share, entry=entry.n)
    return ShadowResult(
        champion=champion,
        challenger=challenger,
        share=share,
        entry=entry.n,
        waited_s=warmed_s + waited_s,
        note=f"SHADOW: release {challenger} ranks {share:.4g} of the searches that {champion} answers, which nobody sees"
        if share
        else f"SHADOW: ended; release {challenger} ranks only what it is asked",
    )


def _check(journal: Journal, share: float) -> None:
    """Check that the share can be changed so.

    Raises:
        InputError: there are no two releases, or a deployment by evidence needs the shadow as it is.
        NothingToDo: it is so already.
    """
    routing = journal.routing
    if routing.split and not routing.split.share:
        raise InputError(
            f"--share {share:g} while deployment {routing.split.name} ranks unseen, before its first users",
            "a shadow that no deployment begins with",
            "wait for it, or end it by `split --share 0`",
        )
    if (routing.shadow or 0.0) == share:
        raise NothingToDo(f"the challenger ranks already {share:.4g} of the searches" if share else "no shadow runs")
    if not (routing.champion and routing.challenger):
        raise InputError(
            f"champion {routing.champion or 'none'} and challenger {routing.challenger or 'none'}",
            "both, to rank the searches of the one by the other",
            "run `promote` with a verdict that passed (with deploy_release paused, which would deploy it), then `shadow` again",
        )


def _write_entry(journal: Journal, params: ShadowParams) -> "Entry":
    routing = journal.routing.model_copy(update={"shadow": params.share or None})
    why = params.why or "no reason given"
    return journal.append("stage", str(routing.challenger), why, routing, None, params.who)
