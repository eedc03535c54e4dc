"""The journal itself: whom a rollback returns to, what a retry finds again, which entries are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.__main__ import main
from pipelines.artifacts import open_store
from pipelines.errors import CorruptArtifact
from pipelines.journal import Entry, Journal, Routing, entry_path


def routed(journal, action, to):
    """One more entry, as `append` would write it, without a file."""
    champion = journal.routing.champion
    journal.entries.append(
        Entry(
            n=len(journal.entries) + 1, at="2026-01-01T10:00:00Z", who="w", why="y", action=action, from_=champion,
            to=to, verdict=None, routing=Routing(champion=to), parent="0" * 64,
        )
    )  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["deploy", "rollback", "rollback --to"]), st.sampled_from("ABCD")), max_size=12))
def test_no_rollback_returns_to_what_one_left(moves):
    journal = Journal(open_store(), read=False)
    left = set()
    for move, release in moves:
        champion, previous = journal.routing.champion, journal.previous_champion()
        to = previous if move == "rollback" else release
        if to in (None, champion) or (move == "rollback --to" and to not in journal.champions()):
            continue
        routed(journal, move.split()[0], to)
        left = (left | {champion} if move != "deploy" else left) - {to}
        assert journal.previous_champion() not in {*left, to}
        if move == "deploy":
            assert journal.previous_champion() == champion


def test_a_rollback_past_the_champion_before_does_not_keep_the_one_it_left(home):
    journal = Journal(open_store(), read=False)
    for action, to in [("deploy", "A"), ("deploy", "B"), ("rollback", "A"), ("deploy", "C"), ("rollback", "B")]:
        routed(journal, action, to)
    assert journal.previous_champion() == "A"


def written(**changes):
    """A first entry with some values changed, None: left out, where Ratchet would have written it."""
    store = open_store()
    Journal(store).append("deploy", "a" * 20, "why", Routing(champion="a" * 20))
    path = store.local / entry_path(1)
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if name not in changes or value is not None}))
    return store


@pytest.mark.parametrize("at", ["yesterday", "", "2026-01-01T10:00:00", "2026-13-01T10:00:00Z"])
def test_a_time_that_is_none_is_a_strangers(home, capsys, at):
    store = written(at=at)
    with pytest.raises(CorruptArtifact, match=r"00000001.json: .*at"):
        Journal(store)
    assert main(["history", "--at", "2026-01-01"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_entry_from_before_dags_were_named_is_read(home):
    (entry,) = Journal(written(dag=None)).entries
    assert entry.dag == ""


def test_a_retry_finds_its_own_entry_behind_others(home, monkeypatch):
    journal = Journal(open_store())
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    monkeypatch.setenv("RATCHET_DAG", "rollback_release")
    own = journal.append("rollback", "a" * 20, "why", Routing(champion="a" * 20))
    monkeypatch.setenv("RATCHET_DAG", "deploy_release")
    journal.append("rollback", "b" * 20, "why", Routing(champion="b" * 20))
    monkeypatch.setenv("RATCHET_DAG", "rollback_release")
    again = Journal(open_store())
    assert again.cut_off("rollback") == again.cut_off("rollback", "aaaa") == own
    assert again.cut_off("rollback", "b") is again.cut_off("deploy") is None
    monkeypatch.delenv("RATCHET_DAG_RUN")
    assert again.cut_off("rollback") is None
