"""The search page and the one-time links that lead to it."""

from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from images.serve.auth import COOKIE, LINK_LASTS_S, SESSION_LASTS_S
from images.serve.dependencies import Deps, key_holder

PAGE = Path(__file__).parent / "page"
router = APIRouter()


@router.post("/v1/signin-links", dependencies=[Depends(key_holder)])
async def signin_link(request: Request, service: Deps) -> Response:
    """A link that opens the search page once, within 15 minutes."""
    return JSONResponse({"url": f"{request.base_url}signin?token={service.access.link_token()}", "lasts_s": LINK_LASTS_S}, 201)


@router.get("/signin")
async def signin(request: Request, service: Deps, token: str = "") -> Response:
    """Spend a one-time link. The answer goes on to the page by itself: a redirect would lose the strict cookie of
    who came by a link on another site's page.
    """
    cookie = service.access.redeem(token)
    if cookie is None:
        return FileResponse(PAGE / "spent.html", 403)
    answer = HTMLResponse((PAGE / "signed-in.html").read_text(encoding="utf-8"))
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_LASTS_S, httponly=True, samesite="strict", secure=secure)
    return answer


@router.get("/")
async def page(request: Request, service: Deps) -> Response:
    """The search page; without a session, how to get one."""
    if service.access.session(request.cookies.get(COOKIE, "")) is None:
        return FileResponse(PAGE / "sign-in.html", 401)
    return FileResponse(PAGE / "search.html")
