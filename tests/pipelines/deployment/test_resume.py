"""The table of resume cases: what each step finds in a journal, by what was written, and by whom."""

import pytest

from pipelines.deployment.resume import deployment_start, promotion_start, rollback_start
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store

OURS, OTHER = ("promote_release", "manual__1"), ("promote_release", "manual__2")


@pytest.fixture
def write(home, monkeypatch):
    """Write entries, each by a run: promote, deploy or rollback to a release. Then the journal as our run reads it."""

    def written(*entries):
        journal = Journal(open_store())
        for (dag, run), action, release in entries:
            monkeypatch.setenv("RATCHET_DAG", dag)
            monkeypatch.setenv("RATCHET_DAG_RUN", run)
            champion = journal.routing.champion
            routing = Routing(champion=champion, challenger=release) if action == "promote" else Routing(champion=release)
            journal.append(action, release, "test", routing, verdict=f"verdict of {release}")
        monkeypatch.setenv("RATCHET_DAG", OURS[0])
        monkeypatch.setenv("RATCHET_DAG_RUN", OURS[1])
        return Journal(open_store())

    return written


def found(start):
    return start.case, start.entry and start.entry.n


@pytest.mark.parametrize(
    ("entries", "start"),
    [
        ([], ("new", None)),
        ([(OURS, "promote", "b")], ("new", None)),
        ([(OURS, "promote", "a")], ("resumed", 1)),
        ([(OTHER, "promote", "a")], ("in effect", 1)),
        ([(OURS, "promote", "a"), (OTHER, "promote", "b")], ("superseded", 1)),
        ([(OURS, "promote", "a"), (OTHER, "promote", "b"), (OTHER, "promote", "a")], ("in effect", 3)),
        ([(OURS, "promote", "a"), (OTHER, "deploy", "a")], ("in effect", 2)),
        ([(OURS, "promote", "a"), (OTHER, "deploy", "a"), (OTHER, "deploy", "b")], ("superseded", 1)),
        ([(OTHER, "promote", "a"), (OTHER, "deploy", "a"), (OTHER, "deploy", "b")], ("new", None)),
    ],
)
def test_promote(write, entries, start):
    assert found(promotion_start(write(*entries), "a", "verdict of a")) == start


def test_promote_by_another_verdict_is_new(write):
    assert found(promotion_start(write((OTHER, "promote", "a")), "a", "a second verdict")) == ("new", None)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("entries", "start"),
    [
        ([(OURS, "deploy", "a")], ("resumed", 1)),
        ([(OURS, "deploy", "a"), (OTHER, "promote", "b")], ("resumed", 1)),
        ([(OURS, "deploy", "a"), (OTHER, "rollback", "b")], ("superseded", 1)),
        ([(OTHER, "promote", "a")], ("new", None)),
    ],
)
def test_deploy(write, entries, start, named):
    assert found(deployment_start(write(*entries), "a" if named else "")) == start


def test_deploy_of_another_runs_champion(write):
    journal = write((OTHER, "deploy", "a"))
    assert found(deployment_start(journal, "a")) == ("in effect", 1)
    assert found(deployment_start(journal, "")) == ("new", None)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("entries", "start"),
    [
        ([(OURS, "rollback", "a")], ("resumed", 1)),
        ([(OURS, "rollback", "a"), (OTHER, "promote", "b")], ("resumed", 1)),
        ([(OURS, "rollback", "a"), (OTHER, "deploy", "b")], ("superseded", 1)),
        ([(OTHER, "deploy", "a")], ("new", None)),
    ],
)
def test_rollback(write, entries, start, named):
    assert found(rollback_start(write(*entries), "a" if named else "")) == start


def test_rollback_that_another_run_wrote_last(write):
    journal = write((OTHER, "deploy", "b"), (OTHER, "rollback", "a"))
    assert found(rollback_start(journal, "a")) == ("in effect", 2)
    assert found(rollback_start(journal, "")) == ("new", None)
    assert found(rollback_start(write((OTHER, "promote", "c")), "a")) == ("new", None)
