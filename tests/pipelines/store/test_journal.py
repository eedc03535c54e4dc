"""The journal itself: whom a rollback returns to, what a retry finds again, which entries are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.__main__ import main
from pipelines.errors import CorruptArtifact, NewerVersion
from pipelines.store.journal import ROUTES, Entry, Journal, Routing, Toggle, entry_path
from pipelines.store.objects import open_store


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


def test_a_rollback_does_not_return_to_what_one_left_when_the_release_it_went_to_was_erased(home):
    journal = Journal(open_store(), read=False)
    for action, to in [("deploy", "A"), ("deploy", "B"), ("deploy", "C"), ("rollback", "B"), ("deploy", "D"), ("erase", "B")]:
        routed(journal, action, to)
    assert journal.previous_champion() == "A"


def toggled(action):
    return Toggle(name="rerank", value=False) if action == "toggle" else None


def effect(routing, action, to):
    """The routing table after an action, as the steps that write it leave it."""
    return {
        "challenger": Routing(champion=routing.champion, challenger=to), "champion": Routing(champion=to), "share": routing,
        "nothing": routing,
    }[ROUTES[action]]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(sorted(ROUTES)), st.sampled_from("ABCD")), max_size=16))
def test_actions_that_do_not_make_a_champion_change_nothing_that_is_read_of_champions(moves):
    """Of any sequence of all actions: the same champions, deployment and way back as of its deployments alone.

    An erasure alone changes the way back: what it took away is skipped.
    """
    whole, alone = Journal(open_store(), read=False), Journal(open_store(), read=False)
    for action, to in moves:
        for journal in (whole, alone) if ROUTES[action] == "champion" else (whole,):
            entry = Entry(
                n=len(journal.entries) + 1, at="2026-01-01T10:00:00Z", who="w", why="y", action=action, from_=None, to=to,
                verdict=None, routing=effect(journal.routing, action, to), toggle=toggled(action), parent="0" * 64,
            )  # fmt: skip
            journal.entries.append(entry)
    assert whole.champions() == alone.champions()
    standing = [release for release in alone.standing_champions() if release not in whole.erased_releases]
    assert whole.standing_champions() == standing
    assert whole.previous_champion() == (standing[-2] if len(standing) > 1 else None)
    assert whole.routing.champion == alone.routing.champion
    made, made_alone = whole.deployment(), alone.deployment()
    assert (made and (made.action, made.to)) == (made_alone and (made_alone.action, made_alone.to))
    last = whole.last_routing()
    assert not last or (ROUTES[last.action] != "nothing" and whole.routing == last.routing)
    if last and last.n > 1:
        assert whole.until(last.n - 1).routing == whole.entries[last.n - 2].routing


def test_every_action_is_written_and_read_again(home):
    journal = Journal(open_store())
    for number, action in enumerate(ROUTES):
        to = f"{number}" * 20
        route = effect(journal.routing, action, to) if ROUTES[action] != "nothing" else None
        journal.append(action, to, "why", route, who="w", toggle=toggled(action))
    assert Journal(open_store()).entries == journal.entries
    assert main(["history"]) == 0


def test_an_action_that_does_not_route_cannot_change_the_routing(home):
    journal = Journal(open_store())
    journal.append("deploy", "a" * 20, "why", Routing(champion="a" * 20))
    with pytest.raises(ValueError, match="waive can't change"):
        journal.append("waive", "b" * 20, "why", Routing(champion="b" * 20))
    store = written(action="erase", routing={"champion": "b" * 20})
    with pytest.raises(CorruptArtifact, match="erase changes the routing"):
        Journal(store)


def test_a_share_of_users_changes_no_release_and_is_stored_only_where_there_is_one(home):
    journal, both = Journal(open_store()), {"champion": "a" * 20, "challenger": "b" * 20}
    journal.append("promote", "b" * 20, "why", Routing(**both))
    journal.append("weight", "b" * 20, "why", Routing(**both, split={"name": "s", "share": 0.25}))
    assert Journal(open_store()).routing.split.share == 0.25
    assert b"split" not in open_store().read("journal/00000001.json"), "versions that know no split read it"
    with pytest.raises(ValueError, match="weight can't change"):
        journal.append("weight", "c" * 20, "why", Routing(champion="a" * 20, challenger="c" * 20))
    journal.append("stage", "b" * 20, "why", Routing(**both, shadow=0.5))
    assert Journal(open_store()).routing == Routing(**both, shadow=0.5)
    assert b"shadow" not in open_store().read("journal/00000002.json"), "versions that know no shadow read it"
    with pytest.raises(ValueError, match="stage can't change"):
        journal.append("stage", "c" * 20, "why", Routing(champion="a" * 20, challenger="c" * 20, shadow=0.5))
    for share in ({"split": {"name": "s", "share": 0.25}}, {"shadow": 0.25}):
        with pytest.raises(ValueError, match="only with a champion and a challenger"):
            Routing(champion="a" * 20, **share)
    for share in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="shadow"):
            Routing(**both, shadow=share)


@pytest.mark.parametrize("changes", [{"action": "merge"}, {"reviewed_by": "ada"}, {"action": "merge", "into": "x"},
                                     {"routing": {"champion": "a" * 20, "mirror": "b" * 20}}])  # fmt: skip
def test_what_a_newer_version_wrote_asks_for_an_upgrade(home, capsys, changes):
    store = written(**changes)
    with pytest.raises(NewerVersion, match=r"00000001.json with .*newer version.*upgrade"):
        Journal(store)
    assert main(["history"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_newer_and_also_broken_is_broken(home):
    with pytest.raises(CorruptArtifact):
        Journal(written(action="merge", to=None))


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
    assert again.resumed("rollback") == again.resumed("rollback", "aaaa") == own
    assert again.resumed("rollback", "b") is again.resumed("deploy") is None
    monkeypatch.delenv("RATCHET_DAG_RUN")
    assert again.resumed("rollback") is None
