"""drill: a rollback is tried for real and timed, then the champion comes back."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import CorruptArtifact, InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, find, produce
from pipelines.store.journal import Journal, moment
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.deployment.drill import Drill

VERSION = 1
FILE = "drills.json"


class DrillParams(Params):
    query: str = Field("heart", min_length=1, max_length=512, description="What live queries ask")
    why: str = Field("", description="Reason for the journal, besides that it is a drill")
    who: str = Field("", description="Name for the journal; empty: RATCHET_USER, else the account's")
    wait_s: float = Field(30, ge=1, le=600, description="Seconds after which a server that does not follow counts as failed")
    triggered: str = Field("", description="When the drill was asked for, from where its seconds count; empty: now")


class DrillResult(Result):
    report: str
    release: str
    previous: str
    entry: int
    serving_s: float
    """From the journal's entry to live answers of the champion before."""
    rollback_s: float
    """The same from when the drill was asked for."""
    projections_s: float
    """From the champion's return until MLflow shows it; 0: there is no MLflow."""
    note: str


def drill(params: DrillParams) -> DrillResult:
    """Roll back for a moment, verified by live queries and timed, and bring the champion back; late is an error that pages."""
    from pipelines.deployment.drill import drill as run_drill
    from pipelines.projections.mlflow import shown

    asked = moment("--triggered", params.triggered).timestamp() if params.triggered else time.time()
    journal = Journal(open_store())
    own = journal.resumed("rollback")
    report = find(journal.store, "report", _recipe(own.from_ or "", own.to, own.n).id) if own else None
    if report is None:
        seen = run_drill(journal, params.query, params.why, params.who, params.wait_s, asked, shown)
        earlier = _earlier(journal)
        recipe = _recipe(seen.release, seen.previous, seen.entry)
        report = produce(journal.store, recipe, lambda folder: _write(seen, earlier, folder))
    return _result(report)


def _recipe(release: str, previous: str, entry: int) -> Recipe:
    inputs = {"release": release, "previous": previous}
    return Recipe(kind="report", step="drill", version=VERSION, inputs=inputs, params={"entry": entry})


def _result(report: Artifact) -> DrillResult:
    """The result of the last drill of a report.

    Raises:
        InputError: it failed.
    """
    seen = report.json(FILE)[-1]
    if seen["problem"]:
        raise InputError(
            f"drill of entry {seen['entry']}: {seen['problem']} (report {report.id})",
            "a rollback in time, and the champion back",
            "look at `history`, at the server's log and at its `/readyz`",
        )
    note = (
        f"DRILL: release {seen['previous'][:8]} answered {seen['serving_s']:g} s after the entry and {seen['rollback_s']:g} s"
        f" after the drill was asked for; {seen['release'][:8]} is back"
    )
    log().info(note, report=report.id)
    times = {name: seen[name] or 0.0 for name in ("serving_s", "rollback_s", "projections_s")}
    named = {name: seen[name] for name in ("release", "previous", "entry")}
    return DrillResult(report=report.id, **named, **times, note=note)


def _earlier(journal: Journal) -> list[dict[str, Any]]:
    """The drills so far, oldest first: by the newest report of one that is whole, since each holds those before it."""
    from pipelines.deployment.drill import WHY

    for entry in reversed(journal.entries):
        if entry.action != "rollback" or not entry.why.startswith(WHY):
            continue
        try:
            report = find(journal.store, "report", _recipe(entry.from_ or "", entry.to, entry.n).id)
            if report:
                seen: list[dict[str, Any]] = report.json(FILE)
                return seen
        except CorruptArtifact as error:
            log().warning("the report of an earlier drill is damaged and left out", entry=entry.n, problem=str(error))
    return []


def _write(seen: "Drill", earlier: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from pipelines.reports.drill import write_drill_report

    drills = [*earlier, asdict(seen)]
    (folder / FILE).write_text(json.dumps(drills, indent=1), encoding="utf-8")
    write_drill_report(folder, drills)
    return {"passed": seen.passed, "serving_s": seen.serving_s, "rollback_s": seen.rollback_s}
