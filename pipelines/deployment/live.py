"""Live queries: which release the search server answers with, asked as a caller would."""

import time
from collections.abc import Callable

from pipelines.deployment.replicas import addresses, ask
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings

POLL_INTERVAL_S = 0.05
TOO_MANY = 429
ANSWERS = 5
"""So many answers of each address, one after another, must come from the release: a load balancer asks several servers."""


def answering_release(query: str) -> str:
    """The id of the release that each server answers a query with now.

    Raises:
        InputError: RATCHET_SERVER_URL is not set, or what answers is no search server.
        TryAgain: a server does not answer, has too much to do, or serves no release yet; or they answer with several.
    """
    url = settings().server_url
    if not url:
        raise InputError("no search server", "one that answers live queries", "set RATCHET_SERVER_URL and its key")
    first, *others = sorted({_answer(url, address, query) for address in addresses(url)})
    if others:
        given = f"servers that answer with releases {', '.join((first, *others))}"
        raise TryAgain(given, "one release", "wait until all follow the journal; look at their logs")
    return first


def _answer(url: str, address: str, query: str) -> str:
    import httpx

    marked = {"q": query, "k": "1", "experiment": "drill", "variant": "rollback"}
    try:
        answer = ask(url, "/v1/search", address, marked)
        if answer.status_code >= 500 or answer.status_code == TOO_MANY:
            raise TryAgain(
                f"server {url}: status {answer.status_code}", "a search that is answered", "look at the server's log"
            )
        return str(answer.json()["release"])
    except httpx.RequestError as error:
        raise TryAgain(f"server {url}: {error or type(error).__name__}", "an answer", "start the server") from None
    except httpx.InvalidURL as error:
        raise InputError(f"server {url}: {error}", "an address", "correct RATCHET_SERVER_URL") from None
    except (ValueError, KeyError, TypeError):
        given = f"server {url}: status {answer.status_code} without a release"
        raise InputError(given, "an answer of a search server", "correct RATCHET_SERVER_URL, or RATCHET_SERVER_KEY") from None


def seconds_until_served(
    release: str, query: str, wait_s: float, stop_requested: Callable[[], bool] = lambda: False
) -> float | None:
    """Ask until ANSWERS answers in a row come from a release; the seconds until the first of them.

    None: not in `wait_s`, or not before `stop_requested`.

    Raises:
        InputError: what answers is no search server.
    """
    started, row, first = time.monotonic(), 0, 0.0
    while row < ANSWERS:
        asked = time.monotonic()
        try:
            same = answering_release(query) == release
        except TryAgain:
            same = False
        row, first = (row + 1, first if row else time.monotonic() - started) if same else (0, 0.0)
        if stop_requested() or (not same and asked - started > wait_s):
            return None
        time.sleep(POLL_INTERVAL_S)
    return round(first, 3)
