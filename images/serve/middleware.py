"""Middleware: security headers on every response, and a limit on request bodies."""

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 16_384
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class SecurityHeaders:
    """Plain ASGI middleware, since it runs for every search: sets the headers, answers 413 to large bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] == "http" and not _has_small_body(scope):
            message = f"given a body of unknown or too great length; expected at most {BODY_LIMIT} bytes; next: send less"
            await JSONResponse({"error": message}, 413)(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def _has_small_body(scope: Scope) -> bool:
    """Whether the request declares a body of at most `BODY_LIMIT` bytes, or none; a chunked body has no length."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" not in headers and length.isdigit() and int(length) <= BODY_LIMIT
