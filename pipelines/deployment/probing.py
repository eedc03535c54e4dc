"""Probe queries: how far the challenger's first documents are the champion's, as the server answers now."""

import time
from urllib.parse import parse_qsl, urlsplit

from pipelines.deployment.counts import DEPTH, overlap
from pipelines.deployment.replicas import REQUEST_TIMEOUT_S, authorization
from pipelines.errors import InputError, TryAgain
from pipelines.evaluation.latency import targets
from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.objects import Store

PROBES = 20
PROBES_S = 30.0
"""In which all of them must be answered by both releases."""


def probe_overlap(store: Store, champion: str, challenger: str) -> float:
    """The share of the champion's first ten that the challenger's first ten have, the mean over test queries.

    Raises:
        InputError: no server is set, or what answers is no search server that has both.
        TryAgain: it does not answer now, or not all of them within PROBES_S.
    """
    corpora = [load(store, "corpus", load(store, "release", release).inputs["corpus"]) for release in (champion, challenger)]
    asked = targets(corpora, corpora[0])[:PROBES]
    until = time.monotonic() + PROBES_S
    shared = [overlap(*(_first(target, role, until) for role in ("champion", "challenger"))) for target in asked]
    return sum(shared) / len(shared)


def _first(target: str, role: str, until: float) -> list[str]:
    """The first documents that a release ranks for a query, asked for until a time of the monotonic clock."""
    import httpx

    url = settings().server_url
    if not url:
        raise InputError("no search server", "one that answers probe queries", "set RATCHET_SERVER_URL and its key")
    left_s = until - time.monotonic()
    if left_s <= 0:
        given = f"server {url}: {PROBES} probe queries of two releases took more than {PROBES_S:g} s"
        raise TryAgain(given, "answers within that time", "look at its log and its load")
    parts = urlsplit(target)
    parameters: list[tuple[str, str | int | float | bool | None]] = [*parse_qsl(parts.query), ("release", role)]
    try:
        timeout_s = min(REQUEST_TIMEOUT_S, left_s)
        answer = httpx.get(f"{url.rstrip('/')}{parts.path}", params=parameters, headers=authorization(), timeout=timeout_s)
        if answer.status_code >= 429:
            raise TryAgain(f"server {url}: status {answer.status_code}", "an answer of the challenger", "look at its log")
        return [result["id"] for result in answer.json()["results"]][:DEPTH]
    except httpx.HTTPError as error:
        raise TryAgain(f"server {url}: {error or type(error).__name__}", "an answer", "start the server") from None
    except httpx.InvalidURL as error:
        raise InputError(f"server {url}: {error}", "an address", "correct RATCHET_SERVER_URL") from None
    except (ValueError, KeyError, TypeError):
        given = f"server {url}: status {answer.status_code} without results of the {role}"
        raise InputError(given, "an answer of a search server", "correct RATCHET_SERVER_URL, or RATCHET_SERVER_KEY") from None
