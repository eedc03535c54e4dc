"""Error handlers: every error is answered as `{"error": "given …; expected …; next: …"}` with a status by its class."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from images.serve.exposure_log import UnknownExposure
from pipelines.errors import InputError, StepError, TryAgain, expectation
from pipelines.logs import log


class NotAuthenticated(InputError):
    """The request has neither the key nor a session: 401."""


class NotFound(InputError):
    """The release, document or picture is not served: 404."""


STATUS: dict[type[StepError], int] = {
    NotAuthenticated: 401,
    NotFound: 404,
    UnknownExposure: 404,
    InputError: 422,
    TryAgain: 503,
}

EXPECTED = {
    "missing": "a value",
    "extra_forbidden": "no parameter of this name",
    "json_invalid": "JSON",
    "model_attributes_type": "a JSON object, sent as application/json",
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app` in this shape."""
    app.add_exception_handler(StepError, _step_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)


async def _step_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    return JSONResponse({"error": str(error)}, status, {"www-authenticate": "Bearer"} if status == 401 else None)


async def _validation_error(request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    name = ".".join(str(part) for part in first["loc"][1:] if isinstance(part, str)) or "the body"
    given = "nothing" if first["type"] == "missing" else repr(first["input"])
    expected = EXPECTED.get(first["type"]) or expectation(first["msg"])
    return await _step_error(request, InputError(f"{name} {given[:80]}", expected, "correct it and ask again"))


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    expected = "a path of the API, by its method" if status in (404, 405) else "a request that can be read"
    answer = InputError(f"{request.method} {request.url.path[:80]!r}", expected, "see docs/serving.md")
    return JSONResponse({"error": str(answer)}, status)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    log().error("request failed", path=request.url.path, exc_info=error)
    return JSONResponse({"error": "given this request; expected an answer; next: read the server's log, this is a defect"}, 500)
