"""Credentials of a connection go into a step's environment and nowhere else; without one, everything is as it was."""

import json
import sys
from types import SimpleNamespace as Record

import pytest
from operators import step as step_module
from operators.credentials import with_credentials
from operators.process import ChildProcess
from operators.retries import StepRetryPolicy
from operators.step import StepOperator

from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings
from pipelines.steps.ingest_corpus.ingest import ingest

KEY, SECRET, TOKEN = "AKIDEXAMPLE-hush", "secret-hush-0123456789", "token-hush"
SOURCE = {"source": "s3://bucket/own.csv", "grades": None, "known_items": 3}
COUNT = """
import json, os
secret = os.environ['AWS_SECRET_ACCESS_KEY']
open(os.environ['RATCHET_RESULT_PATH'], 'w').write(json.dumps({'corpus': 'c0ffee', 'documents': len(secret)}))
"""
INHERITED = {"PATH": "/bin", "AWS_ACCESS_KEY_ID": "another", "AWS_SESSION_TOKEN": "of another", "AWS_PROFILE": "another"}


@pytest.fixture
def connection(monkeypatch):
    """Make an Airflow connection."""

    def make(name="aws_default", login=KEY, password=SECRET, **extra):
        body = {"conn_type": "aws", "login": login, "password": password, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(body))

    return make


@pytest.fixture(autouse=True)
def _no_account_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def test_an_s3_source_gets_the_usual_connection(connection):
    connection(region_name="eu-north-1", endpoint_url="https://s3.example.org")
    environment = with_credentials(INHERITED, settings(), SOURCE)
    assert environment == {
        "PATH": "/bin", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-north-1",
        "AWS_DEFAULT_REGION": "eu-north-1", "RATCHET_S3_ENDPOINT": "https://s3.example.org",
    }  # fmt: skip
    connection(aws_session_token=TOKEN)
    assert with_credentials(INHERITED, settings(), {"column": ["a", "s3://bucket"]})["AWS_SESSION_TOKEN"] == TOKEN


@pytest.mark.parametrize("values", [{}, {"source": "/data/own.csv"}, {"source": ""}, {"source": None, "column": []}])
def test_no_s3_source_no_credentials(connection, values):
    connection()
    assert with_credentials(INHERITED, settings(), values) == INHERITED


def test_without_a_connection_the_environment_stays(connection, monkeypatch):
    assert with_credentials(INHERITED, settings(), SOURCE) == INHERITED
    connection(login=None, password=None)
    assert with_credentials(INHERITED, settings(), SOURCE) == INHERITED
    connection(login=None, password=None, region_name="eu-north-1")
    assert with_credentials(INHERITED, settings(), SOURCE)["AWS_ACCESS_KEY_ID"] == "another"


def test_a_named_connection_serves_every_step(connection, monkeypatch):
    connection("the_lake")
    monkeypatch.setenv("RATCHET_AWS_CONNECTION", "the_lake")
    assert with_credentials(INHERITED, settings(), {})["AWS_SECRET_ACCESS_KEY"] == SECRET
    monkeypatch.setenv("RATCHET_AWS_CONNECTION", "the_pond")
    with pytest.raises(InputError, match="given RATCHET_AWS_CONNECTION=the_pond; expected an Airflow connection") as refused:
        with_credentials(INHERITED, settings(), {})
    assert StepRetryPolicy().evaluate(refused.value, 1, 3).action.name == "FAIL"


def test_one_server_for_source_and_store(connection, monkeypatch):
    connection(endpoint_url="https://s3.example.org")
    monkeypatch.setenv("RATCHET_STORE", "s3://store")
    monkeypatch.setenv("RATCHET_S3_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"source on https://s3.example.org, and a store on http://127.0.0.1:1"):
        with_credentials({}, settings(), SOURCE)
    connection()  # says no server: the store's
    assert with_credentials({}, settings(), SOURCE)["RATCHET_S3_ENDPOINT"] == "http://127.0.0.1:1"


def test_a_role_that_cannot_be_had(connection):
    dead = {"sts": {"endpoint_url": "http://127.0.0.1:9"}}
    connection(
        role_arn="arn:aws:iam::1:role/x",
        region_name="us-east-1",
        service_config=dead,
        config_kwargs={"retries": {"total_max_attempts": 1}},
    )
    with pytest.raises(TryAgain, match="connection aws_default: ") as failed:
        with_credentials({}, settings(), SOURCE)
    assert SECRET not in str(failed.value)


def test_the_process_has_them_and_its_command_line_does_not(connection, context, monkeypatch, capfd, home):
    connection()
    seen = []

    class Watched(ChildProcess):
        def __init__(self, command, variables, grace_s):
            seen.append((command, variables))
            super().__init__([sys.executable, "-c", COUNT], variables, grace_s)

    monkeypatch.setattr(step_module, "ChildProcess", Watched)
    operator = StepOperator(step=ingest, step_params=SOURCE)
    assert operator.execute.__wrapped__(operator, context)["documents"] == len(SECRET)
    (command, variables) = seen[0]
    assert variables["AWS_SECRET_ACCESS_KEY"] == SECRET
    shown = json.dumps([command, context["ti"].pushed, operator.step_params], default=str) + "".join(capfd.readouterr())
    assert "s3://bucket/own.csv" in shown
    for secret in (KEY, SECRET):
        assert secret not in shown


def test_a_pod_gets_them_by_a_secret_of_its_own(connection, context, monkeypatch):
    connection()
    monkeypatch.setenv("RATCHET_RUNTIME", "kubernetes")
    operator = StepOperator(step=ingest, step_params=SOURCE)
    operator.prepare_pod(context)
    pod = operator.build_pod_request_obj({**context, "run_id": "r"}, dry_run=True)
    secrets = [(source.secret_ref.name, source.secret_ref.optional) for source in pod.spec.containers[0].env_from]
    assert secrets == [("ratchet-store", True), (pod.metadata.name, False)], "it must wait for its own, and may lack the other"
    made = []
    pod.metadata.uid = "as the cluster gives it"
    monkeypatch.setattr(type(operator), "_current_pod", lambda self, pod: pod)
    operator.client = Record(create_namespaced_secret=lambda namespace, secret: made.append(secret))
    operator._create_secret(pod)
    assert made[0].metadata.owner_references[0].name == made[0].metadata.name == pod.metadata.name
    assert made[0].string_data["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert "own.csv" in repr(pod)
    assert SECRET not in repr(pod)
    assert KEY not in repr(pod)


def test_without_a_connection_a_pod_has_the_one_secret(context, monkeypatch):
    monkeypatch.setenv("RATCHET_RUNTIME", "kubernetes")
    operator = StepOperator(step=ingest, step_params={"text": "label"})
    operator.prepare_pod(context)
    pod = operator.build_pod_request_obj({**context, "run_id": "r"}, dry_run=True)
    assert [source.secret_ref.name for source in pod.spec.containers[0].env_from] == ["ratchet-store"]
