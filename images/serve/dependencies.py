"""FastAPI dependencies of the routes: the objects they use, and the checks of who calls."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from images.serve.auth import COOKIE, Auth
from images.serve.errors import NotAuthenticated
from images.serve.exposure_log import ExposureLog
from images.serve.watcher import Watcher


@dataclass(frozen=True)
class Dependencies:
    """The objects that routes use; `pool` runs what would block the event loop."""

    watcher: Watcher
    exposure_log: ExposureLog
    auth: Auth
    pool: ThreadPoolExecutor


async def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


async def _caller(request: Request) -> str:
    """The caller's name: empty with the key, the session's name for a browser.

    Raises:
        NotAuthenticated: neither key nor session, or a session cookie sent by another site's page.
    """
    auth = request.app.state.dependencies.auth
    if auth.has_key(request.headers.get("authorization", "")):
        return ""
    session: str | None = auth.session(request.cookies.get(COOKIE, ""))
    if session is None:
        raise NotAuthenticated("no valid key", "the header 'Authorization: Bearer KEY', or a session", "send the server's key")
    if not _is_same_origin(request):
        raise NotAuthenticated(
            "a session's cookie with a request of another site", "the search page's own", "open the page itself"
        )
    return session


def _is_same_origin(request: Request) -> bool:
    """Whether Sec-Fetch-Site or Origin name the server's own page as sender; without these headers only a GET passes."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method == "GET")
    origin = request.headers.get("origin")
    if origin is not None:
        return origin == f"{request.url.scheme}://{request.url.netloc}"
    return request.method == "GET"


async def require_key(request: Request) -> None:
    """Let only callers with the key pass.

    Raises:
        NotAuthenticated: the caller has no key; a session is not enough.
    """
    if not request.app.state.dependencies.auth.has_key(request.headers.get("authorization", "")):
        raise NotAuthenticated("no valid key", "the header 'Authorization: Bearer KEY'", "send the server's key")


Deps = Annotated[Dependencies, Depends(_dependencies)]
Caller = Annotated[str, Depends(_caller)]
