"""why: what was decided about a release, and by which queries."""

from pydantic import Field

from pipelines.artifacts import Artifact, Store, committed, load, load_exactly, open_store
from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.journal import Journal
from pipelines.logs import log

VERSION = 1
SHOWN = 5


class WhyParams(Params):
    release: str = Field(description="Release id, its first digits, or: champion, challenger")


class WhyResult(Result):
    release: str
    serves_as: str
    """champion, challenger, or empty."""
    verdict: str
    """The newest verdict; empty: none was given."""
    outcome: str
    sentence: str
    worst_queries: list[str]
    """Query and difference, worst first."""
    earlier: list[str]
    """Sentences of earlier verdicts, newest first."""


def why(params: WhyParams) -> WhyResult:
    """Tell what the gate said about a release, newest verdict first, and its worst queries."""
    from pipelines.reports.frame import signed

    store = open_store()
    routing = Journal(store).routing.model_dump()
    release = load(store, "release", _named(params.release, routing)).id
    serves_as = next((role for role, serving in routing.items() if serving == release), "")
    verdicts = _verdicts(store, release)
    if not verdicts:
        sentence = f"no verdict on release {release[:8]} yet: run evaluate and gate"
        log().info(sentence)
        return WhyResult(
            release=release, serves_as=serves_as, verdict="", outcome="", sentence=sentence, worst_queries=[], earlier=[]
        )
    newest = verdicts[0].json("verdict.json")
    worst = [f"{one['text']} {signed(one['difference'])}" for one in newest["worst_queries"][:SHOWN]]
    log().info(newest["sentence"] + (f"; worst queries {', '.join(worst)}" if worst else ""))
    return WhyResult(
        release=release, serves_as=serves_as, verdict=verdicts[0].id, outcome=newest["outcome"], sentence=newest["sentence"],
        worst_queries=worst, earlier=[verdict.facts["sentence"] for verdict in verdicts[1:]],
    )  # fmt: skip


def _named(release: str, routing: dict[str, str | None]) -> str:
    if release not in routing:
        return release
    serving = routing[release]
    if serving is None:
        raise InputError(
            release, f"a {release}, and there is none yet", "run `python -m pipelines history`, or give a release id"
        )
    return serving


def _verdicts(store: Store, release: str) -> list[Artifact]:
    """The release's verdicts, newest first."""
    every = (load_exactly(store, "verdict", one) for one in committed(store, "verdict"))
    found = [verdict for verdict in every if verdict.inputs["release"] == release]
    return sorted(found, key=lambda verdict: (verdict.manifest.provenance["at"], verdict.id), reverse=True)
