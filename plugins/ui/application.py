"""The FastAPI application under /ratchet: one page per file. Pages are behind Airflow's login, metrics behind a key."""

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import APIRouter, Depends, FastAPI

from ui.artifact_page import artifact_page
from ui.drift_page import drift_page
from ui.evidently_page import evidently_page
from ui.metrics_page import may_read_metrics, metrics_page
from ui.releases_page import releases_page
from ui.report_page import report_page


def application() -> FastAPI:
    """The application, all of it closed to strangers.

    Airflow adds no login to a plugin's app. Pages depend on the right to view plugins; the metrics, for a program, on a key.
    FastAPI's own pages (docs, OpenAPI) are off: no dependency guards them.
    """
    pages = APIRouter(dependencies=[Depends(requires_access_view(AccessView.PLUGINS))])
    pages.get("/releases")(releases_page)
    pages.get("/drift")(drift_page)
    pages.get("/reports/{kind}/{artifact_id}")(report_page)
    pages.get("/reports/drift/{artifact_id}/evidently.html")(evidently_page)
    pages.get("/artifacts/{kind}/{artifact_id}")(artifact_page)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(pages)
    app.get("/metrics", dependencies=[Depends(may_read_metrics)])(metrics_page)
    return app
