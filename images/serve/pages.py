"""The search page and the one-time links that sign a browser in."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from images.serve.auth import COOKIE, LINK_TTL_S, SESSION_TTL_S
from images.serve.dependencies import Admin, Deps

PAGE = Path(__file__).parent / "page"
IS_PAGE: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
router = APIRouter()


@router.post("/v1/signin-links")
async def signin_link(request: Request, dependencies: Deps, caller: Admin) -> Response:
    """A link that opens the search page once, within 15 minutes."""
    token = dependencies.auth.link_token(caller.id)
    return JSONResponse({"url": f"{request.base_url}signin?token={token}", "lasts_s": LINK_TTL_S}, 201)


@router.get("/signin", response_class=HTMLResponse, responses={403: {"description": "The link is spent", **IS_PAGE}})
async def signin(request: Request, dependencies: Deps, token: str = "") -> Response:
    """Exchange a one-time link for a session cookie.

    The response is a page that goes on to `/` by itself: with a redirect the browser would withhold the strict cookie from
    visitors who followed a link on another site.
    """
    cookie = dependencies.auth.redeem(token)
    if cookie is None:
        return FileResponse(PAGE / "spent.html", 403)
    answer = HTMLResponse((PAGE / "signed-in.html").read_text(encoding="utf-8"))
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_TTL_S, httponly=True, samesite="strict", secure=secure)
    return answer


@router.get("/", response_class=HTMLResponse, responses={401: {"description": "No session", **IS_PAGE}})
async def page(request: Request, dependencies: Deps) -> Response:
    """The search page; without a session, a page that says how to sign in."""
    if dependencies.auth.session(request.cookies.get(COOKIE, "")) is None:
        return FileResponse(PAGE / "sign-in.html", 401)
    return FileResponse(PAGE / "search.html")
