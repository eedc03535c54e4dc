"""/ratchet/drift: what was said of the data of each day, newest first, with its report."""

from fastapi.responses import HTMLResponse

from pipelines.errors import StepError
from pipelines.store.artifacts import Artifact, readable
from pipelines.store.objects import open_store
from ui.rendering import rendered

SHOWN = 100
"""Reports of a series at most; the store has the others."""
TONES = {"quiet": "passed", "act": "rejected"}
"""The style of a verdict."""


def drift_page() -> HTMLResponse:
    """The reports of each series of days. Answers 500 with the error's message if the store can't be read."""
    try:
        reports, damaged = readable(open_store(), "drift")
    except StepError as error:
        return rendered("problem.html", 500, message=str(error))
    series: dict[str, list[Artifact]] = {}
    for report in sorted(reports, key=lambda one: str(one.facts["day"]), reverse=True):  # of one day the newest first
        series.setdefault(report.facts["series"], []).append(report)
    return rendered("drift.html", series=series, damaged=damaged, shown=SHOWN, tones=TONES)
