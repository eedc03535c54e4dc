"""Toggles reach a server through a real OpenFeature provider; whatever is wrong with it, the journal holds."""

import json
import sys
import threading
import time

import pytest
from openfeature import api
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider
from openfeature.provider.metadata import Metadata
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from images.serve.exposure_log import ExposureLog
from images.serve.requests import SearchRequest
from images.serve.routing import Search
from images.serve.search import Answerer
from images.serve.toggles import ToggleReader
from images.serve.watcher import State
from pipelines.deployment.toggles import Toggles
from pipelines.retrieval.release import load_release
from pipelines.store.journal import Journal, Routing, Toggle
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.rerankers import _reranking_once, reranking

__all__ = ["_reranking_once", "reranking"]


@pytest.fixture(autouse=True)
def _no_provider():
    yield
    api.clear_providers()


def metrics_of(reader):
    registry = CollectorRegistry()
    registry.register(reader)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def until(holds, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_journal_reaches_a_reader_through_flagds_file(tmp_path):
    values = {}
    reader = ToggleReader(lambda: values, Toggles(rerank_ms=150), tmp_path / "events/flags.json", 0.05)
    reader.poll()
    assert reader.current == Toggles(rerank_ms=150)
    assert not (tmp_path / "events").exists(), "nothing is toggled: no provider is loaded"
    values.update(rerank=False, k=20)
    reader.poll()
    until(lambda: not reader.poll() and reader.current == Toggles(rerank=False, rerank_ms=150, k=20))
    flags = json.loads((tmp_path / "events/flags.json").read_text())["flags"]
    assert {name: flag["variants"]["set"] for name, flag in flags.items()} == {
        "ratchet-rerank": False, "ratchet-rerank-ms": 150.0, "ratchet-k": 20,
    }  # fmt: skip
    seen = metrics_of(reader)
    assert [labels for labels in seen if labels[0] == "ratchet_toggle_errors_total"] == []
    assert (seen["ratchet_toggle", "rerank"], seen["ratchet_toggle", "k"]) == (0, 20)
    told = json.loads((tmp_path / "events/flags.json").read_text())
    told["flags"]["ratchet-k"]["variants"]["set"] = 7
    reader._write = lambda held: None  # the file is the provider's word, whoever wrote it
    (tmp_path / "events/flags.json").write_text(json.dumps(told))
    until(lambda: not reader.poll() and reader.current.k == 7)


class Company(AbstractProvider):
    """A provider of flags as a company has one."""

    def __init__(self, k=12, rerank=True, hangs=None):
        super().__init__()
        self.k, self.rerank, self.hangs = k, rerank, hangs

    def get_metadata(self):
        return Metadata("company")

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        if self.hangs:
            self.hangs.wait(30)
        return FlagResolutionDetails(self.rerank)

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        return FlagResolutionDetails(self.k)

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        raise ConnectionError("the company's service is down")

    resolve_string_details = resolve_object_details = resolve_float_details


def reader_of(tmp_path, journaled, **options):
    sys.modules.setdefault("company_flags", sys.modules[__name__])
    return ToggleReader(lambda: journaled, Toggles(), tmp_path / "flags.json", 0.05, "company_flags.Company", options)


def test_a_companys_provider_takes_its_place_and_what_it_does_not_say_is_the_journals(tmp_path):
    reader = reader_of(tmp_path, {"k": 20, "rerank_ms": 60.0}, rerank=False)
    until(lambda: not reader.poll() and reader.current == Toggles(k=12, rerank=False, rerank_ms=60))
    assert metrics_of(reader)["ratchet_toggle_errors_total", "GENERAL", "rerank_ms"] >= 1
    assert not (tmp_path / "flags.json").exists()


@pytest.mark.parametrize(("k", "reason"), [(0, "OUT_OF_RANGE"), ("20", "TYPE_MISMATCH")])
def test_a_value_that_is_none_is_not_taken(tmp_path, k, reason):
    reader = reader_of(tmp_path, {"k": 20}, k=k)
    until(lambda: not reader.poll() and ("ratchet_toggle_errors_total", reason, "k") in metrics_of(reader))
    assert reader.current == Toggles(k=20)


def test_a_provider_that_hangs_is_told_and_changes_nothing(tmp_path):
    go = threading.Event()
    reader = reader_of(tmp_path, {}, hangs=go)
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    until(lambda: metrics_of(reader)["ratchet_toggles_age_seconds",] > 0.3)
    assert reader.current == Toggles()
    go.set()
    until(lambda: reader.current.k == 12)
    reader.stop()
    thread.join(10)


def test_the_journal_holds_until_a_provider_answers_for_the_first_time(tmp_path):
    go = threading.Event()
    reader = reader_of(tmp_path, {"k": 20}, hangs=go)
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    until(lambda: reader.current == Toggles(k=20), 5)
    go.set()
    until(lambda: reader.current.k == 12)
    reader.stop()
    thread.join(10)


def test_servers_that_write_one_file_leave_it_whole(tmp_path):
    """Of one process, so that both have one number, as in two containers on one volume."""
    file, ended, problems = tmp_path / "flags.json", threading.Event(), []

    def write(k):
        reader = ToggleReader(dict, Toggles(), file, 0.05)
        try:
            while not ended.is_set():
                reader._write(Toggles(k=k))
        except OSError as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(k,)) for k in (1, 100)]
    for writer in writers:
        writer.start()
    until(file.exists)
    seen = {json.loads(file.read_text())["flags"]["ratchet-k"]["variants"]["set"] for _ in range(500)}
    ended.set()
    for writer in writers:
        writer.join(10)
    assert (problems, seen <= {1, 100}) == ([], True)
    assert [path.name for path in tmp_path.iterdir()] == ["flags.json"]


def test_a_file_that_is_no_text_is_written_anew(tmp_path):
    (tmp_path / "flags.json").write_bytes(b'{"flags": \xff')
    reader = ToggleReader(lambda: {"k": 20}, Toggles(), tmp_path / "flags.json", 0.05)
    reader.poll()
    assert (reader.current.k, [name for name, *_ in metrics_of(reader) if "errors" in name]) == (20, [])


@pytest.mark.parametrize("provider", ["company_flags.Nobody", "no_such_module.Flags"])
def test_a_provider_that_is_missing_is_counted_and_the_journal_holds(tmp_path, provider):
    reader = ToggleReader(lambda: {"rerank": False}, Toggles(), tmp_path / "flags.json", 0.05, provider)
    reader.poll()
    reader.poll()
    assert reader.current == Toggles(rerank=False)
    counted = [value for labels, value in metrics_of(reader).items() if labels[0] == "ratchet_toggle_errors_total"]
    assert counted == [2.0] * 3


def test_what_another_version_toggles_is_left_out():
    assert Toggles().changed({"colour": True, "k": 1000, "rerank": 0, "rerank_ms": 5}) == Toggles(rerank_ms=5)


def test_rerank_off_leaves_the_first_stages_and_is_not_mixed_in_the_cache(reranking, tmp_path):
    release_id = call("assemble", index=reranking.index, reranker=reranking.report).release
    release, toggled = load_release(open_store(), release_id, 1), [Toggles(rerank_ms=0)]
    answerer = Answerer(lambda: State(1, release), ExposureLog(tmp_path), lambda: toggled[0], cache=10)

    def ask():
        return answerer.answer_all([Search(SearchRequest(q="red chair", k=5), "", "", "a test")])[0]

    whole = ask()
    assert whole["reranked"]["scored"] == 20
    toggled[0] = Toggles(rerank=False)
    first = ask()
    assert "reranked" not in first
    alone = call("assemble", index=reranking.index).release
    expected = load_release(open_store(), alone, 1).search(["red chair"], 5)[0]
    assert [result["id"] for result in first["results"]] == [document for document, _ in expected]
    toggled[0] = Toggles(rerank_ms=0.001)
    answerer.cache._most = 0
    assert ask()["reranked"]["late"]
    toggled[0] = Toggles(rerank_ms=0)
    assert ask()["results"] == whole["results"]


def test_a_server_follows_a_toggle_without_a_restart(trained):
    route(trained.release)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])

        def results(path="/v1/search?q=moon"):
            return len(server.client.get(path).json()["results"])

        assert results() == 10
        routing = Routing(champion=trained.release)
        Journal(open_store()).append("toggle", "k=3", "for a test", routing, toggle=Toggle(name="k", value=3))
        until(lambda: results() == 3)
        assert results("/v1/search?q=moon&k=4") == 4, "who says how many gets so many"
        assert results("/v1/similar/moon") == 3
        answers = server.client.post("/v1/search/batch", json={"searches": [{"q": "moon"}, {"q": "sun", "k": 2}]}).json()[
            "answers"
        ]
        assert [len(answer["results"]) for answer in answers] == [3, 2]
        assert 'ratchet_toggle{toggle="k"} 3.0' in server.client.get("/metrics").text
        until((trained.home / "events/flags.json").exists)  # the journal holds while the provider is loaded
