"""/ratchet/drift: what was said of the data of each day, newest first, with its report."""

from fastapi.responses import HTMLResponse

from pipelines.errors import CorruptArtifact, StepError
from pipelines.store.artifacts import Artifact, committed, find
from pipelines.store.objects import Store, open_store
from ui.rendering import rendered

SHOWN = 100
"""Reports of a series at most; the store has the others."""
TONES = {"quiet": "passed", "act": "rejected"}
"""The style of a verdict."""


def drift_page() -> HTMLResponse:
    """The reports of each series of days. Answers 500 with the error's message if the store can't be read."""
    try:
        reports, damaged = _reports(open_store())
    except StepError as error:
        return rendered("problem.html", 500, message=str(error))
    series: dict[str, list[Artifact]] = {}
    for report in reports:
        series.setdefault(report.facts["series"], []).append(report)
    return rendered("drift.html", series=series, damaged=damaged, shown=SHOWN, tones=TONES)


def _reports(store: Store) -> tuple[list[Artifact], list[str]]:
    """What was judged, the last day first, and a message for each that can't be read."""
    reports: list[Artifact] = []
    damaged: list[str] = []
    for name in committed(store, "drift"):
        try:
            report = find(store, "drift", name)
        except CorruptArtifact as error:
            damaged.append(str(error))
        else:
            reports += [report] if report else []
    return sorted(
        reports, key=lambda one: (one.facts["day"], str(one.manifest.provenance["at"]), one.id), reverse=True
    ), damaged
