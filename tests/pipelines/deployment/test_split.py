"""split: a share of the users gets the challenger, by entries that change no release, and one command ends it."""

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.experiments.own_log import split_design
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call


def test_a_share_grows_under_one_name_and_ends(both):
    first = call("split", share=0.1, why="are titles better", who="ada")
    assert (first.champion, first.challenger, first.share, first.name, first.entry) == (both.a, both.b, 0.1, "split-4", 4)
    grown = call("split", share=0.5)
    assert (grown.share, grown.name) == (0.5, "split-4")
    assert grown.note == f"SPLIT: release {both.b} answers 0.5 of the users, {both.a} the others, as experiment split-4"
    assert call("history").sentence.endswith(f"; release {both.b} answers 0.5 of the users (split-4)")
    ended = call("split", share=0)
    assert (ended.share, ended.name, ended.note) == (0, "split-4", f"SPLIT: ended; release {both.a} answers everybody")
    entries = both.journal.entries[3:]
    assert [(entry.action, entry.to, entry.from_) for entry in entries] == [("weight", both.b, both.a)] * 3
    assert entries[-1].routing == Routing(champion=both.a, challenger=both.b)
    assert main(["history"]) == 0


def test_what_can_not_be_split_is_refused(releases, capsys):
    releases.deployed(releases.a)
    with pytest.raises(InputError, match=r"challenger none; expected both.*run `promote`"):
        call("split")
    releases.promoted(releases.b)
    with pytest.raises(NothingToDo, match="no split runs"):
        call("split", share=0)
    call("split", share=0.5, name="titles")
    with pytest.raises(NothingToDo, match=r"titles runs already with a share of 0\.5"):
        call("split", share=0.5)
    for share in (0.2, 0):
        with pytest.raises(InputError, match=r"--name other while titles runs.*split --share 0"):
            call("split", share=share, name="other")
    for arguments in (["--share", "1.1"], ["--share", "nan"], ["--name", "a b"]):
        assert main(["split", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert len(releases.journal.entries) == 4


def test_no_other_challenger_takes_its_place_while_users_get_it(both):
    call("split")
    with pytest.raises(InputError, match=r"answers 0\.5 of the users \(split-4\).*split --share 0"):
        call("promote", verdict=both.verdict(both.c, both.a))
    assert both.journal.routing.challenger == both.b


@pytest.mark.parametrize("ending", ["deploy", "rollback"])
def test_a_deployment_and_a_rollback_end_it(releases, ending):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    releases.promoted(releases.c)
    call("split")
    call(ending)
    assert releases.journal.routing == Routing(champion={"deploy": releases.c, "rollback": releases.a}[ending])


def test_users_get_only_what_the_server_has_in_memory(both, server):
    server.loads = False
    with pytest.raises(InputError, match=r"without release .* in memory"):
        call("split", wait_s=0)
    assert both.journal.routing.split is None
    server.loads = True
    assert call("split").entry == 4
    server.answers = "502"
    with pytest.raises(TryAgain, match="server"):
        call("split", share=0.2, wait_s=0)


def test_a_cleared_task_finds_its_own_entry(both, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG", "split_traffic")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    assert call("split").entry == call("split").entry == 4


def test_its_searches_count_from_the_last_change_of_share_or_releases(both):
    def begun():
        design, since = split_design(Journal(open_store()), "titles")
        return design.variants["challenger"], since

    call("split", share=0.1, name="titles")
    call("split", share=0.25)
    both.journal.append("repair", "re-embed", "between", None)
    design, since = split_design(Journal(open_store()), "titles")
    assert (design.variants, design.baseline, since) == ({"champion": 0.75, "challenger": 0.25}, "champion", 5)
    call("split", share=0.1)
    assert begun() == (0.1, 7), "days of the share between are not pooled"
    call("split", share=0)
    call("promote", verdict=both.verdict(both.c, both.a))
    call("split", share=0.1, name="titles")
    call("split", share=0)
    call("promote", verdict=both.verdict(both.b, both.a, sentence="again"))
    last = call("split", share=0.1, name="titles")
    assert begun() == (0.1, last.entry), "clicks of the release between are not counted"
    with pytest.raises(InputError, match="the name of a split: titles"):
        split_design(Journal(open_store()), "title")
    call("split", share=1)
    with pytest.raises(InputError, match=r"titles with a share of 1.*another share"):
        split_design(Journal(open_store()), "titles")
