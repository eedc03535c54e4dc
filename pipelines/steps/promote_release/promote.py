"""promote: a release with a passing verdict becomes the challenger."""

from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.logs import log
from pipelines.settings import environment_gate_file, settings
from pipelines.store.artifacts import load, load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.gates.verdict import VerdictSummary

VERSION = 1


class PromoteParams(Params):
    verdict: str = Field(description="Verdict id")
    why: str = Field("", description="Reason for the journal; empty: the verdict's sentence")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    again: bool = Field(
        False, description="Promote a release although it was rolled back, or found harmful in a deployment, before"
    )
    waive: bool = Field(
        False,
        description="Promote although the rules could not decide, or the verdict is stale by rules or code; needs who and why",
    )
    until: str = Field("", description="Last day of a waiver, such as 2026-12-31; empty: 30 days from today")
    gate_file: str = Field(
        "",
        description="Rules of today, by name or path, which the verdict must rest on; empty: the environment's, else the file "
        "that it was judged by",
    )


class PromoteResult(Result):
    release: str
    entry: int
    changed: bool
    """Whether this call, or an earlier try of the same dag run, wrote the entry."""
    challenger: bool
    """Whether the release is the challenger now, and was not found harmful, so that a deployment is due."""
    verdict: str


def promote(params: PromoteParams) -> PromoteResult:
    """Make a release the challenger, if its verdict passed against the champion of today."""
    from pipelines.deployment.canary import found_harmful
    from pipelines.deployment.resume import promotion_start
    from pipelines.gates.staleness import why_stale
    from pipelines.gates.verdict import check_queries
    from pipelines.gates.waivers import PROMOTED, Waiver, last_day, read_allowed, timed, waivers_in_force
    from pipelines.projections.mlflow import project
    from pipelines.reports.release_card import described_release
    from pipelines.retrieval.release import stored_parts

    store = open_store()
    artifact = load(store, "verdict", params.verdict)
    journal = Journal(store)
    waived = any(journal.entries[waiver.entry - 1].verdict == artifact.id for waiver in waivers_in_force(journal))
    waiver = Waiver(params.who or settings().user, params.why) if params.waive else None
    stale, command = why_stale(artifact, params.gate_file or environment_gate_file())
    verdict = read_allowed(artifact, waiver, waived, bool(stale))
    case, entry = promotion_start(journal, verdict.release, artifact.id, params.again)
    if entry is None:
        _check_champion(journal, verdict, artifact.id)
        _check_no_split(journal)
        _check_not_rolled_back(journal, verdict.release, params.again)
        if stale and not waiver:
            given, waive = f"verdict {artifact.id} by {stale}", "or pass --waive true with --who and --why"
            raise InputError(given, "one by the rules and the code of today", f"{command}, {waive}")
        check_queries(verdict, artifact.id, stored_parts(store, verdict.release).corpus.id)
        described_release(load_exactly(store, "release", verdict.release), artifact.id)
        routing = Routing(champion=journal.routing.champion, challenger=verdict.release)
        why = params.why or verdict.sentence
        if params.waive:
            told = f"stale ({stale}): " if stale else ""
            why = timed(PROMOTED + told + verdict.sentence, last_day(params.until), params.why)
        entry = journal.append("promote", verdict.release, why, routing, artifact.id, params.who)
        log().info("promoted", release=verdict.release, entry=entry.n, why=why)
    project(store, journal)
    return PromoteResult(
        release=verdict.release,
        entry=entry.n,
        changed=case != "in effect",
        challenger=journal.routing.challenger == verdict.release and found_harmful(journal) is None,
        verdict=artifact.id,
    )


def _check_champion(journal: Journal, verdict: "VerdictSummary", verdict_id: str) -> None:
    """Refuse a verdict against another champion than that of today."""
    champion = journal.routing.champion
    if (verdict.champion or None) != champion:
        raise InputError(
            f"verdict {verdict_id} against champion {verdict.champion or 'none'}",
            f"one against {champion or 'none'}, who serves now",
            f"run `evaluate --release {verdict.release}` and `gate` again",
        )


def _check_no_split(journal: Journal) -> None:
    """Refuse to put another release in the place of a challenger that answers users: their experiment would end unseen.

    Raises:
        TryAgain: a deployment by evidence runs, which ends by itself.
        InputError: a person split users.
    """
    from pipelines.deployment.canary import canary_of

    if running := canary_of(journal):
        raise TryAgain(
            f"promotion while {running.split.name} deploys release {running.challenger}",
            "one deployment at a time: this one waits",
            "run it again once that is over, or end that by `split --share 0`",
        )
    if split := journal.routing.split:
        raise InputError(
            f"promotion while challenger {journal.routing.challenger} answers {split.share:.4g} of the users ({split.name})",
            "a challenger that no split runs with",
            "deploy it, or end the split by `split --share 0`; then promote again",
        )


def _check_not_rolled_back(journal: Journal, release: str, again: bool) -> None:
    """Skip a release that was rolled back or found harmful and not promoted since, unless it is asked for `again`."""
    from pipelines.deployment.canary import found_harmful

    left, harmed = journal.latest("rollback", left=release), found_harmful(journal, release)
    if harmed and not again:
        raise NothingToDo(
            f"release {release} was found harmful (entry {harmed.n}: {harmed.why}); pass --again true to promote it anyway"
        )
    returned = max((entry.n for action in ("promote", "deploy") if (entry := journal.latest(action, to=release))), default=0)
    if left and not again and returned < left.n:
        raise NothingToDo(
            f"release {release} was rolled back by {left.who} (entry {left.n}: {left.why}); "
            "pass --again true to promote it anyway"
        )
