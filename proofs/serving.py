"""`make proof-serving`: swaps and rollbacks under load, kills, faults of store and disk, overload, a fuzzer; real servers.

Three releases of icons that share none, so that what an answer shows tells which of them it is from. Clients ask at a constant
rate; a request's time runs from when it was due, so that a server that stalls is not asked less. An exposure is lost if a
search was answered and its line is not in the log. Writes build/proof/serving.json, exit 1 if a goal is missed.
`--swaps 5 --rollbacks 1 --requests 500 --cases 200 --kills 1` is a short run.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from pipelines.corpus.documents import documents as documents_of
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.figures import met, write_figures
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server
from tests.images.test_observe import PANELS, results, until
from tests.releases import some_icons
from tests.services import prometheus

SEED = 23
CLIENTS, RATE = 8, 70
"""Clients at once, and requests a second of all of them together, about half of what two slow cores answer."""
CALM_S = 60.0
"""Seconds of load before the first swap, whose latencies the others are compared with."""
ICONS = 400
GOALS = {
    "swaps": "≥ 100", "rollbacks": "≥ 20", "requests": "≥ 100000", "status_5xx": "≤ 0", "wrong_release": "≤ 0",
    "fuzz_cases": "≥ 10000", "fuzz_5xx": "≤ 0", "exposures": "≥ 100000", "exposures_lost": "≤ 0", "p99_swap_ratio": "≤ 1.5",
    "overload_other_than_200_and_429": "≤ 0", "store_down_not_200": "≤ 0", "disk_full_answered_unwritten": "≤ 0",
    "rollback_s": "≤ 1",
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One request: when it was due, how long it took from then, and what came back; status 0: nothing."""

    due: float
    took: float
    status: int
    request: str = ""
    release: str = ""
    shown: tuple[str, ...] = ()


@dataclass
class Load:
    """Clients that search until `stop`; with a rate at constant intervals, without as fast as they are answered."""

    url: str
    key: str
    queries: list[str]
    rate: float = RATE
    clients: int = CLIENTS
    seen: list[Seen] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let the clients begin."""
        began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ask, args=(began, number), daemon=True) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Seen]:
        """What was seen, once each client has its last answer."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        return self.seen

    def _ask(self, began: float, number: int) -> None:
        drawn = random.Random(SEED + number)  # the order of queries
        connection = http.client.HTTPConnection(str(urlsplit(self.url).hostname), int(urlsplit(self.url).port or 0), timeout=30)
        turn = 0
        while not self._ended.is_set():
            due = began + (number + turn * self.clients) / self.rate if self.rate else time.monotonic()
            if (wait := due - time.monotonic()) > 0 and self._ended.wait(wait):
                return
            turn += 1
            self.seen.append(self._one(connection, drawn.choice(self.queries), f"user-{drawn.randrange(1000)}", due))

    def _one(self, connection: http.client.HTTPConnection, query: str, user: str, due: float) -> Seen:
        try:
            path = f"/v1/search?q={quote(query)}&k=5&user={user}"
            connection.request("GET", path, headers={"authorization": f"Bearer {self.key}"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            time.sleep(0.01)
            return Seen(due, time.monotonic() - due, 0)
        took = time.monotonic() - due
        if response.status != 200:
            return Seen(due, took, response.status)
        answer = json.loads(body)
        shown = tuple(result["id"] for result in answer["results"])
        return Seen(due, took, 200, answer["request_id"], answer["release"], shown)


@contextmanager
def loaded_from_outside(server: RunningServer, queries: list[str], **how: Any) -> Iterator[list[Seen]]:
    """A server under load until the block ends, by clients in a process of their own; what they saw is there after the block.

    Here they would wait for whatever else this process does, and that would be told as the server's time.
    """
    apart = multiprocessing.get_context("spawn")
    ended = apart.Event()
    seen: list[Seen] = []
    receiving, sending = apart.Pipe(duplex=False)
    clients = apart.Process(target=_load_until, args=(server.url, server.key, queries, how, ended, sending), daemon=True)
    clients.start()
    sending.close()
    receiving.recv()  # it has begun
    try:
        yield seen
    finally:
        ended.set()
        seen += receiving.recv()
        clients.join(60)


def _load_until(url: str, key: str, queries: list[str], how: dict[str, Any], ended: Any, sending: Any) -> None:
    load = Load(url, key, queries, **how)
    load.start()
    sending.send(None)
    ended.wait()
    sending.send(load.stop())


@contextmanager
def loaded(server: RunningServer, queries: list[str], **how: Any) -> Iterator[Load]:
    """A server under load until the block ends."""
    load = Load(server.url, server.key, queries, **how)
    load.start()
    try:
        yield load
    finally:
        load.stop()


def exposures(home: Path) -> list[dict[str, Any]]:
    """The lines of the exposure log that are whole."""
    files = (home / "events").glob("exposures*.jsonl")
    return [json.loads(line) for path in files for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]


def made_releases(home: Path) -> tuple[dict[str, set[str]], list[str]]:
    """Three releases by one encoder, each with the ids of its documents, and words to search for."""
    encoder = call("export_encoder").encoder
    releases, words = {}, []
    for number in range(3):
        corpus = call("ingest", folder=str(some_icons(home / str(number), ICONS * number, ICONS))).corpus
        documents = list(documents_of(load_exactly(open_store(), "corpus", corpus)))
        releases[embedded_release(home, corpus, encoder).release] = {document.id for document in documents}
        words += [document.text for document in documents]
    return releases, words


def swaps(home: Path, releases: dict[str, set[str]], queries: list[str], counts: argparse.Namespace) -> dict[str, Any]:
    """Deploy one release after another under load, each loaded beside the one that serves, and roll back now and then.

    What is then left of the requests is asked as fast as it is answered, with a cache.
    """
    order, took, back, windows = list(releases), [], [], []
    route(order[0])
    with running_server(home, RATCHET_POLL_S="0.5") as server:
        server.wait(lambda status: status["ready"])
        with loaded_from_outside(server, queries, rate=counts.rate) as seen:
            calm = time.monotonic() + CALM_S
            server.wait(lambda _: time.monotonic() >= calm)  # the same looks at /readyz as while releases are swapped
            for number in range(1, counts.swaps + 1):
                began = time.monotonic()
                before, after = order[(number - 1) % 3], order[number % 3]
                route(before, after, "promote")
                server.wait(lambda status, after=after: after in status["warm"])
                took.append(followed(server, route(after)))
                if number % max(1, counts.swaps // counts.rollbacks) == 0 and len(back) < counts.rollbacks:
                    back.append(followed(server, route(before, action="rollback")))
                    route(before, after, "promote")
                    followed(server, route(after))
                windows.append((began, time.monotonic()))
                time.sleep(0.5)
    rest = counts.requests - len(seen)
    with running_server(home, RATCHET_CACHE="10000") as server:  # what is answered from it is written down all the same
        server.wait(lambda status: status["ready"])
        with loaded(server, queries, rate=0) as load:
            while len(load.seen) < rest:
                time.sleep(0.1)
    seen += load.seen
    return {
        "swaps": len(took), "rollbacks": len(back), "swap_s": round(max(took), 3), "rollback_s": round(max(back), 3),
        **p99s(seen, calm, windows), **checked(home, releases, seen),
    }  # fmt: skip


def followed(server: RunningServer, entry: int) -> float:
    """The seconds until the server says that it serves by an entry."""
    began = time.monotonic()
    server.wait(lambda status: status["ready"] and status["entry"] == entry)
    return time.monotonic() - began


def p99s(seen: list[Seen], calm: float, windows: list[tuple[float, float]]) -> dict[str, float]:
    """The 99th percentile of requests that were due before the first swap, and of those due while releases were swapped."""
    before = [request.took for request in seen if request.due < calm]
    during = [request.took for request in seen if any(start <= request.due < end for start, end in windows)]
    if not (before and during):
        raise SystemExit(
            f"given {len(before)} requests before the first swap and {len(during)} while releases were swapped, at a rate that "
            "the clients may not reach; expected some of both; next: run it on a quiet machine, or with a smaller --rate"
        )
    p99 = [round(1000 * float(np.percentile(times, 99)), 1) for times in (before, during)]
    return {"p99_before_ms": p99[0], "p99_during_swaps_ms": p99[1], "p99_swap_ratio": round(p99[1] / p99[0], 2)}


def checked(home: Path, releases: dict[str, set[str]], seen: list[Seen]) -> dict[str, int]:
    """What was answered, beside the log and the journal: each by the champion of its entry, with that release's documents."""
    journal, written = Journal(open_store()), {line["request_id"]: line for line in exposures(home)}
    answered = [request for request in seen if request.status == 200]
    wrong = 0
    for request in answered:
        line = written.get(request.request)
        champion = line and journal.entries[line["entry"] - 1].routing.champion
        wrong += line is not None and not (
            champion == line["release"] == request.release
            and request.shown == tuple(result["document"] for result in line["results"])
            and releases[request.release].issuperset(request.shown)
        )
    return {
        "requests": len(seen),
        "status_5xx": sum(request.status >= 500 or request.status == 0 for request in seen),
        "wrong_release": wrong,
        "exposures": len(written),
        "exposures_lost": sum(request.request not in written for request in answered),
    }


def kills(home: Path, queries: list[str], times: int) -> dict[str, int]:
    """SIGKILL under load: whatever was answered is in the log."""
    answered = lost = 0
    for _ in range(times):
        with running_server(home) as server:
            server.wait(lambda status: status["ready"])
            with loaded(server, queries, rate=0) as load:
                time.sleep(3)
                server.process.kill()
                server.process.wait(10)
        written = {line["request_id"] for line in exposures(home)}
        requests = [request.request for request in load.seen if request.status == 200]
        answered += len(requests)
        lost += sum(request not in written for request in requests)
    return {"kills": times, "answered_before_kills": answered, "lost_by_kills": lost}


def faults(home: Path, queries: list[str]) -> dict[str, int]:
    """The store away for five seconds, then a log that can't grow: it goes on with what it has, and what it can't write it
    does not answer."""
    store, away = home / "store", home / "store.away"
    with running_server(home) as server:
        server.wait(lambda status: status["ready"])
        with loaded(server, queries) as load:
            time.sleep(1)
            store.rename(away)
            time.sleep(5)
            away.rename(store)
        down = Counter(request.status for request in load.seen)
        log, unlimited = home / "events/exposures.jsonl", (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        with loaded(server, queries) as load:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size + 10_000, resource.RLIM_INFINITY))
            until(lambda: any(request.status == 503 for request in load.seen))
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
            healed = time.monotonic() + 1
            until(lambda: any(request.status == 200 and request.due > healed for request in load.seen))
        full = load.seen
    written = {line["request_id"] for line in exposures(home)}
    return {
        "store_down_requests": down.total(),
        "store_down_not_200": down.total() - down[200],
        "disk_full_503": sum(request.status == 503 for request in full),
        "disk_full_other": sum(request.status not in (200, 503) for request in full),
        "disk_full_answered_unwritten": sum(request.status == 200 and request.request not in written for request in full),
    }


def overload(home: Path, queries: list[str]) -> dict[str, int]:
    """More clients than may wait: they are told to come back, nothing else, and what was accepted is answered and written."""
    with running_server(home, RATCHET_QUEUE="8") as server:
        server.wait(lambda status: status["ready"])
        with loaded(server, queries, rate=0, clients=48) as load:
            time.sleep(10)
    written = {line["request_id"] for line in exposures(home)}
    statuses = Counter(request.status for request in load.seen)
    return {
        "overload_200": statuses[200],
        "overload_429": statuses[429],
        "overload_other_than_200_and_429": statuses.total() - statuses[200] - statuses[429],
        "overload_lost": sum(request.status == 200 and request.request not in written for request in load.seen),
    }


def fuzz(home: Path, cases: int) -> dict[str, int]:
    """Requests that schemathesis makes of the server's own OpenAPI document, valid and not."""
    import requests
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings

    statuses: Counter[int] = Counter()
    with running_server(home) as server, requests.Session() as session:
        server.wait(lambda status: status["ready"])
        schema = schemathesis.openapi.from_dict(server.client.get("/openapi.json").json())
        operations = [found.ok() for found in schema.get_all_operations()]
        modes = list(schemathesis.GenerationMode)
        asking = [operation for operation in operations if any(operation.iter_parameters()) or operation.body]
        quiet = settings(
            max_examples=-(-cases // (len(asking) * len(modes))), deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        headers = {"authorization": f"Bearer {server.key}"}
        for operation in operations:
            for mode in modes if operation in asking else modes[:1]:

                @seed(SEED)
                @quiet
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Any) -> None:
                    answer = case.call(base_url=server.url, session=session, headers=headers)
                    statuses[answer.status_code] += 1

                ask()
    return {
        "fuzz_operations": len(operations),
        "fuzz_cases": statuses.total(),
        "fuzz_4xx": sum(number for status, number in statuses.items() if 400 <= status < 500),
        "fuzz_5xx": sum(number for status, number in statuses.items() if status >= 500),
    }


def panels(home: Path, releases: list[str], folder: Path) -> dict[str, int]:
    """The query of each panel of the dashboards, asked of a Prometheus that scrapes the server."""
    from pipelines.access.keys import KeyLog

    _, key = KeyLog(open_store()).make("prometheus", ("metrics",), 1, "proof")
    route(releases[0], releases[1], "promote")
    routing = Routing(champion=releases[0], challenger=releases[1], shadow=1.0)
    Journal(open_store()).append("stage", releases[1], "for the panels of the shadow", routing)
    queries = [target["expr"] for _, panel in PANELS for target in panel["targets"]]
    with running_server(home) as server, prometheus(folder, [server.url], key) as url:
        server.wait(lambda status: status["challenger"] and status["shadow"])

        def answered() -> int:
            found = server.search("moon").json()
            click = {"request_id": found["request_id"], "document": found["results"][0]["id"], "position": 1}
            server.client.post("/v1/clicks", json=click)
            return sum(bool(results(url, query)) for query in queries)

        waited = time.monotonic() + 60
        while (count := answered()) < len(queries) and time.monotonic() < waited:
            time.sleep(0.5)
    return {"panels": len(queries), "panels_answered": count}


def main(arguments: list[str] | None = None) -> int:
    """Run all parts; exit 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m proofs.serving", description=__doc__)
    for name, default in (
        ("swaps", 100),
        ("rollbacks", 20),
        ("requests", 100_000),
        ("cases", 10_000),
        ("kills", 5),
        ("rate", RATE),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    counts = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ |= {"RATCHET_HOME": str(home), "RATCHET_LOG_FORMAT": "json"}
        releases, queries = made_releases(Path(folder))
        parts: list[Callable[[], dict[str, Any]]] = [
            lambda: swaps(home, releases, queries, counts),
            lambda: kills(home, queries, counts.kills),
            lambda: faults(home, queries),
            lambda: overload(home, queries),
            lambda: fuzz(home, counts.cases),
            lambda: panels(home, list(releases), Path(folder) / "prometheus"),
        ]
        figures: dict[str, Any] = {"rate": counts.rate}
        for part in parts:
            began = time.monotonic()
            figures |= (made := part())
            print(f"{time.monotonic() - began:.0f} s: {made}", file=sys.stderr, flush=True)
    figures["exposures_lost"] += figures["lost_by_kills"] + figures["overload_lost"]
    figures["exposures"] += figures["answered_before_kills"] + figures["overload_200"]
    write_figures("proof/serving", figures, seed=SEED, runs=1, goals=GOALS)
    whole = figures["panels_answered"] == figures["panels"]
    return 0 if whole and all(met(figures[name], goal) for name, goal in GOALS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
