"""restore: what served at a time serves again, by the answers of history; what is gone is named."""

import json
import time
from datetime import UTC, datetime

import pytest

from pipelines.__main__ import main
from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.store.artifacts import load_exactly
from pipelines.store.gc import Garbage, sweep
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call


@pytest.fixture
def clock(monkeypatch):
    """Sets the time that the next entries are written with."""

    def at(text):
        monkeypatch.setattr(time, "strftime", lambda *_: text)

    return at


@pytest.fixture
def past(releases, clock):
    """a served on the first day, b on the second, c since the third."""
    for day, release in enumerate((releases.a, releases.b, releases.c), 1):
        clock(f"2026-01-0{day}T10:00:00Z")
        releases.deployed(release, who=f"person {day}", why=f"reason {day}")
    clock("2026-01-09T10:00:00Z")
    return releases


@pytest.mark.parametrize(
    ("at", "name"), [("2026-01-01T10:00", "a"), ("2026-01-02T23:59", "b"), ("2026-01-02T10:30+01:00", "a")]
)
def test_what_served_at_a_time_serves_again(past, at, name):
    then = call("history", at=at)
    result = call("restore", at=at, who="eve")
    assert result.release == then.champion == getattr(past, name)
    entry = past.journal.entries[-1]
    assert (entry.action, entry.who, entry.from_, entry.why) == ("rollback", "eve", past.c, f"restored: what served at {at}")
    assert result.note == f"RESTORED: release {result.release}, which served at {at}"


def test_history_says_who_moved_it_and_why(past):
    said = call("history", at="2026-01-02T14:05").sentence
    assert said.startswith(
        f"at 2026-01-02T14:05 release {past.b} serves since 2026-01-02T10:00:00Z (entry 4, deploy by person 2"
    )
    assert said.endswith(": reason 2")
    assert call("history", at="2025-12-31").sentence == "at 2025-12-31 no release serves: none had been deployed"


def test_an_entry_by_a_clock_that_is_behind_follows_by_its_number(past, clock, capsys):
    clock("2025-06-01T10:00:00Z")
    Journal(open_store()).append("rollback", past.b, "by a clock that is behind", Routing(champion=past.b))
    assert call("history", at="2025-12-31").champion == "", "not before all others"
    assert call("history", at="2026-01-03T09:59").champion == past.b
    assert call("history", at="2026-01-03T10:00").champion == past.b, "together with the entry before"
    assert main(["history"]) == 0
    assert "the clock of a writer was behind" in capsys.readouterr().err


def test_times_without_an_answer_are_told(past, capsys):
    with pytest.raises(InputError, match="the journal had no entry"):
        call("restore", at="2025-01-01")
    with pytest.raises(NothingToDo, match="serves now"):
        call("restore", at="2026-01-05")
    assert main(["restore", "--at", "tuesday"]) == 2
    assert "a time in ISO form" in capsys.readouterr().err
    assert len(past.journal.entries) == 6


def test_gone_parts_are_named_with_their_recipes(past, capsys):
    store = open_store()
    release = load_exactly(store, "release", past.a)
    gone = [load_exactly(store, kind, release.inputs[kind]) for kind in ("index", "embeddings")]
    sweep(store, Garbage(artifacts=gone))
    assert main(["restore", "--at", "2026-01-01T10:00"]) == 2
    told = capsys.readouterr().err
    assert f"embeddings {gone[1].id}, which `commit_embeddings` makes from corpus {release.inputs['corpus']}" in told
    assert f"index {gone[0].id}, which `index` makes from embeddings {gone[1].id}" in told
    assert len(past.journal.entries) == 6
    corpus, encoder = release.inputs["corpus"], release.inputs["encoder"]
    shard = call("embed", corpus=corpus, encoder=encoder).shard
    made = call("commit_embeddings", corpus=corpus, encoder=encoder, shards=[shard]).embeddings
    assert (made, call("index", embeddings=made).index) == (gone[1].id, gone[0].id), "made again under the same ids"
    assert call("restore", at="2026-01-01T10:00").release == past.a


def test_a_release_that_held_what_was_erased_stays_away_and_others_come_back(past):
    """It had left the traffic before: no release took its place because of the erasure."""
    journal = Journal(open_store())
    journal.append("erase", "user:5a.00", "asked to be forgotten", who="dpo")
    journal.append("erase", past.a, "it held what entry 7 erased", who="dpo")
    with pytest.raises(InputError, match="which entry 8 by dpo took away: it held what entry 7 erased") as raised:
        call("restore", at="2026-01-01T10:00")
    assert "replay erasures with `python -m pipelines erase`" in str(raised.value)
    assert len(past.journal.entries) == 8
    assert call("restore", at="2026-01-02T10:00").release == past.b


@pytest.fixture
def erased(releases, clock):
    """a served on the first day and held somebody, of whom b, since the second day, has nothing; c serves since the third."""
    clock("2026-01-01T10:00:00Z")
    releases.deployed(releases.a)
    asked_for("5a.00")
    clock("2026-01-02T10:00:00Z")
    releases.deployed(releases.b)
    taken_away(releases.a, "5a.00")
    clock("2026-01-03T10:00:00Z")
    return releases


def asked_for(user):
    Journal(open_store()).append("erase", f"user:{user}", "ticket", who="dpo")


def taken_away(release, user):
    journal = Journal(open_store())
    asked = journal.latest("erase", to=f"user:{user}")
    journal.append("erase", release, f"it held what entry {asked.n} erased", who="dpo")
    journal.append("erase", f"user:{user}", f"erased; certificate of entry {asked.n}", verdict="0" * 20, who="dpo")


@pytest.mark.parametrize(("why", "reason"), [("", "restored: what served at 2026-01-01T10:00"), ("ticket 12", "ticket 12")])
def test_the_successor_after_an_erasure_comes_back_in_its_place(erased, why, reason):
    erased.deployed(erased.c)
    result = call("restore", at="2026-01-01T10:00", why=why)
    told = (
        f"release {erased.b}, in place of release {erased.a}, which served at 2026-01-01T10:00 "
        "and which entry 6 by dpo took away (it held what entry 3 erased)"
    )
    assert (result.release, result.note) == (erased.b, f"RESTORED: {told}")
    entry = erased.journal.entries[-1]
    assert (entry.action, entry.to, entry.why) == ("rollback", erased.b, f"{reason} ({told})")
    assert call("restore", at="2026-01-01T10:00").entry == entry.n, "which is in effect"


def test_the_successor_of_a_successor_serves_in_place_of_both(erased):
    asked_for("5a.11")
    erased.deployed(erased.c)
    taken_away(erased.b, "5a.11")
    for day in (1, 2):
        with pytest.raises(NothingToDo, match=f"release {erased.c}, in place of release .*, serves now"):
            call("restore", at=f"2026-01-0{day}T10:00")


def test_what_replaced_a_release_before_anybody_was_erased_is_no_successor(erased):
    """b had taken the place of a for an erasure; c took that of b by itself, and later b was found to hold somebody."""
    erased.deployed(erased.c)
    asked_for("5a.11")
    taken_away(erased.b, "5a.11")
    for day, release in ((1, erased.a), (2, erased.b)):
        with pytest.raises(InputError, match=f"release {release}, which entry .* by dpo took away") as raised:
            call("restore", at=f"2026-01-0{day}T10:00")
        assert raised.value.exit_code == 2


def test_a_retry_of_a_dag_run_writes_no_second_entry(past, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG", "restore_release")
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    first = call("restore", at="2026-01-01T10:00")
    assert call("restore", at="2026-01-01T10:00").entry == first.entry == 7


def test_the_server_is_waited_for(past, server, monkeypatch):
    result = call("restore", at="2026-01-01T10:00", wait_s=5)
    assert result.waited_s < 5
    server.answers = "502"
    monkeypatch.setenv("RATCHET_DAG_RUN", "other")
    assert main(["restore", "--at", "2026-01-02T10:00", "--wait-s", "0.3"]) == 75


def test_what_mlflow_takes_is_no_wait_for_the_server(past, monkeypatch):
    monkeypatch.setattr("pipelines.projections.mlflow.project", lambda *_: time.sleep(2))
    assert call("rollback").waited_s < 2
    assert call("restore", at="2026-01-01T10:00").waited_s < 2


def test_two_at_once_one_wins_and_the_other_is_told_who(past, monkeypatch):
    """The second had read the journal before the first wrote its entry."""
    late = Journal(open_store())
    call("restore", at="2026-01-01T10:00", who="first")
    with pytest.raises(TryAgain, match=rf"entry 7, which first wrote first: rollback to {past.a}; expected that nobody else"):
        late.append("rollback", past.b, "second", Routing(champion=past.b))


def test_history_as_json_has_the_time_in_utc(past, capsys):
    assert main(["history", "--at", datetime(2026, 1, 2, 12, tzinfo=UTC).isoformat()]) == 0
    assert json.loads(capsys.readouterr().out)["champion"] == past.b
