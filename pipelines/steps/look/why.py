"""why: the verdict on a release, the queries that got worst, and how its deployment by evidence ended."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, readable
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.releases import resolve

VERSION = 1
SHOWN = 5
TEXT = 200


class WhyParams(Params):
    release: str = Field(description="Release id, its first digits, or: champion, challenger")


class WhyResult(Result):
    release: str
    serves_as: str
    """champion, challenger, or empty."""
    verdict: str
    """The one by which the release was promoted, else the newest that was run; empty: none was given."""
    outcome: str
    sentence: str
    worst_queries: list[str]
    """Query and difference, worst first."""
    earlier: list[str]
    """Sentences of the other verdicts, newest first; those that were not run last."""
    damaged: list[str]
    """Verdicts that can't be read, on whichever release."""
    deployment: str
    """How its last deployment by evidence stands or ended, and why; empty: there was none."""


def why(params: WhyParams) -> WhyResult:
    """Show the verdict by which a release was promoted, else its newest, its worst queries, and how its canary ended."""
    from pipelines.wording import clipped, signed

    journal = Journal(open_store())
    release = resolve(journal, params.release).id
    promoted = journal.latest("promote", to=release)
    verdicts, damaged = _verdicts(journal.store, release, (promoted.verdict if promoted else None) or "")
    body = verdicts[0].json("verdict.json") if verdicts else {}
    sentence = body.get("sentence", f"no verdict on release {release[:8]} yet: run evaluate and gate")
    worst = [f"{clipped(row['text'], TEXT)} {signed(row['difference'])}" for row in body.get("worst_queries", [])[:SHOWN]]
    deployment = _deployment(journal, release)
    log().info("; ".join(filter(None, (sentence, f"worst queries {', '.join(worst)}" if worst else "", deployment))))
    return WhyResult(
        release=release,
        serves_as=next((role for role, serving in journal.routing.roles.items() if serving == release), ""),
        verdict=verdicts[0].id if verdicts else "",
        outcome=body.get("outcome", ""),
        sentence=sentence,
        worst_queries=worst,
        earlier=[verdict.facts["sentence"] for verdict in verdicts[1:]],
        damaged=damaged,
        deployment=deployment,
    )


def _deployment(journal: Journal, release: str) -> str:
    from pipelines.deployment.canary import last_canary, told_end

    if (canary := last_canary(journal, release)) is None:
        return ""
    return told_end(journal, canary) or f"{canary.split.name} runs, with a share of {canary.split.share:.4g} of the users"


def _verdicts(store: Store, release: str, promoted: str) -> tuple[list[Artifact], list[str]]:
    """The release's verdicts, first that of its promotion, then the newest, those not run last; and all damaged ones."""
    verdicts, damaged = readable(store, "verdict")
    sound: list[Artifact] = []
    for verdict in (verdict for verdict in verdicts if verdict.inputs.get("release") == release):
        try:
            verdict.path("verdict.json")
            sound.append(verdict)
        except InputError as error:
            damaged.append(str(error))
    for reason in damaged:
        log().warning("verdict left out", reason=reason)
    return sorted(sound, key=lambda verdict: (verdict.id != promoted, verdict.facts["outcome"] == "not run")), damaged
