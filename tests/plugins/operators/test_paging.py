"""Who is called: the notifier of the settings, checked when the DAG is parsed."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from airflow.sdk import BaseNotifier
from operators.paging import LogNotifier, late_run, page_late, pager
from operators.schedules import over_within

from pipelines.errors import InputError

SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"


def test_without_a_setting_a_page_is_a_line_of_the_log():
    assert isinstance(pager(), LogNotifier)


def test_a_notifier_of_a_provider_gets_its_options(monkeypatch):
    options = {
        "to": "ann@evil.example",
        "from_email": "r@evil.example",
        "subject": "{{ ti.xcom_pull(ti.task_id, key='reason') }}",
    }
    monkeypatch.setenv("RATCHET_NOTIFIER", SMTP)
    monkeypatch.setenv("RATCHET_NOTIFIER_OPTIONS", json.dumps(options))
    notifier = pager()
    assert type(notifier).__name__ == "SmtpNotifier"
    assert notifier.subject == options["subject"]


@pytest.mark.parametrize(
    ("notifier", "options", "message"),
    [
        ("airflow.nothing.Here", "{}", "expected a class that can be imported"),
        ("airflow.sdk.DAG", "{}", "expected a subclass of Airflow's BaseNotifier"),
        (SMTP, '{"colour": "red"}', "with the options colour .*expected arguments of this class"),
        ("no dots", "{}", "RATCHET_NOTIFIER"),
        (SMTP, "[1]", "RATCHET_NOTIFIER_OPTIONS"),
        (SMTP, "{", "RATCHET_NOTIFIER_OPTIONS|notifier_options"),
    ],
)
def test_a_bad_notifier_is_refused(monkeypatch, notifier, options, message):
    monkeypatch.setenv("RATCHET_NOTIFIER", notifier)
    monkeypatch.setenv("RATCHET_NOTIFIER_OPTIONS", options)
    with pytest.raises(InputError, match=message):
        pager()


class FileNotifier(BaseNotifier):
    """Appends its text to a file; it only knows how to `notify`, in whatever thread it is called."""

    template_fields = ("text",)

    def __init__(self, path, text, **arguments):
        super().__init__(**arguments)
        self.path, self.text = path, text

    def notify(self, context):
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(f"{threading.current_thread() is threading.main_thread()} {self.text}\n")


LATE = {
    "dag_run": {"dag_id": "report_drift", "dag_run_id": "scheduled__2026-01-02T00:00:00+00:00", "state": "running",
                "queued_at": "2026-01-02T00:00:01Z"},
    "deadline": {"id": "0123", "deadline_time": "2026-01-02 12:00:01+00:00"},
}  # fmt: skip


def test_a_late_run_pages_by_the_notifier_and_the_templates_of_a_tasks_page(monkeypatch, tmp_path):
    """As the triggerer awaits it: Airflow asks whether the callback takes the context, and gives it."""
    from airflow._shared.module_loading import accepts_context, import_string

    options = {"path": str(tmp_path / "pages"), "text": "{{ ti.xcom_pull(ti.task_id, key='reason') }} {{ ti.log_url }}"}
    monkeypatch.setenv("RATCHET_NOTIFIER", f"{__name__}.FileNotifier")
    monkeypatch.setenv("RATCHET_NOTIFIER_OPTIONS", json.dumps(options))
    callback = import_string(over_within(hours=12).callback.path)
    assert accepts_context(callback)
    said = asyncio.run(callback(context=LATE))
    assert said == (
        "report_drift was to be over by 2026-01-02 12:00:01+00:00: its run scheduled__2026-01-02T00:00:00+00:00, queued at"
        " 2026-01-02T00:00:01Z, is running"
    )
    page = "/dags/report_drift/runs/scheduled__2026-01-02T00%3A00%3A00%2B00%3A00"
    assert (tmp_path / "pages").read_text() == f"False {said} {page}\n", "not in the triggerer's own thread"


@pytest.mark.parametrize(
    ("differing", "pages"),
    [({"run_type": "backfill"}, 0), ({"state": "success"}, 0), ({"state": "failed"}, 1), ({"run_type": "manual"}, 1)],
)
def test_who_waits_in_a_backfill_or_was_marked_as_a_success_is_not_late(monkeypatch, tmp_path, differing, pages):
    (told := tmp_path / "pages").touch()
    monkeypatch.setenv("RATCHET_NOTIFIER", f"{__name__}.FileNotifier")
    monkeypatch.setenv("RATCHET_NOTIFIER_OPTIONS", json.dumps({"path": str(told), "text": "late"}))
    asyncio.run(page_late({**LATE, "dag_run": {**LATE["dag_run"], "run_type": "scheduled", **differing}}))
    assert len(told.read_text().splitlines()) == pages


def test_the_mail_that_smtp_makes_by_itself_tells_of_a_late_run():
    """Where the options have neither subject nor text, the provider's templates ask a task for much else."""
    import airflow.providers.smtp.notifications as provider
    from jinja2 import Environment, StrictUndefined

    folder = Path(provider.__file__).parent / "templates"
    late = late_run(LATE["dag_run"], "noon")
    for name in ("email.html", "email_subject.jinja2"):
        text = Environment(undefined=StrictUndefined, autoescape=True).from_string((folder / name).read_text()).render(ti=late)
        assert "report_drift" in text or late.log_url in text


def test_a_deadline_without_a_notifier_that_can_be_made_fails_the_parse(monkeypatch):
    monkeypatch.setenv("RATCHET_NOTIFIER", "airflow.nothing.Here")
    with pytest.raises(InputError, match="expected a class that can be imported"):
        over_within(hours=1)
