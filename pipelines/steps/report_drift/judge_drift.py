"""judge_drift: a day's snapshot beside those of the days before it, by a policy: quiet, watch or act for each area."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.settings import missing_packages
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.drift.days import Past
    from pipelines.drift.policy import DriftPolicy

VERSION = 7
EVIDENTLY = "evidently.html"
REPORTS = 28
"""Reports of days before, whose verdicts and sizes are shown beside those of the day."""


class JudgeDriftParams(Params):
    current: str = Field(description="Snapshot id of the day, from take_snapshot")
    reference: str = Field(
        "", description="Snapshot id that the examples compare with, and the tests too before there are 14 days; empty: none"
    )
    policy: str = Field("", description="YAML file: rate of false alarms, sizes, what starts; empty: the shipped one")
    evidently: bool = Field(True, description="Whether Evidently's page is made beside the report, where it is installed")


class JudgeDriftTuning(Tuning):
    report: str = Field("", description="File to copy the report to, such as drift.html; Evidently's page goes beside it")


class JudgeDriftResult(Result):
    drift: str
    release: str
    outcome: Literal["quiet", "watch", "act", "not compared"]
    sentence: str
    repairs: list[str]
    """What the policy says is to start."""
    nothing_due: bool
    report: str
    """Where report.html is."""
    note: str
    """The outcome in capitals and why, which becomes the dag run's note."""
    found: bool


def judge_drift(params: JudgeDriftParams, tuning: JudgeDriftTuning) -> JudgeDriftResult:
    """Say what of a day is beyond what quiet days show, how large it is, and what the policy starts."""
    from pipelines.drift.days import last_gradual, past_of, reports_before
    from pipelines.drift.policy import read_drift_policy

    store, policy = open_store(), read_drift_policy(params.policy)
    current = load(store, "snapshot", params.current)
    reference = load(store, "snapshot", params.reference) if params.reference else None
    series, day = current.facts["series"], current.facts["day"]
    past = past_of(store, series, day, policy.window_days + 14)
    with_page = params.evidently and not missing_packages("drift") and reference is not None
    inputs = {"current": current.id, **({"reference": reference.id} if reference else {})}
    inputs |= {f"day {one.facts['day']}": one.id for one in past.snapshots}
    earlier = reports_before(store, series, day, REPORTS)
    since = last_gradual(store, series, day)
    semantic = {"policy": policy.model_dump(mode="json"), "since": since, "evidently": with_page}
    # No inputs: these stay as long as what was made of them, so that each report would keep all before it and their queries.
    semantic["reports"] = {one.facts["day"]: one.id for one in earlier}
    recipe = Recipe(kind="drift", step="judge_drift", version=VERSION, inputs=inputs, params=semantic)
    judged = produce(
        store, recipe, lambda folder: _judge(current, reference, past, earlier, policy, since, with_page, recipe.id, folder)
    )
    facts = judged.facts
    (log().warning if facts["repairs"] else log().info)(facts["sentence"], drift=judged.id)
    outcome = facts["outcome"]
    return JudgeDriftResult(
        drift=judged.id,
        nothing_due=not facts["repairs"],
        report=_copied(judged, tuning.report),
        note=f"{outcome.upper()}: {facts['sentence'].removeprefix(f'{outcome}: ')}",
        found=judged.found,
        **{key: facts[key] for key in ("release", "outcome", "sentence", "repairs")},
    )


def _judge(
    current: Artifact, reference: Artifact | None, past: "Past", earlier: Sequence[Artifact], policy: "DriftPolicy",
    since: str, with_page: bool, own_id: str, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    from pipelines.drift.evidently_page import write_evidently
    from pipelines.drift.judging import judge_drift as judge
    from pipelines.drift.judging import lacking
    from pipelines.drift.snapshot import read_sample, read_snapshot
    from pipelines.reports.drift import write_drift_report

    sketches = [read_snapshot(one) for one in past.snapshots]
    before = read_snapshot(reference) if reference else None
    today = read_snapshot(current)
    notes = [*past.notes, *(lacking(sketches[-1], today) if sketches else [])]
    drift = judge(
        today,
        sketches,
        before,
        lambda table: (read_sample(reference or current, table)[0], read_sample(current, table)[0]),
        policy,
        since,
    )
    content = drift.model_dump(mode="json")
    (folder / "drift.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    page = bool(with_page and reference and write_evidently(folder / EVIDENTLY, reference, current))
    address = f"{own_id}/{EVIDENTLY}" if page else ""
    write_drift_report(folder, drift, policy, current, reference, earlier, notes, address)
    kept = {key: content[key] for key in ("outcome", "sentence", "day", "repairs", "gradual")}
    own = {key: current.facts[key] for key in ("release", "corpus", "series")}
    return {**kept, **own, "cool_down_hours": policy.cool_down_hours}


def _copied(artifact: Artifact, target: str) -> str:
    """Where the report can be read: a copy where one is wished, else the store's own file."""
    if not target:
        return str(artifact.path("report.html"))
    path = Path(target)
    if not path.parent.is_dir():
        raise InputError(f"--report {target}", "a file in a folder that exists", "create the folder")
    shutil.copyfile(artifact.path("report.html"), path)
    if EVIDENTLY in artifact.manifest.files:
        beside = path.parent / artifact.id
        beside.mkdir(exist_ok=True)
        shutil.copyfile(artifact.path(EVIDENTLY), beside / EVIDENTLY)
    return str(path)
