"""The rest of the API: several lists at once, vectors, scores, events; each example of the interface is asked."""

import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.routing import APIRoute

from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.errors import NotFound
from images.serve.examples import EXAMPLES, REQUEST
from images.serve.exposure_log import ExposureLog
from images.serve.interface import describe, scope_of
from images.serve.scoring import EmbedRequest, RerankRequest, _embedded, _reranked
from images.serve.watcher import Watcher
from pipelines.corpus.exposure import Conversion
from pipelines.erasure.places import PLACES, Search
from pipelines.erasure.subject import Subject
from pipelines.retrieval.release import load_release
from pipelines.store.objects import Store
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.images.serve.test_interface import refusal
from tests.rerankers import _reranking_once
from tests.sharing import built_once

__all__ = ["_reranking_once"]
NOT_JSON = {"/v1/pictures/{release_id}/{document_id}", "/openapi.json", "/metrics"}


@pytest.fixture(scope="module")
def shop(_reranking_once, tmp_path_factory):
    """A server of 64 documents with a reranker, its home, and its release in this process."""

    def build(home: Path) -> str:
        shutil.copytree(_reranking_once[0], home, copy_function=os.link, dirs_exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(home))
            made = _reranking_once[1]
            release = call("assemble", index=made.index, reranker=made.report).release
            route(release)
        return release

    home, release = built_once(tmp_path_factory, "shop-with-reranker", build)
    with running_server(home, RATCHET_RERANK_MS="0") as running:
        running.wait(lambda status: status["ready"])
        yield running, home, load_release(Store(f"file://{home}/store"), release, 1)


def lines(home, name):
    path = home / "events" / name
    return path.read_text().splitlines() if path.exists() else []


def shape(value):
    """Names and types of a JSON value; the first of a list stands for all."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def filled(value, request_id, document):
    """The example with a request of this server in place of its own."""
    text = json.dumps(value).replace(REQUEST, request_id).replace('"document": "blue-chair"', f'"document": "{document}"')
    return json.loads(text)


@pytest.mark.parametrize("place", EXAMPLES, ids=" ".join)
def test_each_example_is_answered_as_it_says(shop, place):
    server, _, _ = shop
    (method, path), example = place, EXAMPLES[place]
    seen = server.search("red chair").json()
    parameters = filled(example.query, "", "")
    for name in [name for name in parameters if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", quote(parameters.pop(name)))
    body = {"json": filled(example.body, seen["request_id"], seen["results"][0]["id"])} if example.body else {}
    answer = server.client.request(method, path, params=parameters, **body)
    assert answer.status_code == example.status, answer.text
    assert shape(answer.json()) == shape(example.answer)
    assert len(answer.json().get("answers", [])) == len(example.answer.get("answers", []))


def test_every_route_has_its_example_in_the_interface(tmp_path):
    app = build_app(Watcher(Store(f"file://{tmp_path}/store"), 1), ExposureLog(tmp_path), Auth("k"), 1)
    routes = [one for one in app.routes if isinstance(one, APIRoute) and scope_of(one)]
    assert set(EXAMPLES) == {
        (method, one.path_format) for one in routes for method in one.methods if one.path_format not in NOT_JSON
    }
    document = describe(app)
    for (method, path), example in EXAMPLES.items():
        operation = document["paths"][path][method.lower()]
        assert operation["responses"][str(example.status)]["content"]["application/json"]["example"] == example.answer
        shown = {one["name"]: one["example"] for one in operation.get("parameters", []) if "example" in one}
        assert shown == example.query
        if example.body:
            assert operation["requestBody"]["content"]["application/json"]["example"] == example.body
        assert operation["responses"]["422"] == {"$ref": "#/components/responses/422"}
    for problem in document["components"]["responses"].values():
        assert set(problem["content"]["application/problem+json"]["schema"]["required"]) == {"title", "status", "detail"}


def test_the_interface_names_each_status_and_kind_of_answer(tmp_path):
    """That the server answers nothing else is seen where anything is sent to it."""
    document = describe(build_app(Watcher(Store(f"file://{tmp_path}/store"), 1), ExposureLog(tmp_path), Auth("k"), 1))
    for methods in document["paths"].values():
        for operation in methods.values():
            assert {"400", "405", "408", "413", "429", "431", "500"} < set(operation["responses"])
    assert set(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain"}
    assert set(document["paths"]["/readyz"]["get"]["responses"]["503"]["content"]) == {"application/json"}
    assert set(document["paths"]["/signin"]["get"]["responses"]["403"]["content"]) == {"text/html"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_batch_has_the_answers_of_each_alone_and_problems_in_their_places(shop):
    server, home, _ = shop
    before = len(lines(home, "exposures.jsonl"))
    searches = [{"q": "red chair", "k": 3}, {}, {"like": ["red-sofa"], "k": 3}, {"q": "a", "release": "challenger"}]
    searches += [{"q": "a", "filter": ["colour=red"]}, {"like": ["gone"]}, {"q": "a", "experiment": "e"}]
    answer = server.client.post("/v1/search/batch", json={"searches": searches})
    assert answer.status_code == 200, answer.text
    answers = answer.json()["answers"]
    assert [one.get("status", 200) for one in answers] == [200, 422, 200, 404, 422, 404, 422]
    assert all(one["detail"].startswith("given ") for one in answers if "status" in one)
    assert len(lines(home, "exposures.jsonl")) == before + 2
    for search, one in ((searches[0], answers[0]), (searches[2], answers[2])):
        alone = server.client.get("/v1/search", params=search).json()
        assert [result["id"] for result in one["results"]] == [result["id"] for result in alone["results"]]
    told = server.client.post("/v1/recommend/batch", json={"recommendations": [{"item": ["red-sofa"]}, {"user": "ann"}]}).json()
    assert [one.get("status", 200) for one in told["answers"]] == [200, 404]


def test_what_does_the_work_of_several_counts_as_several(shop):
    _, home, _ = shop
    click = {"type": "click", "request_id": "a", "document": "b", "position": 1}
    bodies = {
        "/v1/search/batch": ("searches", {"q": "red"}),
        "/v1/recommend/batch": ("recommendations", {"item": ["red-sofa"]}),
        "/v1/embed": ("texts", "red"),
        "/v1/events": ("events", click),
    }
    with running_server(home, RATCHET_LIMIT_KEY="6/second", RATCHET_EVENTS=str(home / "limited")) as server:
        server.wait(lambda status: status["ready"])
        for path, (name, part) in bodies.items():
            time.sleep(1.1)
            never = refusal(server.client.post(path, json={name: [part] * 7}), 422)
            assert "given one request that counts as 7; expected at most 6, the limit of a key (6 per 1 second)" in never
            answer = server.client.post(path, json={name: [part] * 6})
            assert "too many requests with this key" in refusal(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1
            assert server.client.post(path, json={name: [part] * 4}).status_code != 429, "what was refused is not counted"


def test_a_batch_that_fails_as_a_whole_has_the_status_of_its_parts(shop):
    """Its parts are counted by their statuses; of the request itself there is one."""
    server, home, _ = shop
    told = server.client.get("/metrics").text

    def counted(status):
        page = server.client.get("/metrics").text
        name = f'ratchet_batch_answers_total{{route="/v1/search/batch",status="{status}"}}'
        return [sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)) for text in (told, page)]

    answer = server.client.post("/v1/search/batch", json={"searches": [{"like": ["gone"]}, {"like": ["lost"]}]})
    assert "like 'gone'" in refusal(answer, 404)
    assert [one["status"] for one in answer.json()["answers"]] == [404, 404]
    assert "like 'lost'" in answer.json()["answers"][1]["detail"]
    server.client.post("/v1/search/batch", json={"searches": [{"like": ["gone"]}, {"q": "red"}]})
    before, after = counted(404)
    assert after - before == 3
    before, after = counted(200)
    assert after - before == 1
    with running_server(home, RATCHET_STORE=f"file://{home}/nothing", RATCHET_EVENTS=str(home / "none")) as unready:
        answer = unready.client.post("/v1/search/batch", json={"searches": [{"q": "red"}, {"q": "a"}]})
        assert "a champion to answer it" in refusal(answer, 503)
        assert answer.headers["retry-after"] == "1"
        mixed = unready.client.post("/v1/search/batch", json={"searches": [{"q": "red"}, {}]})
        assert mixed.status_code == 200
        assert [one.get("retry_after") for one in mixed.json()["answers"]] == [1, None]


BAD = [
    ("/v1/search/batch", {"searches": []}, "at least 1"),
    ("/v1/search/batch", {"searches": [{"q": "a"}] * 33}, "at most 32"),
    ("/v1/search/batch", {"searches": [{"q": ""}]}, "1 to 512 characters"),
    ("/v1/search/batch", {"searches": [{"q": "a", "page": 1}]}, "no parameter of this name"),
    ("/v1/search/batch", {"searches": "a"}, "valid list"),
    ("/v1/search/batch", [], "a JSON object"),
    ("/v1/recommend/batch", {"recommendations": [{"q": "a"}]}, "no parameter of this name"),
    ("/v1/recommend/batch", {"recommendations": [{"item": ["a b"]}]}, "without blanks"),
    ("/v1/embed", {"texts": []}, "at least 1"),
    ("/v1/embed", {"texts": ["a"] * 17}, "at most 16"),
    ("/v1/embed", {"texts": [" \n "]}, "not all blank"),
    ("/v1/embed", {"texts": ["a\x00"]}, "without control characters"),
    ("/v1/embed", {"texts": ["x" * 8_193]}, "at most 8192"),
    ("/v1/embed", {"texts": [7]}, "valid string"),
    ("/v1/embed", {"texts": ["a"], "role": "title"}, "'query' or 'document'"),
    ("/v1/embed", {"texts": ["a"], "release": "last"}, "'champion', 'challenger' or 'previous'"),
    ("/v1/rerank", {"query": "a"}, "either ids of documents or texts"),
    ("/v1/rerank", {"query": "a", "texts": ["b"], "documents": ["c"]}, "either ids of documents or texts"),
    ("/v1/rerank", {"query": "", "texts": ["b"]}, "1 to 512 characters"),
    ("/v1/rerank", {"query": "a", "texts": ["b"] * 51}, "at most 50"),
    ("/v1/rerank", {"query": "a", "documents": ["b"] * 51}, "at most 50"),
    ("/v1/rerank", {"query": "a", "documents": ["b c"]}, "without blanks"),
    ("/v1/events", {"events": []}, "at least 1"),
    ("/v1/events", {"events": [{"type": "view", "request_id": "a", "document": "b"}]}, "'click', 'conversion'"),
    ("/v1/events", {"events": [{"type": "click", "request_id": "a", "document": "b"}]}, "a value"),
    ("/v1/events", {"events": [{"type": "click", "request_id": "a", "document": "b", "position": 1, "x": 2}]}, "no parameter"),
    ("/v1/events", {"events": [{"type": "conversion", "request_id": "a", "document": "b", "value": -1}]}, "or equal to 0"),
    ("/v1/events", {"events": [{"type": "conversion", "request_id": "a", "document": "b", "value": "NaN"}]}, "finite number"),
    ("/v1/events", {"events": [{"type": "conversion", "request_id": "a", "document": ""}]}, "at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "word"), BAD)
def test_bad_bodies(shop, path, body, word):
    server, home, _ = shop
    before = [lines(home, name) for name in ("exposures.jsonl", "clicks.jsonl", "conversions.jsonl")]
    assert word in refusal(server.client.post(path, json=body), 422)
    assert [lines(home, name) for name in ("exposures.jsonl", "clicks.jsonl", "conversions.jsonl")] == before


def test_vectors_are_the_encoders_and_no_text_is_written_down(shop):
    server, home, release = shop
    before = lines(home, "exposures.jsonl")
    texts = ["red chair", "a document\nof two lines", "chair"]
    for role in ("query", "document"):
        answer = server.client.post("/v1/embed", json={"texts": texts, "role": role}).json()
        vectors = np.array(answer["vectors"], np.float32)
        assert np.abs(vectors - release.encoder.encode(texts, role)).max() < 1e-5
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert (answer["release"], answer["encoder"]) == (release.id, release.card.encoder)
        assert answer["dimensions"] == vectors.shape[1]
    exact = _embedded(release, EmbedRequest(texts=texts))["vectors"]
    assert (np.array(exact, np.float32) == release.encoder.encode(texts, "query")).all(), "a digit is missing"
    assert lines(home, "exposures.jsonl") == before


def test_scores_are_the_rerankers(shop):
    server, _, release = shop
    ids = ["blue-lamp", "gone", "red-chair", "pink-sofa"]
    answer = server.client.post("/v1/rerank", json={"query": "red chair", "documents": ids}).json()
    known = ["blue-lamp", "red-chair", "pink-sofa"]
    assert release.ranker is not None
    assert release.ranker.rerank is not None
    scores = release.ranker.rerank.shared.scores("red chair", [release.documents[name].text for name in known])
    expected = sorted(zip(known, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    assert [result["id"] for result in answer["results"]] == [name for name, _ in expected]
    assert [result["score"] for result in answer["results"]] == pytest.approx([score for _, score in expected], abs=1e-4)
    assert answer["reranked"] == {"candidates": 3, "scored": 3, "late": False}
    texts = [release.documents[name].text for name in known]
    plain = server.client.post("/v1/rerank", json={"query": "red chair", "texts": texts}).json()
    assert [known[result["text"]] for result in plain["results"]] == [name for name, _ in expected]
    refusal(server.client.post("/v1/rerank", json={"query": "a", "documents": ["gone"]}), 404)


def test_what_the_reranker_has_no_time_for_comes_last_without_a_score(shop):
    _, _, release = shop
    late = _reranked(release, RerankRequest(query="red chair", texts=["b", "a"]), time.monotonic() - 1)
    assert late["reranked"] == {"candidates": 2, "scored": 0, "late": True}
    assert late["results"] == [{"text": 0, "score": None}, {"text": 1, "score": None}]
    json.dumps(late, allow_nan=False)


def test_a_release_without_a_reranker_scores_nothing(trained):
    release = load_release(Store(f"file://{trained.home}/store"), trained.release, 1)
    with pytest.raises(NotFound, match="a release with a reranker"):
        _reranked(release, RerankRequest(query="red chair", texts=["b"]), None)


def test_events_are_written_down_all_or_none(shop):
    server, home, _ = shop
    seen = server.search("red chair", k=3, user="ann").json()
    first, second = ({"request_id": seen["request_id"], "document": seen["results"][row]["id"]} for row in (0, 1))
    before = lines(home, "clicks.jsonl"), lines(home, "conversions.jsonl")
    click, bought = {"type": "click", **first, "position": 1}, {"type": "conversion", **second, "value": 49.9}
    for wrong, status, word in (
        ({**bought, "document": "gone"}, 422, "a document that was shown"),
        ({**click, "position": 2}, 422, "at the position where it was shown"),
        ({**bought, "request_id": "f" * 32}, 404, "a search of these servers"),
        ({**click, "request_id": "f" * 32}, 404, "a search of these servers"),
    ):
        assert word in refusal(server.client.post("/v1/events", json={"events": [click, bought, wrong]}), status)
    assert (lines(home, "clicks.jsonl"), lines(home, "conversions.jsonl")) == before
    answer = server.client.post("/v1/events", json={"events": [click, bought, {"type": "conversion", **first}]})
    assert (answer.status_code, answer.json()) == (201, {"clicks": 1, "conversions": 2})
    assert len(lines(home, "clicks.jsonl")) == len(before[0]) + 1
    written = [Conversion.model_validate_json(line) for line in lines(home, "conversions.jsonl")[-2:]]
    assert [(one.document, one.value, one.caller) for one in written] == [
        (second["document"], 49.9, "server-key"),
        (first["document"], None, "server-key"),
    ]
    assert (home / "events/conversions.jsonl").stat().st_mode & 0o077 == 0
    told = server.client.get("/metrics").text
    assert f'ratchet_searches_clicked_total{{release="{seen["release"]}"}}' in told


def test_conversions_are_searched_and_erased_as_clicks_are(home, tmp_path):
    exposure = {"request_id": "r1", "user": "ann", "results": []}
    (tmp_path / "exposures.jsonl").write_text(json.dumps(exposure) + "\n")
    rows = [{"request_id": "r1", "document": "moon"}, {"request_id": "r2", "document": "sun"}]
    (tmp_path / "conversions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = Store(f"file://{home}/store")
    (place,) = [place for place in PLACES if place.name == "conversion log"]
    for subject in (Subject("user", "ann"), Subject("document", "sun")):
        search = Search(store, subject, frozenset(), [tmp_path])
        assert place.find(search) == ["1 lines"]
        place.erase(search)
        assert place.find(search) == []
    assert [json.loads(line) for line in (tmp_path / "conversions.jsonl").read_text().splitlines()] == [
        {"request_id": "r2", "document": "erased"}
    ]
