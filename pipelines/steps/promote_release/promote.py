"""promote: a release with a passing verdict becomes the challenger."""

from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError, NothingToDo
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.journal import ROUTES, Journal, Routing
from pipelines.store.objects import open_store

if TYPE_CHECKING:
    from pipelines.gates.verdict import VerdictSummary

VERSION = 1


class PromoteParams(Params):
    verdict: str = Field(description="Verdict id")
    why: str = Field("", description="Reason for the journal; empty: the verdict's sentence")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    again: bool = Field(False, description="Promote a release although it was rolled back before")
    waive: bool = Field(False, description="Promote without judgments, where the verdict is 'not run'; needs who and why")


class PromoteResult(Result):
    release: str
    entry: int
    changed: bool
    """Whether this call, or an earlier try of the same dag run, wrote the entry."""
    challenger: bool
    """Whether the release is the challenger now, so that a deployment is due."""
    verdict: str


def promote(params: PromoteParams) -> PromoteResult:
    """Make a release the challenger, if its verdict passed against the champion of today."""
    from pipelines.gates.verdict import check_queries
    from pipelines.gates.waivers import Waiver, read_allowed
    from pipelines.projections.mlflow import project
    from pipelines.retrieval.release import stored_parts

    store = open_store()
    artifact = load(store, "verdict", params.verdict)
    verdict = read_allowed(artifact, Waiver(params.who or settings().user, params.why) if params.waive else None)
    journal = Journal(store)
    earlier = journal.resumed("promote", verdict.release)
    entry = _promoted(journal, verdict.release, artifact.id) or (earlier and earlier.n)
    changed = entry is None or bool(earlier and earlier.n == entry)
    if entry is None:
        _check(journal, verdict, artifact.id, params.again)
        check_queries(verdict, artifact.id, stored_parts(store, verdict.release).corpus.id)
        routing = Routing(champion=journal.routing.champion, challenger=verdict.release)
        why = f"waived, {verdict.sentence}: {params.why}" if params.waive else params.why or verdict.sentence
        entry = journal.append("promote", verdict.release, why, routing, artifact.id, params.who).n
        log().info("promoted", release=verdict.release, entry=entry, why=why)
    project(store, journal)
    due = journal.routing.challenger == verdict.release
    return PromoteResult(release=verdict.release, entry=entry, changed=changed, challenger=due, verdict=artifact.id)


def _promoted(journal: Journal, release: str, verdict: str) -> int | None:
    """The entry that made the release champion, or challenger by this verdict, if it is that now."""
    if release == journal.routing.champion:
        return next(
            entry.n for entry in reversed(journal.entries) if entry.to == release and ROUTES[entry.action] == "champion"
        )
    latest = journal.latest("promote", to=release)
    if release == journal.routing.challenger and latest and latest.verdict == verdict:
        return latest.n
    return None


def _check(journal: Journal, verdict: "VerdictSummary", verdict_id: str, again: bool) -> None:
    champion = journal.routing.champion
    if (verdict.champion or None) != champion:
        raise InputError(
            f"verdict {verdict_id} against champion {verdict.champion or 'none'}",
            f"one against {champion or 'none'}, who serves now",
            f"run `evaluate --release {verdict.release}` and `gate` again",
        )
    left = journal.latest("rollback", left=verdict.release)
    promoted = journal.latest("promote", to=verdict.release)
    if left and not again and not (promoted and promoted.n > left.n):
        raise NothingToDo(
            f"release {verdict.release} was rolled back by {left.who} (entry {left.n}: {left.why}); "
            "pass --again true to promote it anyway"
        )
