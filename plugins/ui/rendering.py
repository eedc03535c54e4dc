"""Jinja templates as HTML responses, with the security headers of every page."""

from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

# Pages and reports have their style and pictures inlined: nothing is fetched, no script runs.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

templates = Environment(loader=PackageLoader("ui", "templates"), autoescape=True, undefined=StrictUndefined)


def rendered(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The response with a template of `templates/`; values are escaped."""
    return HTMLResponse(templates.get_template(template).render(**values), status_code=status, headers=HEADERS)


def not_found(error: Exception) -> HTMLResponse:
    """404 with the error's message."""
    return rendered("problem.html", 404, message=str(error))
