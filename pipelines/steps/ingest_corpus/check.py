"""check: a corpus, and the logs of what was shown, against a suite of declared checks."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import settings
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.quality.examination import CheckInputs

VERSION = 1
NAMED = 5


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
    store = open_store()
    asked, events_digest = _asked(store, params)
    inputs = {"suite": asked.suite.digest, "events": events_digest}
    inputs |= {name: one.id for name, one in (("corpus", asked.corpus), ("previous", asked.previous)) if one}
    semantic = {"on": asked.on.isoformat(), "personal": params.personal}
    recipe = Recipe(
        kind="report", step="check", version=VERSION, inputs={key: one for key, one in inputs.items() if one}, params=semantic
    )
    report = produce(store, recipe, lambda folder: _write(asked, folder))
    facts = report.facts
    _tell(report)
    if facts["failed"]:
        raise _refusal(report, asked)
    corpus = asked.corpus.id if asked.corpus else ""
    return CheckResult(report=report.id, corpus=corpus, passed=facts["outcome"] != "not run", found=report.found,
                       **{key: facts[key] for key in ("warned", "failed", "proposed", "sentence")})  # fmt: skip


def _asked(store: Store, params: CheckParams) -> tuple["CheckInputs", str]:
    """What is examined, and the digest of the logs among it."""
    from pipelines.quality.examination import CheckInputs, chosen_corpora
    from pipelines.quality.loading import digest_events, event_sizes
    from pipelines.quality.suite import read_suite

    if params.corpus == "none" and not params.exposures:
        raise InputError("--corpus none without --exposures", "something to check", "give a corpus id or a folder of logs")
    suite = read_suite(params.suite or settings().suite)
    corpus, previous = chosen_corpora(store, params.corpus, params.previous)
    events = _events(params.exposures)
    sizes = event_sizes(events) if events else {}
    asked = CheckInputs(corpus, previous, events, sizes, suite, _day(params.on), params.personal)
    return asked, digest_events(events, sizes) if events else ""


def _day(on: str) -> date:
    try:
        return date.fromisoformat(on) if on else datetime.now(UTC).date()
    except ValueError:
        raise InputError(f"--on {on!r}", "a day such as 2026-01-31", "correct it, or leave it out for today") from None


def _events(exposures: str) -> Path | None:
    if exposures == "server":
        given = settings()
        return given.events or given.home / "events"
    return Path(exposures) if exposures else None


def _write(asked: "CheckInputs", folder: Path) -> dict[str, Any]:
    from pipelines.quality.examination import examine
    from pipelines.reports.quality import write_quality_report

    examination = examine(asked)
    write_quality_report(folder, examination)
    return examination.facts


def _tell(report: Artifact) -> None:
    for warning in report.facts["warnings"]:
        log().warning("check", report=report.id, found=warning)
    log().info(report.facts["sentence"], report=report.id)


def _refusal(report: Artifact, asked: "CheckInputs") -> InputError:
    from pipelines.wording import counted

    named, more = report.facts["failures"][:NAMED], report.facts["failed"] - NAMED
    what = f"corpus {asked.corpus.id}" if asked.corpus else f"logs in {asked.events}"
    rest = f"; and {more:,} more" if more > 0 else ""
    return InputError(f"{what}, of which {counted(report.facts['failed'], 'check')} failed: {'; '.join(named)}{rest}",
                      f"all checks of level fail of suite {asked.suite.name!r} to pass",
                      f"read report {report.id} (report.html of {report.uri}; in Airflow /ratchet/reports/report/{report.id}),"
                      " then correct the data or have the suite changed")  # fmt: skip
