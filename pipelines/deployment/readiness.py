"""The readiness of the search servers, polled at `/readyz`: which releases they have in memory and which they serve."""

import time
from collections.abc import Callable
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from pipelines.deployment.replicas import addresses, ask
from pipelines.errors import InputError, StepError, TryAgain
from pipelines.settings import settings

POLL_INTERVAL_S = 0.2


class Readiness(BaseModel):
    """The response of `/readyz`: the journal entry that the server follows, the releases it serves and those in memory."""

    silent: ClassVar[bool] = False

    ready: bool
    entry: int = 0
    champion: str | None = None
    challenger: str | None = None
    warm: list[str] = []
    problem: str | None = None
    address: str = ""
    """Where it was asked; empty: by the name in RATCHET_SERVER_URL, which has one address."""

    @property
    def name(self) -> str:
        """What a message calls the server."""
        return f"server {self.address}" if self.address else "server"

    @property
    def failure(self) -> type[StepError]:
        """The error to raise: not retried if the server reports a problem other than loading, draining or no champion."""
        lasting = self.problem and not self.problem.startswith(("loading", "no champion", "draining"))
        return InputError if lasting and not self.silent else TryAgain


class NoResponse(Readiness):
    """In place of a response that did not come, or that is no search server's, such as a proxy's 502."""

    silent: ClassVar[bool] = True

    ready: bool = False


def readiness(url: str, address: str = "") -> Readiness:
    """The readiness of the server at `url` now, or of the one of its servers that has that address.

    Raises:
        TryAgain: nothing answers there, or a proxy does: another response with a status of 500 or more.
        InputError: what answers is not a search server.
    """
    import httpx

    try:
        answer = ask(url, "/readyz", address)
        return Readiness.model_validate_json(answer.content).model_copy(update={"address": address})
    except httpx.RequestError as error:
        raise TryAgain(
            f"server {url}: {error or type(error).__name__}",
            "an answer of its /readyz",
            "start the server, or unset RATCHET_SERVER_URL",
        ) from None
    except httpx.InvalidURL as error:
        raise InputError(f"server {url}: {error}", "an address", "correct RATCHET_SERVER_URL") from None
    except ValidationError as error:
        given = f"server {url}: status {answer.status_code}, {str(error).splitlines()[0]}"
        raise (TryAgain if answer.status_code >= 500 else InputError)(
            given, "a search server's /readyz", "correct RATCHET_SERVER_URL, or wait until the server is up"
        ) from None


def wait_until(holds: Callable[[Readiness], bool], wait_s: float) -> tuple[bool, Readiness, float]:
    """Poll the servers' readiness until `holds` is true of each at once, or `wait_s` seconds are over.

    Returns:
        whether it held, the last readiness (`NoResponse` if none came) of a server of which it did not, else of any, and the
        seconds that it waited: 0 where it held at once, as it does without a server in the settings.
    """
    url, started, again = settings().server_url, time.monotonic(), False
    while url:
        states = [_poll(url, address) for address in addresses(url)]  # anew each time: servers come and go
        behind = sorted((state for state in states if not holds(state)), key=lambda state: (state.silent, not state.problem))
        waited = time.monotonic() - started if again else 0.0
        if not behind or waited >= wait_s:
            return not behind, (behind or states)[0], round(waited, 3)
        time.sleep(POLL_INTERVAL_S)
        again = True
    return True, NoResponse(), 0.0


def wait_until_warm(release: str, wait_s: float) -> float:
    """Wait until each server has the release in memory; the seconds it took, 0 where all had it at once.

    Raises:
        TryAgain: a server is silent, or still loading.
        InputError: it reports why it can't, or there is no search server at that address.
    """
    if url := settings().server_url:
        readiness(url)
    warm, state, waited_s = wait_until(lambda server: release in server.warm, wait_s)
    if not warm:
        raise state.failure(
            f"{state.name} without release {release} in memory after {waited_s:.0f} s ({state.problem or 'still loading'})",
            "a server that has loaded the challenger; the champion serves on",
            "look at the server's log, or raise --wait-s",
        )
    return waited_s


def wait_until_followed(entry: int, wait_s: float, advice: str = "") -> float:
    """Wait until each server follows an entry of the journal; the seconds it took.

    Args:
        entry: its number.
        wait_s: seconds to wait.
        advice: how the entry's change is taken back, after "look at the server's log".

    Raises:
        TryAgain: a server does not follow in time. The entry stays.
    """
    follows, server, waited_s = wait_until(lambda server: server.entry >= entry, wait_s)
    if not follows:
        raise TryAgain(
            f"{server.name} that follows entry {server.entry} {waited_s:.0f} s later ({server.problem or 'no problem told'})",
            f"entry {entry}, which stays",
            "; ".join(filter(None, ("look at the server's log", advice))),
        )
    return waited_s


def _poll(url: str, address: str) -> Readiness:
    try:
        return readiness(url, address)
    except (InputError, TryAgain) as error:
        return NoResponse(problem=error.given, address=address)
