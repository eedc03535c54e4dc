"""Pages: the notifier that the settings name, or a line in the task's log."""

import importlib
from typing import Any

from airflow.sdk import BaseNotifier, Context

from pipelines.errors import InputError
from pipelines.settings import settings


class LogNotifier(BaseNotifier):  # type: ignore[misc]  # Airflow's classes are untyped here
    """Writes the reason of the page into the task's log."""

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
