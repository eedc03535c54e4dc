"""The HTTP interface: search, clicks, pictures, health. The search page is in `pages`."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from images.serve import pages
from images.serve.auth import Auth
from images.serve.dependencies import Caller, Dependencies, Deps
from images.serve.errors import NotHere, answer_errors
from images.serve.exposure_log import EventLog
from images.serve.watcher import State, Watcher, id_of
from pipelines.corpus.documents import Document
from pipelines.corpus.exposure import Click, Exposure, Policy, ShownDocument
from pipelines.corpus.text_rules import LONGEST_HISTORY, LONGEST_ID, document_id, one_line
from pipelines.errors import InputError, TryAgain
from pipelines.retrieval.release import Release

PICTURE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
router = APIRouter()


def _history(ids: list[str]) -> list[str]:
    if len(ids) > LONGEST_HISTORY:
        raise ValueError(f"at most {LONGEST_HISTORY} ids")
    return ids


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchRequest(_Asked):
    """The parameters of a search: words, or documents that the results shall be like."""

    q: Annotated[str, AfterValidator(one_line)] | None = None
    like: Annotated[list[Annotated[str, AfterValidator(document_id)]], AfterValidator(_history)] = []
    k: int = Field(10, ge=1, le=100)
    user: str = Field("", max_length=128)
    release: Policy = "champion"


class ClickRequest(_Asked):
    """The body of a click."""

    request_id: str = Field(min_length=1, max_length=64)
    document: str = Field(min_length=1, max_length=LONGEST_ID)
    position: int = Field(ge=1, le=100)


@router.get("/healthz")
async def healthz() -> Response:
    """The process lives."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request, service: Deps) -> Response:
    """200 while the champion that serves is the one the journal routes to; what is wrong, in full only with the key."""
    state = service.watcher.state
    known = service.access.holds_key(request.headers.get("authorization", ""))
    said = {
        "ready": state.ready,
        "entry": state.entry,
        "champion": id_of(state.champion),
        "challenger": id_of(state.challenger),
        "warm": list(state.warm),
        "problem": state.problem and (state.problem.sentence if known else state.problem.short),
    }
    return JSONResponse(said, 200 if state.ready else 503)


@router.get("/v1/search")
async def search(asked: Annotated[SearchRequest, Query()], service: Deps, caller: Caller) -> Response:
    """The k best documents for the words q, or the k that are most like the documents `like`."""
    _check_asked(asked)
    user = service.access.pseudonym(asked.user or caller)
    answering = asyncio.get_running_loop().run_in_executor(service.pool, _answer, service, asked, user)
    return JSONResponse(await answering)


def _answer(service: Dependencies, asked: SearchRequest, user: str) -> dict[str, Any]:
    state = service.watcher.state
    release = _release(state, asked.release)
    words, liked = asked.q or "", _known(release, asked.like)
    ranked = (release.search_like([liked], asked.k) if liked else release.search([words], asked.k))[0]
    exposure = Exposure(
        request_id=uuid.uuid4().hex, at=datetime.now(UTC), user=user, query=words, history=tuple(liked),
        release=release.id, policy=asked.release, entry=state.entry, results=tuple(_shown(ranked)),
    )  # fmt: skip
    service.events.exposed(exposure)
    results = [_result(release, shown) for shown in exposure.results]
    like = [{"id": one, "title": _title(release.documents[one])} for one in liked]
    return {"request_id": exposure.request_id, "release": release.id, "query": words, "like": like, "results": results}


def _check_asked(asked: SearchRequest) -> None:
    if bool(asked.q) == bool(asked.like):
        given = "q and like together" if asked.q else "q nothing, like nothing"
        raise InputError(given, "either words (q) or ids of documents (like)", "correct it and ask again")


def _known(release: Release, ids: list[str]) -> list[str]:
    """Those of the ids that the release has, the latest last; others were taken out since, or never were.

    Raises:
        NotHere: there are ids, and none is known.
    """
    known = release.known(ids)
    if ids and not known:
        raise NotHere(
            f"like {', '.join(ids)[:80]!r}", f"a document of release {release.id[:8]}", "take an id that a search answered"
        )
    return known


def _release(state: State, policy: Policy) -> Release:
    if state.champion is None:
        short = state.problem.short if state.problem else "loading"
        raise TryAgain(f"a search ({short})", "a champion to answer it", "ask again later; /readyz tells more with the key")
    if policy == "champion":
        return state.champion
    if state.challenger is None:
        raise NotHere("release=challenger", "a challenger beside the champion", "leave it out, or promote a release")
    return state.challenger


def _shown(ranked: list[tuple[str, float]]) -> list[ShownDocument]:
    """The ranking as it is shown; nothing is left to chance, so each propensity is 1."""
    return [
        ShownDocument(document=document, position=position, score=score, propensity=1.0)
        for position, (document, score) in enumerate(ranked, 1)
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
async def picture(release_id: str, document_id: str, service: Deps, caller: Caller) -> Response:  # noqa: ARG001
    """A document's SVG, as an image in which no script can run."""
    release = service.watcher.state.warm.get(release_id)
    document = release.documents.get(document_id) if release else None
    if document is None or not document.picture:
        raise NotHere(
            f"picture {document_id[:64]!r} of release {release_id[:64]!r}", "one that a search answered", "search again"
        )
    headers = {"content-security-policy": PICTURE_POLICY, "cache-control": "private, max-age=31536000, immutable"}
    return Response(document.picture, media_type="image/svg+xml", headers=headers)


@router.post("/v1/clicks")
async def click(chosen: ClickRequest, service: Deps, caller: Caller) -> Response:  # noqa: ARG001
    """A document was chosen from an exposure."""
    event = Click(**chosen.model_dump(), at=datetime.now(UTC))
    await asyncio.get_running_loop().run_in_executor(service.pool, service.events.clicked, event)
    return JSONResponse(chosen.model_dump(), 201)


def build_app(watcher: Watcher, events: EventLog, access: Auth, workers: int) -> FastAPI:
    """The application; the caller runs the watcher."""
    app = FastAPI(title="Ratchet search", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = Dependencies(watcher, events, access, ThreadPoolExecutor(workers, "search"))
    app.include_router(router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=pages.PAGE / "static"))
    answer_errors(app)
    return app
