"""The HTTP API: health, pictures, metrics and all other routes together. The search page is in `pages`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from images.serve import events, lists, pages, scoring
from images.serve.arm_counts import ArmCounts
from images.serve.auth import Auth
from images.serve.credentials import Credentials
from images.serve.dependencies import MOST_WAITING, Dependencies, Deps, Observer, Searcher, identified
from images.serve.errors import NotAuthenticated, NotFound, add_error_handlers
from images.serve.exposure_log import ExposureLog
from images.serve.interface import describe
from images.serve.limits import Limiter
from images.serve.routing import UNTOGGLED
from images.serve.shipping import Shipper
from images.serve.watcher import DRAINING, Watcher, id_of
from pipelines.deployment.toggles import Toggles
from pipelines.errors import TryAgain

PICTURE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """Liveness: the process runs."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", responses={503: {"description": "Not ready", "content": {"application/json": {"schema": {}}}}})
async def readyz(request: Request, dependencies: Deps) -> Response:
    """Readiness: 200 while the serving champion is the one the journal routes to. Problems in full only for an admin."""
    state = dependencies.watcher.state
    if dependencies.draining:
        state = replace(state, ready=False, problem=DRAINING)
    is_admin = await _is_admin(request)
    status: dict[str, Any] = {
        "ready": state.ready,
        "entry": state.entry,
        "champion": id_of(state.champion),
        "challenger": id_of(state.challenger),
        "previous": id_of(state.previous),
        "warm": list(state.warm),
        "problem": state.problem and (state.problem.sentence if is_admin else state.problem.short),
    }
    if is_admin:
        limiter, credentials = dependencies.limiter, dependencies.credentials
        status["split"] = state.split and state.split.model_dump()
        status["shadow"] = state.shadow
        status["limits"] = limiter.counted_in if limiter else "none"
        status["credentials"] = dict(credentials.problems) if credentials else {}
        status["threads"] = dict(dependencies.failures)
        status["log"] = dependencies.shipper and dependencies.shipper.told()
    return JSONResponse(status, 200 if state.ready else 503)


async def _is_admin(request: Request) -> bool:
    if "authorization" not in request.headers:
        return False
    try:
        return "admin" in (await identified(request)).scopes
    except (NotAuthenticated, TryAgain):
        return False


@router.get(
    "/v1/pictures/{release_id}/{document_id:path}", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}}
)
async def picture(release_id: str, document_id: str, dependencies: Deps, caller: Searcher) -> Response:  # noqa: ARG001
    """A document's SVG, under a policy that lets no script in it run."""
    release = dependencies.watcher.state.warm.get(release_id)
    document = release.documents.get(document_id) if release else None
    if document is None or not document.picture:
        raise NotFound(
            f"picture {document_id[:64]!r} of release {release_id[:64]!r}", "a picture from a search's results", "search again"
        )
    headers = {"content-security-policy": PICTURE_POLICY, "cache-control": "private, max-age=31536000, immutable"}
    return Response(document.picture, media_type="image/svg+xml", headers=headers)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(dependencies: Deps, caller: Observer) -> Response:  # noqa: ARG001
    """What the server tells of itself, as Prometheus reads it; also while searches are too many."""
    return Response(await asyncio.to_thread(dependencies.metrics.page), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/openapi.json")
async def openapi(request: Request, caller: Searcher) -> Response:  # noqa: ARG001
    """This interface as OpenAPI describes one, with the scope of each route."""
    return JSONResponse(describe(request.app))


def build_app(
    watcher: Watcher,
    exposure_log: ExposureLog,
    auth: Auth,
    workers: int,
    limiter: Limiter | None = None,
    credentials: Credentials | None = None,
    toggles: Callable[[], Toggles] = lambda: UNTOGGLED,
    queue: int = MOST_WAITING,
    cache: int = 0,
    arms: ArmCounts | None = None,
    shipper: Shipper | None = None,
) -> FastAPI:
    """The application. The caller runs the watcher and follows the credentials; `workers` threads search and write logs.

    `toggles`: see `ToggleReader`; `queue`: searches that may wait; `cache`: rankings that are kept; `arms`: counts
    searches of a deployment.
    """
    app = FastAPI(title="Ratchet search", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    pool = ThreadPoolExecutor(workers, "search")
    app.state.dependencies = Dependencies(
        watcher, exposure_log, auth, pool, limiter, credentials, toggles, workers, queue, cache, arms, shipper
    )
    for part in (router, lists.router, scoring.router, events.router, pages.router):
        app.include_router(part)
    app.mount("/static", StaticFiles(directory=pages.PAGE / "static"))
    add_error_handlers(app)
    return app
