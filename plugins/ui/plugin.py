"""The Airflow plugin: the pages under /ratchet, links to two of them in the navigation, and the listener that writes notes.

Every Airflow process imports this file, so the pages' imports wait for the first request.
"""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from ui import notes


class LazyApplication:
    """The pages as an ASGI application that is built at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from ui.application import application

            self._app = application()
        await self._app(scope, receive, send)


class RatchetPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow's classes are untyped here
    """Pages for releases, reports and artifacts; the verdict of a gate as the note of its dag run."""

    name = "ratchet"
    fastapi_apps: ClassVar[list[Any]] = [{"app": LazyApplication(), "url_prefix": "/ratchet", "name": "ratchet"}]
    external_views: ClassVar[list[Any]] = [
        {"name": "Releases", "href": "/ratchet/releases", "destination": "nav", "url_route": "ratchet-releases"},
        {"name": "Drift", "href": "/ratchet/drift", "destination": "nav", "url_route": "ratchet-drift"},
    ]
    listeners: ClassVar[list[Any]] = [notes]
