"""The rollback drill against the search server itself, and what happens where the server does not follow."""

import json
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.__main__ import main
from pipelines.deployment import drill as drilling
from pipelines.deployment import live
from pipelines.errors import InputError, NothingToDo
from pipelines.settings import environment
from pipelines.store.artifacts import committed, load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import call

KEY = "k" * 32


@pytest.fixture
def search(releases, monkeypatch, tmp_path):
    """A search server that serves b; a was champion before."""
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    # A busy machine swaps in more than a second, which is no matter of these tests: `make proof-registry` measures it.
    monkeypatch.setitem(drilling.LIMITS, "serving_s", 60.0)
    monkeypatch.setitem(drilling.LIMITS, "rollback_s", 600.0)
    with (tmp_path / "server.log").open("wb") as log:
        child = subprocess.Popen(
            warm.command("-m", "images.serve"),
            env=environment({"RATCHET_SERVER_PORT": "0", "RATCHET_SERVER_KEY": KEY}),
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        line = child.stdout.readline()
        assert line, (tmp_path / "server.log").read_text()[-3000:]
        monkeypatch.setenv("RATCHET_SERVER_URL", json.loads(line)["url"])
        monkeypatch.setenv("RATCHET_SERVER_KEY", KEY)
        from pipelines.deployment.readiness import wait_until

        assert wait_until(lambda server: releases.a in server.warm and server.champion == releases.b, 60)[0]
        yield releases
    finally:
        child.terminate()
        child.wait(20)


class Scripted:
    """A server that answers searches as `answer` says of the journal: by a status and a body. At first it follows."""

    def __init__(self):
        self.answer = lambda journal: (200, {"release": journal.routing.champion})
        scripted = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = scripted.answer(Journal(open_store()))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def scripted(releases, monkeypatch):
    """Such a server; b is the champion, a was before."""
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    server = Scripted()
    monkeypatch.setenv("RATCHET_SERVER_URL", server.url)
    yield server
    server.http.shutdown()
    server.http.server_close()


def actions(journal):
    return [(entry.action, entry.to) for entry in journal.entries[4:]]


def drills():
    """The reports of drills in the store."""
    reports = [load_exactly(open_store(), "report", name) for name in committed(open_store(), "report")]
    return [one for one in reports if one.manifest.recipe.step == "drill"]


def test_a_drill_rolls_back_is_timed_and_comes_back(search, monkeypatch):
    first = call("drill", why="the first one")
    a, b = search.a, search.b
    assert (first.release, first.previous, first.entry) == (b, a, 5)
    assert 0 < first.serving_s <= first.rollback_s
    journal = search.journal
    assert actions(journal) == [("rollback", a), ("deploy", b)]
    assert journal.entries[4].why == "drill: the champion comes back in a moment: the first one"
    assert journal.previous_champion() == a, "a rollback in earnest still has somewhere to go"
    second = call("drill")
    drills = load_exactly(open_store(), "report", second.report).json("drills.json")
    assert [one["entry"] for one in drills] == [5, 7]
    page = load_exactly(open_store(), "report", second.report).text("report.html")
    assert "Trend: from the entry to live answers" in page
    with pytest.raises(InputError, match=r"rollback_s .* is over 600"):
        call("drill", triggered="2026-01-01T00:00:00Z")
    assert search.journal.routing.champion == b
    verdict = search.journal.entries[-1].verdict
    assert call("promote", verdict=verdict).changed is False


def test_a_drill_that_was_interrupted_brings_the_champion_back(search, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG", "drill_rollback")
    monkeypatch.setenv("RATCHET_DAG_RUN", "scheduled__1")
    Journal(open_store()).append("rollback", search.a, drilling.WHY, Routing(champion=search.a))
    assert call("drill").entry == 5
    assert actions(search.journal) == [("rollback", search.a), ("deploy", search.b)]
    assert call("drill").entry == 5, "cleared: the same report"
    assert len(search.journal.entries) == 6
    monkeypatch.setenv("RATCHET_DAG_RUN", "scheduled__2")
    journal = Journal(open_store())
    journal.append("rollback", search.a, drilling.WHY, Routing(champion=search.a))
    journal.append("deploy", search.b, "its try ended before the report", Routing(champion=search.b))
    with pytest.raises(InputError, match="interrupted before its times were taken"):
        call("drill")
    assert len(search.journal.entries) == 8


def test_a_server_that_does_not_follow_fails_the_drill_and_the_champion_is_back(search, monkeypatch, capsys):
    monkeypatch.setattr(drilling, "seconds_until_served", lambda release, *_: None if release == search.a else 0.1)
    assert main(["drill"]) == 2
    told = capsys.readouterr().err
    assert "serving_s was not reached; rollback_s was not reached" in told
    assert search.journal.routing.champion == search.b
    assert [one.facts["passed"] for one in drills()] == [False]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drill_that_is_told_to_stop_brings_the_champion_back_first(releases, scripted, number):
    waiting = threading.Event()

    def answer(journal):
        if len(journal.entries) == 5:
            waiting.set()
        return 200, {"release": releases.b}  # it does not follow, so the drill waits

    scripted.answer = answer
    command = warm.command("-m", "pipelines", "drill", "--wait-s", "600")
    with subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        waiting.wait(60)
        child.send_signal(number)
        told = child.communicate(timeout=30)[0]
    assert actions(releases.journal) == [("rollback", releases.a), ("deploy", releases.b)], told


def test_a_signal_that_arrives_in_a_destructor_is_not_lost(releases, scripted, monkeypatch):
    """Python drops what a destructor raises, also KeyboardInterrupt, and HTTP clients have destructors."""

    class Told:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    told = [Told()]

    def answered(query):
        told.clear()
        return releases.b  # it does not follow, so the drill waits

    monkeypatch.setattr(live, "answering_release", answered)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which xdist ignores
    try:
        with pytest.raises(KeyboardInterrupt):
            call("drill", wait_s=5)
    finally:
        signal.signal(signal.SIGINT, before)
    assert actions(releases.journal) == [("rollback", releases.a), ("deploy", releases.b)]


def test_what_others_write_meanwhile_does_not_keep_the_champion_away(releases, scripted):
    waiting = Routing(champion=releases.a, challenger=releases.c)

    def answer(journal):
        if len(journal.entries) == 5:  # the drill has gone back
            journal.append("waive", "rule baseline", "a person's")
            journal.append("promote", releases.c, "by another run", waiting)
        return 200, {"release": releases.b}

    scripted.answer = answer
    with pytest.raises(InputError, match="serving_s was not reached"):
        call("drill", wait_s=1)
    after = actions(releases.journal)
    assert after == [("rollback", releases.a), ("waive", "rule baseline"), ("promote", releases.c), ("deploy", releases.b)]
    assert releases.journal.routing == Routing(champion=releases.b, challenger=releases.c)


def test_whom_others_made_champion_meanwhile_stays(releases, scripted):
    def answer(journal):
        if len(journal.entries) == 5:
            journal.append("deploy", releases.c, "by another run", Routing(champion=releases.c), who="eve")
        return 200, {"release": releases.b}

    scripted.answer = answer
    with pytest.raises(InputError, match=f"eve made {releases.c} champion meanwhile, by entry 6"):
        call("drill", wait_s=1)
    assert actions(releases.journal) == [("rollback", releases.a), ("deploy", releases.c)]
    assert [one.facts["passed"] for one in drills()] == [False]


def test_a_server_that_breaks_when_the_champion_is_back_leaves_a_report(releases, scripted):
    follow = scripted.answer
    scripted.answer = lambda journal: follow(journal) if len(journal.entries) < 6 else (404, {})
    with pytest.raises(InputError, match="status 404 without a release"):
        call("drill", wait_s=30)
    assert releases.journal.routing.champion == releases.b
    assert [one.facts["passed"] for one in drills()] == [False]


def test_a_damaged_report_of_before_does_not_fail_a_drill(releases, scripted, monkeypatch):
    for name in drilling.LIMITS:
        monkeypatch.setitem(drilling.LIMITS, name, 600.0)
    torn, second = call("drill"), call("drill")
    reports = open_store().local / "report"
    (reports / torn.report / "manifest.json").write_bytes(b"{")
    third = call("drill")
    entries = [one["entry"] for one in load_exactly(open_store(), "report", third.report).json("drills.json")]
    assert entries == [5, 7, 9], "the second has what the first said"
    (reports / second.report / "manifest.json").write_bytes(b"{")
    (reports / third.report / "manifest.json").write_bytes(b"{")
    assert len(load_exactly(open_store(), "report", call("drill").report).json("drills.json")) == 1


def test_a_drill_that_would_disturb_somebody_is_skipped(search):
    search.promoted(search.c)
    with pytest.raises(NothingToDo, match=f"challenger {search.c} waits"):
        call("drill")
    assert len(search.journal.entries) == 5


def test_without_a_way_back_or_a_server_nothing_is_tried(releases, capsys, monkeypatch):
    releases.deployed(releases.a)
    assert main(["drill"]) == 4
    releases.deployed(releases.b)
    assert main(["drill"]) == 2
    assert "set RATCHET_SERVER_URL" in capsys.readouterr().err
    monkeypatch.setenv("RATCHET_SERVER_URL", "http://127.0.0.1:9")
    assert main(["drill"]) == 75
    monkeypatch.setenv("RATCHET_SERVER_URL", "http://127.0.0.1:port")
    assert main(["drill"]) == 2
    assert "expected an address" in capsys.readouterr().err
    assert main(["drill", "--triggered", "noon"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len(releases.journal.entries) == 4


def test_a_server_with_too_much_to_do_is_asked_again(releases, scripted, capsys):
    scripted.answer = lambda journal: (429, {"detail": "200 of 200 searches wait"})
    assert main(["drill"]) == 75
    assert "status 429" in capsys.readouterr().err
    assert len(releases.journal.entries) == 4
