"""A person decides where the rules of a gate can't, or before something is done: the dag run waits, with no default."""

from collections.abc import Callable
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, Context, Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException

from operators.retries import StepRetryPolicy
from operators.step import StepOperator
from pipelines.contract import Result

REASON = Param("", type="string", title="Reason", description="For the journal, with your name; reports show it until it ends")


def ask_where_undecided(judged: StepOperator, then: Callable[..., Result], outlets: list[Asset], emits: str) -> None:
    """Ask a person after the task that judged, where it could not decide; a yes runs the step `then`.

    Args:
        judged: The task of the step `gate`.
        then: A step with the params `verdict`, `who` and `why`.
        outlets: What `then` tells of.
        emits: The field of its result that holds the id for the events of `outlets`.
    """
    asked = AskWhereUndecided(gate=judged)
    answer = {name: asked.output[name] for name in ("who", "why")} | {"verdict": judged.output["verdict"]}
    StepOperator(step=then, step_params=answer, outlets=outlets, emits=emits)


class AskWhereUndecided(ApprovalOperator):  # type: ignore[misc]
    """Ask whether a release may pass; skipped, with all that follows, where the rules decided.

    Args:
        gate: The task that judged; its `asks`, `sentence` and `verdict` are read.
    """

    template_fields = (*ApprovalOperator.template_fields, "asks")

    def __init__(self, *, gate: Any, task_id: str = "ask", **arguments: Any) -> None:
        sentence, verdict = (
            f"{{{{ ti.xcom_pull(task_ids='{gate.task_id}', key='{key}') }}}}" for key in ("sentence", "verdict")
        )
        body = f"{sentence}\n\n[Report of the verdict](/ratchet/reports/verdict/{verdict})"
        subject = "May this release follow the champion although the rules could not decide?"
        defaults = {"retries": 2, "retry_policy": StepRetryPolicy()}
        asked = {"task_id": task_id, "subject": subject, "body": body}
        super().__init__(**{**defaults, **asked, **arguments})
        self.params = ParamsDict({"why": REASON})  # as an argument it is lost among the params of a DAG that has some
        self.asks = gate.output["asks"]

    def execute(self, context: Context) -> Any:
        """Wait for a person.

        Raises:
            AirflowSkipException: the rules decided.
        """
        if not self.asks:
            raise AirflowSkipException("the rules decided: nobody is asked")
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Pass on who answered, and why."""
        answer = super().execute_complete(context, event)
        context["ti"].xcom_push("who", _name_of(answer))
        context["ti"].xcom_push("why", (answer["params_input"] or {}).get("why") or "approved in Airflow")
        return answer


def _name_of(answer: Any) -> str:
    user = answer.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or "airflow")


class AskBefore(ApprovalOperator):  # type: ignore[misc]
    """Ask whether what comes next may be done; a no skips it.

    Args:
        subject: The question.
        told: The task whose result's `note` says what would be done, and its `report`, if it has one, why; none: `body` does.
        body: What would be done, in Markdown; may be a template.
        asks: Whether a person is asked at all; false: it may be done. A template that may say no gives an empty text for it.
        only_if: Whether there is something to ask about; false: what comes next is skipped.
    """

    template_fields = (*ApprovalOperator.template_fields, "asks", "only_if")

    def __init__(
        self,
        *,
        subject: str,
        told: StepOperator | None = None,
        body: str = "",
        asks: Any = True,
        only_if: Any = True,
        task_id: str = "ask",
        **arguments: Any,
    ) -> None:
        body = _note_and_report(told.task_id) if told else body
        defaults = {"retries": 2, "retry_policy": StepRetryPolicy()}
        super().__init__(**{**defaults, "task_id": task_id, "subject": subject, "body": body, **arguments})
        self.asks, self.only_if = asks, only_if
        if told:
            told >> self

    def execute(self, context: Context) -> Any:
        """Wait for a person, where one is asked.

        Raises:
            AirflowSkipException: there is nothing to ask about.
        """
        if not self.only_if:
            raise AirflowSkipException("there is nothing to ask about")
        return super().execute(context) if self.asks else None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Pass on who answered, for the journal: `answered_by` gives it to the step that acts, or that ends what a no ends."""
        context["ti"].xcom_push("who", _name_of(event))  # before: a no leaves by an exception
        return super().execute_complete(context, event)


def _note_and_report(task_id: str) -> str:
    """A template for the note of a task's result, and a link to its report where it has one."""
    note, report = (f"ti.xcom_pull(task_ids='{task_id}', key='{key}')" for key in ("note", "report"))
    link = f"{{% if {report} %}}\n\n[Report of what was seen](/ratchet/reports/report/{{{{ {report} }}}}){{% endif %}}"
    return f"{{{{ {note} }}}}{link}"


def answered_by(asked: AskBefore) -> str:
    """A template for the name of whoever answered; empty where nobody was asked."""
    return f"{{{{ ti.xcom_pull(task_ids='{asked.task_id}', key='who') or '' }}}}"
