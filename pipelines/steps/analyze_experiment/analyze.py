"""analyze: a log of exposures and outcomes becomes a verdict, ship, do not ship, keep running or invalid, with a report."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import install_command, missing_packages, settings
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.experiments.design import Design
    from pipelines.experiments.recognition import Overrides
    from pipelines.experiments.staging import StagedLog

VERSION = 2


class AnalyzeParams(Params):
    log: str = Field(
        "",
        description="Log: a file or folder of CSV, JSONL, Parquet, local or s3://; server: the search server's own;"
        " server:NAME: its searches under the split NAME; or an experiment's YAML; empty: the experiment's own",
    )
    experiment: str = Field("", description="YAML file that declares the experiment; empty: it is guessed from the log")
    column: list[str] = Field(
        [], description="FIELD=COLUMN where the guess is wrong; fields: unit, variant, time, event, count, outcome, segment …"
    )
    on: str = Field("", description="Last day that counts, such as 2026-01-31; empty: now (UTC)")


class AnalyzeTuning(Tuning):
    report: str = Field("", description="File to copy the report to, such as report.html")
    memory: str = Field("", pattern=r"^(\d+(MB|GB))?$", description="What DuckDB may hold, such as 2GB; empty: 96 MB a core")


class AnalyzeResult(Result):
    experiment: str
    """The id of the analysis."""
    name: str
    verdict: Literal["ship", "do not ship", "keep running", "invalid"]
    sentence: str
    treatment: str
    """The variant to ship; empty: none."""
    units: int
    report: str
    """Where report.html is."""
    note: str
    """The verdict in capitals and why, which becomes the dag run's note."""
    found: bool


def analyze(params: AnalyzeParams, tuning: AnalyzeTuning) -> AnalyzeResult:
    """Analyze an A/B experiment: is it sound, what changed, how sure is that, and so: ship or not."""
    from pipelines.experiments.analysis import moment_of
    from pipelines.experiments.own_log import declared_experiment
    from pipelines.experiments.recognition import parse_overrides

    if missing := missing_packages("experiments"):
        given = f"analyze without {' and '.join(missing)}"
        raise InputError(given, "the packages of the extra experiments", f"run `{install_command('experiments')}`")
    source, design, since = declared_experiment(params.log, params.experiment)
    overrides = parse_overrides(params.column)
    now = moment_of(params.on)
    with TemporaryDirectory(prefix="ratchet-analyze-") as scratch:
        artifact = _analysis(source, design, overrides, now, since, tuning, Path(scratch))
    facts = artifact.facts
    report = _copied(artifact, tuning.report)
    log().info(f"{facts['verdict']}: {facts['sentence']}", report=report)
    return AnalyzeResult(
        experiment=artifact.id,
        report=report,
        note=f"{facts['verdict'].upper()}: {facts['sentence']}",
        found=artifact.found,
        **{key: facts[key] for key in ("name", "verdict", "sentence", "treatment", "units")},
    )


def _analysis(
    source: str,
    design: "Design | None",
    overrides: "Overrides",
    now: "datetime",
    since: int,
    tuning: AnalyzeTuning,
    scratch: Path,
) -> Artifact:
    from pipelines.experiments.analysis import digest_log
    from pipelines.experiments.own_log import stage_any

    events = settings().events_folder
    staged, overrides = stage_any(source, events, design, overrides, scratch, tuning.memory, since)
    semantic = {
        "experiment": design.model_dump_json() if design else "",
        "fields": json.dumps([dict(overrides.fields), list(overrides.outcomes), list(overrides.segments)]),
        "on": f"{now:%Y-%m-%d}",
        "name": Path(source).name,
        "told": json.dumps([staged.traffic, staged.warnings]),
    }
    recipe = Recipe(kind="experiment", step="analyze", version=VERSION, inputs={"log": digest_log(staged)}, params=semantic)
    try:
        return produce(open_store(), recipe, lambda folder: _build(staged, design, overrides, now, folder))
    finally:
        staged.db.close()


def _build(
    staged: "StagedLog", design: "Design | None", overrides: "Overrides", now: "datetime", folder: Path
) -> dict[str, Any]:
    from pipelines.experiments.analysis import analyze_log
    from pipelines.reports.experiment import write_experiment_report

    analysis = analyze_log(staged, design, overrides, now)
    for sentence in [*staged.notes, *analysis.reading.sentences, *analysis.table.sentences]:
        log().info(sentence)
    for warning in analysis.warnings:
        log().warning(warning)
    provenance = {"log": staged.source, "as of": f"{now:%Y-%m-%d}", "experiment": analysis.design.id}
    write_experiment_report(folder, analysis, provenance)
    verdict = {
        "verdict": analysis.verdict.outcome,
        "sentence": analysis.verdict.sentence,
        "treatment": analysis.verdict.treatment,
    }
    return {"name": analysis.design.id, "units": analysis.units, **verdict}


def _copied(artifact: Artifact, target: str) -> str:
    """Where the report can be read: a copy where one is wished, else the store's own file."""
    if not target:
        return str(artifact.path("report.html"))
    path = Path(target)
    if not path.parent.is_dir():
        raise InputError(f"--report {target}", "a file in a folder that exists", "create the folder")
    shutil.copyfile(artifact.path("report.html"), path)
    return str(path)
