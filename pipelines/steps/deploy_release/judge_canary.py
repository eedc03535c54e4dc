"""judge_canary: one look at a deployment by evidence, and what follows: wait, more users, a question, all users, or back."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest

if TYPE_CHECKING:
    from pipelines.deployment.ticks import Terms, Tick

VERSION = 1


class JudgeCanaryParams(Params):
    release: str = Field("", description="Release id; empty: the challenger")
    shares: str = Field(
        "0.01 0.05 0.25 0.5", pattern=r"^[\d. ]*$", description="Shares of the users, one for each stage; then all have it"
    )
    searches: str = Field(
        "500 2000 10000 80000",
        pattern=r"^[\d ]*$",
        description="Searches that the challenger must have answered, for each share",
    )
    shadow: float = Field(
        1,
        ge=0,
        le=1,
        description="Share of the searches that the challenger ranks unseen before users have it; 0: no such stage",
    )
    shadow_searches: int = Field(2000, ge=1, description="Searches that both releases must have ranked unseen in that stage")
    least_overlap: float = Field(
        0, ge=0, le=1, description="Least mean share of the first ten that both have in that stage; 0: whatever it is"
    )
    minutes: float = Field(30, ge=0, description="Minutes that each stage takes at least")
    most_minutes: float = Field(
        1440, gt=0, description="Minutes after which too few searches ask a person; unseen, the first users follow"
    )
    signal_minutes: float = Field(10, ge=0, description="Minutes with the release in memory in which signals must arrive")
    without: list[str] = Field(
        [], description="Guardrails left out, of errors, p99, p50, empty, clicks, memory, restarts, readiness, overlap"
    )
    tick_s: float = Field(60, ge=0.1, le=3600, description="Seconds between two looks")
    why: str = Field("", description="Reason for the journal, besides what was seen")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(60, ge=0, le=3600, description="Seconds to wait for the server, before and after")
    only_back: bool = Field(
        False, description="Only take users back at harm, and give nobody the challenger: while a person is asked"
    )


class JudgeCanaryResult(Result):
    release: str
    outcome: Literal["waits", "widened", "asks", "passed", "rolled back", "stopped"]
    waits: bool
    wait_s: float
    """Until the next look."""
    asks: bool
    question: str
    """To a person: which release may have which users; empty: nobody is asked."""
    over: bool
    """Whether it ended without a deployment."""
    share: float
    """Of the users who have the challenger now."""
    report: str
    sentence: str
    note: str


def judge_canary(params: JudgeCanaryParams) -> JudgeCanaryResult:
    """Look once at what servers counted of both releases: roll back at harm, go on after enough, else wait or ask."""
    from pipelines.deployment.ticks import tick

    store = open_store()
    release = load(store, "release", params.release).id if params.release else ""
    journal, terms = Journal(store), _terms(params)
    seen = tick(journal, release, terms)
    waits, split = seen.outcome in ("waits", "widened"), journal.routing.split
    share = split.share if split else 0.0
    asks = f"May all users have release {seen.release[:8]}, which {100 * share:.4g} % of them have, on too little evidence?"
    return JudgeCanaryResult(
        release=seen.release,
        outcome=seen.outcome,
        waits=waits,
        wait_s=params.tick_s,
        asks=seen.outcome == "asks",
        question=asks if seen.outcome == "asks" else "",
        over=seen.outcome in ("rolled back", "stopped"),
        share=share,
        report=_report(journal, seen, terms) if seen.canary and seen.outcome != "waits" else "",
        sentence=seen.sentence,
        note="" if waits else f"{seen.outcome.upper()}: {seen.sentence}",
    )


def _terms(params: JudgeCanaryParams) -> "Terms":
    """The params as terms.

    Raises:
        InputError: they don't go together.
    """
    from pipelines.deployment.stages import Plan
    from pipelines.deployment.ticks import Terms
    from pipelines.projections.feast import check_online
    from pipelines.reports.features import report_parity

    try:
        shares, searches = tuple(map(float, params.shares.split())), tuple(map(int, params.searches.split()))
    except ValueError:
        given = f"--shares {params.shares!r} and --searches {params.searches!r}"
        raise InputError(given, "numbers with blanks between, such as 0.01 0.1 0.5", "correct them") from None
    unseen = params.shadow, params.shadow_searches, params.least_overlap
    plan = Plan(shares, searches, params.minutes, params.most_minutes, *unseen)
    return Terms(
        plan,
        params.without,
        params.signal_minutes,
        params.why,
        params.who,
        params.wait_s,
        partial(check_online, report=report_parity),
        params.only_back,
    )


def _report(journal: Journal, seen: "Tick", terms: "Terms") -> str:
    """The id of the report of what was seen up to now."""
    assert seen.canary is not None
    inputs = {"release": seen.canary.challenger, "champion": seen.canary.champion}
    evidence = digest(repr(seen.look).encode()) if seen.outcome == "asks" else ""  # no entry tells one question from another
    params = {"canary": seen.canary.split.name, "entry": len(journal.entries), "outcome": seen.outcome, "evidence": evidence}
    recipe = Recipe(kind="report", step="judge_canary", version=VERSION, inputs=inputs, params=params)
    return produce(journal.store, recipe, lambda folder: _write(journal, seen, terms, folder)).id


def _write(journal: Journal, seen: "Tick", terms: "Terms", folder: Path) -> dict[str, Any]:
    from pipelines.deployment.canary import last_canary, stages_seen
    from pipelines.reports.canary import write_canary_report

    canary = last_canary(journal) or seen.canary
    assert canary is not None
    write_canary_report(folder, seen, stages_seen(journal, canary, terms.without), terms)
    return {"outcome": seen.outcome, "sentence": seen.sentence, "canary": canary.split.name}
