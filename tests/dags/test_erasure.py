"""The DAG erase_subject: a person is asked first; with an empty form, as a new champion starts it, it finishes what waited."""

import pytest

from pipelines.store.artifacts import load_exactly
from pipelines.store.erasures import CERTIFICATE
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.dags.conftest import answered
from tests.planted import DOCUMENT, PERSON, everywhere, planted_corpus, released

FORM = {"kind": "user", "subject": PERSON, "why": "ticket 4711"}


@pytest.mark.parametrize(("kind", "subject"), [("user", PERSON), ("document", DOCUMENT)])
def test_a_yes_erases_and_leaves_a_certificate(kind, subject, run_dag, home):
    planted_corpus()
    assert everywhere(home, (subject,))
    run = run_dag("erase_subject", edit=answered(True), **{**FORM, "kind": kind, "subject": subject})
    assert run.tasks["search"] == run.tasks["ask"] == run.tasks["erase"] == ["success"]
    assert run.results["search"]["note"].startswith(f"DRY RUN: would erase this {kind} from artifacts: corpus (1)")
    assert run.results["erase"]["finished"]
    assert run.note.startswith("ERASED: ")
    certificate = load_exactly(open_store(), "report", run.results["erase"]["certificate"]).json(CERTIFICATE)
    assert (certificate["state"], certificate["why"], certificate["asked_by"]) == ("erased", "ticket 4711", "dag_test")
    assert everywhere(home, (subject,)) == []


def test_a_form_that_names_somebody_is_finished_by_one_task_alone(planted, run_dag):
    """Two would go on with the same erasure at once."""
    assert not call("erase", kind="user", subject=PERSON, why="ticket").finished
    run = run_dag("erase_subject", edit=answered(True), **FORM)
    assert (run.tasks["erase"], run.tasks["finish"]) == (["success"], ["skipped"])
    assert (run.state, run.results["erase"]["finished"]) == ("success", False)


def test_a_no_changes_nothing(run_dag, home):
    corpus = planted_corpus()
    before = held(home)
    run = run_dag("erase_subject", edit=answered(False), **FORM)
    assert (run.state, run.tasks["ask"], run.tasks["erase"]) == ("success", ["skipped"], ["skipped"])
    assert run.note.startswith("DRY RUN: would erase this user")
    assert held(home) == before
    assert load_exactly(open_store(), "corpus", corpus)
    assert Journal(open_store()).entries == []


def held(home):
    """What the store and the logs hold; reading makes folders and nothing else."""
    return {path: path.read_bytes() for part in ("store", "events") for path in (home / part).rglob("*") if path.is_file()}


def test_a_dag_run_that_waits_for_nobody_ends(run_dag, home, monkeypatch):
    planted_corpus()
    monkeypatch.setattr("tests.dags.conftest.IDLE_S", 1)
    with pytest.raises(TimeoutError, match=r"dag run of erase_subject, which slept for 1 s: .*ask awaiting_input"):
        run_dag("erase_subject", **FORM)
    assert Journal(open_store()).entries == []


def test_an_empty_form_finishes_what_waited(planted, run_dag):
    first = call("erase", kind="user", subject=PERSON, why="ticket")
    assert first.release_due
    waiting = run_dag("erase_subject")
    assert waiting.tasks["search"] == waiting.tasks["erase"] == ["skipped"], "nobody is asked about nothing"
    assert (waiting.tasks["finish"], waiting.results["finish"]["finished"]) == (["success"], False)
    assert [name for name, _ in waiting.events] == ["corpus"], "the successor starts the chain again"
    released(first.successor)
    done = run_dag("erase_subject")
    assert (done.tasks["finish"], done.results["finish"]["finished"]) == (["success"], True)
    assert done.note
    assert done.note.startswith("ERASED: ")
    assert done.events == []
    idle = run_dag("erase_subject")
    assert idle.tasks["finish"] == ["skipped"]
