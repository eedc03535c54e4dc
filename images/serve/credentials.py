"""Follows what decides who may call: the log of keys, the issuer's keys, the keys of pseudonyms. A thread reads them again."""

import threading
from collections.abc import Callable, Mapping

from pipelines.access.keys import KeyLog
from pipelines.access.pseudonyms import UserKeys
from pipelines.access.tokens import Tokens
from pipelines.errors import StepError
from pipelines.logs import log


class Credentials:
    """Reads changes every `poll_s` seconds, so that a revoked key stops on every replica within about a second.

    What can't be read leaves what was read before in force; the problem is logged once, and shown at `/readyz` to an admin.
    """

    def __init__(self, keys: KeyLog, tokens: Tokens | None, user_keys: UserKeys | None, poll_s: float) -> None:
        self.problems: Mapping[str, str] = {}
        self._poll_s, self._stop = poll_s, threading.Event()
        self._sources: dict[str, Callable[[], object]] = {"keys": keys.refresh}
        if tokens:
            self._sources["issuer"] = tokens.refresh_when_old
        if user_keys:
            self._sources["user keys"] = user_keys.refresh_valid

    def run(self) -> None:
        """Follow until `stop`."""
        while not self._stop.is_set():
            self.poll()
            self._stop.wait(self._poll_s)

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    def poll(self) -> None:
        """Read each source once."""
        problems = {}
        for name, read in self._sources.items():
            try:
                read()
            except StepError as error:
                problems[name] = str(error)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with one source, the others are still followed
                problems[name] = f"given {error!r}; expected {name} that can be read; next: read docs/security.md"
        for name in problems.keys() - self.problems.keys():
            log().error("credentials can't be followed", source=name, problem=problems[name])
        for name in self.problems.keys() - problems.keys():
            log().info("credentials are followed again", source=name)
        self.problems = problems
