"""The search server as steps see it: what it has in memory and what it serves, by its `/readyz`."""

import time
from collections.abc import Callable
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import InputError, StepError, TryAgain
from pipelines.settings import settings

LOOK_EVERY_S = 0.2
ANSWER_WITHIN_S = 5.0


class Readiness(BaseModel):
    """The answer of `/readyz`: the journal entry the server follows, whom it serves, whom it holds in memory."""

    silent: ClassVar[bool] = False

    ready: bool
    entry: int = 0
    champion: str | None = None
    challenger: str | None = None
    warm: list[str] = []
    problem: str | None = None

    @property
    def failure(self) -> type[StepError]:
        """What to raise for it: only a problem that the server itself tells, and not of a start, is there tomorrow too."""
        lasting = self.problem and not self.problem.startswith(("loading", "no champion"))
        return InputError if lasting and not self.silent else TryAgain


class Silence(Readiness):
    """What stands for an answer that did not come, or that no search server gave: a proxy's page, a restart's 502."""

    silent: ClassVar[bool] = True

    ready: bool = False


def readiness(url: str) -> Readiness:
    """What the server at `url` says of itself now.

    Raises:
        TryAgain: nothing answers there, or a proxy says so (an odd answer with a status of 500 and more).
        InputError: what answers is not a search server.
    """
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", headers=_key(), timeout=ANSWER_WITHIN_S)
        return Readiness.model_validate_json(answer.content)
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
    """Look at the server's readiness until something `holds` or `wait_s` seconds are over; silence does not hold.

    Returns:
        whether it held, what the server said last (`Silence` if nothing), and the seconds it took. Without a server it
        holds at once.
    """
    url, started = settings().server_url, time.monotonic()
    while url:
        said = _said(url)
        held, waited = holds(said), time.monotonic() - started
        if held or waited >= wait_s:
            return held, said, round(waited, 3)
        time.sleep(LOOK_EVERY_S)
    return True, Silence(), 0.0


def wait_until_warm(release: str, wait_s: float) -> float:
    """Wait until the server has the release in memory; the seconds it took.

    Raises:
        TryAgain: the server is silent, or still loading.
        InputError: it tells why it can't, or there is no search server at that address.
    """
    if url := settings().server_url:
        readiness(url)
    warm, said, waited_s = wait_until(lambda server: release in server.warm, wait_s)
    if not warm:
        raise said.failure(
            f"server without release {release} in memory after {waited_s:.0f} s ({said.problem or 'still loading'})",
            "a server that has loaded the challenger; the champion serves on",
            "look at the server's log, or raise --wait-s",
        )
    return waited_s


def _said(url: str) -> Readiness:
    try:
        return readiness(url)
    except (InputError, TryAgain) as error:
        return Silence(problem=error.given)


def _key() -> dict[bytes, bytes]:
    """The header for the server's full sentence, if this process has the key."""
    key = settings().key.strip()
    return {b"authorization": f"Bearer {key}".encode()} if key else {}
