"""The sensor alone: what it says no to, and what it asks again. Waiting on a real server is tested with its DAG."""

import json

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException
from operators.arrival import S3Arrival

from pipelines.errors import InputError

ONCE = {"config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 1}}


@pytest.fixture(autouse=True)
def _no_account_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


def sensor(key):
    return S3Arrival(task_id="wait_for", bucket_key=key, mode="poke", timeout=0)


def run(operator, context):
    return type(operator).execute.__wrapped__(operator, context)


@pytest.mark.parametrize("key", ["", None, "  "])
def test_no_key_is_no_wait(context, key):
    with pytest.raises(AirflowSkipException):
        run(sensor(key), context)


def test_an_account_is_needed(context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    with pytest.raises(InputError, match=r"Unable to locate credentials.*correct the Airflow connection aws_default"):
        run(sensor("s3://bucket/key"), context)
    monkeypatch.setenv("RATCHET_AWS_CONNECTION", "the_pond")
    with pytest.raises(InputError, match="RATCHET_AWS_CONNECTION=the_pond"):
        run(sensor("s3://bucket/key"), context)


def test_a_server_that_does_not_answer_is_asked_again(context, monkeypatch):
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": "http://127.0.0.1:9", **ONCE},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    operator = sensor("s3://bucket/key")
    looked = []
    monkeypatch.setattr(type(operator), "poke", lambda self, context, poke=S3Arrival.poke: looked.append(poke(self, context)))
    with pytest.raises(AirflowSensorTimeout):
        run(operator, context)
    assert looked == [False]


def test_the_settings_server_where_the_connection_names_none(context, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": ONCE})
    )
    monkeypatch.setenv("RATCHET_S3_ENDPOINT", "http://127.0.0.1:9")
    operator = sensor("s3://bucket/key")
    monkeypatch.setattr(type(operator), "poke", lambda self, context: True)
    run(operator, context)
    assert operator.hook.get_conn().meta.endpoint_url == "http://127.0.0.1:9"
