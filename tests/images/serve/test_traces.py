"""Traces: a step's and a request's spans, in MLflow's own page of traces, joined by the release; without an address none."""

import subprocess
import sys
import time

import pytest

from pipelines import tracing
from pipelines.errors import InputError, NothingToDo
from pipelines.settings import settings
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests import warm
from tests.conftest import PROJECT
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server, server_environment
from tests.services import mlflow

TASK, CALLER = ("00-" + letter * 32 + "-" + letter * 16 + "-01" for letter in "ab")


def traces_of(url, count, within_s=60):
    """The spans of all traces by name, once there are `count`."""
    from mlflow.tracking import MlflowClient

    client, until = MlflowClient(url), time.monotonic() + within_s
    while True:
        found = [client.get_trace(trace.info.trace_id) for trace in client.search_traces(locations=["0"])]
        spans = {span.name: span for trace in found for span in trace.data.spans}
        if len(spans) >= count:
            return spans
        assert time.monotonic() < until, list(spans)
        time.sleep(0.3)


def test_a_request_is_joined_with_the_step_that_assembled_its_release(trained, tmp_path):
    (trained.home / "store/release" / trained.release / "manifest.json").unlink()  # so that it is assembled anew
    with mlflow(tmp_path / "mlflow") as url:
        traced = {"RATCHET_TRACES_URL": f"{url}/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-mlflow-experiment-id=0"}
        command = warm.command("-m", "pipelines", "assemble", trained.index)
        variables = server_environment(trained.home, TRACEPARENT=TASK, **traced)
        subprocess.run(command, cwd=PROJECT, env=variables, check=True, capture_output=True)
        assembled = load_exactly(open_store(), "release", trained.release).manifest.provenance["traceparent"]
        route(trained.release)
        with running_server(trained.home, **traced) as server:
            server.wait(lambda status: status["ready"])
            answer = server.client.get("/v1/search", params={"q": "who-typed-this"}, headers={"traceparent": CALLER}).json()
        spans = traces_of(url, 4)
    step, request, rank = spans["assemble"], spans["GET /v1/search"], spans["rank"]
    assert (step.trace_id[3:], step.parent_id) == ("a" * 32, "a" * 16)
    assert step.attributes["ratchet.release"] == trained.release
    assert assembled == f"00-{'a' * 32}-{step.span_id}-01"
    assert (request.trace_id[3:], request.parent_id) == ("b" * 32, "b" * 16)
    assert request.attributes["ratchet.release"] == trained.release
    assert (request.attributes["http.response.status_code"], request.attributes["ratchet.request"]) == (
        200,
        answer["request_id"],
    )
    assert [(link.trace_id[3:], link.span_id) for link in request.links] == [("a" * 32, step.span_id)]
    assert (rank.parent_id, rank.attributes["ratchet.batch"]) == (request.span_id, 1)
    assert rank.attributes["ratchet.encode_s"] > 0
    assert spans["GET /readyz"].parent_id is None
    assert "who-typed-this" not in str([span.to_dict() for span in spans.values()])


@pytest.fixture
def spans(monkeypatch):
    """What a process that is traced sends."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_providers", [provider])
    return exporter


@pytest.mark.parametrize(
    ("error", "is_error"), [(InputError("/home/ann x@example.org", "b", "c"), True), (NothingToDo("ann"), False)]
)
def test_of_an_error_a_span_has_the_type_alone(spans, error, is_error):
    with pytest.raises(type(error)), tracing.span("ingest", ""):
        raise error
    (span,) = spans.get_finished_spans()
    assert (span.status.is_ok, span.status.description, span.events) == (not is_error, "InputError" if is_error else None, ())
    assert "ann" not in span.to_json()


def test_without_an_address_nothing_of_opentelemetry_is_needed(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setattr(tracing, "_providers", [])
    with tracing.span("ingest", CALLER) as span:
        assert (span, tracing.traceparent(), tracing.current_span()) == (None, "", None)
    tracing.link(None, CALLER)
    tracing.record(None, "rank", 0.0, {})


def test_a_collector_that_is_down_costs_no_answer(trained):
    route(trained.release)
    with running_server(trained.home, RATCHET_TRACES_URL="http://127.0.0.1:1/v1/traces") as server:
        server.wait(lambda status: status["ready"])
        assert server.search("beach").status_code == 200


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://ann:secret@collector/v1/traces"])
def test_an_address_that_is_none_is_refused(home, monkeypatch, url):
    monkeypatch.setenv("RATCHET_TRACES_URL", url)
    with pytest.raises(InputError, match="RATCHET_TRACES_URL") as refused:
        tracing.configure(settings(), "a test")
    assert "secret" not in str(refused.value)
