"""shadow: the challenger ranks searches unseen, by entries that change no release and no experiment."""

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.experiments.own_log import split_design
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call


def test_a_share_changes_and_ends(both):
    first = call("shadow", share=0.1, why="before users get it", who="ada")
    assert (first.champion, first.challenger, first.share, first.entry) == (both.a, both.b, 0.1, 4)
    assert first.note == f"SHADOW: release {both.b} ranks 0.1 of the searches that {both.a} answers, which nobody sees"
    assert call("shadow").share == 1
    assert call("history").sentence.endswith(f"; release {both.b} ranks 1 of the searches unseen")
    ended = call("shadow", share=0)
    assert (ended.share, ended.note) == (0, f"SHADOW: ended; release {both.b} ranks only what it is asked")
    entries = both.journal.entries[3:]
    assert [(entry.action, entry.to, entry.from_) for entry in entries] == [("stage", both.b, both.a)] * 3
    assert entries[-1].routing == Routing(champion=both.a, challenger=both.b)


def test_what_can_not_be_shadowed_is_refused(releases, capsys):
    releases.deployed(releases.a)
    with pytest.raises(InputError, match=r"challenger none; expected both.*run `promote`"):
        call("shadow")
    releases.promoted(releases.b)
    with pytest.raises(NothingToDo, match="no shadow runs"):
        call("shadow", share=0)
    call("shadow", share=0.5)
    with pytest.raises(NothingToDo, match=r"ranks already 0\.5 of the searches"):
        call("shadow", share=0.5)
    assert main(["shadow", "--share", "1.1"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len(releases.journal.entries) == 4


@pytest.mark.parametrize("ending", ["deploy", "rollback", "promote"])
def test_other_releases_end_it(releases, ending):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    releases.promoted(releases.c)
    call("shadow")
    call(ending, **({"verdict": releases.verdict(releases.a, releases.b)} if ending == "promote" else {}))
    assert releases.journal.routing.shadow is None


def test_an_experiment_beside_it_goes_on(both):
    begun = call("split", share=0.5, name="titles")
    call("shadow", share=0.5)
    assert both.journal.routing.split.name == "titles"
    call("shadow", share=0)
    _, since = split_design(Journal(open_store()), "titles")
    assert since == begun.entry


def test_it_waits_for_the_server(both, server):
    server.loads = False
    with pytest.raises(InputError, match=r"without release .* in memory"):
        call("shadow", wait_s=0)
    assert both.journal.routing.shadow is None
    server.loads = True
    assert call("shadow").entry == 4
    server.answers = "502"
    with pytest.raises(TryAgain, match="server"):
        call("shadow", share=0.2, wait_s=0)


def test_a_cleared_task_finds_its_own_entry(both, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG", "shadow_traffic")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    assert call("shadow").entry == call("shadow").entry == 4
