"""verify: whether a release is what it says, from what is stored alone, so that no network is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.store.artifacts import readable
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.releases import resolve

if TYPE_CHECKING:
    from pipelines.verification.release import Check

VERSION = 1


class VerifyParams(Params):
    release: str = Field(description="Release id, its first digits, or: champion, challenger")
    answers: int = Field(50, ge=0, le=100_000, description="Judged queries that the release answers again; 0: none")
    audit: str = Field("", description="Export of the journal, kept elsewhere, that the journal must begin with")
    seal: str = Field("", description="Seal that `audit` told when it was exported; without it a file sealed anew is not found")
    page: str = Field("", description="Folder that gets the result as report.html and report.json; empty: none")


class VerifyResult(Result):
    release: str
    verdict: str
    """The one that it was promoted on, else its newest; empty: it was not judged."""
    checks: list[str]
    """What was checked, and what was seen."""
    sentence: str


def verify(params: VerifyParams) -> VerifyResult:
    """Derive all of a release again: ids, files, measures, verdict, journal, answers; exit code 2 at the first that differs."""
    from pipelines.reports.verification import print_checks, write_verification_report
    from pipelines.store.audit import stored_exports
    from pipelines.verification.release import check_release

    store = open_store()
    exports = _exports(params)
    passed: list[Check] = []
    problem, release, verdict = None, params.release, ""
    try:
        journal = Journal(store)
        release = resolve(journal, params.release).id
        verdict = _verdict(journal, release)
        for check in check_release(journal, release, verdict, params.answers, exports | stored_exports(store)):
            passed.append(check)
    except InputError as error:
        problem = error
    print_checks(passed, problem)
    if params.page:
        write_verification_report(Path(params.page), release, passed, problem)
    if problem is not None:
        raise problem
    return VerifyResult(
        release=release,
        verdict=verdict,
        checks=[f"{check.name}: {check.sentence}" for check in passed],
        sentence=f"release {release} is what it says: {', '.join(check.name for check in passed)}",
    )


def _exports(params: VerifyParams) -> dict[str, list[dict[str, Any]]]:
    """The export that the user names, if any."""
    from pipelines.store.audit import read_export_file

    if params.seal and not params.audit:
        raise InputError("--seal without --audit", "the file that has this seal", "pass --audit FILE")
    return {f"--audit {params.audit}": read_export_file("--audit", params.audit, params.seal)[0]} if params.audit else {}


def _verdict(journal: Journal, release: str) -> str:
    """The verdict that a release was promoted on, else its newest; empty: there is none."""
    promotion = journal.latest("promote", to=release)
    if promotion is not None and promotion.verdict:
        return promotion.verdict
    return next((one.id for one in readable(journal.store, "verdict")[0] if one.inputs.get("release") == release), "")
