"""Error handlers: every error is a problem of RFC 9457, whose `detail` is "given …; expected …; next: …"."""

import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from images.serve.exposure_log import UnknownExposure
from pipelines.corpus.exposure import Reason
from pipelines.errors import CorruptArtifact, InputError, NewerVersion, StepError, TryAgain, expectation
from pipelines.logs import log

PROBLEM = "application/problem+json"
DEFECT = "given this request; expected an answer; next: find this problem's instance in the server's log, this is a defect"


class NotAuthenticated(InputError):
    """The request has neither a valid key or token nor a session: 401."""


class Forbidden(InputError):
    """The caller lacks the scope that the route requires: 403."""

    def __init__(self, scopes: Iterable[str], required: str) -> None:
        self.required = required
        super().__init__(
            f"a caller with scopes {', '.join(sorted(scopes)) or 'none'}", f"scope {required}", "use a key that has it"
        )


class NotFound(InputError):
    """The release, document or picture is not served: 404."""


class TooManyRequests(TryAgain):
    """The limit of a key or an address is reached: 429."""

    def __init__(self, kind: str, wait_s: int) -> None:
        self.wait_s = wait_s
        whose = {"key": "with this key", "address": "from this address"}.get(kind, "without a valid key from this address")
        super().__init__(f"too many requests {whose}", "fewer", f"ask again in {wait_s} s")


class Overloaded(TryAgain):
    """More is asked than can be answered in time: 429, so that what was accepted is answered."""

    def __init__(self, expected: str, wait_s: float) -> None:
        self.wait_s = max(1, math.ceil(wait_s))
        super().__init__("one request more than can be served now", expected, f"ask again in {self.wait_s} s")


class TooLate(Overloaded):
    """A request was begun, and took longer than who asked may have to wait: 429."""


STATUS: dict[type[StepError], int] = {
    NotAuthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    UnknownExposure: 404,
    TooManyRequests: 429,
    Overloaded: 429,
    InputError: 422,
    CorruptArtifact: 500,
    NewerVersion: 500,
    TryAgain: 503,
}
"""Of the error's class, or of the first above it that is here. What the store has wrong is not the caller's fault."""

EXPECTED = {
    "missing": "a value",
    "extra_forbidden": "no parameter of this name",
    "json_invalid": "JSON",
    "string_unicode": r"well-formed Unicode, without lone surrogates such as \ud800",
    "model_attributes_type": "a JSON object, sent as application/json",
}
NO_FEATURES = "none: a release reads the features of its documents itself, and explain=true shows them"
"""Of a parameter `features`, which no release could use."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that failed. Its `instance` has the id that the log's lines about the request have, too."""
    return JSONResponse(_body(status, detail), status, headers, PROBLEM)


def _body(status: int, detail: str) -> dict[str, Any]:
    can_be_sent = detail.encode("utf-8", "backslashreplace").decode()  # it may name a field of the caller's
    told = {"title": HTTPStatus(status).phrase, "status": status, "detail": can_be_sent}
    request = structlog.contextvars.get_contextvars().get("request")
    return told | ({"instance": f"urn:ratchet:request:{request}"} if request else {})


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app` in this shape."""
    app.add_exception_handler(StepError, _step_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _defect)


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem that stands in place of one of several answers; `retry_after` is what a header would say, in seconds."""
    status = status_of(error)
    if status == 500:
        log().error("request failed", exc_info=error)
    wait_s = _headers(status, error).get("retry-after")
    return _body(status, DEFECT if status == 500 else str(error)) | ({"retry_after": int(wait_s)} if wait_s else {})


def all_failed(problems: Sequence[dict[str, Any]]) -> Response:
    """The answer where all of several answers are problems of one status: the first, beside all of them."""
    waits = [problem["retry_after"] for problem in problems if "retry_after" in problem]
    headers = {"retry-after": str(max(waits))} if waits else {}
    return JSONResponse({**problems[0], "answers": problems}, problems[0]["status"], headers, PROBLEM)


def status_of(error: Exception) -> int:
    """The HTTP status of the answer to a request that failed with this error."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def reason_of(error: Exception) -> Reason:
    """Whether a release failed, or lacks what was asked for."""
    return "failed" if status_of(error) >= 500 else "refused"


async def _step_error(request: Request, error: Exception) -> Response:
    status = status_of(error)
    if status == 500:
        log().error("request failed", path=request.url.path, exc_info=error)
        return await _defect(request, error)
    return problem(status, str(error), _headers(status, error))


def _headers(status: int, error: Exception) -> dict[str, str]:
    if isinstance(error, Forbidden):
        return {"www-authenticate": f'Bearer error="insufficient_scope", scope="{error.required}"'}
    if isinstance(error, (TooManyRequests, Overloaded)):
        return {"retry-after": str(error.wait_s)}
    return {"www-authenticate": "Bearer"} if status == 401 else {"retry-after": "1"} if status == 503 else {}


async def _validation_error(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    name = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str)) or "the body"
    given = "nothing" if first["type"] == "missing" else repr(first["input"])
    of_features = first["type"] == "extra_forbidden" and name.rpartition(".")[2] in ("feature", "features")
    expected = NO_FEATURES if of_features else EXPECTED.get(first["type"]) or expectation(first["msg"])
    return await _step_error(request, InputError(f"{name[:80]} {given[:80]}", expected, "correct it and ask again"))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    expected = "a path of the API, by its method" if status in (404, 405) else "a request that can be read"
    answer = InputError(f"{request.method[:20]} {request.url.path[:80]!r}", expected, "see docs/serving.md")
    return problem(status, str(answer), error.headers if isinstance(error, HTTPException) else None)


async def _defect(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Starlette raises an error that nobody expects again after this answer; `SecurityHeaders` logs it."""
    return problem(500, DEFECT)
