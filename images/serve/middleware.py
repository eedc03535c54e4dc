"""Middleware: security headers on every response, a limit on request bodies, and the limit of each address.

Health checks have no limit, unless they come with a key: otherwise keys could be guessed there as fast as the server answers.
"""

import re
import uuid

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from images.serve.errors import DEFECT, TooManyRequests, problem
from images.serve.interface import OPEN
from images.serve.limits import Limiter, caller_address
from images.serve.metrics import route_of
from pipelines import tracing
from pipelines.logs import log

BODY_LIMIT = 16_384
TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""The header of W3C's Trace Context."""
LONGEST_LENGTH = 20
"""Digits of a length that is read: Python refuses to convert thousands of them, leading zeros included."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
HSTS = "max-age=31536000"


class SecurityHeaders:
    """Plain ASGI middleware, since it runs for every search: headers, 413 to large bodies, 429 beyond the address's limit.

    Only `Traced` and `Measured` are around it: what fails within is answered here, so that no traceback reaches the process's
    own log.
    """

    def __init__(self, app: ASGIApp, limiter: Limiter | None = None) -> None:
        self.app, self.limiter = app, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # Files are small, and Starlette answers a range that can't be with plain text: whoever asks for a part gets the whole.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
        with structlog.contextvars.bound_contextvars(**ids_of(scope)):
            try:
                refused = await self._refusal(scope)
                await (refused or self.app)(scope, receive, send_with_headers)
            except Exception as error:  # noqa: BLE001  # a server that raised would print it as it is
                log().error("request failed", path=scope.get("path", ""), exc_info=error)
                if not started:
                    await problem(500, DEFECT)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer to a request that is refused before anything of it is read; None: it is not."""
        if not _has_small_body(scope):
            detail = f"given a body of unknown or too great length; expected at most {BODY_LIMIT} bytes; next: send less"
            return problem(413, detail)
        if self.limiter and (scope["path"] not in OPEN or any(name == b"authorization" for name, _ in scope["headers"])):
            client = scope.get("client")
            wait_s = await self.limiter.wait_s("address", caller_address(client[0] if client else ""))
            if wait_s:
                return problem(429, str(TooManyRequests("address", wait_s)), {"retry-after": str(wait_s)})
        return None


class Traced:
    """Plain ASGI middleware around `SecurityHeaders`: a span for each request, named by its route, not by its path or query."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def send_with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracing.span(scope["method"], traceparent_of(scope), serves=True) as span:
            await self.app(scope, receive, send_with_status)
            if span:
                method, route = scope["method"], route_of(scope)
                span.update_name(f"{method} {route}")
                told = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
                span.set_attributes(told)


def traceparent_of(scope: Scope) -> str:
    """The request's header `traceparent`; empty where it has none, or one that is not valid."""
    header = dict(scope["headers"]).get(b"traceparent", b"")
    named = TRACEPARENT.fullmatch(header)
    return header.decode() if named and named[1].strip(b"0") else ""


def ids_of(scope: Scope) -> dict[str, str]:
    """What each line of the log about a request has: an id of its own, and its trace's, by its span, its header or random."""
    trace = tracing.traceparent() or traceparent_of(scope)
    return {"request": uuid.uuid4().hex[:16], "trace_id": trace.split("-")[1] if trace else uuid.uuid4().hex}


def _has_small_body(scope: Scope) -> bool:
    """Whether the request declares a body of at most `BODY_LIMIT` bytes, or none; a chunked body has no length."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    is_short = length.isdigit() and len(length) <= LONGEST_LENGTH
    return b"transfer-encoding" not in headers and is_short and int(length) <= BODY_LIMIT
