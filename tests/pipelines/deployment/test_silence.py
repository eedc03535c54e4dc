"""deploy and rollback while the server is silent, odd or somebody else writes: nothing good is replaced, nothing done twice."""

import threading
import time

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError, TryAgain
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call

SILENT = "http://127.0.0.1:9"


def in_run(monkeypatch, dag, run):
    monkeypatch.setenv("RATCHET_DAG", dag)
    monkeypatch.setenv("RATCHET_DAG_RUN", run)


def refusing(releases, server):
    """A champion, a challenger, and a server that stays with the champion."""
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    server.serves, server.first = False, releases.journal


def test_deploying_the_sitting_champion_never_replaces_it(releases, monkeypatch, capsys):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    call("rollback", why="b is bad")
    monkeypatch.setenv("RATCHET_SERVER_URL", SILENT)
    assert main(["deploy", "--release", releases.a, "--wait-s", "0.3"]) == 75
    assert "entry 5 is not of this run and stays" in capsys.readouterr().err
    assert releases.journal.routing == Routing(champion=releases.a)
    assert len(releases.journal.entries) == 5


@pytest.mark.parametrize(("dag", "run", "back"), [("d", "run 1", True), ("e", "manual__1", False), ("d", "manual__2", False)])
def test_only_the_run_that_deployed_goes_back(releases, server, monkeypatch, dag, run, back):
    refusing(releases, server)
    in_run(monkeypatch, "d", "run 1")
    Journal(open_store()).append("deploy", releases.b, "cut off after this", Routing(champion=releases.b))
    in_run(monkeypatch, dag, run)
    with pytest.raises(InputError, match="rolled back to" if back else "is not of this run and stays"):
        call("deploy", release=releases.b, wait_s=0.3)
    assert releases.journal.routing.champion == (releases.a if back else releases.b)


def test_a_deployment_that_was_taken_back_is_not_repeated_by_its_retry(releases, server, monkeypatch):
    refusing(releases, server)
    in_run(monkeypatch, "d", "run 1")
    for said in ("rolled back to", "start a new run"):
        with pytest.raises(InputError, match=said):
            call("deploy", wait_s=0.3)
    assert [entry.action for entry in releases.journal.entries[3:]] == ["deploy", "rollback"]


def test_nobody_elses_champion_is_taken_back(releases, server):
    refusing(releases, server)

    def other():
        while len(Journal(open_store()).entries) < 4:
            time.sleep(0.02)
        Journal(open_store()).append("deploy", releases.c, "an emergency", Routing(champion=releases.c), who="bob")

    threading.Thread(target=other, daemon=True).start()
    with pytest.raises(InputError, match="bob wrote entry 5"):
        call("deploy", wait_s=1)
    assert releases.journal.routing.champion == releases.c


def test_nothing_goes_back_to_a_release_that_is_gone(releases, server):
    refusing(releases, server)
    (open_store().local / "release" / releases.a / "manifest.json").unlink()
    with pytest.raises(InputError, match="the champion before can't serve"):
        call("deploy", wait_s=0.3)
    assert releases.journal.routing.champion == releases.b


def test_a_release_is_named_by_its_first_digits(releases):
    releases.promoted(releases.a)
    assert call("deploy", release=releases.a[:8]).release == releases.a
    assert call("deploy", release=releases.a[:8]).outcome == "unchanged"
    assert main(["deploy", "--release", "nope"]) == 2


@pytest.mark.parametrize("broken", ["502", "html", "closed"])
def test_a_proxys_page_after_the_entry_is_no_answer(releases, server, broken):
    releases.promoted(releases.a)
    server.broken, server.breaks_at = broken, 2
    with pytest.raises(TryAgain, match="no champion to go back to"):
        call("deploy", wait_s=0.3)
    server.breaks_at = 4
    releases.promoted(releases.b)
    with pytest.raises(InputError, match=f"rolled back to {releases.a}"):
        call("deploy", wait_s=0.3)
    assert releases.journal.routing.champion == releases.a


@pytest.mark.parametrize("broken", ["502", "closed"])
def test_a_server_that_falls_silent_while_it_loads_is_tried_again(releases, server, broken):
    releases.promoted(releases.a)
    server.loads = False
    threading.Timer(0.3, lambda: setattr(server, "answers", broken)).start()
    with pytest.raises(TryAgain, match="without release"):
        call("deploy", wait_s=1)
    assert len(releases.journal.entries) == 1


def test_a_proxys_502_at_the_first_look_is_tried_again(releases, server):
    releases.promoted(releases.a)
    server.answers = "502"
    with pytest.raises(TryAgain, match="status 502"):
        call("deploy", wait_s=0.3)


@pytest.mark.parametrize("broken", ["502", "html", "closed"])
def test_a_rollback_past_a_proxys_page_is_shown_and_tried_again(releases, server, monkeypatch, broken):
    shown = []
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    monkeypatch.setattr("pipelines.projections.mlflow.project", lambda _, journal: shown.append(journal.routing.champion))
    server.answers = broken
    with pytest.raises(TryAgain, match=f"rollback --to {releases.a}"):
        call("rollback", wait_s=0.3)
    assert shown == [releases.a]


def test_a_problem_that_the_server_tells_ends_a_rollback(releases, server):
    refusing(releases, server)
    server.serves, server.first = True, releases.journal
    call("deploy", wait_s=2)
    server.first, server.serves, server.loads = releases.journal, False, False
    with pytest.raises(InputError, match="the index is damaged"):
        call("rollback", wait_s=0.3)
    assert releases.journal.routing.champion == releases.a


def test_a_retried_rollback_goes_back_once_whatever_was_written_since(releases, monkeypatch):
    for release in (releases.a, releases.b, releases.c):
        releases.deployed(release)
    in_run(monkeypatch, "rollback_release", "manual__7")
    first = call("rollback")
    in_run(monkeypatch, "promote_release", "manual__7")
    releases.promoted(releases.a)
    in_run(monkeypatch, "rollback_release", "manual__7")
    assert (call("rollback").entry, call("rollback", to=releases.b).entry) == (first.entry, first.entry)
    in_run(monkeypatch, "deploy_release", "manual__7")
    call("deploy")
    in_run(monkeypatch, "rollback_release", "manual__7")
    monkeypatch.setenv("RATCHET_SERVER_URL", SILENT)
    assert call("rollback").entry == first.entry  # and waits for nothing: another release is champion by now
    assert [entry.action for entry in releases.journal.entries[6:]] == ["rollback", "promote", "deploy"]
    monkeypatch.delenv("RATCHET_SERVER_URL")
    in_run(monkeypatch, "other", "manual__7")
    assert call("rollback").entry == 10
