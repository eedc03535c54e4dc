"""Routes that give lists of documents: searches, similar documents, recommendations; one by one, or several at once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from images.serve.auth import Caller
from images.serve.dependencies import Dependencies, Deps, Searcher
from images.serve.errors import all_failed, problem_of
from images.serve.metrics import route_of
from images.serve.requests import Id, ListRequest, RecommendRequest, SearchRequest, check_query_or_like
from pipelines.corpus.exposure import ListKind

MOST = 32
"""Lists that are asked for at once."""
router = APIRouter()


class SearchBatch(BaseModel):
    """Several searches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    searches: list[SearchRequest] = Field(min_length=1, max_length=MOST)


class RecommendBatch(BaseModel):
    """Recommendations for several users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommendations: list[RecommendRequest] = Field(min_length=1, max_length=MOST)


@router.get("/v1/search")
async def search(
    parameters: Annotated[SearchRequest, Query()], dependencies: Deps, caller: Searcher, after: BackgroundTasks
) -> Response:
    """The top k documents for the query q, or the k most similar to the documents `like`."""
    check_query_or_like(parameters)
    return JSONResponse(await dependencies.search(parameters, caller, after))


@router.post("/v1/search/batch")
async def search_batch(
    request: Request, body: SearchBatch, dependencies: Deps, caller: Searcher, after: BackgroundTasks
) -> Response:
    """Several searches at once: for each its answer, or its problem."""
    return await _each(request, dependencies, caller, after, body.searches, check_query_or_like)


@router.get("/v1/similar/{document_id:path}")
async def similar(
    document_id: Annotated[Id, Path()],
    parameters: Annotated[ListRequest, Query()],
    dependencies: Deps,
    caller: Searcher,
    after: BackgroundTasks,
) -> Response:
    """The k documents that are most similar to one."""
    asked = SearchRequest(like=[document_id], **parameters.model_dump())
    return JSONResponse(await dependencies.search(asked, caller, after, "similar"))


@router.get("/v1/recommend")
async def recommend(
    parameters: Annotated[RecommendRequest, Query()], dependencies: Deps, caller: Searcher, after: BackgroundTasks
) -> Response:
    """The k documents for a user who chose some items before; what most users chose, where none of these is known."""
    return JSONResponse(await dependencies.search(parameters.search, caller, after, "recommendation"))


@router.post("/v1/recommend/batch")
async def recommend_batch(
    request: Request, body: RecommendBatch, dependencies: Deps, caller: Searcher, after: BackgroundTasks
) -> Response:
    """Recommendations for several users at once: for each its answer, or its problem."""
    searches = [asked.search for asked in body.recommendations]
    return await _each(request, dependencies, caller, after, searches, kind="recommendation")


async def _each(
    request: Request,
    dependencies: Dependencies,
    caller: Caller,
    after: BackgroundTasks,
    asked: Sequence[SearchRequest],
    check: Callable[[SearchRequest], None] = lambda _: None,
    kind: ListKind = "search",
) -> Response:
    """All in their order; they count as so many requests, and one that fails spoils no other.

    Where all fail alike the answer has their status, so that who looks at nothing else sees it, and waits where it shall.
    """

    async def answer(parameters: SearchRequest) -> dict[str, Any]:
        try:
            check(parameters)
            return await dependencies.search(parameters, caller, after, kind)
        except Exception as error:  # noqa: BLE001  # it stands in the place of the answer
            return problem_of(error)

    await dependencies.count(caller, len(asked))
    answers = await asyncio.gather(*map(answer, asked))
    statuses = [one.get("status", 200) for one in answers]
    dependencies.metrics.answered_together(route_of(request.scope), statuses)
    failed_alike = len(set(statuses)) == 1 and statuses[0] != 200
    return all_failed(answers) if failed_alike else JSONResponse({"answers": answers})
