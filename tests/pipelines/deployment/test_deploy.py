"""deploy, rollback and history, without a server and against one that speaks /readyz."""

import json
import time
from types import SimpleNamespace
from typing import get_args

import pytest

from pipelines.__main__ import main
from pipelines.deployment.readiness import POLL_INTERVAL_S
from pipelines.errors import InputError, TryAgain
from pipelines.steps.deploy_release.deploy import DeployResult
from pipelines.store import journal as journal_module
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call


def test_the_challenger_becomes_champion(releases):
    verdict = releases.verdict(releases.a)
    call("promote", verdict=verdict)
    result = call("deploy", who="ada")
    entry = releases.journal.entries[-1]
    assert (result.release, result.entry, result.changed, result.outcome, result.waited_s) == (
        releases.a,
        2,
        True,
        "deployed",
        0,
    )
    assert (entry.action, entry.verdict, entry.who, entry.routing) == ("deploy", verdict, "ada", Routing(champion=releases.a))
    again = call("deploy", release=releases.a)
    assert (again.changed, again.outcome, again.entry) == (False, "unchanged", 2)


def test_what_was_not_promoted_is_not_deployed(releases):
    with pytest.raises(InputError, match="no challenger"):
        call("deploy")
    with pytest.raises(InputError, match=r"not the challenger .there is none.*run `promote`"):
        call("deploy", release=releases.a)
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    with pytest.raises(InputError, match=f"run `rollback --to {releases.a}`"):
        call("deploy", release=releases.a)
    with pytest.raises(InputError, match="no challenger"):
        call("deploy")
    assert releases.journal.routing == Routing(champion=releases.b)


def test_a_lost_race_is_tried_again(releases, monkeypatch):
    from pipelines.steps.deploy_release import deploy as step

    releases.promoted(releases.a)

    def slow(store):
        journal = Journal(store)
        Journal(store).append("promote", releases.b, "was faster", Routing(challenger=releases.b))
        return journal

    monkeypatch.setattr(step, "Journal", slow)
    with pytest.raises(TryAgain, match="entry 2"):
        call("deploy")
    assert releases.journal.routing == Routing(challenger=releases.b)


def test_the_server_is_waited_for(releases, server):
    releases.promoted(releases.a)
    server.load_after(3)  # it is asked whether it is one, and twice in vain
    result = call("deploy", wait_s=60)
    assert result.outcome == "deployed"
    assert result.waited_s >= POLL_INTERVAL_S


def test_nothing_is_deployed_before_the_server_has_it_warm(releases, server):
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    server.loads = False
    with pytest.raises(InputError, match=r"without release .*the index is damaged"):
        call("deploy", wait_s=0.3)
    assert releases.journal.routing == Routing(champion=releases.a, challenger=releases.b)


def test_a_server_that_does_not_follow_is_rolled_back(releases, server, capsys):
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    server.first, server.serves = releases.journal, False
    server.first.entries = server.first.entries[:2]
    assert main(["deploy", "--wait-s", "0.5"]) == 2
    assert f"rolled back to {releases.a} by entry 5" in capsys.readouterr().err
    assert [entry.action for entry in releases.journal.entries] == ["promote", "deploy", "promote", "deploy", "rollback"]
    assert releases.journal.routing == Routing(champion=releases.a)


def test_with_no_champion_before_there_is_nothing_to_go_back_to(releases, server):
    releases.promoted(releases.a)
    server.serves = False
    with pytest.raises(InputError, match="no champion to go back to"):
        call("deploy", wait_s=0.3)
    assert releases.journal.routing == Routing(champion=releases.a)


def test_a_server_that_is_down_or_another_is_told(releases, monkeypatch, server):
    releases.promoted(releases.a)
    server.answers = "html"
    with pytest.raises(InputError, match="a search server's /readyz"):
        call("deploy")
    monkeypatch.setenv("RATCHET_SERVER_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(TryAgain, match="start the server"):
        call("deploy")
    assert time.monotonic() - started < 2
    assert len(releases.journal.entries) == 1


def test_a_deployment_that_was_cut_off_is_finished_by_its_retry(releases, server, monkeypatch):
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__1")
    releases.promoted(releases.a)
    Journal(open_store()).append("deploy", releases.a, "cut off after this", Routing(champion=releases.a))
    result = call("deploy")
    assert (result.release, result.entry, result.outcome) == (releases.a, 2, "unchanged")


def test_rollback_returns_to_the_champion_before(releases):
    for release in (releases.a, releases.b, releases.c):
        releases.deployed(release)
    result = call("rollback", why="clicks fell", who="bob")
    assert (result.release, result.left, result.entry) == (releases.b, releases.c, 7)
    entry = releases.journal.entries[-1]
    assert (entry.who, entry.why, entry.from_, entry.routing) == (
        "bob",
        "clicks fell",
        releases.c,
        Routing(champion=releases.b),
    )
    assert call("rollback").release == releases.a  # never to c, which was left as bad
    with pytest.raises(InputError, match="none before it"):
        call("rollback")
    assert call("rollback", to=releases.c[:8]).release == releases.c
    assert call("rollback", to=releases.c[:8]).entry == 9


@pytest.mark.parametrize("digits", [1, 3])
def test_a_few_digits_name_no_release_to_go_back_to(releases, digits):
    """Not even the one that the last rollback went to, of which the same words would say that it is done."""
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    call("rollback")
    with pytest.raises(InputError, match=f"given release '{releases.a[:digits]}', which is not in"):
        call("rollback", to=releases.a[:digits])
    assert call("rollback", to=releases.a[:4]).entry == 5


def test_deploy_promises_no_outcome_that_it_never_has():
    """Where it went back to the champion before, it ends with an error."""
    assert get_args(DeployResult.model_fields["outcome"].annotation) == ("deployed", "unchanged")


def test_rollback_drops_the_challenger_who_was_judged_against_another(releases):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    releases.promoted(releases.c)
    call("rollback")
    assert releases.journal.routing == Routing(champion=releases.a)


def test_rollback_without_a_way_back_is_refused(releases, capsys):
    assert main(["rollback"]) == 2
    releases.deployed(releases.a)
    assert main(["rollback"]) == 2
    assert main(["rollback", "--to", releases.b]) == 2
    assert main(["rollback", "--to", releases.a]) == 2
    assert main(["rollback", "--to", "nope"]) == 2
    told = capsys.readouterr().err
    assert "deploy a second release first" in told
    assert "Traceback" not in told
    assert len(releases.journal.entries) == 2


def test_rollback_to_a_damaged_release_is_refused(releases):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    (open_store().local / "release" / releases.a / "manifest.json").unlink()
    with pytest.raises(InputError, match=releases.a):
        call("rollback")
    assert releases.journal.routing.champion == releases.b


@pytest.mark.parametrize("kind", ["release", "index", "corpus"])
def test_a_challenger_that_was_deleted_since_its_promotion_is_not_deployed(releases, capsys, kind):
    releases.deployed(releases.a)
    releases.promoted(releases.b)
    name = releases.b if kind == "release" else load(open_store(), "release", releases.b).inputs[kind]
    (open_store().local / kind / name / "manifest.json").unlink()
    assert main(["deploy"]) == 2
    told = capsys.readouterr().err
    assert f"given {kind} {name}" in told
    assert "Traceback" not in told
    assert releases.journal.routing == Routing(champion=releases.a, challenger=releases.b)


def test_a_retried_rollback_goes_back_once(releases, monkeypatch):
    for release in (releases.a, releases.b, releases.c):
        releases.deployed(release)
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__7")
    first = call("rollback")
    again = call("rollback")
    assert (again.release, again.entry, again.left) == (first.release, first.entry, first.left) == (releases.b, 7, releases.c)
    monkeypatch.setenv("RATCHET_DAG_RUN", "manual__8")
    assert call("rollback").release == releases.a


def test_rollback_does_not_ask_the_server_for_permission(releases, server, monkeypatch):
    releases.deployed(releases.a)
    releases.deployed(releases.b)
    assert call("rollback", wait_s=5).waited_s < 2
    releases.deployed(releases.c)
    monkeypatch.setenv("RATCHET_SERVER_URL", "http://127.0.0.1:9")
    with pytest.raises(TryAgain, match=f"rollback --to {releases.a}"):
        call("rollback", wait_s=0.3)
    assert releases.journal.routing.champion == releases.a


def test_history_says_who_served_when(releases, capsys, monkeypatch):
    times = iter(["2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", "2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z"])
    clock = SimpleNamespace(strftime=lambda *_: next(times, "2026-01-03T00:00:00Z"), gmtime=time.gmtime)
    monkeypatch.setattr(journal_module, "time", clock)  # of entries alone: artifacts have times, too
    for release in (releases.a, releases.b):
        verdict = releases.verdict(release, releases.journal.routing.champion or "")
        times = iter(["2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"] if release == releases.a else ["2026-01-02T10:00:00Z"])
        call("promote", verdict=verdict)
        call("deploy")
    now = call("history", limit=2)
    assert (now.champion, now.entry, len(now.entries)) == (releases.b, 4, 2)
    assert releases.b[:8] in capsys.readouterr().err
    assert call("history", at="2025-12-31").champion == ""
    assert call("history", at="2026-01-01T10:30").champion == ""
    assert call("history", at="2026-01-01T10:30").challenger == releases.a
    assert call("history", at="2026-01-01T12:30+01:00").champion == releases.a
    assert call("history", at="2026-01-02T23:59:59Z").champion == releases.a
    assert main(["history", "--at", "yesterday"]) == 2


def test_history_of_nothing(home, capsys):
    assert main(["history"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "champion": "", "challenger": "", "anchor": "", "entry": 0, "entries": [],
        "sentence": "now no release serves: none had been deployed",
    }  # fmt: skip


def test_history_is_readable_on_80_columns(releases, capsys, monkeypatch):
    releases.deployed(
        releases.a, who="ada.lovelace@example.org", why="the first release, which nobody has compared with another"
    )
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    call("history")
    lines = capsys.readouterr().err.splitlines()
    heading = next(line for line in lines if "entry" in line)
    assert heading.split() == ["entry", "at", "action", "release", "who", "why"]
    entry = next(line for line in lines if line.split()[:1] == ["2"])
    cells = [
        releases.journal.entries[1].at[:16] + "Z",
        "deploy",
        releases.a[:8],
        "ada.lovelac…",
        "direct:",
        "the",
        "first",
    ]
    assert entry.split() == ["2", *cells]
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 10
