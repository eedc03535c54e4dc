"""What Airflow loads: the pages under /ratchet, the view that leads there, and the listener that writes notes.

Every Airflow process runs this file; what the pages need is imported at the first request.
"""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from ui import notes


class Pages:
    """The pages as an ASGI application that is built when it is first asked."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from ui.pages import application

            self._app = application()
        await self._app(scope, receive, send)


class RatchetPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow's classes are untyped here
    """Releases, reports and artifacts in Airflow's navigation; a gate's sentence as its dag run's note."""

    name = "ratchet"
    fastapi_apps: ClassVar[list[Any]] = [{"app": Pages(), "url_prefix": "/ratchet", "name": "ratchet"}]
    external_views: ClassVar[list[Any]] = [
        {"name": "Releases", "href": "/ratchet/releases", "destination": "nav", "url_route": "ratchet-releases"}
    ]
    listeners: ClassVar[list[Any]] = [notes]
