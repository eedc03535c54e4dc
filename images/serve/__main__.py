"""`python -m images.serve`: bind, follow the journal, answer. Settings are in `pipelines/settings/serving.py`."""

import contextvars
import json
import os
import socket
import sys
import threading

import uvicorn

from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.exposure_log import ExposureLog
from images.serve.middleware import SecurityHeaders
from images.serve.watcher import Watcher
from pipelines import logs
from pipelines.errors import InputError, StepError
from pipelines.settings import Settings, settings
from pipelines.store.objects import open_store

THREADS_PER_SEARCH = 1  # a second one saves half a millisecond on an idle machine and costs ten milliseconds on a busy one
KEEP_ALIVE_S = 75  # longer than load balancers keep a connection, so that none sends on a connection that is being closed
SHUTDOWN_TIMEOUT_S = 5


class Server(uvicorn.Server):
    """Prints its URL and pid as JSON on stdout once it listens."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps({"url": self.url, "pid": os.getpid()}), flush=True)


def serve(config: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InputError: no key is set, or the address can't be bound.
    """
    if not config.key:
        raise InputError(
            "no RATCHET_SERVER_KEY",
            "a key for the callers",
            "set it, or RATCHET_SERVER_KEY_FILE=FILE, and start again",
        )
    watcher = Watcher(open_store(config), config.poll_s, THREADS_PER_SEARCH, config.served_release)
    exposure_log = ExposureLog(config.events or config.home / "events")
    app = SecurityHeaders(build_app(watcher, exposure_log, Auth(config.key), workers=os.cpu_count() or 1))
    with bound_socket(config) as listening:
        host, port = listening.getsockname()[:2]
        server = Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
            )
        )
        server.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        threading.Thread(target=contextvars.copy_context().run, args=(watcher.run,), name="watcher", daemon=True).start()
        try:
            server.run([listening])
        finally:
            watcher.stop()


def bound_socket(config: Settings) -> socket.socket:
    """A listening socket on the address that the settings name.

    Raises:
        InputError: the address is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.server_host else socket.AF_INET
    try:
        return socket.create_server((config.server_host, config.server_port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"address {config.server_host}:{config.server_port} ({error.strerror or error})",
            "a free address of this machine",
            "set RATCHET_SERVER_PORT to another port (0: any free one), or stop what listens there",
        ) from None


def main() -> int:
    """Run the server and return the process's exit code."""
    try:
        config = settings()
        logs.configure(config, "serve")
        serve(config)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
