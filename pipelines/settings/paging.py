"""Settings of pages: how a person is called."""

from typing import Any

from pydantic import BaseModel, Field


class PagingSettings(BaseModel):
    """The Airflow notifier that pages."""

    notifier: str = Field(
        "",
        pattern=r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)+)?$",
        description="Class of an Airflow notifier that pages, such as airflow.providers.smtp.notifications.smtp.SmtpNotifier;"
        " empty: a line in the task's log",
    )
    notifier_options: dict[str, Any] = Field(
        {}, description="Its arguments, as JSON; may be templates, such as {{ ti.xcom_pull(ti.task_id, key='reason') }}"
    )
