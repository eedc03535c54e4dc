"""One deployment by evidence over several servers, for `make proof-deploy`, and for `make test-k8s` over those of a cluster.

Each server has clients of its own. At each stage all servers must follow it, and what is judged must be what all of them
counted. Then one of two falls silent: nobody more gets the challenger, and the sentence says so.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.deployment.canary import last_canary, stages_seen
from pipelines.deployment.counts import read_counts
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from proofs.deploy_harmed import MANY, MINUTE_S, pair
from proofs.deploy_served import WITHIN_S, Shop
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server

TERMS: dict[str, Any] = {"shares": "0.1 0.5", "searches": "50 150", "shadow_searches": 100, "minutes": 0.0, "wait_s": 30}
SILENT = "only 1 of 2 servers still report"


def followed(servers: Sequence[RunningServer], entry: int) -> None:
    """Wait until each of the servers serves by an entry."""
    for server in servers:
        server.wait(lambda status: status["ready"] and status["entry"] >= entry)


def looks(servers: Sequence[RunningServer], until: Callable[[Any], bool], **terms: Any) -> Any:
    """Look until `until` holds of a look; each entry that one writes must be followed by all servers."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        look = call("judge_canary", **{**TERMS, **terms})
        followed(servers, len(Journal(open_store()).entries))
        if until(look):
            return look
        time.sleep(0.3)
    return look


def over_replicas(
    servers: Sequence[RunningServer],
    releases: Sequence[str],
    queries: list[str],
    end_one: Callable[[], Sequence[RunningServer]],
) -> dict[str, Any]:
    """Figures of a healthy deployment over two servers, and of one during which `end_one` ends one of them.

    Args:
        servers: that follow the journal.
        releases: two that rank the same.
        queries: what is searched for.
        end_one: ends a server; returns those that are left.
    """
    followed(servers, route(releases[0]))
    challenge(servers, releases)
    with ExitStack() as clients:
        for server in servers:
            clients.enter_context(Shop(server, queries).open())
        passed = looks(servers, lambda look: look.outcome == "passed")
        counted, searches = by_stage()
        call("deploy", wait_s=30)
        followed(servers, len(Journal(open_store()).entries))
        challenge(servers, releases)
        looks(servers, lambda look: look.share > 0, searches=MANY)
        time.sleep(4 * float(MINUTE_S))
    left = end_one()
    with Shop(left[0], queries).open():
        silent = looks(left, lambda look: SILENT in look.sentence or not look.waits, searches=MANY)
    call("split", share=0, wait_s=30)
    return {
        "replicas": len(servers),
        "replicas_passed": passed.outcome == "passed",
        "replicas_counted_min": counted,
        "replicas_searches": searches,
        "replicas_silent_told": SILENT in silent.sentence,
    }


def by_stage() -> tuple[int, int]:
    """The fewest servers that counted under an entry of the deployment, and the challenger's searches that were judged."""
    journal = Journal(open_store())
    canary = last_canary(journal)
    assert canary is not None
    servers = [{counts.server for counts in read_counts(journal.store, [entry])} for entry in canary.entries]
    return min(map(len, servers)), sum(stage.challenger for stage in stages_seen(journal, canary))


def challenge(servers: Sequence[RunningServer], releases: Sequence[str]) -> None:
    """Promote the release that does not serve, and wait until each server has it in memory."""
    champion = Journal(open_store()).routing.champion
    other = next(release for release in releases if release != champion)
    entry = Journal(open_store()).append("promote", other, "proof", Routing(champion=champion, challenger=other)).n
    followed(servers, entry)
    for server in servers:
        server.wait(lambda status: other in status["warm"])


def figures() -> dict[str, Any]:
    """Over two processes that share a store, each with logs of its own."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-replicas-") as folder, ExitStack() as stack:
        home = Path(folder)
        stack.enter_context(patch.dict(os.environ, {"RATCHET_HOME": str(home), "RATCHET_USER": "proof"}))
        releases, queries = pair(home)
        store = open_store().uri
        servers = [
            stack.enter_context(running_server(home / name, RATCHET_STORE=store, RATCHET_COUNTS_S=MINUTE_S))
            for name in ("a", "b")
        ]
        asked = {"RATCHET_SERVER_URL": servers[0].url, "RATCHET_SERVER_KEY": servers[0].key}
        stack.enter_context(patch.dict(os.environ, asked))

        def end_one() -> list[RunningServer]:
            servers[1].process.terminate()
            return servers[:1]

        return over_replicas(servers, releases, queries, end_one)
