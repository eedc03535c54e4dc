"""Pages: the notifier that the settings name, or a line in the log; and the page of a dag run that is not over in time."""

import asyncio
import importlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, Context

from pipelines.errors import InputError
from pipelines.settings import settings


class LogNotifier(BaseNotifier):  # type: ignore[misc]  # Airflow's classes are untyped here
    """Writes the reason of the page into the log of the task, or of the triggerer where a dag run is late."""

    def notify(self, context: Context) -> None:
        """Log the `reason` of the task's result, or the error by which it failed."""
        ti = context["ti"]
        self.log.warning("PAGE: %s", ti.xcom_pull(ti.task_id, key="reason") or context.get("exception"))


def pager() -> Any:
    """The notifier for a task's callback: its reason is the XCom `reason` of the task, or the error by which it failed.

    Raises:
        InputError: the settings name no notifier, or its arguments do not fit.
    """
    config = settings()
    if not config.notifier:
        return LogNotifier()
    module, _, name = config.notifier.rpartition(".")
    given = f"RATCHET_NOTIFIER={config.notifier}"
    try:
        notifier = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{given} ({error})", "a class that can be imported", "install its provider, or correct it") from None
    if not (isinstance(notifier, type) and issubclass(notifier, BaseNotifier)):
        raise InputError(given, "a subclass of Airflow's BaseNotifier", "name a notifier, or leave it empty")
    try:
        return notifier(**config.notifier_options)
    except (TypeError, ValueError) as error:
        options = ", ".join(config.notifier_options) or "none"
        raise InputError(
            f"{given} with the options {options} ({error})", "arguments of this class", "correct RATCHET_NOTIFIER_OPTIONS"
        ) from None


@dataclass(frozen=True)
class LateRun:
    """A dag run that is not over in time. It is called `ti` in templates, so that those that tell of a task tell of it, too."""

    dag_id: str
    run_id: str
    state: str
    reason: str
    task_id: str = ""
    try_number: int = 1
    max_tries: int = 0
    hostname: str = ""

    @property
    def log_url(self) -> str:
        """The dag run's page, relative to Airflow's own address."""
        return f"/dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}"

    def xcom_pull(self, task_ids: Any = None, key: str = "return_value", **_: Any) -> str | None:  # noqa: ARG002
        """The reason under its own key; it left nothing else."""
        return self.reason if key == "reason" else None


def late_run(dag_run: dict[str, Any], until: Any) -> LateRun:
    """The dag run of a deadline's context, and why it pages.

    Args:
        dag_run: as Airflow's API tells of it.
        until: when it was to be over.
    """
    dag_id, run_id = str(dag_run["dag_id"]), str(dag_run["dag_run_id"])
    state, queued = str(dag_run["state"]), dag_run.get("queued_at")
    reason = f"{dag_id} was to be over by {until}: its run {run_id}, queued at {queued}, is {state}"
    return LateRun(dag_id, run_id, state, reason)


async def page_late(context: dict[str, Any]) -> str:
    """Page that a dag run is not over in time: the callback of a deadline, which the triggerer awaits.

    Runs of a backfill are no cause: all are queued at once and wait for each other. Nor is one that somebody marked as a
    success, whose deadline Airflow keeps. The notifier runs in a thread: any may do, also one that only knows how to `notify`.
    """
    late = late_run(context["dag_run"], context["deadline"]["deadline_time"])
    if context["dag_run"].get("run_type") == "backfill" or late.state == "success":
        return f"no page: {late.reason}"
    await asyncio.to_thread(pager(), {**context, "ti": late})
    return late.reason
