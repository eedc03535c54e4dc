"""start_repair: a repair that a degraded champion or drift calls for is written into the journal, once in a cool-down."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import NothingToDo
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, committed, find, load, load_exactly
from pipelines.store.journal import Entry, Journal
from pipelines.store.objects import open_store

VERSION = 1


class StartRepairParams(Params):
    degradation: str = Field(description="Degradation id, from judge_degradation, or drift id, from judge_drift")
    repair: Literal["re-embed", "re-index", "rebuild", "re-judge", "page", "roll back"] = Field(description="Which repair")


class StartRepairResult(Result):
    repair: str
    entry: int
    """The journal entry that says when it was started, and why."""
    release: str
    corpus: str
    """Of today."""
    degradation: str
    reason: str


def start_repair(params: StartRepairParams) -> StartRepairResult:
    """Write into the journal that a repair starts; skip one that is not called for, or was started a short while ago."""
    store = open_store()
    kind = "drift" if committed(store, "drift", params.degradation) else "degradation"
    degradation = load(store, kind, params.degradation)
    if params.repair not in degradation.facts["repairs"]:
        raise NothingToDo(f"{params.repair} is not called for: {degradation.facts['sentence']}")
    journal = Journal(store)
    entry = journal.resumed("repair", to=params.repair)
    if entry is None:
        _check_due(journal, degradation, params.repair)
        of = f"release {degradation.facts['release'][:8]}" if degradation.kind == "degradation" else "the data drifted:"
        why = f"{params.repair}, since {of} {degradation.facts['sentence']}"
        entry = journal.append("repair", params.repair, why, verdict=degradation.id)
        log().warning("repair started", repair=params.repair, entry=entry.n, why=why)
    return StartRepairResult(
        repair=params.repair,
        entry=entry.n,
        release=degradation.facts["release"],
        corpus=degradation.facts["corpus"],
        degradation=degradation.id,
        reason=entry.why,
    )


def _check_due(journal: Journal, degradation: Artifact, repair: str) -> None:
    """Skip a repair that would come too soon, or that there is nothing for.

    Raises:
        NothingToDo: says which.
    """
    from pipelines.index.build import updated_in_place

    release = degradation.facts["release"]
    if journal.routing.champion != release:
        raise NothingToDo(f"release {release[:8]}, which was judged, is no longer the champion")
    if (last := _last(journal, degradation, repair)) and (until := _cools_until(last, degradation)) > datetime.now(UTC):
        raise NothingToDo(f"{repair} was started by entry {last.n}, and may start again from {until:%Y-%m-%d %H:%M} UTC")
    if repair == "roll back" and journal.previous_champion() is None:
        raise NothingToDo("there is no champion before this one to roll back to")
    retrained = journal.latest("repair", to="re-index")
    if repair == "re-embed" and retrained and retrained.verdict == degradation.id:
        raise NothingToDo("re-index embeds the corpus of today, too")
    own = load_exactly(journal.store, "release", release).inputs
    if repair in ("re-embed", "re-index") and degradation.facts["corpus"] == own["corpus"]:
        if repair == "re-embed":
            raise NothingToDo("the champion was made from the corpus of today, so there is nothing to embed")
        index = find(journal.store, "index", own["index"])
        if index is None or not updated_in_place(index):
            raise NothingToDo("the champion's index was trained on the corpus of today")


def _last(journal: Journal, degradation: Artifact, repair: str) -> Entry | None:
    """The entry by which a repair was started last; of pages the last by a judgment of this kind, drift or degradation."""
    started = (entry for entry in reversed(journal.entries) if (entry.action, entry.to) == ("repair", repair))
    if repair == "page":
        manifest = f"{degradation.kind}/{{}}/manifest.json"
        started = (entry for entry in started if journal.store.size(manifest.format(entry.verdict)) is not None)
    return next(started, None)


def _cools_until(last: Entry, degradation: Artifact) -> datetime:
    return datetime.fromisoformat(last.at) + timedelta(hours=degradation.facts["cool_down_hours"])
