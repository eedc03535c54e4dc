"""DAGs by the clock: collect_garbage asks a person, a drill that fails pages, audit, reconcile and restore run."""

import copy
import os
import time
from datetime import UTC, datetime
from types import SimpleNamespace as Record

import pytest

from pipelines.store.artifacts import committed, find
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.dags.conftest import answered

MONTH_S = 40 * 86_400


@pytest.fixture
def old_shard(trained):
    """A shard that no release needs and that was made 40 days ago."""
    store = open_store()
    shard = find(store, "shard", trained.shard)
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - MONTH_S))
    aged = shard.manifest.model_copy(update={"provenance": {**shard.manifest.provenance, "at": then}})
    path = store.local / "shard" / shard.id / "manifest.json"
    path.unlink()
    path.write_text(aged.model_dump_json())
    for file in shard.manifest.files.values():
        blob = store.local / "blobs" / file.sha256
        body = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(body)
        os.utime(blob, (time.time() - MONTH_S,) * 2)
    return shard.id


def test_a_yes_takes_away_what_was_listed(run_dag, old_shard, capsys):
    run = run_dag("collect_garbage", edit=answered(True))
    assert run.tasks == {"dry_run": ["success"], "ask": ["success"], "gc": ["success"]}
    assert run.results["dry_run"]["note"].startswith("DRY RUN: would take away 1 shard, ")
    assert run.note.startswith("DONE: took away 1 shard, ")
    assert run.results["gc"]["as_of"] == run.results["dry_run"]["as_of"]
    assert old_shard not in committed(open_store(), "shard")


def test_a_no_takes_nothing(run_dag, old_shard):
    run = run_dag("collect_garbage", edit=answered(False))
    assert run.tasks == {"dry_run": ["success"], "ask": ["skipped"], "gc": ["skipped"]}
    assert run.note.startswith("DRY RUN: would take away 1 shard, ")
    assert old_shard in committed(open_store(), "shard")


def test_nobody_is_asked_about_nothing(run_dag, trained):
    run = run_dag("collect_garbage")
    assert run.tasks == {"dry_run": ["success"], "ask": ["skipped"], "gc": ["skipped"]}


def test_what_was_too_young_for_the_dry_run_stays(old_shard):
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 15 * 86_400))
    assert call("gc", as_of=then).artifacts == 0
    assert call("gc").artifacts == 1
    assert call("gc", dry_run=False, as_of=then).artifacts == 0
    assert old_shard in committed(open_store(), "shard")


def test_a_time_that_has_not_passed_is_refused(home, capsys):
    from pipelines.__main__ import main

    assert main(["gc", "--as-of", "2999-01-01"]) == 2
    assert main(["gc", "--as-of", "soon"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_drill_that_fails_is_red_and_pages(run_dag, served, capsys, monkeypatch):
    """The champion before is the plain release; there is no server whose answers could be timed."""
    journal = Journal(open_store())
    plain = call("assemble", index=served.index).release
    journal.append("deploy", plain, "for a test", Routing(champion=plain))
    monkeypatch.setenv("RATCHET_SERVER_URL", "")
    run = run_dag("drill_rollback")
    assert run.state == "failed"
    assert run.tasks == {"drill": ["failed"]}
    told = capsys.readouterr()
    assert "PAGE: given no search server" in told.out + told.err
    assert journal.refresh() is False, "nothing was tried"


def test_a_drills_seconds_count_from_the_start_of_its_dag_run(bag):
    """Which is anew where it is cleared; `run_after` is when it should have been."""
    due, start = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
    for began, expected in ((start, start), (None, due)):
        dag = bag.dags["drill_rollback"]
        task = copy.copy(dag.get_task("drill"))
        task.render_template_fields({"params": dag.params.dump(), "dag_run": Record(run_after=due, start_date=began)})
        assert datetime.fromisoformat(task.step_params["triggered"]) == expected


def test_audit_reconcile_and_restore_run_as_dags(run_dag, served, monkeypatch):
    audited = run_dag("audit_journal")
    assert audited.note == "AUDITED: 2 entries; none was altered or removed since 0 earlier exports"
    assert run_dag("reconcile_registry").tasks == {"reconcile": ["skipped"]}
    restored = run_dag("restore_release", at="2999-01-01")
    assert restored.tasks == {"restore": ["skipped"], "reconcile": ["skipped"]}, "what serves then serves now"
