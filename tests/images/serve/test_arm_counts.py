"""What the server counts of a deployment: by arm and minute, into the store, and nothing but numbers."""

from types import SimpleNamespace

from images.serve.arm_counts import ArmCounts, Ranked
from images.serve.watcher import State
from pipelines.deployment.counts import Minute, counts_of, overlap_of, read_counts
from pipelines.store.journal import Split
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.images.serve.test_split import USERS, split

CHALLENGER = SimpleNamespace(id="b")


def test_clicks_and_errors_count_for_their_minute_and_arm(home, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("images.serve.arm_counts.time.time", lambda: now[0])
    state = [State(7, CHALLENGER, CHALLENGER, ready=True)]
    counts = ArmCounts(open_store(), lambda: state[0], 60, "host:1")
    counts.answered(state[0], "champion", "ann", 5.0, "r1", 10)
    counts.answered(state[0], "challenger", "bob", 5.0, "r2", 0)
    counts.answered(state[0], "challenger", "bob", 5.0, "", 0)
    counts.answered(State(7), "champion", "ann", 5.0, "r9", 10)
    now[0] += 60
    counts.write()
    counts.clicked("r1")
    counts.clicked("r1")
    state[0] = State(8, CHALLENGER, CHALLENGER)
    counts.write()
    read = read_counts(open_store(), [7, 8])
    found, strata = counts_of(read)
    assert strata == [(7, 16), (7, 17), (8, 17)]
    assert found.searches[0].tolist() == [1, 2]
    assert (found.errors[0].tolist(), found.empty[0].tolist(), found.clicked[0].tolist()) == ([0, 1], [0, 1], [1, 0])
    assert found.latency.sum() == 2, "an error has no latency"
    clicks, searches = found.groups["clicks"]
    assert (clicks.sum(-1).tolist(), searches.sum(-1).tolist()) == ([1, 0], [1, 2]), "groups are of each arm's users"
    assert [minute.ready for counted in read for minute in counted.minutes] == [True, True, False]


def test_the_time_of_a_ranking_counts_once_and_that_of_a_kept_one_not(trained, small):
    route(trained.release)
    route(trained.release, small, "promote")
    entry = split(trained.release, small, 0.5)
    with running_server(trained.home, RATCHET_COUNTS_S="0.4", RATCHET_CACHE="100") as server:
        server.wait(lambda status: status["entry"] == entry and status["challenger"])
        for user in USERS:
            server.search("beach", user=user)
        server.wait(lambda _: counts_of(read_counts(open_store(), [entry]))[0].searches.sum() == len(USERS))
    counts, _ = counts_of(read_counts(open_store(), [entry]))
    assert counts.latency.sum((0, 2)).tolist() == [1, 1], "the first search of each release, which the others had kept for them"


def test_a_store_that_can_not_be_written_costs_nothing(home, monkeypatch):
    from pipelines.errors import TryAgain

    def fails(store, counts):
        raise TryAgain("a full disk", "room", "make some")

    state = State(7, CHALLENGER, CHALLENGER)
    counts = ArmCounts(open_store(), lambda: state, 60, "host:1")
    counts.answered(state, "champion", "ann", 5.0, "r1", 10)
    with monkeypatch.context() as patch:
        patch.setattr("images.serve.arm_counts.write_counts", fails)
        counts.write()
    counts.write()
    assert counts_of(read_counts(open_store(), [7]))[0].searches[:, 0].sum() == 1, "it is written the next time"


def test_memory_is_told_once_the_challenger_is_in_it(home):
    """A process that began anew would otherwise seem to grow by what it loads."""
    split = Split(name="canary-b-7", share=0.1)
    state = [State(7, CHALLENGER, ready=True, split=split)]
    counts = ArmCounts(open_store(), lambda: state[0], 1e6, "host:1")
    for challenger in (None, CHALLENGER):
        state[0] = State(7, CHALLENGER, challenger, ready=True, split=split)
        counts.write()
        (minute,) = read_counts(open_store(), [7])[0].minutes
        assert (minute.memory_mb is None) == (challenger is None)


def test_what_both_ranked_unseen_is_counted_apart(home, monkeypatch):
    monkeypatch.setattr("images.serve.arm_counts.time.time", lambda: 1000.0)
    state = State(7, CHALLENGER, CHALLENGER, ready=True)
    counts = ArmCounts(open_store(), lambda: state, 60, "host:1")
    counts.answered(state, "champion", "ann", 5.0, "r1", 10)
    counts.shadowed(7, {"champion": Ranked(5.0, 10, False), "challenger": Ranked(6.0, 0, False)}, 0.0)
    counts.shadowed(7, {"champion": Ranked(5.0, 10, False), "challenger": Ranked(6.0, 10, False)}, 0.5)
    counts.shadowed(7, {"champion": Ranked(5.0, 10, False), "challenger": Ranked(None, 0, True)}, None)
    counts.shadowed(7, {"champion": Ranked(None, 0, True), "challenger": Ranked(6.0, 10, False)}, None)
    counts.write()
    read = read_counts(open_store(), [7])
    seen, _ = counts_of(read)
    assert (seen.searches.tolist(), seen.shadow) == ([[1, 0]], 0)
    unseen, _ = counts_of(read, {7})
    assert (unseen.searches.tolist(), unseen.errors.tolist(), unseen.empty.tolist()) == ([[4, 4]], [[1, 1]], [[0, 1]])
    assert (unseen.latency.sum(-1).tolist(), unseen.shadow) == ([[3, 3]], 1)
    assert overlap_of(read, {7}) == (0.5 / 3, 3), "of what the champion ranked"


def test_minutes_in_which_nothing_was_judged_do_not_pile_up(home, monkeypatch):
    now = [6000.0]
    monkeypatch.setattr("images.serve.arm_counts.time.time", lambda: now[0])
    state = [State(7, CHALLENGER, CHALLENGER, ready=True)]
    counts = ArmCounts(open_store(), lambda: state[0], 60, "host:1")
    counts.answered(state[0], "champion", "ann", 5.0, "r1", 10)
    now[0] += 60 * 60
    counts.write()
    counts.clicked("r1")
    assert [minute.minute for minute in read_counts(open_store(), [7])[0].minutes] == [160], "an hour is enough"
    state[0] = State(8, CHALLENGER, CHALLENGER, ready=True, split=Split(name="canary-b-8", share=0.1))
    counts.answered(state[0], "champion", "ann", 5.0, "r2", 10)
    now[0] += 60 * 60
    counts.write()
    assert [minute.minute for minute in read_counts(open_store(), [8])[0].minutes] == [160, 220], "these are the evidence"
    state[0] = State(9, CHALLENGER, CHALLENGER, ready=True, split=Split(name="titles", share=0.1))
    counts.answered(state[0], "champion", "ann", 5.0, "r3", 10)
    now[0] += 60 * 60
    counts.write()
    assert [minute.minute for minute in read_counts(open_store(), [9])[0].minutes] == [280], (
        "a person's split is not judged by these"
    )


def test_a_minute_that_is_over_is_built_once_and_again_after_a_late_click(home, monkeypatch):
    now, built = [6000.0], []
    monkeypatch.setattr("images.serve.arm_counts.time.time", lambda: now[0])
    monkeypatch.setattr("images.serve.arm_counts.Minute", lambda **told: built.append(told["minute"]) or Minute(**told))
    state = State(7, CHALLENGER, CHALLENGER, ready=True)
    counts = ArmCounts(open_store(), lambda: state, 60, "host:1")
    for number in range(3):
        counts.answered(state, "champion", "ann", 5.0, f"r{number}", 10)
        counts.write()
        now[0] += 60
    counts.clicked("r0")
    counts.write()
    assert built == [100, 101, 102, 100, 103]
    tallies = [minute.champion for minute in read_counts(open_store(), [7])[0].minutes]
    assert [(tally.searches, tally.clicked) for tally in tallies] == [(1, 1), (1, 0), (1, 0), (0, 0)]


def test_a_search_that_follows_a_newer_entry_than_whoever_writes(home):
    state = State(7, CHALLENGER, CHALLENGER, ready=True)
    counts = ArmCounts(open_store(), lambda: state, 60, "host:1")
    counts.answered(State(8, CHALLENGER, CHALLENGER, ready=True), "champion", "ann", 5.0, "r1", 10)
    counts.write()
    assert [counted.entry for counted in read_counts(open_store(), [7, 8])] == [8]


def test_what_was_not_written_yet_is_when_the_server_ends(trained, small):
    route(trained.release)
    route(trained.release, small, "promote")
    entry = split(trained.release, small, 0.5)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["entry"] == entry and status["challenger"])
        for user in USERS:
            server.search("beach", user=user)
    assert counts_of(read_counts(open_store(), [entry]))[0].searches.sum() == len(USERS), "nobody waited for the next 5 seconds"


def test_a_server_counts_the_users_of_a_split_and_nobody_else(trained, small):
    route(trained.release)
    route(trained.release, small, "promote")
    entry = split(trained.release, small, 0.5)
    each = {"RATCHET_COUNTS_S": "0.4"}
    with running_server(trained.home, **each) as server, running_server(trained.home, **each) as other:
        for replica in (server, other):
            replica.wait(lambda status: status["entry"] == entry and status["challenger"])
        shown = [server.search("beach", user=user).json() for user in USERS]
        server.search("beach")
        server.search("beach", user="ann", release="challenger")
        server.search("beach", user="ann", experiment="button", variant="blue")
        clicked = next(answer for answer in shown if answer["release"] == small)
        click = {"request_id": clicked["request_id"], "document": clicked["results"][0]["id"], "position": 1}
        for _ in range(2):
            assert other.client.post("/v1/clicks", json=click).status_code == 201, "any replica recognises it"
        forged = {**click, "request_id": click["request_id"][:-1] + ("0" if click["request_id"][-1] != "0" else "1")}
        assert other.client.post("/v1/clicks", json=forged).status_code == 404
        assert f'ratchet_searches_clicked_total{{release="{small}"}} 1.0' in other.client.get("/metrics").text
        challengers = sum(answer["release"] == small for answer in shown)
        server.wait(lambda _: counts_of(read_counts(open_store(), [entry]))[0].clicked.sum() == 1)
    counts, _ = counts_of(read_counts(open_store(), [entry]))
    assert counts.searches.sum(0).tolist() == [len(USERS) - challengers, challengers]
    assert counts.clicked.sum(0).tolist() == [0, 1]
    assert counts.latency.sum() == len(USERS)
    body = b"".join(path.read_bytes() for path in (trained.home / "store/counts").rglob("*.json"))
    assert b"beach" not in body
    assert b"user-1" not in body
