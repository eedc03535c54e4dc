"""The search server as steps see it: what it has in memory and what it serves, by its `/readyz`."""

import time
from collections.abc import Callable

from pydantic import BaseModel, ValidationError

from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings

LOOK_EVERY_S = 0.2
ANSWER_WITHIN_S = 5.0


class Readiness(BaseModel):
    """The answer of `/readyz`: the journal entry the server follows, whom it serves, whom it holds in memory."""

    ready: bool = False
    entry: int = 0
    champion: str | None = None
    challenger: str | None = None
    warm: list[str] = []
    problem: str | None = None


def readiness(url: str) -> Readiness:
    """What the server at `url` says of itself now.

    Raises:
        TryAgain: nothing answers there.
        InputError: what answers is not a search server.
    """
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=ANSWER_WITHIN_S)
        return Readiness.model_validate_json(answer.content)
    except httpx.TransportError as error:
        raise TryAgain(
            f"server {url}: {error or type(error).__name__}",
            "an answer of its /readyz",
            "start the server, or unset RATCHET_SERVER_URL",
        ) from None
    except (httpx.InvalidURL, ValidationError) as error:
        raise InputError(
            f"server {url}: {str(error).splitlines()[0]}", "a search server's /readyz", "correct RATCHET_SERVER_URL"
        ) from None


def wait_until(holds: Callable[[Readiness], bool], wait_s: float) -> tuple[bool, Readiness, float]:
    """Look at the server's readiness until something `holds` or `wait_s` seconds are over; a silent server does not hold.

    Returns:
        whether it held, what the server said last, and the seconds it took. Without a server it holds at once.
    """
    url, started = settings().server_url, time.monotonic()
    while url:
        said = _said(url)
        held, waited = holds(said), time.monotonic() - started
        if held or waited >= wait_s:
            return held, said, round(waited, 3)
        time.sleep(LOOK_EVERY_S)
    return True, Readiness(), 0.0


def _said(url: str) -> Readiness:
    try:
        return readiness(url)
    except TryAgain as error:
        return Readiness(problem=error.given)
