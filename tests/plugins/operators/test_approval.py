"""The task that asks a person: what it asks, when it does not, and what it passes on."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

pytest.importorskip("airflow")
from tests import airflow_home  # noqa: F401  # before the first import of Airflow


class TaskInstance:
    """As much of a task instance as an operator pushes to."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


@pytest.fixture
def task():
    from airflow.sdk import DAG
    from operators.approval import AskWhereUndecided
    from operators.step import StepOperator

    from pipelines.steps.evaluate_release.gate import gate

    with DAG("asking", schedule=None, params={"index": ""}):
        judged = StepOperator(step=gate, step_params={"evaluation": "abcd"})
        return AskWhereUndecided(gate=judged)


def test_what_it_asks_has_the_sentence_and_the_evidence(task):
    assert "key='sentence'" in task.body
    assert "/ratchet/reports/verdict/{{ ti.xcom_pull(task_ids='gate', key='verdict') }}" in task.body
    assert task.defaults is None, "no answer is the answer of nobody"
    assert task.options == ["Approve", "Reject"]
    assert list(task.serialized_params) == ["why"], "the form asks for a reason"


def test_nobody_is_asked_where_the_rules_decided(task):
    from airflow.sdk.exceptions import AirflowSkipException

    task.asks = False
    with pytest.raises(AirflowSkipException, match="nobody is asked"):
        task.execute({})


@pytest.mark.parametrize(
    ("user", "why", "pushed"),
    [
        ({"id": "7", "name": "ursula"}, "it is Monday", {"who": "ursula", "why": "it is Monday"}),
        ({"id": "7", "name": ""}, "", {"who": "7", "why": "approved in Airflow"}),
        (None, "x", {"who": "airflow", "why": "x"}),
    ],
)
def test_who_answered_and_why_is_passed_on(task, user, why, pushed):
    ti = TaskInstance()
    answer = {"chosen_options": ["Approve"], "params_input": {"why": why}, "responded_at": datetime.now(UTC)}
    task.execute_complete({"ti": ti, "task": task}, {**answer, "responded_by_user": user})
    assert ti.pushed == pushed


def test_who_answered_a_question_before_is_passed_on():
    from airflow.sdk import DAG
    from operators.approval import AskBefore, answered_by

    with DAG("asking_before", schedule=None, params={"approval": False}):
        asked = AskBefore(subject="May it?", body="[Report](/x)")
    ti = TaskInstance()
    answer = {"chosen_options": ["Approve"], "params_input": {}, "responded_at": datetime.now(UTC)}
    asked.execute_complete({"ti": ti, "task": asked}, {**answer, "responded_by_user": {"id": "7", "name": "ursula"}})
    assert ti.pushed == {"who": "ursula"}
    assert answered_by(asked) == "{{ ti.xcom_pull(task_ids='ask', key='who') or '' }}"
    assert (asked.body, list(asked.serialized_params)) == ("[Report](/x)", []), "the DAG's form is not asked again"


@pytest.mark.parametrize(
    ("result", "body"),
    [
        ({"note": "ASKS: few", "report": "ab12"}, "ASKS: few\n\n[Report of what was seen](/ratchet/reports/report/ab12)"),
        ({"note": "3 places"}, "3 places"),
    ],
)
def test_a_question_links_the_report_of_what_it_is_about(result, body):
    from airflow.sdk import DAG
    from jinja2 import Template
    from operators.approval import AskBefore
    from operators.step import StepOperator

    from pipelines.steps.deploy_release.judge_canary import judge_canary

    with DAG("asking_with_report", schedule=None):
        asked = AskBefore(subject="May it?", told=StepOperator(step=judge_canary))
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key: {"judge_canary": result}[task_ids].get(key))
    assert Template(asked.body).render(ti=ti) == body
