"""Deployments by evidence on a real server under load, for `make proof-deploy`: healthy ones, and killed at every stage.

Releases share no document, so that what an answer shows tells which of them it is from. Clients search as a thousand users, and
click on what they are shown. A kill ends a look before or after it writes the journal's entry; the next look goes on. What is
wrong with a release is in `proofs.deploy_harmed`.
"""

import http.client
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit

from pipelines.errors import TryAgain
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from proofs.serving import exposures, followed, made_releases
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server

SEED, CLIENTS, CLICKS, FEWER = 25, 4, 0.6, 0.42
"""Share of answers that are clicked: the champion's and a healthy challenger's; that of one whose answers are worse."""
TERMS: dict[str, Any] = {"shares": "0.1 0.5", "searches": "50 150", "shadow": 0.0, "minutes": 0.0, "wait_s": 30}
UNSEEN: dict[str, Any] = {"shadow": 1.0, "shadow_searches": 40}
"""Of every second deployment and of those that are killed: they begin in shadow."""
PAUSE_S = 0.05
"""Between two searches of a client, since a server ranks unseen only while no user waits."""
UNLIKE = ["overlap"]
"""Left out of healthy deployments: these releases share no document."""
WITHIN_S = 120.0
APART = multiprocessing.get_context("forkserver")
APART.set_forkserver_preload(["proofs.deploy_served"])


class Killed(BaseException):
    """In place of SIGKILL, in the middle of a look."""


@dataclass
class Clients:
    """What clients of a shop do, and what they saw."""

    url: str
    key: str
    queries: list[str]
    worse: str
    """The release whose answers are clicked less."""
    pause_s: float
    statuses: list[int] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    """When each release answered last, by `time.monotonic`, which all processes share."""
    unanswered: int = 0
    """Searches that got no answer at all."""

    def run(self, number: int, ended: Any) -> None:
        """One client, until it is told to end."""
        drawn = random.Random(SEED + number)
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        while not ended.is_set():
            try:
                self._search(connection, drawn)
            except (OSError, http.client.HTTPException):  # the server ended
                connection.close()
                self.unanswered += 1
                time.sleep(0.1)

    def _search(self, connection: http.client.HTTPConnection, drawn: random.Random) -> None:
        asked = {"q": drawn.choice(self.queries), "k": 5, "user": f"user-{drawn.randrange(1000)}"}
        status, answer = self._ask(connection, "GET", f"/v1/search?{urlencode(asked)}")
        if status != 200:
            return
        time.sleep(self.pause_s)
        self.last[answer["release"]] = time.monotonic()
        if answer["results"] and drawn.random() < (FEWER if answer["release"] == self.worse else CLICKS):
            click = {"request_id": answer["request_id"], "document": answer["results"][0]["id"], "position": 1}
            self._ask(connection, "POST", "/v1/clicks", json.dumps(click))

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        answer = response.read()
        self.statuses.append(response.status)
        return response.status, json.loads(answer) if response.status == 200 else None


def _search_until(clients: Clients, ended: Any, sending: Any) -> None:
    """The process of the clients."""
    threads = [threading.Thread(target=clients.run, args=(number, ended), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ended.wait()
    for thread in threads:
        thread.join(60)
    sending.send((clients.statuses, clients.last, clients.unanswered))


@dataclass
class Shop:
    """Clients that search and click, in a process of their own: here they would wait for what judges them."""

    server: RunningServer
    queries: list[str]
    worse: str = ""
    pause_s: float = PAUSE_S
    statuses: list[int] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    unanswered: int = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let the clients search until the block ends; what they saw is here then."""
        ended, (receiving, sending) = APART.Event(), APART.Pipe(duplex=False)
        clients = Clients(self.server.url, self.server.key, self.queries, self.worse, self.pause_s)
        process = APART.Process(target=_search_until, args=(clients, ended, sending), daemon=True)
        process.start()
        sending.close()
        try:
            yield
        finally:
            ended.set()
            self.statuses, self.last, self.unanswered = receiving.recv()
            process.join(60)


@contextmanager
def killed(after: bool) -> Iterator[None]:
    """End the look that writes the next entry, before or after it is written."""
    append = Journal.append

    def appended(self: Journal, *values: Any, **named: Any) -> Any:
        if after:
            append(self, *values, **named)
        raise Killed

    with patch.object(Journal, "append", appended):
        yield


def deployed(**terms: Any) -> tuple[str, float]:
    """Look until it is over; how it ended, and when the last look began. A challenger that passed is deployed.

    A look that a server's end spoils is repeated, as Airflow does it. After WITHIN_S a deployment has missed what is wrong.
    """
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            look = call("judge_canary", **{**TERMS, **terms})
        except TryAgain:
            continue
        if look.outcome == "passed":
            call("deploy", wait_s=30)
        if not look.waits:
            return look.outcome, began
        time.sleep(0.3)
    return "missed", began


def killed_deployment(name: str, without: list[str], expected: str) -> tuple[int, int]:
    """One deployment of which every write is killed, before its entry and after it; points, and those that were made good."""
    points, after, outcome = 0, False, ""
    step, until = "judge_canary", time.monotonic() + 2 * WITHIN_S
    with patch.dict(os.environ, {"RATCHET_DAG": "deploy_release", "RATCHET_DAG_RUN": name}):
        while time.monotonic() < until and outcome != expected:
            entries = len(Journal(open_store()).entries)
            terms = {**TERMS, **UNSEEN, "without": without} if step == "judge_canary" else {"wait_s": 30}
            try:
                with killed(after):
                    outcome = call(step, **terms).outcome
            except Killed:
                points += 1
                assert len(Journal(open_store()).entries) - entries == after, "a kill before the entry leaves none"
                after = not after
            if step == "judge_canary" and outcome == "passed":
                step, outcome = "deploy", ""
            outcome = "passed" if outcome in ("deployed", "unchanged") else outcome
            time.sleep(0.3)
    return points, points if outcome == expected else 0


def wrong(home: Path, releases: dict[str, set[str]]) -> int:
    """Searches that another release answered than the entry's routing says, or a user's after it had the challenger."""
    journal, had, found = Journal(open_store()), set(), 0
    for line in exposures(home):
        if not line["user"]:  # a probe query, which names its release
            continue
        routing = journal.entries[line["entry"] - 1].routing
        own = {result["document"] for result in line["results"]}
        roles = {"champion": routing.champion, "challenger": routing.challenger if routing.split else None}
        found += not (roles[line["policy"]] == line["release"] and releases[line["release"]].issuperset(own))
        if routing.split:
            known = (routing.split.name, line["user"])
            found += line["policy"] == "champion" and known in had
            had |= {known} if line["policy"] == "challenger" else set()
    return found


def figures(deployments: int) -> dict[str, Any]:
    """Figures of real deployments of healthy releases, and of two that are killed at every stage."""
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-deploy-") as folder:
        home = Path(folder)
        with patch.dict(os.environ, {"RATCHET_HOME": str(home), "RATCHET_USER": "proof"}):
            releases, queries = made_releases(home)
            order = list(releases)
            route(order[0])
            with running_server(home, RATCHET_COUNTS_S="0.5") as server:
                server.wait(lambda status: status["ready"])
                with patch.dict(os.environ, {"RATCHET_SERVER_URL": server.url, "RATCHET_SERVER_KEY": server.key}):
                    found, statuses = _all(server, order, queries, deployments)
            failed = sum(status >= 500 for status in statuses)
            return {**found, "status_5xx": failed, "requests": len(statuses), "wrong_release": wrong(home, releases)}


def _all(server: RunningServer, order: list[str], queries: list[str], deployments: int) -> tuple[dict[str, Any], list[int]]:
    statuses: list[int] = []
    healthy = points = passed = 0

    def challenge() -> None:
        champion = Journal(open_store()).routing.champion
        other = next(release for release in order if release != champion)
        entry = Journal(open_store()).append("promote", other, "proof", Routing(champion=champion, challenger=other)).n
        followed(server, entry)
        server.wait(lambda status: other in status["warm"])

    for number in range(deployments):
        challenge()
        shop = Shop(server, queries)
        with shop.open():
            outcome, _ = deployed(without=UNLIKE, **(UNSEEN if number % 2 else {}))
            time.sleep(1)
        statuses += shop.statuses
        healthy += outcome == "passed"
        print(json.dumps({"deployment": number, "outcome": outcome}), flush=True)
    shop = Shop(server, queries)
    with shop.open():
        for number, (without, expected) in enumerate(((UNLIKE, "passed"), ([], "rolled back"))):
            challenge()
            made, good = killed_deployment(f"proof-{number}", without, expected)
            points, passed = points + made, passed + good
    statuses += shop.statuses
    return {
        "served_healthy": deployments,
        "served_healthy_passed": healthy,
        "served_begun_unseen": deployments // 2,
        "kill_points": points,
        "kill_points_passed": passed,
    }, statuses
