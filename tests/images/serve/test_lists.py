"""Lists of documents besides plain searches: narrowed by filters, similar to a document, recommended to a user."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from images.serve.exposure_log import ExposureLog
from images.serve.requests import SearchRequest
from images.serve.routing import Search
from images.serve.search import Answerer
from images.serve.watcher import State
from pipelines.corpus.documents import documents
from pipelines.corpus.exposure import Exposure
from pipelines.erasure.logs import exposures_change
from pipelines.erasure.subject import Subject
from pipelines.retrieval.release import load_release
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import Store, open_store
from tests.conftest import PROJECT
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.images.serve.test_interface import exposures, refusal, shared
from tests.pipelines.collections.movielens import GENRES, small_films
from tests.pipelines.retrieval.test_recommendation_stages import release_of, shop
from tests.sharing import built_once

__all__ = ["shared"]
FILMS = {film.id: film for film in small_films()}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A server of 120 films of six genres, with choices of users, and its home."""

    def build(home):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(home))
            patch.setenv("RATCHET_STORE", f"file://{home}/store")
            route(release_of(shop(), take="dense=0.2+collaborative=0.5+popularity=0.3")[1])

    home, _ = built_once(tmp_path_factory, "films", build)
    with running_server(home, RATCHET_STORE=f"file://{home}/store") as running:
        running.wait(lambda status: status["ready"])
        yield running, home


@pytest.fixture(scope="module")
def categories(_trained_once):
    """How many icons are in each."""
    corpus = load_exactly(Store(f"file://{_trained_once.home}/store"), "corpus", _trained_once.corpus)
    return Counter(document.segment for document in documents(corpus))


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json()["results"]]


def last_exposure(home) -> Exposure:
    return Exposure.model_validate_json((home / "events/exposures.jsonl").read_text().splitlines()[-1])


def test_a_filtered_search_has_as_many_results_as_match(shared, categories):
    """Of 1,880 icons few are of a rare category: what stands at the top of all is of others."""
    rare, count = min(categories.items(), key=lambda item: abs(item[1] - 20))
    assert 3 < count < 80
    plain = shared.search("beach", k=100).json()["results"]
    assert sum(result["segment"] == rare for result in plain) < count, "a hundred results would have them all anyway"
    answer = shared.search("beach", k=100, filter=f"segment={rare}").json()
    assert len(answer["results"]) == count
    assert {result["segment"] for result in answer["results"]} == {rare}
    few = shared.search("beach", k=3, filter=f"segment={rare}").json()
    assert [result["id"] for result in few["results"]] == [result["id"] for result in answer["results"][:3]]
    ((common, _),) = categories.most_common(1)
    both = shared.search("beach", k=100, filter=[f"segment={rare}", f"segment={common}"]).json()["results"]
    assert {result["segment"] for result in both} == {rare, common}
    nothing = shared.search("beach", filter="segment=no such category")
    assert (nothing.status_code, nothing.json()["results"]) == (200, [])


@pytest.mark.parametrize("path", ["/v1/search?q=a", "/v1/similar/moon?", "/v1/recommend?item=moon"])
@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"filter": "colour=red"}, "expected a field of the release's documents (segment)"),
        ({"filter": "red"}, "at most 16 of NAME=VALUE"),
        ({"filter": "=red"}, "at most 16 of NAME=VALUE"),
        ({"filter": "segment="}, "at most 16 of NAME=VALUE"),
        ({"filter": "segment=a\x00b"}, "at most 16 of NAME=VALUE"),
        ({"filter": [f"segment={number}" for number in range(17)]}, "at most 16 of NAME=VALUE"),
        ({"filter": f"segment={'x' * 201}"}, "at most 16 of NAME=VALUE"),
        ({"exclude": "a b"}, "without blanks"),
        ({"exclude": [f"m{number}" for number in range(51)]}, "at most 50 ids"),
        ({"k": "0"}, "greater than or equal to 1"),
        ({"user": "u", "segment": "who=u"}, "a segment that is the user"),
        ({"experiment": "e"}, "one of experiment and variant"),
        ({"page": "2"}, "no parameter of this name"),
        ({"features": "age=30"}, "reads the features of its documents itself, and explain=true shows them"),
    ],
)
def test_bad_parameters(shared, path, parameters, word):
    start, _, query = path.partition("?")
    asked = dict(pair.split("=") for pair in query.split("&") if pair) | parameters
    assert word in refusal(shared.client.get(start, params=asked), 422)


@pytest.mark.parametrize(
    ("path", "parameters", "status", "word"),
    [
        ("/v1/similar/gone", {}, 404, "given like 'gone'"),
        ("/v1/similar/a%20b", {}, 422, "without blanks"),
        ("/v1/similar/" + "x" * 513, {}, 422, "1 to 512 characters"),
        ("/v1/similar/moon", {"like": "sun"}, 422, "no parameter of this name"),
        ("/v1/similar/", {}, 422, "1 to 512 characters"),
        ("/v1/recommend", {"q": "moon"}, 422, "no parameter of this name"),
        ("/v1/recommend", {"item": "a b"}, 422, "without blanks"),
        ("/v1/recommend", {"item": "gone"}, 404, "a release with the stage popularity"),
        ("/v1/recommend", {"user": "ann"}, 404, "send documents that the user chose as item"),
        ("/v1/recommend", {"release": "challenger"}, 404, "a challenger beside the champion"),
    ],
)
def test_what_cannot_be_listed(shared, path, parameters, status, word):
    assert word in refusal(shared.client.get(path, params=parameters), status)


def test_similar_is_a_search_by_one_document(films):
    server, home = films
    plain = server.client.get("/v1/search", params={"like": "m007", "k": 7, "exclude": ["m001", "gone"]})
    answer = server.client.get("/v1/similar/m007", params={"k": 7, "exclude": ["m001", "gone"], "user": "ann"})
    assert ids(answer) == ids(plain)
    assert not {"m001", "m007"} & set(ids(answer))
    assert answer.json()["like"] == [{"id": "m007", "title": "m007"}]
    written = last_exposure(home)
    assert (written.kind, written.history, written.exclude, written.filter) == ("similar", ("m007",), ("m001",), ())
    assert (written.request_id, written.user != "") == (answer.json()["request_id"], True)
    narrowed = server.client.get("/v1/similar/m007", params={"k": 100, "filter": f"segment={GENRES[2]}", "exclude": "m002"})
    assert set(ids(narrowed)) == {name for name, film in FILMS.items() if film.segment == GENRES[2]} - {"m002", "m007"}
    assert last_exposure(home).filter == (f"segment={GENRES[2]}",)
    click = {"request_id": narrowed.json()["request_id"], "document": ids(narrowed)[0], "position": 1}
    assert server.client.post("/v1/clicks", json=click).status_code == 201


def test_recommendations_are_by_the_users_items_without_these_and_what_is_excluded(films):
    server, home = films
    release = server.ready()["champion"]
    loaded = load_release(Store(f"file://{home}/store"), release, 1)
    asked = {"item": ["m000", "gone", "m006"], "k": 12}
    answer = server.client.get("/v1/recommend", params=asked)
    assert ids(answer) == [document for document, _ in loaded.search_like([("m000", "m006")], 12)[0]]
    written = last_exposure(home)
    assert (written.kind, written.history) == ("recommendation", ("m000", "m006"))
    first, second = ids(answer)[:2]
    without = server.client.get("/v1/recommend", params={**asked, "exclude": [first, second]})
    assert ids(without) == [document for document, _ in loaded.search_like([("m000", "m006")], 12, [{first, second}])[0]]
    narrowed = server.client.get("/v1/recommend", params={**asked, "k": 100, "filter": f"segment={GENRES[0]}"})
    assert set(ids(narrowed)) == {name for name, film in FILMS.items() if film.segment == GENRES[0]} - {"m000", "m006"}


def test_who_is_unknown_gets_what_most_users_chose(films):
    server, home = films
    for items in ({}, {"item": "gone"}):
        answer = server.client.get("/v1/recommend", params={"k": 20, "explain": "true", "user": "ann", **items})
        body = answer.json()
        scores = [result["score"] for result in body["results"]]
        assert scores == sorted(scores, reverse=True)
        assert len(set(ids(answer))) == 20
        assert [result["stages"]["popularity"]["position"] for result in body["results"]] == list(range(1, 21))
        written = last_exposure(home)
        assert (written.kind, written.query, written.history) == ("recommendation", "", ())
    narrowed = server.client.get("/v1/recommend", params={"filter": f"segment={GENRES[1]}", "exclude": ids(answer)[:5]})
    assert {FILMS[name].segment for name in ids(narrowed)} == {GENRES[1]}
    assert not set(ids(answer)[:5]) & set(ids(narrowed))
    with pytest.raises(ValueError, match="either a query or a history"):
        Exposure(**{**written.model_dump(), "kind": "search"})


def test_a_cache_and_those_that_are_answered_together_keep_filters_and_exclusions_apart(trained, tmp_path):
    release = load_release(open_store(), trained.release, 1)
    segments = sorted({release.documents[name].segment for name in list(release.documents)[:200]})[:6]
    asked = [SearchRequest(q="beach", k=5)]
    asked += [SearchRequest(q="beach", k=5, filter=[f"segment={segment}"]) for segment in segments]
    asked += [
        SearchRequest(q="beach", k=5, filter=[f"segment={segments[0]}", f"segment={segment}"]) for segment in segments[1:]
    ]
    asked += [SearchRequest(q="beach", k=5, exclude=[name]) for name in ("umbrella-beach", "moon")]
    asked += [SearchRequest(like=["moon"], k=5), SearchRequest(like=["moon"], k=5, exclude=["sun"])]
    searches = [Search(parameters, "", "", "a test") for parameters in asked]

    def ranked(answerer, *groups):
        return [
            [(result["id"], round(result["score"], 5)) for result in answer["results"]]
            for group in groups
            for answer in answerer.answer_all(group)
        ]

    alone = ranked(Answerer(lambda: State(1, release), ExposureLog(tmp_path)), *([search] for search in searches))
    assert len({tuple(answer) for answer in alone}) >= 12, "most of the 16 differ"
    cached = Answerer(lambda: State(1, release), ExposureLog(tmp_path), cache=100)
    assert ranked(cached, searches) == alone
    assert ranked(cached, searches) == alone


def test_personal_data_in_a_filter_is_masked_and_an_erased_document_leaves_exclusions(server_of_icons):
    server, home = server_of_icons
    server.search("beach", filter="segment=ann@example.org", exclude=["moon", "sun"])
    (written,) = exposures(server, home)
    assert written.filter == ("segment=<EMAIL_ADDRESS>",)
    assert written.exclude == ("moon", "sun")
    change = exposures_change(Subject("document", "moon"))
    left = change(json.loads(written.model_dump_json()))
    assert left is not None
    assert left["exclude"] == ["erased", "sun"]
    old = change({"results": []})
    assert old == {"results": []}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_of_the_api_work(server_of_icons):
    server, _ = server_of_icons
    commands = re.findall(r"```bash\n(.*?)```", (PROJECT / "docs/api.md").read_text(), re.DOTALL)
    script = "set -e\n" + "\n".join(commands)
    environment = {**os.environ, "url": server.url, "key": server.key}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer for answer in answers if "status" in answer] == [], "a problem"
    *lists, batch, vectors, told = answers
    assert [len(answer["results"]) for answer in batch["answers"]] == [2, 2]
    assert len(vectors["vectors"]) == 2
    assert told == {"clicks": 1, "conversions": 1}
    beach, travel, both, moon, chosen = (
        ([result["id"] for result in answer["results"]], {result["segment"] for result in answer["results"]})
        for answer in lists
    )
    assert len(beach[0]) == 3
    assert travel[1] == {"Travel + Hotel"}
    assert both[1] == {"Travel + Hotel", "Maritime"}
    assert "umbrella-beach" in travel[0]
    assert "umbrella-beach" not in both[0]
    assert (len(moon[0]), "moon" in moon[0]) == (3, False)
    assert not {"moon", "cloud", "sun"} & set(chosen[0])


@pytest.fixture
def server_of_icons(trained):
    route(trained.release)
    with running_server(trained.home) as running:
        running.wait(lambda status: status["ready"])
        yield running, trained.home
