"""describe: the release card: intended use, data, measures by segment, known limits."""

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import resolve

VERSION = 1


class DescribeParams(Params):
    release: str = Field("champion", description="Release id, its first digits, or: champion, challenger")
    verdict: str = Field("", description="Verdict id; empty: the one by which it was promoted")


class DescribeResult(Result):
    report: str
    release: str
    verdict: str
    found: bool


def describe(params: DescribeParams) -> DescribeResult:
    """Write the card of a release from its artifacts and from what RATCHET_RELEASE_CARD states.

    Raises:
        InputError: the verdict is of another release.
    """
    from pipelines.reports.release_card import described
    from pipelines.store.artifacts import load

    journal = Journal(open_store())
    release = resolve(journal, params.release)
    promotion = journal.latest("promote", to=release.id)
    named = params.verdict or (promotion and promotion.verdict) or ""
    verdict = load(journal.store, "verdict", named) if named else None
    if verdict and (judged := verdict.inputs.get("release", "")) != release.id:
        given = f"verdict {verdict.id}, which judged release {judged}"
        raise InputError(given, f"a verdict of release {release.id}", "name that release, or leave --verdict out")
    card = described(release, verdict)
    log().info("described", release=release.id, report=card.id)
    return DescribeResult(report=card.id, release=release.id, verdict=verdict.id if verdict else "", found=card.found)
