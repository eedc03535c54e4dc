"""The DAG promote_release: a person is asked where the form says so, and the journal names who said yes."""

import logging
from datetime import UTC, datetime

import pytest

from tests.releases import _releases_once, releases  # noqa: F401


@pytest.fixture
def answered(monkeypatch):
    """Replaces the wait for a person by an answer: `dag.test` has nobody who could give one."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    asked = []

    def by(name, option):
        def execute(self, context):
            asked.append((self.subject, self.body))
            event = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC)}
            return self.execute_complete(context, {**event, "responded_by_user": {"id": "7", "name": name}})

        monkeypatch.setattr(HITLOperator, "execute", execute)
        # Steps that ran in this process have set structlog's loggers, which cannot tell their level as Airflow's can.
        monkeypatch.setattr(HITLOperator, "log", logging.getLogger("ask"))
        return asked

    return by


def test_nobody_is_asked_unless_the_form_says_so(run_dag, releases, answered):  # noqa: F811
    asked = answered("ursula", "Approve")
    run = run_dag("promote_release", verdict=releases.verdict(releases.a))
    assert run.tasks == {"ask": ["success"], "promote": ["success"], "reconcile": ["skipped"]}
    assert asked == []
    assert releases.journal.entries[0].who != "ursula"


def test_a_yes_promotes_and_the_journal_names_who_gave_it(run_dag, releases, answered):  # noqa: F811
    asked = answered("ursula", "Approve")
    verdict = releases.verdict(releases.a)
    run = run_dag("promote_release", verdict=verdict, approval=True)
    assert run.tasks == {"ask": ["success"], "promote": ["success"], "reconcile": ["skipped"]}
    (entry,) = releases.journal.entries
    assert (entry.who, entry.to) == ("ursula", releases.a)
    assert asked == [("May this release be promoted?", f"[Report of the verdict](/ratchet/reports/verdict/{verdict})")]


def test_a_no_promotes_nothing(run_dag, releases, answered):  # noqa: F811
    answered("ursula", "Reject")
    run = run_dag("promote_release", verdict=releases.verdict(releases.a), approval=True)
    assert (run.state, run.tasks) == ("success", {"ask": ["success"], "promote": ["skipped"], "reconcile": ["skipped"]})
    assert releases.journal.entries == []
