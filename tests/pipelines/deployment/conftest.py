"""A server that speaks /readyz, and releases to route between."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.deployment.counts import Minute, ServerCounts, Tally, write_counts
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.releases import _releases_once, both, releases  # noqa: F401

FIRST = int(time.time() / 60) + 60
"""The minute from which on ten belong to each entry: none is long ago, however long all tests take."""


def counted(entry, errors=0, **more):
    """What a server counts in ten minutes under an entry of the journal."""
    minutes = [
        Minute(
            minute=FIRST + 10 * entry + number,
            ready=True,
            memory_mb=100,
            champion=Tally(searches=100, clicked=20, latency={40: 100}),
            challenger=Tally(searches=100, errors=errors, clicked=20, latency={40: 100 - errors}),
        )
        for number in range(10)
    ]
    write_counts(
        open_store(),
        ServerCounts(
            **{"server": "a:1", "started": 1.0, "entry": entry, "interval_s": 60, "minutes": minutes, "groups": {}, **more}
        ),
    )


def ranked_unseen(entry, errors=0, overlap=0.8, refused=0):
    """What a server counts in ten minutes of searches that the champion ranked unseen, and the challenger but for failures."""
    failed = errors + refused
    ours, theirs = Tally(searches=100, latency={40: 100}), Tally(searches=100, errors=errors, latency={40: 100 - failed})
    ranked = 100 - failed
    answered = Tally(searches=100, clicked=20, latency={40: 100})
    told = {"shadow_champion": ours, "shadow_challenger": theirs, "overlap": ranked * overlap, "overlapped": ranked}
    told["champion"] = answered
    minutes = [Minute(minute=FIRST + 10 * entry + number, ready=True, memory_mb=100, **told) for number in range(10)]
    counted(entry, minutes=minutes, started=2.0)


class FakeServer:
    """Follows the journal as the search server does, or refuses to."""

    def __init__(self, host="127.0.0.1", port=0):
        self.loads, self.serves = True, True
        self.answers = "json"
        self.asked = []
        self.broken, self.breaks_at = "502", 1000  # the entry from which on a proxy answers instead
        fake = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                fake.asked.append(self.path.partition("?")[0])
                answers = fake.broken if len(Journal(open_store()).entries) >= fake.breaks_at else fake.answers
                if answers == "closed":
                    return
                body = json.dumps(fake.readiness()).encode() if answers == "json" else b"<html>"
                self.send_response(502 if answers == "502" else 200 if self.path == "/readyz" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer((host, port), Answer)
        self.url = f"http://{host}:{self.http.server_port}"
        self.first = Journal(open_store())
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def load_after(self, looks):
        """Have no release in memory until it was asked `looks` more times."""
        self.loads, due = False, len(self.asked) + looks

        def load():
            while len(self.asked) < due:
                time.sleep(0.02)
            self.loads = True

        threading.Thread(target=load, daemon=True).start()

    def readiness(self):
        journal = Journal(open_store())
        followed = journal if self.serves else self.first
        routing = followed.routing
        warm = [release for release in (routing.champion, journal.routing.challenger) if release]
        problem = None if self.loads else "the index is damaged"
        return {
            "ready": bool(routing.champion), "entry": len(followed.entries), "champion": routing.champion,
            "challenger": routing.challenger, "warm": warm if self.loads else [], "problem": problem,
        }  # fmt: skip


@pytest.fixture
def server(releases, monkeypatch):  # noqa: F811
    fake = FakeServer()
    monkeypatch.setenv("RATCHET_SERVER_URL", fake.url)
    yield fake
    fake.http.shutdown()
    fake.http.server_close()
