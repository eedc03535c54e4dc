"""The FastAPI application under /ratchet: one page per file, all behind Airflow's login."""

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI

from ui.artifact_page import artifact_page
from ui.drift_page import drift_page
from ui.evidently_page import evidently_page
from ui.releases_page import releases_page
from ui.report_page import report_page


def application() -> FastAPI:
    """The application. Airflow adds no login to a plugin's app, so every route depends on the right to view plugins.

    FastAPI's own pages (docs, OpenAPI) are off: no dependency guards them.
    """
    may_view_plugins = Depends(requires_access_view(AccessView.PLUGINS))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[may_view_plugins])
    app.get("/releases")(releases_page)
    app.get("/drift")(drift_page)
    app.get("/reports/{kind}/{artifact_id}")(report_page)
    app.get("/reports/drift/{artifact_id}/evidently.html")(evidently_page)
    app.get("/artifacts/{kind}/{artifact_id}")(artifact_page)
    return app
