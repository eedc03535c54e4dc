"""The HTTP API: search, clicks, pictures, health. The search page is in `pages`."""

import asyncio
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from images.serve import pages
from images.serve.auth import Auth
from images.serve.credentials import Credentials
from images.serve.dependencies import Dependencies, Deps, Observer, Reporter, Searcher, identified
from images.serve.errors import NotAuthenticated, NotFound, add_error_handlers
from images.serve.exposure_log import ExposureLog
from images.serve.interface import describe
from images.serve.limits import Limiter
from images.serve.watcher import State, Watcher, id_of
from pipelines.corpus.documents import Document
from pipelines.corpus.exposure import Click, Exposure, Policy, ShownDocument
from pipelines.corpus.text_rules import LONGEST_HISTORY, LONGEST_ID, document_id, one_line
from pipelines.errors import InputError, TryAgain
from pipelines.masking import masked
from pipelines.retrieval.release import Release, query_of
from pipelines.retrieval.stages.fusion import CANDIDATES

PICTURE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
SEGMENT = re.compile(r"[\w.-]{1,40}=[^=\x00-\x1f]{1,80}")
MOST_SEGMENTS = 8
router = APIRouter()


def _history(ids: list[str]) -> list[str]:
    if len(ids) > LONGEST_HISTORY:
        raise ValueError(f"at most {LONGEST_HISTORY} ids")
    return ids


def _segment(fields: list[str]) -> list[str]:
    if len(fields) > MOST_SEGMENTS or not all(SEGMENT.fullmatch(field) for field in fields):
        raise ValueError(f"at most {MOST_SEGMENTS} of NAME=VALUE, such as country=DE")
    return fields


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchRequest(_StrictModel):
    """The parameters of a search: a query text, or ids of documents to find similar ones for."""

    q: Annotated[str, AfterValidator(one_line)] | None = None
    like: Annotated[list[Annotated[str, AfterValidator(document_id)]], AfterValidator(_history)] = []
    k: int = Field(10, ge=1, le=100)
    user: str = Field("", max_length=128)
    release: Policy = "champion"
    segment: Annotated[list[str], AfterValidator(_segment)] = []
    experiment: str = Field("", max_length=60)
    variant: str = Field("", max_length=60)
    explain: bool = False
    """Whether each result has its place and score after each stage of the release."""


class ClickRequest(_StrictModel):
    """The body of a click."""

    request_id: str = Field(min_length=1, max_length=64)
    document: str = Field(min_length=1, max_length=LONGEST_ID)
    position: int = Field(ge=1, le=100)


@router.get("/healthz")
async def healthz() -> Response:
    """Liveness: the process runs."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request, dependencies: Deps) -> Response:
    """Readiness: 200 while the serving champion is the one the journal routes to. Problems in full only for an admin."""
    state = dependencies.watcher.state
    is_admin = await _is_admin(request)
    status: dict[str, Any] = {
        "ready": state.ready,
        "entry": state.entry,
        "champion": id_of(state.champion),
        "challenger": id_of(state.challenger),
        "warm": list(state.warm),
        "problem": state.problem and (state.problem.sentence if is_admin else state.problem.short),
    }
    if is_admin:
        limiter, credentials = dependencies.limiter, dependencies.credentials
        status["limits"] = limiter.counted_in if limiter else "none"
        status["credentials"] = dict(credentials.problems) if credentials else {}
    return JSONResponse(status, 200 if state.ready else 503)


async def _is_admin(request: Request) -> bool:
    if "authorization" not in request.headers:
        return False
    try:
        return "admin" in (await identified(request)).scopes
    except (NotAuthenticated, TryAgain):
        return False


@router.get("/v1/search")
async def search(parameters: Annotated[SearchRequest, Query()], dependencies: Deps, caller: Searcher) -> Response:
    """The top k documents for the query q, or the k most similar to the documents `like`."""
    _check_query_or_like(parameters)
    user = dependencies.auth.pseudonym(parameters.user or caller.user)
    answer = await dependencies.run(_search, dependencies, parameters, user, caller.id)
    dependencies.metrics.searched(answer)
    return JSONResponse(answer)


def _search(dependencies: Dependencies, parameters: SearchRequest, user: str, caller: str) -> dict[str, Any]:
    started, state = time.perf_counter(), dependencies.watcher.state
    release = _routed_release(state, parameters.release)
    query, history = parameters.q or "", _known_ids(release, parameters.like)
    depth = max(parameters.k, CANDIDATES) if parameters.explain else parameters.k
    deadline = time.monotonic() + dependencies.rerank_s if dependencies.rerank_s else None
    ranked = release.rank_stages([query_of(query, history)], depth, {}, deadline=deadline)[0]
    exposure = Exposure(
        request_id=uuid.uuid4().hex,
        at=datetime.now(UTC),
        user=user,
        query=masked(query),
        history=tuple(history),
        release=release.id,
        policy=parameters.release,
        entry=state.entry,
        results=tuple(_shown(ranked.result[: parameters.k])),
        latency_ms=round(1000 * (time.perf_counter() - started), 3),
        segment={masked(name): masked(value) for name, _, value in (field.partition("=") for field in parameters.segment)},
        experiment=masked(parameters.experiment),
        variant=masked(parameters.variant),
        caller=caller,
        reranked=ranked.reranked.scored if ranked.reranked else None,
    )
    dependencies.exposure_log.log_exposure(exposure)
    results = [_result(release, shown) for shown in exposure.results]
    like = [{"id": document_id, "title": _title(release.documents[document_id])} for document_id in history]
    answer: dict[str, Any] = {
        "request_id": exposure.request_id,
        "release": release.id,
        "query": query,
        "like": like,
        "results": results,
    }
    if ranked.reranked:
        answer["reranked"] = dict(asdict(ranked.reranked), late=ranked.reranked.late)
    if parameters.explain:
        places = {stage: _places(ranking) for stage, ranking in ranked.stages.items()}
        for result in results:
            result["stages"] = {stage: of_stage.get(result["id"]) for stage, of_stage in places.items()}
        answer["stages"] = [card.model_dump(exclude_none=True) for card in release.card.stages]
    return answer


def _places(ranking: list[tuple[str, float]]) -> dict[str, dict[str, float]]:
    """By document: its position in a stage's ranking, from 1, and its score there."""
    return {document: {"position": position, "score": score} for position, (document, score) in enumerate(ranking, 1)}


def _check_query_or_like(parameters: SearchRequest) -> None:
    if bool(parameters.q) == bool(parameters.like):
        given = "q and like together" if parameters.q else "q nothing, like nothing"
        raise InputError(given, "either a query (q) or ids of documents (like)", "correct it and ask again")
    if bool(parameters.experiment) != bool(parameters.variant):
        raise InputError("one of experiment and variant", "both, or neither", "send the other, too")
    if parameters.user and any(field.partition("=")[2] == parameters.user for field in parameters.segment):
        raise InputError(
            "a segment that is the user", "what many users share, such as a country", "leave it out: the log keeps no ids"
        )


def _known_ids(release: Release, ids: list[str]) -> list[str]:
    """The ids that the release has, the latest last; others were removed from the corpus, or never in it.

    Raises:
        NotFound: there are ids, and the release has none of them.
    """
    known = release.known(ids)
    if ids and not known:
        raise NotFound(
            f"like {', '.join(ids)[:80]!r}", f"a document of release {release.id[:8]}", "take an id from a search's results"
        )
    return known


def _routed_release(state: State, policy: Policy) -> Release:
    if state.champion is None:
        short = state.problem.short if state.problem else "loading"
        raise TryAgain(f"a search ({short})", "a champion to answer it", "ask again later; /readyz tells more with the key")
    if policy == "champion":
        return state.champion
    if state.challenger is None:
        raise NotFound("release=challenger", "a challenger beside the champion", "leave it out, or promote a release")
    return state.challenger


def _shown(ranking: list[tuple[str, float]]) -> list[ShownDocument]:
    """The ranking as the exposure log records it. The ranking is deterministic, so each propensity is 1."""
    return [
        ShownDocument(document=document, position=position, score=score, propensity=1.0)
        for position, (document, score) in enumerate(ranking, 1)
    ]


def _result(release: Release, shown: ShownDocument) -> dict[str, Any]:
    document = release.documents[shown.document]
    return {
        "id": document.id,
        "title": _title(document),
        "segment": document.segment,
        "score": shown.score,
        "position": shown.position,
        "picture": f"/v1/pictures/{release.id}/{quote(document.id, safe='')}" if document.picture else "",
    }


def _title(document: Document) -> str:
    return document.title or document.text


@router.get("/v1/pictures/{release_id}/{document_id:path}")
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


@router.post("/v1/clicks")
async def click(body: ClickRequest, dependencies: Deps, caller: Reporter) -> Response:
    """Log a click on a result of an earlier search."""
    event = Click(**body.model_dump(), at=datetime.now(UTC), caller=caller.id)
    await dependencies.run(dependencies.exposure_log.log_click, event)
    dependencies.metrics.clicked(body.request_id)
    return JSONResponse(body.model_dump(), 201)


@router.get("/metrics")
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
    rerank_s: float = 0.0,
) -> FastAPI:
    """The application. The caller runs the watcher and follows the credentials; `workers` threads search and write logs.

    `rerank_s`: seconds of a search after which nothing more is reranked; 0: all candidates are, however long it takes.
    """
    app = FastAPI(title="Ratchet search", docs_url=None, redoc_url=None, openapi_url=None)
    pool = ThreadPoolExecutor(workers, "search")
    app.state.dependencies = Dependencies(watcher, exposure_log, auth, pool, limiter, credentials, rerank_s)
    app.include_router(router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=pages.PAGE / "static"))
    add_error_handlers(app)
    return app
