"""`python -m images.serve`: bind, follow the journal, answer. Settings are in `pipelines/settings.py`."""

import contextvars
import json
import os
import socket
import sys
import threading

import uvicorn

from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.exposure_log import EventLog
from images.serve.middleware import SecurityHeaders
from images.serve.watcher import Watcher
from pipelines import logs
from pipelines.errors import InputError, StepError
from pipelines.settings import Settings, settings
from pipelines.store.objects import open_store

THREADS_A_SEARCH = 1  # a second one saves half a millisecond while the machine idles, and costs ten once it does not
KEEP_ALIVE_S = 75  # longer than load balancers hold a connection, so that none sends into one that is being closed
FINISH_WITHIN_S = 5


class Server(uvicorn.Server):
    """Says on stdout where it listens, once it does."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps({"url": self.url, "pid": os.getpid()}), flush=True)


def serve(given: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        InputError: no key is set, or the address can't be bound.
    """
    if not given.key:
        raise InputError(
            "no RATCHET_SERVER_KEY",
            "a key that every caller must show",
            "set it, or RATCHET_SERVER_KEY_FILE=FILE, and start again",
        )
    watcher = Watcher(open_store(given), given.poll_s, THREADS_A_SEARCH)
    events = EventLog(given.events or given.home / "events")
    app = SecurityHeaders(build_app(watcher, events, Auth(given.key), workers=os.cpu_count() or 1))
    with bound(given) as listening:
        host, port = listening.getsockname()[:2]
        server = Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=FINISH_WITHIN_S,
            )
        )  # fmt: skip
        server.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        threading.Thread(target=contextvars.copy_context().run, args=(watcher.run,), name="watcher", daemon=True).start()
        try:
            server.run([listening])
        finally:
            watcher.stop()


def bound(given: Settings) -> socket.socket:
    """A socket on the address that the settings name.

    Raises:
        InputError: it is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in given.server_host else socket.AF_INET
    try:
        return socket.create_server((given.server_host, given.server_port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"address {given.server_host}:{given.server_port} ({error.strerror or error})",
            "one of this machine that is free",
            "set RATCHET_SERVER_PORT to another port (0: any free one), or stop what listens there",
        ) from None


def main() -> int:
    """Run the server and return the process's exit code."""
    try:
        given = settings()
        logs.configure(given, "serve")
        serve(given)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
