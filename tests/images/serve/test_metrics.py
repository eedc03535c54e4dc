"""What the server tells of itself: counted as it happened, and nothing of a request or a user in it."""

import tracemalloc
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from images.serve.cache import RankingCache
from images.serve.metrics import MOST_RECENT, MOST_RELEASES, Metrics, route_of
from images.serve.watcher import State
from pipelines.retrieval.stages.ranker import StageRankings
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.images.serve.test_interface import refusal


def metrics_of(server):
    """Value by name and labels."""
    answer = server.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


def parsed(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def server(trained, small):
    route(trained.release, small, "promote")
    with running_server(trained.home) as running:
        running.wait(lambda status: status["challenger"])
        yield running


def test_a_server_tells_what_it_answered(server, trained, small):
    before = metrics_of(server)
    assert before["ratchet_ready",] == 1
    assert before["ratchet_journal_entry",] == 1
    assert before["ratchet_release_info", ("release", trained.release), ("role", "champion")] == 1
    assert before["ratchet_release_info", ("release", small), ("role", "challenger")] == 1
    assert [labels for labels in before if labels[0] == "ratchet_searches_total"] == []
    first = server.search("moon", user="ann@example.org", segment="country=secretland").json()
    for shown in first["results"][:2]:
        click = {"request_id": first["request_id"], "document": shown["id"], "position": shown["position"]}
        assert server.client.post("/v1/clicks", json=click).status_code == 201
    server.search("cloud")
    server.search("cloud", release="challenger")
    refusal(server.search(""), 422)
    refusal(httpx.get(f"{server.url}/v1/search?q=moon"), 401)
    refusal(httpx.request("PROPFIND", f"{server.url}/a/path/of/{'y' * 40}"), 404)
    refusal(server.client.post("/v1/clicks", content=b"x" * 20_000), 413)
    after = metrics_of(server)

    def counted(method, path, status):
        return after["ratchet_requests_total", ("method", method), ("route", path), ("status", status)]

    assert counted("GET", "/v1/search", "200") == 3
    assert counted("GET", "/v1/search", "422") == counted("GET", "/v1/search", "401") == 1
    assert counted("POST", "/v1/clicks", "201") == 2
    assert counted("POST", "other", "413") == 1, "refused before a route was looked for"
    assert counted("other", "other", "404") == 1
    assert after["ratchet_request_seconds_count", ("route", "/v1/search")] == 5
    assert 0 < after["ratchet_request_seconds_sum", ("route", "/v1/search")] < 60
    assert after["ratchet_searches_total", ("release", trained.release)] == 2
    assert after["ratchet_searches_total", ("release", small)] == 1
    assert after["ratchet_searches_clicked_total", ("release", trained.release)] == 1, "two clicks on one search"
    assert after["ratchet_searches_without_results_total", ("release", trained.release)] == 0
    assert after["ratchet_batch_searches_sum",] == after["ratchet_queue_seconds_count",] == 3
    assert 0 < after["ratchet_queue_seconds_sum",] < 60
    stages = {labels[1][1]: value for labels, value in after.items() if labels[0] == "ratchet_stage_seconds_count"}
    assert stages == {"encode": 3, "dense": 3}
    assert after["ratchet_waiting_searches",] == 0
    assert 0.98 < after["ratchet_exposure_gini", ("release", trained.release)] < 1, "20 shown of 1,900"
    assert after["process_resident_memory_bytes",] > 2**20
    words = server.client.get("/metrics").text
    assert [word for word in ("moon", "ann@", "secretland", "yyy", first["request_id"], server.key) if word in words] == []


def answer_of(release, request_id, *documents, **more):
    return {"release": release, "request_id": request_id, "results": [{"id": document} for document in documents], **more}


def loaded(documents):
    """A release of which only the rows of its documents are looked at."""
    return SimpleNamespace(documents=SimpleNamespace(rows={document: row for row, document in enumerate(documents)}))


@pytest.fixture
def metrics():
    return Metrics(lambda: State(warm={"r": loaded("abcd")}), lambda: 3, RankingCache(2))


def test_what_was_in_the_cache_and_what_was_not(metrics):
    cache = metrics._cache
    cache.keep("a", StageRankings({}, [("a", 1.0)]))
    assert [cache.get(key) is not None for key in ("a", "b", "a", "c")] == [True, False, True, False]
    cache.get("d")
    told = parsed(metrics.page().decode())
    assert told["ratchet_cache_lookups_total", ("outcome", "hit")] == 2
    assert told["ratchet_cache_lookups_total", ("outcome", "miss")] == 3
    none = RankingCache(0)
    none.keep("a", StageRankings({}, [("a", 1.0)]))
    assert (none.get("a"), none.hits, none.misses) == (None, 0, 0)


def test_what_a_reranker_had_no_time_for_and_searches_without_results(metrics):
    metrics.searched(answer_of("r", "1", "a", reranked={"candidates": 50, "scored": 20, "late": True}))
    metrics.searched(answer_of("r", "2", reranked={"candidates": 50, "scored": 50, "late": False}))
    told = parsed(metrics.page().decode())
    assert told["ratchet_waiting_searches",] == 3
    expected = {"rerank_candidates": 100, "rerank_scored": 70, "rerank_late": 1, "searches_without_results": 1, "searches": 2}
    assert {name: told[f"ratchet_{name}_total", ("release", "r")] for name in expected} == expected


def test_gini_counts_the_documents_that_nobody_saw(metrics):
    metrics.searched(answer_of("r", "1", "a", "b"))
    assert parsed(metrics.page().decode())["ratchet_exposure_gini", ("release", "r")] == 0.5
    metrics.searched(answer_of("r", "2", "c", "d"))
    assert parsed(metrics.page().decode())["ratchet_exposure_gini", ("release", "r")] == 0


def test_what_was_shown_takes_four_bytes_a_document_and_is_forgotten_with_its_release():
    warm = {"one": loaded(map(str, range(100_000))), "two": loaded("ab")}
    metrics = Metrics(lambda: State(warm=dict(warm)), lambda: 0, RankingCache(0))
    rows = warm["one"].documents.rows
    metrics.searched(answer_of("one", "0"))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for document in rows:
        metrics.searched(answer_of("one", "1", document))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 4 * len(rows)
    del warm["one"]
    metrics.searched(answer_of("one", "2", "7"))
    metrics.searched(answer_of("two", "3", "a"))
    assert "ratchet_exposure_gini" in {name for name, *_ in parsed(metrics.page().decode())}
    assert ("ratchet_exposure_gini", ("release", "one")) not in parsed(metrics.page().decode())
    assert list(metrics._shown) == ["two"]


def test_memory_and_labels_are_bounded(metrics):
    for number in range(MOST_RECENT + 10):
        metrics.searched(answer_of(f"r{number}", str(number)))
    for number in (0, MOST_RECENT + 9):
        metrics.clicked(str(number))
    metrics.clicked("of another process")
    told = parsed(metrics.page().decode())
    clicked = {labels: value for labels, value in told.items() if labels[0] == "ratchet_searches_clicked_total"}
    assert len(clicked) == MOST_RELEASES
    assert sum(clicked.values()) == 1


def test_a_request_without_a_route_and_a_client_that_left(metrics):
    metrics.requested(route_of({}), "GET", 0, 0.1)
    told = parsed(metrics.page().decode())
    assert told["ratchet_requests_total", ("method", "GET"), ("route", "other"), ("status", "none")] == 1
