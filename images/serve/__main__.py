"""`python -m images.serve`: bind, follow the journal, answer. Settings are in `pipelines/settings/serving.py`.

`python -m images.serve keys …` and `… users …` manage who may call, see `commands`.
"""

import asyncio
import contextvars
import gc
import ipaddress
import json
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import uvicorn

from images.serve.app import build_app
from images.serve.arm_counts import ArmCounts
from images.serve.auth import Auth
from images.serve.credentials import Credentials
from images.serve.exposure_log import ExposureLog
from images.serve.features import OnlineFeatures
from images.serve.limits import Limiter
from images.serve.metrics import Measured
from images.serve.middleware import SecurityHeaders, Traced
from images.serve.protocol import MOST_CONNECTIONS, MOST_CROWDING, BoundedHttp
from images.serve.shipping import Shipper
from images.serve.toggles import ToggleReader
from images.serve.watcher import Watcher
from pipelines import logs, tracing
from pipelines.access.keys import KeyLog
from pipelines.access.pseudonyms import UserKeys
from pipelines.access.tokens import tokens_of
from pipelines.deployment.toggles import Toggles
from pipelines.errors import InputError, StepError
from pipelines.settings import Settings, settings
from pipelines.store.objects import open_store

THREADS_PER_SEARCH = 1  # a second one saves half a millisecond on an idle machine and costs ten milliseconds on a busy one
KEEP_ALIVE_S = 75  # longer than load balancers keep a connection, so that none sends on a connection that is being closed
SHUTDOWN_TIMEOUT_S = 5
DRAIN_LOOK_S = 0.05
RUN_AGAIN_S = 1.0
"""Seconds after which a thread that failed runs again."""
OTHER_FILES = 1_000
"""Files that the process may have open beside its connections."""
SEND_BUFFER = 131_072
"""Bytes of answers that the kernel keeps for a client that does not read them; the longest answers are as long."""


class Server(uvicorn.Server):
    """Prints its URL and pid as JSON on stdout once it listens. On SIGTERM it drains, then ends what is left.

    It calls `drain` and serves on for `drain_s` seconds, in which those who send requests here can go elsewhere. Where it had
    such seconds, it calls `drained` when all is answered: the disk may end with the process. It calls `answered` in any case.
    """

    url = ""
    drain_s = 0.0
    drain: Callable[[], None]
    drained: Callable[[], None]
    answered: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps({"url": self.url, "pid": os.getpid()}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.drain()
        until = time.monotonic() + self.drain_s
        while time.monotonic() < until and not self.force_exit:  # a second SIGINT forces it
            await asyncio.sleep(DRAIN_LOOK_S)
        await super().shutdown(sockets)
        await asyncio.to_thread(self.answered)
        if self.drain_s:
            await asyncio.to_thread(self.drained)
        await asyncio.to_thread(tracing.flush)  # the signal ends the process next, and nothing at its exit runs


class Follower(Protocol):
    """What keeps something up to date until it is stopped."""

    def run(self) -> None: ...
    def stop(self) -> None: ...


class LibraryLog(logging.Handler):
    """What libraries log, in our log: as JSON, and without personal data."""

    def emit(self, record: logging.LogRecord) -> None:
        logs.log().warning("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)


def serve(config: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InputError: no key is set, a setting can't work, or the address can't be bound.
    """
    if not config.key:
        expected, next_action = "a key for the callers", "set it, or RATCHET_SERVER_KEY_FILE=FILE, and start again"
        raise InputError("no RATCHET_SERVER_KEY", expected, next_action)
    _raise_limit_of_files()
    store = open_store(config)
    exposure_log = _exposure_log(config)
    pinned = config.served_release or store.bundled
    workers = os.cpu_count() or 1
    features = OnlineFeatures(config.features_ms / 1000, workers)
    following = pinned, exposure_log.latest_queries, features, keep_from_collection
    watcher = Watcher(store, config.poll_s, THREADS_PER_SEARCH, *following)
    shipper = Shipper(exposure_log, 0.0 if pinned else config.ship_s)  # what is asked of a pinned release, nobody asked
    keys, tokens = KeyLog(store, read=False), tokens_of(config)
    user_keys = UserKeys(config.user_keys_file) if config.user_keys_file else None
    credentials = Credentials(keys, tokens, user_keys, config.poll_s)
    limiter, proxies = Limiter(config), checked_proxies(config.proxies)
    arms = ArmCounts(store, lambda: watcher.state, config.counts_s, _place(config))
    toggles = _toggles(config, watcher, exposure_log.folder)
    limits = limiter, credentials, lambda: toggles.current, config.queue, config.cache
    app = build_app(watcher, exposure_log, Auth(config.key, keys, tokens, user_keys), workers, *limits, arms, shipper)
    for collector in (watcher, toggles):
        app.state.dependencies.metrics.add(collector)

    class Http(BoundedHttp):
        request_s = config.request_s

    def drain() -> None:
        Http.draining = app.state.dependencies.draining = True
        logs.log().info("draining", drain_s=config.drain_s)

    with bound_socket(config) as listening:
        server = Server(
            uvicorn.Config(
                Measured(Traced(SecurityHeaders(app, limiter)), app.state.dependencies.metrics),
                http=Http,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies or None,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
            )
        )
        server.drain_s, server.drain, server.answered, server.drained = config.drain_s, drain, arms.stop, shipper.last_round
        server.url = _url(listening)
        with running(watcher, credentials, arms, shipper, toggles, failures=app.state.dependencies.failures):
            server.run([listening])


@contextmanager
def running(*followers: Follower, failures: dict[str, str] | None = None) -> Iterator[None]:
    """Run each on a thread of its own until the block ends. One that fails runs again, and `failures` has why, by its name."""
    told = {} if failures is None else failures
    ended = threading.Event()

    def keep(follower: Follower, name: str) -> None:
        while not ended.is_set():
            try:
                follower.run()
                return
            except Exception as error:  # noqa: BLE001  # a thread that ended would leave the server as it is, and seem well
                told[name] = f"it failed, and runs again: {error!r}"
                logs.log().error("a thread failed", thread=name, exc_info=error)
            ended.wait(RUN_AGAIN_S)

    for follower in followers:
        name = type(follower).__name__.lower()
        target = contextvars.copy_context().run
        threading.Thread(target=target, args=(keep, follower, name), name=name, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        for follower in followers:
            follower.stop()


def keep_from_collection() -> None:
    """Leave what is in memory out of all later garbage collections: modules and the first release, a hundred thousand objects.

    A full collection takes a tenth of a second of them, in which no search goes on; loading a release brings one.
    """
    gc.collect()
    gc.freeze()


def _raise_limit_of_files() -> None:
    """Let the process open as many files as it may have connections: where it can't accept one more, no health check passes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + MOST_CROWDING + OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _place(config: Settings) -> str:
    return config.server_name or f"{socket.gethostname()}:{config.server_port or os.getpid()}"


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _exposure_log(config: Settings) -> ExposureLog:
    sizes = {"file_bytes": config.log_mb * 10**6, "room": config.log_room_mb * 10**6}
    return ExposureLog(config.events_folder, **sizes, key=config.key)


def _toggles(config: Settings, watcher: Watcher, folder: Path) -> ToggleReader:
    untoggled, named = Toggles(rerank_ms=config.rerank_ms), (config.flag_provider, config.flag_options)
    return ToggleReader(lambda: watcher.toggles, untoggled, folder / "flags.json", config.poll_s, *named)


def checked_proxies(text: str) -> str:
    """The addresses of the proxies, without blanks.

    Raises:
        InputError: one is no address or network. A star, which would let every caller say where it is, is none either.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        try:
            ipaddress.ip_network(name)
        except ValueError:
            raise InputError(
                f"RATCHET_PROXIES with {name[:60]!r}", "addresses or networks such as 10.0.0.0/8", "correct or unset it"
            ) from None
    return ",".join(names)


def bound_socket(config: Settings) -> socket.socket:
    """A listening socket on the address that the settings name.

    Raises:
        InputError: the address is in use, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.server_host else socket.AF_INET
    try:
        listening = socket.create_server((config.server_host, config.server_port), family=family, backlog=2048)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        return listening
    except OSError as error:
        raise InputError(
            f"address {config.server_host}:{config.server_port} ({error.strerror or error})",
            "a free address of this machine",
            "set RATCHET_SERVER_PORT to another port (0: any free one), or stop what listens there",
        ) from None


def main(arguments: list[str]) -> int:
    """Run the server, or the command that the arguments name, and return the process's exit code."""
    if arguments:
        from images.serve.commands import run

        return run(arguments)
    try:
        config = settings()
        logs.configure(config, "serve")
        tracing.configure(config, "ratchet-serve")
        logging.getLogger().addHandler(LibraryLog(logging.WARNING))
        serve(config)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
