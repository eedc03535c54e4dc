"""A release with a reranker in the real server: what its answers say, within its time and beyond it."""

import json
import re
import time
from dataclasses import replace

import pytest

from images.serve.exposure_log import ExposureLog
from images.serve.requests import SearchRequest
from images.serve.routing import Search
from images.serve.search import Answerer
from images.serve.watcher import State
from pipelines.deployment.toggles import Toggles
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.rerankers import _reranking_once, reranking

__all__ = ["_reranking_once", "reranking"]


def test_the_time_to_rerank_runs_from_a_search_s_arrival(reranking, home, tmp_path):
    """Who waited in the queue for it all is not made to wait for a reranker, too; a shadow has all of it."""
    release = load_release(open_store(), call("assemble", index=reranking.index, reranker=reranking.report).release)
    state = State(1, release, warm={release.id: release}, ready=True)
    answerer = Answerer(lambda: state, ExposureLog(tmp_path), lambda: Toggles(rerank_ms=60_000))
    search = Search(SearchRequest(q="red chair", k=5), "", "", "a test")
    waited = replace(search, since=time.perf_counter() - 61)
    (first,), (second,) = answerer.answer_all([search]), answerer.answer_all([waited])
    assert (first["reranked"]["scored"], second["reranked"]["scored"]) == (20, 0)
    assert answerer.first(waited, release, 5) == [result["id"] for result in first["results"]]


@pytest.mark.parametrize(("budget_ms", "scored"), [("0", 20), ("0.001", 0)])
def test_a_search_is_reranked_within_its_time_and_says_so(reranking, home, tmp_path, budget_ms, scored):
    release = call("assemble", index=reranking.index, reranker=reranking.report).release
    route(release)
    with running_server(home, RATCHET_RERANK_MS=budget_ms, RATCHET_EVENTS=str(tmp_path)) as server:
        server.wait(lambda status: status["ready"])
        answer = server.search("red chair", k=5, explain=True).json()
        told = server.client.get("/metrics").text
    assert set(re.findall(r'ratchet_stage_seconds_count{stage="(\w+)"} 1.0', told)) == {"encode", "dense", "rerank"}
    assert f'ratchet_rerank_scored_total{{release="{release}"}} {scored}.0' in told
    assert answer["reranked"] == {"candidates": 20, "scored": scored, "late": scored < 20}
    assert answer["stages"][-1]["artifact"] == reranking.variants
    assert answer["stages"][-1]["variant"] == "onnx-fp32"
    places = [result["stages"]["rerank"]["position"] for result in answer["results"]]
    assert places == [1, 2, 3, 4, 5]
    assert ([result["stages"]["dense"]["position"] for result in answer["results"]] == places) == (scored == 0)
    (line,) = (tmp_path / "exposures.jsonl").read_text().splitlines()
    assert json.loads(line)["reranked"] == scored
