"""Who is called: the notifier of the settings, checked when the DAG is parsed."""

import json

import pytest
from operators.paging import LogNotifier, pager

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
