"""The DAG erase_subject: with an empty form, as a new champion starts it, it finishes what waited for one."""

from tests.conftest import call
from tests.planted import PERSON, released


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
