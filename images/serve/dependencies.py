"""What the routes work with, and who may call them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from images.serve.auth import COOKIE, Auth
from images.serve.errors import NotAllowed
from images.serve.exposure_log import EventLog
from images.serve.watcher import Watcher


@dataclass(frozen=True)
class Dependencies:
    """What the routes work with; `pool` does what would keep the event loop waiting."""

    watcher: Watcher
    events: EventLog
    access: Auth
    pool: ThreadPoolExecutor


async def _service(request: Request) -> Dependencies:
    service: Dependencies = request.app.state.service
    return service


async def _caller(request: Request) -> str:
    """The caller's own name: empty for a holder of the key, the session's for a browser.

    Raises:
        NotAllowed: neither, or a session's cookie sent by another site's page.
    """
    access = request.app.state.service.access
    if access.holds_key(request.headers.get("authorization", "")):
        return ""
    session: str | None = access.session(request.cookies.get(COOKIE, ""))
    if session is None:
        raise NotAllowed("no valid key", "the header 'Authorization: Bearer KEY', or a session", "send the server's key")
    if not _own_page(request):
        raise NotAllowed("a session's cookie with a request of another site", "the search page's own", "open the page itself")
    return session


def _own_page(request: Request) -> bool:
    """Whether a browser says that the server's own page asks; what changes something must come with such a word."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method == "GET")
    origin = request.headers.get("origin")
    if origin is not None:
        return origin == f"{request.url.scheme}://{request.url.netloc}"
    return request.method == "GET"


async def key_holder(request: Request) -> None:
    """Let holders of the key pass.

    Raises:
        NotAllowed: the caller is none; a session is not enough.
    """
    if not request.app.state.service.access.holds_key(request.headers.get("authorization", "")):
        raise NotAllowed("no valid key", "the header 'Authorization: Bearer KEY'", "send the server's key")


Deps = Annotated[Dependencies, Depends(_service)]
Caller = Annotated[str, Depends(_caller)]
