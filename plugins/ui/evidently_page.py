"""/ratchet/reports/drift/ID/evidently.html: the page that Evidently made beside a report, in a sandbox."""

from fastapi.responses import HTMLResponse

from pipelines.errors import StepError
from ui.artifact_page import load_artifact
from ui.rendering import HEADERS, not_found

# Evidently's page is drawn by scripts of its own. In a sandbox without an origin they reach neither this site nor any other.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline';"
    " img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def evidently_page(artifact_id: str) -> HTMLResponse:
    """The artifact's `evidently.html` as it was written; 404 if there is none."""
    try:
        page = load_artifact("drift", artifact_id).text("evidently.html")
    except StepError as error:
        return not_found(error)
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": SANDBOX})
