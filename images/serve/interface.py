"""The interface as OpenAPI describes it: each route with the scope that it requires, and the three ways to be let in."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from images.serve.auth import COOKIE, PAGE_SCOPES
from images.serve.dependencies import Requires
from images.serve.errors import PROBLEM
from images.serve.examples import EXAMPLES, Example
from pipelines.access.scopes import MEANINGS, Scope

OPEN = ("/healthz", "/readyz")
"""Routes that tell everybody, without a key, whether the server lives and is ready."""
PAGES = ("/", "/signin")
"""Pages that look at the session, or at the link's token, themselves."""
SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key that `keys make` printed. " + " ".join(
        f"{scope}: {meaning}." for scope, meaning in MEANINGS.items()
    )},
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token of the issuer"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser that opened a one-time link"},
}  # fmt: skip
SCHEMA_OF_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request: the log's lines about it have this id"},
    },
}
STATUSES = {
    400: "what can't be read as HTTP or JSON",
    405: "a method that the path does not have",
    408: "it took too long to arrive",
    413: "the body is too long, or of unknown length",
    429: "too many requests, see Retry-After",
    431: "the head is too long",
    500: "a defect; the log's lines with the id of `instance` tell more",
}
"""Problems of every route, whatever it does."""
SCOPED_STATUSES = {
    401: "no valid key",
    403: "the key lacks the scope",
    404: "the release has none of what is named",
    422: "an invalid value",
    503: "not available now, see Retry-After",
}
"""Problems of every route with a scope, besides."""


def scope_of(route: APIRoute) -> Scope | None:
    """The scope that a route requires; None if it is open, or a page."""
    found = [dependency.call.scope for dependency in route.dependant.dependencies if isinstance(dependency.call, Requires)]
    return found[0] if found else None


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = document.setdefault("components", {})
        components["securitySchemes"] = SCHEMES
        components["responses"] = {str(status): _problem(meaning) for status, meaning in (STATUSES | SCOPED_STATUSES).items()}
        for unused in (
            "HTTPValidationError",
            "ValidationError",
        ):  # FastAPI's own, in place of which the server answers problems
            components.get("schemas", {}).pop(unused, None)
        for route, operation in _operations(app, document):
            scope = scope_of(route)
            ways = ["key", "token", *(["session"] if scope in PAGE_SCOPES else [])]
            operation["security"] = [{way: [scope]} for way in ways] if scope else []
            operation["responses"].pop("422", None)
            for status in sorted(STATUSES | SCOPED_STATUSES if scope else STATUSES):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
            for method in route.methods:
                _show(operation, EXAMPLES.get((method, route.path_format)))
        app.openapi_schema = document
    return app.openapi_schema


def _problem(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {PROBLEM: {"schema": SCHEMA_OF_PROBLEM}}}


def _show(operation: dict[str, Any], example: Example | None) -> None:
    """Add the example of a route to its parameters, its body and its answer."""
    if example is None:
        return
    for parameter in operation.get("parameters", []):
        if parameter["name"] in example.query:
            parameter["example"] = example.query[parameter["name"]]
    if example.body is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = example.body
    answered = {"description": "Answered", "content": {"application/json": {"example": example.answer}}}
    operation["responses"].pop("200", None)
    operation["responses"][str(example.status)] = answered


def _operations(app: FastAPI, document: dict[str, Any]) -> Iterator[tuple[APIRoute, dict[str, Any]]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods:
                yield route, document["paths"][route.path_format][method.lower()]
