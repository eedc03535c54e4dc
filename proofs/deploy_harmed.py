"""Harmful releases on a real server under load, for `make proof-deploy`: each harm of HARMS, again and again, and healthy ones.

Both releases rank the same: they are of the same embeddings, by a static encoder, since the traffic that two cores answer
decides how long a proof takes. What is wrong with one is planted in the server (`demo.planted`), or in how often clients click.
A server that ends is started again. Everything is judged by all guardrails.
"""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from demo.planted import Harm, heal, plant
from pipelines.corpus.documents import documents as documents_of
from pipelines.deployment.canary import last_canary, stages_seen
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from proofs.deploy_served import CLICKS, FEWER, Shop, deployed
from proofs.serving import ICONS, followed
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server
from tests.releases import some_icons
from tests.services import free_ports

MINUTE_S = "0.5"
MANY = "50 20000"
"""Searches of the stages while a harm is looked for: more than there will be, so that the deployment goes on."""
HEALTHY_EVERY = 4
"""Rounds of which one has a healthy deployment, too: it takes longer than most harms, and `proofs.deploy_served` has more."""


@dataclass(frozen=True)
class Served:
    """How one deployment ended."""

    harm: str
    outcome: str
    sentence: str
    """By which it was found."""
    seconds: float
    searches: int
    """Of the challenger's, until then."""
    longer: float
    """Seconds for which the challenger answered after the look that found harm began."""
    failed: int
    """Answers that were errors of the server."""

    @property
    def is_found(self) -> bool:
        """Whether it was taken back by a guardrail that is to find this harm."""
        ended = self.outcome in ("rolled back", "refused")
        return ended and any(f"{name}: " in self.sentence for name in FOUND_BY[self.harm])


HARMS: dict[str, tuple[Harm, float] | None] = {
    "slow": ("slow", 1.3),
    "errors": ("errors", 0.01),
    "broken_index": ("random", 0.0),
    "clicks": None,
    "crash_loop": ("crash", 0.05),
    "memory_leak": ("leak", 0.1),
}
"""By name: what is planted; none: clients click less."""
FOUND_BY = {
    "slow": ("p50", "p99"),
    "errors": ("errors",),
    "broken_index": ("overlap",),
    "clicks": ("clicks",),
    "crash_loop": ("restarts", "readiness"),
    "memory_leak": ("memory",),
}
"""By harm: the guardrails that are to find it. A rollback by others alone is none of this harm."""


def pair(home: Path) -> tuple[list[str], list[str]]:
    """Two releases that rank the same, and words to search for."""
    corpus = call("ingest", folder=str(some_icons(home / "icons", 0, ICONS))).corpus
    first = embedded_release(home, corpus, static_encoder())
    index = call("index", embeddings=first.embeddings, recall=0.95).index
    second = call("assemble", index=index).release
    return [first.release, second], [document.text for document in documents_of(load_exactly(open_store(), "corpus", corpus))]


def one(server: RunningServer, home: Path, releases: list[str], queries: list[str], harm: str) -> Served:
    """Promote the release that does not serve, harm it, and look until it is decided."""
    journal = Journal(open_store())
    champion = journal.routing.champion
    other = next(release for release in releases if release != champion)
    entry = journal.append("promote", other, "proof", Routing(champion=champion, challenger=other)).n
    followed(server, entry)
    server.wait(lambda status: other in status["warm"])
    shop = Shop(server, queries, other if harm == "clicks" else "", pause_s=0.0)
    if planted := HARMS.get(harm):
        plant(home, other, *planted)
    began = time.monotonic()
    with shop.open():
        looked, sentence = time.monotonic(), ""
        try:
            outcome, looked = deployed(**({"searches": MANY} if harm else {}))
        except InputError as error:  # it ended the server while probe queries were asked
            outcome, sentence = "refused", error.given
        ended = time.monotonic()
        heal(home)
        time.sleep(1)
    journal = Journal(open_store())
    sentence = sentence or journal.entries[-1].why
    canary = last_canary(journal)
    begun = canary is not None and canary.begun.n > entry
    searches = sum(stage.challenger for stage in stages_seen(journal, canary)) if canary and begun else 0
    if outcome == "missed" and journal.routing.split:  # it ends by hand
        call("split", share=0, wait_s=30)
    failed = sum(status >= 500 for status in shop.statuses)
    return Served(harm, outcome, sentence, ended - began, searches, max(0.0, shop.last.get(other, looked) - looked), failed)


def figures(deployments: int) -> dict[str, Any]:
    """Figures of as many real deployments of each harm, and of a healthy one in every HEALTHY_EVERY rounds."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-harmed-") as folder:
        home = Path(folder)
        with patch.dict(os.environ, {"RATCHET_HOME": str(home), "RATCHET_USER": "proof"}):
            releases, queries = pair(home)
            route(releases[0])
            with running_server(
                home, "demo.planted", RATCHET_COUNTS_S=MINUTE_S, RATCHET_SERVER_PORT=str(free_ports(1)[0])
            ) as server:
                server.wait(lambda status: status["ready"])
                with patch.dict(os.environ, {"RATCHET_SERVER_URL": server.url, "RATCHET_SERVER_KEY": server.key}):
                    return _told(_all(server, home, releases, queries, deployments), deployments)


def _all(server: RunningServer, home: Path, releases: list[str], queries: list[str], deployments: int) -> list[Served]:
    seen = []
    for number in range(deployments):
        for harm in (*([] if number % HEALTHY_EVERY else [""]), *HARMS):
            seen.append(one(server, home, releases, queries, harm))
            print(json.dumps({"deployment": number, **vars(seen[-1])}), flush=True)
            server.wait(lambda status: status["ready"])
    return seen


def _told(seen: list[Served], deployments: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "real_healthy": sum(not served.harm for served in seen),
        "real_healthy_passed": sum(served.outcome == "passed" for served in seen if not served.harm),
        "real_clicks_before": CLICKS,
        "real_clicks_after": FEWER,
        "dag_rollback_s": round(max((served.longer for served in seen if served.outcome == "rolled back"), default=0.0), 3),
        "healthy_5xx": sum(served.failed for served in seen if not served.harm),
    }
    for name in HARMS:
        caught = [served for served in seen if served.harm == name and served.is_found]
        found |= {f"real_{name}": deployments, f"real_{name}_found": len(caught)}
        if caught:
            found[f"real_{name}_requests"] = round(float(np.median([served.searches for served in caught])))
            found[f"real_{name}_s"] = round(float(np.median([served.seconds for served in caught])), 1)
    return found | {"real_harms_found_min": min(found[f"real_{name}_found"] for name in HARMS)}
