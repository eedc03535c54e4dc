"""/ratchet/reports/KIND/ID: the report of an artifact."""

from fastapi.responses import HTMLResponse

from pipelines.errors import StepError
from ui.artifact_page import load_artifact
from ui.rendering import HEADERS, not_found


def report_page(kind: str, artifact_id: str) -> HTMLResponse:
    """The artifact's `report.html` as it was written; 404 if there is none."""
    try:
        return HTMLResponse(load_artifact(kind, artifact_id).text("report.html"), headers=HEADERS)
    except StepError as error:
        return not_found(error)
