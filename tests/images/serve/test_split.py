"""Two releases at once: users are assigned by the journal's split, alike on every server, and the log says to what."""

import json

from pipelines.experiments.assignment import assign
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server

USERS = [f"user-{number}" for number in range(60)]


def split(champion: str, challenger: str, share: float) -> int:
    routing = Routing(champion=champion, challenger=challenger, split={"name": "titles", "share": share})
    return Journal(open_store()).append("weight", challenger, "for a test", routing).n


def answered(server: RunningServer) -> dict[str, str]:
    """The release that answers each user."""
    return {user: server.search("beach", k=1, user=user).json()["release"] for user in USERS}


def test_users_keep_their_release_on_every_server_and_while_the_share_grows(trained, small):
    route(trained.release)
    route(trained.release, small, "promote")
    entry = split(trained.release, small, 0.3)
    with running_server(trained.home) as server, running_server(trained.home) as other:
        for replica in (server, other):
            status = replica.wait(lambda status: status["entry"] == entry and status["challenger"])
            assert status["split"] == {"name": "titles", "share": 0.3}
        few = answered(server)
        assert answered(other) == few
        drawn = {user: assign(user, "titles", {"challenger": 0.3, "champion": 0.7}) for user in USERS}
        assert few == {user: {"challenger": small, "champion": trained.release}[role] for user, role in drawn.items()}
        assert {small, trained.release} == set(few.values())
        assert "ratchet_split_share 0.3" in server.client.get("/metrics").text
        entry = split(trained.release, small, 0.8)
        server.wait(lambda status: status["entry"] == entry)
        more = answered(server)
        assert all(more[user] == small for user in USERS if few[user] == small), "nobody loses it while the share grows"
        assert sum(release == small for release in more.values()) > sum(release == small for release in few.values())
        entry = route(trained.release, small, "promote")
        server.wait(lambda status: status["entry"] == entry and status["split"] is None)
        assert set(answered(server).values()) == {trained.release}


def test_the_log_says_who_was_assigned_and_who_chose(trained, small):
    route(trained.release)
    route(trained.release, small, "promote")
    entry = split(trained.release, small, 1.0)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["entry"] == entry and status["challenger"])
        server.search("beach", user="ann")
        server.search("beach", user="ann", release="champion")
        server.search("beach", user="ann", experiment="button", variant="blue")
        server.search("beach")

        def embedded(**by):
            return server.client.post("/v1/embed", json={"texts": ["beach"], **by}).json()["release"]

        assert embedded(user="ann") == small, "vectors are of the release that answers the user's searches"
        assert embedded() == embedded(user="ann", release="champion") == trained.release
        scores = {"query": "beach", "texts": ["sun"], "user": "ann"}
        assert small[:8] in server.client.post("/v1/rerank", json=scores).json()["detail"], "it has no reranker"
        told = server.client.get("/metrics").text
        assert f'ratchet_embed_requests_total{{release="{small}"}} 1.0' in told
        assert f'ratchet_embed_requests_total{{release="{trained.release}"}} 2.0' in told
        assert f'ratchet_compute_refused_total{{release="{small}"}} 1.0' in told
    lines = (trained.home / "events/exposures.jsonl").read_text().splitlines()
    seen = [(line["policy"], line["experiment"], line["variant"]) for line in map(json.loads, lines)]
    assert seen == [
        ("challenger", "titles", "challenger"),
        ("champion", "", ""),
        ("challenger", "button", "blue"),
        ("champion", "", ""),
    ]
