"""toggle: what the servers do is changed and taken back by entries that route nothing."""

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call


def toggles():
    return Journal(open_store()).toggles


def test_a_toggle_is_set_changed_and_taken_back(releases, capsys):
    releases.deployed(releases.a)
    off = call("toggle", name="rerank", value="off", why="it is slow today", who="ada")
    assert (off.value, off.before, off.entry, off.note) == ("off", "default", 3, "TOGGLE: rerank is off, before default")
    call("toggle", name="rerank_ms", value="50")
    call("toggle", name="rerank_ms", value="80")
    assert toggles() == {"rerank": False, "rerank_ms": 80.0}
    back = call("toggle", name="rerank_ms", undo=True)
    assert (back.value, back.before) == ("50", "80")
    call("toggle", name="rerank", undo=True)
    assert toggles() == {"rerank_ms": 50.0}
    call("toggle", name="rerank_ms", value="default")
    assert toggles() == {}
    entries = releases.journal.entries
    assert [(entry.action, entry.to) for entry in entries[2:4]] == [("toggle", "rerank=off"), ("toggle", "rerank_ms=50")]
    assert {entry.routing for entry in entries[1:]} == {Routing(champion=releases.a)}
    assert b'"toggle"' not in open_store().read("journal/00000001.json"), "versions that know no toggle read it"
    assert releases.journal.until(4).toggles == {"rerank": False, "rerank_ms": 50.0}
    assert main(["history"]) == 0
    assert "rerank_ms=50" in capsys.readouterr().err, "whole, though releases are cut"


def test_releases_come_and_go_and_toggles_stay(releases):
    releases.deployed(releases.a)
    call("toggle", name="k", value="20")
    releases.deployed(releases.b)
    call("rollback")
    assert toggles() == {"k": 20}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither --value nor --undo"),
        ({"value": "off", "undo": True}, "--value together with --undo"),
        ({"value": "maybe"}, "--name rerank with --value 'maybe'; expected"),
        ({"name": "k", "value": "0"}, "--name k with --value '0'; expected"),
        ({"name": "k", "value": "1.5"}, "--name k"),
        ({"name": "rerank_ms", "value": "nan"}, "--name rerank_ms"),
        ({"name": "rerank_ms", "value": "-1"}, "--name rerank_ms"),
    ],
)
def test_what_is_no_value_is_refused(home, given, message):
    with pytest.raises(InputError, match=message):
        call("toggle", **given)
    assert Journal(open_store()).entries == []


def test_nothing_to_do(home, capsys):
    with pytest.raises(NothingToDo, match="k was never toggled"):
        call("toggle", name="k", undo=True)
    call("toggle", name="k", value="5")
    with pytest.raises(NothingToDo, match="k is already 5"):
        call("toggle", name="k", value="5")
    with pytest.raises(NothingToDo, match="rerank is already default"):
        call("toggle", value="default")
    assert main(["toggle", "--name", "colour", "--value", "on"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_it_waits_for_the_server_and_a_cleared_task_finds_its_entry(releases, server, monkeypatch):
    releases.deployed(releases.a)
    monkeypatch.setenv("RATCHET_DAG", "toggle_server")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    server.answers = "502"
    with pytest.raises(TryAgain, match=r"entry 3, which stays.*undo true"):
        call("toggle", value="off", wait_s=0)
    server.answers = "json"
    assert call("toggle", value="off").entry == 3


def test_an_entry_has_a_toggle_if_it_toggles(home):
    journal = Journal(open_store())
    with pytest.raises(InputError, match="a toggle in entries of action toggle alone"):
        journal.append("toggle", "rerank=off", "why")
    with pytest.raises(ValueError, match="toggle can't change"):
        journal.append("toggle", "rerank=off", "why", Routing(champion="a" * 20))
