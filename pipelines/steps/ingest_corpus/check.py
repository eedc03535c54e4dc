"""check: a corpus, and the logs of what was shown, against a suite of declared checks."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.quality.examination import CheckInputs

VERSION = 1
NAMED = 5
"""Failed checks that the error names."""


class CheckParams(Params):
    corpus: str = Field(description="Corpus id; champion: the one of the release that serves; none: only --exposures")
    exposures: str = Field("", description="Folder of exposure and click logs; server: the server's own; empty: none")
    suite: str = Field("", description="YAML file of checks; default: the shipped ones; empty: RATCHET_SUITE, else default")
    previous: str = Field("", description="Corpus to compare the volume with; empty: the champion's; none")
    personal: int = Field(1000, ge=0, le=1_000_000, description="Texts of each part that are scanned for personal data")
    on: str = Field("", description="Day that ages are counted to, such as 2026-01-31; empty: today (UTC)")


class CheckResult(Result):
    report: str
    corpus: str
    """Empty: only logs were checked."""
    passed: bool
    """Whether something was checked, and no check of level fail failed."""
    warned: int
    failed: int
    proposed: int
    """Checks that wait for review and count for nothing."""
    sentence: str
    found: bool


def check(params: CheckParams) -> CheckResult:
    """Check data against a suite; the report stays, and a failed check of level fail is exit 2."""
    from pipelines.quality.inputs import read_inputs

    store = open_store()
    with TemporaryDirectory(prefix="ratchet-logs-") as scratch:
        inputs = read_inputs(store, Path(scratch), **params.model_dump())
        report = _report(store, inputs)
    for warning in report.facts["warnings"]:
        log().warning("check", report=report.id, found=warning)
    log().info(report.facts["sentence"], report=report.id)
    if report.facts["failed"]:
        raise _failure(
            report, f"corpus {inputs.corpus.id}" if inputs.corpus else f"logs of {params.exposures}", inputs.suite.name
        )
    return CheckResult(
        report=report.id,
        corpus=inputs.corpus.id if inputs.corpus else "",
        passed=report.facts["outcome"] != "not run",
        found=report.found,
        **{key: report.facts[key] for key in ("warned", "failed", "proposed", "sentence")},
    )


def _report(store: Store, inputs: "CheckInputs") -> Artifact:
    from pipelines.quality.loading import digest_events

    digests = {
        "suite": inputs.suite.digest,
        "events": digest_events(inputs.events, inputs.sizes) if inputs.events else "",
        "corpus": inputs.corpus.id if inputs.corpus else "",
        "previous": inputs.previous.id if inputs.previous else "",
    }
    recipe = Recipe(
        kind="report",
        step="check",
        version=VERSION,
        inputs={name: digest for name, digest in digests.items() if digest},
        params={"on": inputs.on.isoformat(), "personal": inputs.personal, **_scanned_codes(inputs)},
    )
    return produce(store, recipe, lambda folder: _examine(inputs, folder))


def _scanned_codes(inputs: "CheckInputs") -> dict[str, str]:
    """That ids and segments are scanned too, where some may be personal; reports of other corpora keep their ids."""
    from pipelines.quality.personal import each_code, may_be_personal

    scanned = inputs.corpus is not None and inputs.personal > 0 and may_be_personal(each_code(inputs.corpus))
    return {"codes": "scanned"} if scanned else {}


def _examine(inputs: "CheckInputs", folder: Path) -> dict[str, Any]:
    from pipelines.quality.examination import examine
    from pipelines.reports.quality import write_quality_report

    examination = examine(inputs)
    write_quality_report(folder, examination)
    return examination.facts


def _failure(report: Artifact, subject: str, suite: str) -> InputError:
    from pipelines.wording import counted

    named, more = report.facts["failures"][:NAMED], report.facts["failed"] - NAMED
    failures = "; ".join(named) + (f"; and {more:,} more" if more > 0 else "")
    place = f"report.html of {report.uri}; in Airflow /ratchet/reports/report/{report.id}"
    return InputError(
        f"{subject}, of which {counted(report.facts['failed'], 'check')} failed: {failures}",
        f"all checks of level fail of suite {suite!r} to pass",
        f"read report {report.id} ({place}), then correct the data or have the suite changed",
    )
