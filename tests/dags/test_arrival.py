"""ingest_corpus waits for a key on a real S3 server, and reads it with the connection's credentials, which nothing shows."""

import json
import threading
import time
from pathlib import Path

import boto3
import pytest
from airflow.models import Connection, TaskReschedule, Variable
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests import airflow_home

ROWS = "id,name\n" + "".join(f"p{number},a {colour} lamp\n" for number, colour in enumerate(("red", "blue", "green")))


@pytest.fixture
def connection(airflow_database):
    """Make the connection `aws_default` in Airflow's database, for one test."""

    def make(**fields):
        with create_session() as session:
            session.execute(delete(Connection).where(Connection.conn_id == "aws_default"))
            if fields:
                session.add(Connection(conn_id="aws_default", conn_type="aws", **fields))

    yield make
    make()


@pytest.fixture
def bucket(s3, connection):
    """An empty bucket that only the connection's account may use."""
    uri = s3.create_bucket(f"arrival-{time.time_ns()}")
    connection(
        login=s3.access_key, password=s3.secret_key, extra=json.dumps({"endpoint_url": s3.endpoint, "region_name": "us-east-1"})
    )
    return uri


def put(s3, uri, body):
    name, _, key = uri.removeprefix("s3://").partition("/")
    boto3.client(
        "s3", endpoint_url=s3.endpoint, region_name="us-east-1",
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key,
    ).put_object(Bucket=name, Key=key, Body=body.encode())  # fmt: skip


def once_looked_for(act, *arguments):
    """Act when a sensor has looked in vain and given its worker back."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with create_session() as session:
            if session.scalars(select(TaskReschedule)).first():
                break
        time.sleep(0.2)
    act(*arguments)


def often(dag):
    dag.get_task("wait_for").poke_interval = 0.2


def test_waits_then_reads_with_the_connection_and_tells_no_secret(run_dag, s3, bucket, home, capfd):
    before = set(Path(airflow_home.HOME).rglob("*.log"))
    arrives = threading.Thread(target=once_looked_for, args=(put, s3, f"{bucket}/in/own.csv", ROWS))
    arrives.start()
    done = run_dag("ingest_corpus", often, source=f"{bucket}/in/own.csv", wait_for=f"{bucket}/in/own.csv")
    arrives.join()
    with create_session() as session:
        assert session.scalars(select(TaskReschedule)).first(), "it never had to wait"
    assert (done.state, done.tasks) == ("success", {"wait_for": ["success"], "ingest": ["success"], "check": ["success"]})
    with create_session() as session:
        shown = [repr(row.value) for row in session.scalars(select(XComModel))]
        shown += [json.dumps(row.rendered_fields) for row in session.scalars(select(RenderedTaskInstanceFields))]
    corpus = load(open_store(), "corpus", done.results["ingest"]["corpus"])
    assert done.results["ingest"]["documents"] == corpus.facts["documents"] == 3
    shown += [path.read_text() for path in set(Path(airflow_home.HOME).rglob("*.log")) - before]
    logged = "".join(capfd.readouterr())
    assert "committed kind=corpus" in logged
    shown += [logged, str(corpus.manifest)]
    everything = "\n".join(shown)
    assert f"{bucket}/in/own.csv" in everything
    for secret in (s3.access_key, s3.secret_key):
        assert secret not in everything


def test_without_a_key_nothing_is_waited_for_and_the_corpus_is_told(run_dag, icons_folder):
    done = run_dag("ingest_corpus", folder=str(icons_folder("few", lambda name: name < "ab")))
    assert (done.state, done.tasks) == ("success", {"wait_for": ["skipped"], "ingest": ["success"], "check": ["success"]})
    assert done.events == [("corpus", {"id": done.results["ingest"]["corpus"]})]


def test_the_key_of_a_scheduled_run_is_a_variable(run_dag, s3, bucket, icons_folder):
    put(s3, f"{bucket}/ready", "x")
    Variable.set("ingest_wait_for", f"{bucket}/ready")
    try:
        done = run_dag("ingest_corpus", often, folder=str(icons_folder("few", lambda name: name < "ab")), personal=0)
    finally:
        Variable.delete("ingest_wait_for")
    assert done.tasks == {"wait_for": ["success"], "ingest": ["success"], "check": ["success"]}


@pytest.mark.parametrize("wait_for", ["bucket/key", "s3://bucket", "s3:///key", "https://s3.example.org/bucket/key"])
def test_what_is_no_key_fails_at_once(run_dag, home, wait_for):
    done = run_dag("ingest_corpus", wait_for=wait_for)
    assert (done.state, done.tasks) == (
        "failed",
        {"wait_for": ["failed"], "ingest": ["upstream_failed"], "check": ["upstream_failed"]},
    )


def test_an_account_that_may_not_look_fails_at_once(run_dag, s3, bucket, connection, capfd):
    connection(
        login="nobody", password="wrong-hush", extra=json.dumps({"endpoint_url": s3.endpoint, "region_name": "us-east-1"})
    )
    done = run_dag("ingest_corpus", often, wait_for=f"{bucket}/key")
    assert done.tasks == {"wait_for": ["failed"], "ingest": ["upstream_failed"], "check": ["upstream_failed"]}
    logged = "".join(capfd.readouterr())
    assert "an account that may read the key and list its bucket" in logged
    assert "wrong-hush" not in logged


def test_reading_without_credentials_is_refused(run_dag, s3, bucket, connection, home, monkeypatch, capfd):
    put(s3, f"{bucket}/own.csv", ROWS)
    connection()
    monkeypatch.setenv("RATCHET_S3_ENDPOINT", s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = run_dag("ingest_corpus", source=f"{bucket}/own.csv")
    assert done.tasks == {"wait_for": ["skipped"], "ingest": ["failed"], "check": ["upstream_failed"]}
