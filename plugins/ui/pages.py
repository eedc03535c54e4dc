"""The pages under /ratchet: which release serves and why, an artifact's report, an artifact's manifest."""

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.errors import StepError
from pipelines.gates.verdict import read_verdicts
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import KINDS

# Reports are whole pages of our own with inlined style and pictures: nothing is fetched, nothing runs.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

templates = Environment(loader=PackageLoader("ui", "templates"), autoescape=True, undefined=StrictUndefined)


def application() -> FastAPI:
    """The pages, all behind Airflow's login; FastAPI's own pages, which no dependency guards, are off."""
    guard = Depends(requires_access_view(AccessView.PLUGINS))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[guard])
    app.get("/releases")(releases)
    app.get("/reports/{kind}/{artifact_id}")(report)
    app.get("/artifacts/{kind}/{artifact_id}")(artifact)
    return app


def releases() -> HTMLResponse:
    """The journal, newest entry first, with each entry's verdict; champion and challenger on top."""
    try:
        store = open_store()
        journal = Journal(store)
        judged, damaged = read_verdicts(store)  # a refused release is in no journal entry
    except StepError as error:
        return _page("problem.html", 500, message=str(error))
    by_id = {verdict.id: verdict for verdict in judged}
    entries = [(entry, by_id.get(entry.verdict or "")) for entry in reversed(journal.entries)]
    return _page("releases.html", routing=journal.routing, entries=entries, judged=judged, damaged=damaged)


def report(kind: str, artifact_id: str) -> HTMLResponse:
    """The report that an artifact carries."""
    try:
        found = _artifact(kind, artifact_id)
        return HTMLResponse(found.text("report.html"), headers=HEADERS)
    except StepError as error:
        return _page("problem.html", 404, message=str(error))


def artifact(kind: str, artifact_id: str) -> HTMLResponse:
    """What the manifest says: recipe, files, facts, cost, provenance."""
    try:
        found = _artifact(kind, artifact_id)
    except StepError as error:
        return _page("problem.html", 404, message=str(error))
    return _page("artifact.html", manifest=found.manifest, kinds=KINDS, reported="report.html" in found.manifest.files)


def _artifact(kind: str, artifact_id: str) -> Artifact:
    if kind not in KINDS or not artifact_id.isalnum():
        raise HTTPException(404, "no such artifact")
    return load_exactly(open_store(), kind, artifact_id)


def _page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(templates.get_template(name).render(**values), status_code=status, headers=HEADERS)
