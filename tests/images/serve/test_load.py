"""Many requests at once: answered together as if alone, up to a bound; none that was accepted is lost when the server ends."""

import asyncio
import itertools
import json
import signal
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

import images.serve.dependencies as dependencies_module
from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.batching import Batcher
from images.serve.cache import RankingCache
from images.serve.errors import DEFECT, NotFound, Overloaded, status_of
from images.serve.exposure_log import ExposureLog, append_line
from images.serve.requests import SearchRequest
from images.serve.routing import Search
from images.serve.search import Answerer
from images.serve.watcher import State, Watcher
from pipelines.corpus.documents import queries
from pipelines.corpus.exposure import Exposure
from pipelines.errors import CorruptArtifact
from pipelines.index.vector_index import Index
from pipelines.retrieval.release import load_release
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.retrieval.stages.rerank import Reranked
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server
from tests.images.serve.test_interface import refusal


def search_for(q, **parameters):
    return Search(SearchRequest(q=q, **parameters), "", "", "a test")


def texts_of(trained, count):
    return [query.text for query in queries(load_exactly(open_store(), "corpus", trained.corpus), "test")][:count]


def shown(answer):
    return [(result["id"], result["position"]) for result in answer["results"]], [
        result["score"] for result in answer["results"]
    ]


@pytest.mark.parametrize("fixture", ["trained", "served"])
def test_searches_are_answered_together_as_if_each_were_alone(fixture, request, tmp_path):
    trained = request.getfixturevalue(fixture)
    release = load_release(open_store(), trained.release, 1)
    answerer = Answerer(lambda: State(1, release), ExposureLog(tmp_path))
    mixed = [search_for(text, k=5 + number % 3, explain=number % 5 == 0) for number, text in enumerate(texts_of(trained, 64))]
    mixed.append(Search(SearchRequest(like=["house"]), "", "", "a test"))
    alone = [answerer.answer_all([search])[0] for search in mixed]
    passes = release.encoder.forward_passes
    together = answerer.answer_all(mixed)
    assert release.encoder.forward_passes - passes < 40, "no texts were encoded together"
    for one, other in zip(alone, together, strict=True):
        assert shown(one)[0] == shown(other)[0]
        np.testing.assert_allclose(shown(one)[1], shown(other)[1], atol=1e-5)
        assert {**one, "request_id": "", "results": []} == {**other, "request_id": "", "results": []}
    written = [Exposure.model_validate_json(line) for line in (tmp_path / "exposures.jsonl").open()]
    assert [exposure.request_id for exposure in written[65:]] != []
    assert {exposure.request_id for exposure in written} == {answer["request_id"] for answer in alone + together}


def test_histories_of_other_lengths_change_no_answer_of_an_approximate_index(trained, tmp_path):
    """It looks into one list, into all where that has too few, and 50 documents that are left out are more than a list has."""
    import faiss

    release = load_release(open_store(), trained.release, 1)
    ids = release.index.ids.tolist()
    vectors = release.index.vectors(ids)
    lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    lists.train(vectors)
    lists.add(vectors)
    searches = [Search(SearchRequest(like=like), "", "", "a test") for like in (*([name] for name in ids[:20]), ids[-50:])]

    def ranked(index, *groups):
        answerer = Answerer(lambda: State(1, replace(release, index=index)), ExposureLog(tmp_path))
        return [shown(answer)[0] for group in groups for answer in answerer.answer_all(group)]

    alone = ranked(Index(lists, ids), *([search] for search in searches))
    assert alone != ranked(release.index, searches), "one list has what all have"
    assert ranked(Index(lists, ids), searches) == alone


def test_a_search_that_fails_spoils_no_other(trained, tmp_path):
    release = load_release(open_store(), trained.release, 1)

    class Failing:
        def encode(self, texts, role, batch_tokens):
            if "spoilt" in texts:
                raise MemoryError
            return release.encoder.encode(texts, role, batch_tokens)

    answerer = Answerer(lambda: State(1, replace(release, encoder=Failing())), ExposureLog(tmp_path))
    searches = [search_for("beach"), search_for("spoilt"), search_for("moon"), search_for("sun", release="challenger")]
    beach, spoilt, moon, challenger = answerer.answer_all(searches)
    assert isinstance(spoilt, MemoryError)
    assert isinstance(challenger, NotFound)
    assert (beach["query"], moon["query"]) == ("beach", "moon")
    assert len((tmp_path / "exposures.jsonl").read_text().splitlines()) == 2


def test_an_exposure_that_can_not_be_written_spoils_no_other(trained, tmp_path):
    """Half a character is no JSON. No caller can send one, so here it is the caller's id."""
    release, failed = load_release(open_store(), trained.release, 1), []
    answerer = Answerer(lambda: State(1, release), ExposureLog(tmp_path), failed=lambda *named: failed.append(named))
    searches = [search_for("beach"), replace(search_for("sun"), caller="\ud800"), search_for("moon")]
    beach, spoilt, moon = answerer.answer_all(searches)
    assert isinstance(spoilt, ValueError)
    written = [Exposure.model_validate_json(line) for line in (tmp_path / "exposures.jsonl").open()]
    assert [exposure.request_id for exposure in written] == [beach["request_id"], moon["request_id"]]
    assert failed == [], "it is no fault of the release"


def test_a_document_that_can_not_be_read_spoils_its_own_searches_alone(trained, tmp_path):
    """Its line in the corpus's file is overwritten while the release serves: the server's fault, and no exposure."""
    path = load_exactly(open_store(), "corpus", trained.corpus).path("documents.jsonl")
    path.chmod(0o644)
    body = path.read_bytes()
    path.unlink()  # blobs are hard links
    path.write_bytes(body)
    release = load_release(open_store(), trained.release, 1)
    told = []
    answerer = Answerer(lambda: State(1, release), ExposureLog(tmp_path), failed=lambda *seen: told.append(seen))
    line = next(line for line in body.splitlines() if b'"id":"umbrella-beach"' in line.replace(b" ", b""))
    path.write_bytes(body.replace(line, b"x" * len(line)))
    moon, beach, sun = answerer.answer_all([search_for("moon", k=1), search_for("beach"), search_for("sun", k=1)])
    assert (moon["query"], sun["query"]) == ("moon", "sun")
    assert isinstance(beach, CorruptArtifact)
    assert status_of(beach) == 500
    assert told == [(release.id, "failed")]
    assert len((tmp_path / "exposures.jsonl").read_text().splitlines()) == 2
    app = build_app(_Serving(State(1, release, ready=True)), ExposureLog(tmp_path), Auth("a key"), 1)
    with TestClient(app, raise_server_exceptions=False, headers={"Authorization": "Bearer a key"}) as client:
        answer = client.get("/v1/search?q=beach")
        assert (answer.status_code, answer.json()["detail"]) == (500, DEFECT)
        assert "documents.jsonl" not in answer.text
        batch = client.post("/v1/search/batch", json={"searches": [{"q": "beach"}, {"q": "moon", "k": 1}]}).json()["answers"]
        assert (batch[0]["status"], batch[1]["query"]) == (500, "moon")


def test_a_release_that_takes_too_long_to_compute_has_failed(trained, tmp_path, monkeypatch):
    release = load_release(open_store(), trained.release, 1)
    go = threading.Event()

    class Stuck:
        def encode(self, *_):
            go.wait(10)

    monkeypatch.setattr(dependencies_module, "WORK_S", 0.2)
    stuck = replace(release, encoder=Stuck())
    app = build_app(_Serving(State(1, stuck, ready=True)), ExposureLog(tmp_path), Auth("a key"), 1)
    with TestClient(app, headers={"Authorization": "Bearer a key"}) as client:
        assert "within 0.2 s" in refusal(client.post("/v1/embed", json={"texts": ["beach"]}), 429)
        go.set()
        assert f'ratchet_compute_failed_total{{release="{release.id}"}} 1.0' in client.get("/metrics").text


class _Serving:
    """What the application reads of a watcher."""

    def __init__(self, state):
        self.state = state


def test_an_equal_search_is_not_ranked_again_and_never_from_another_release(trained, small, tmp_path):
    release, other = (load_release(open_store(), release_id, 1) for release_id in (trained.release, small))
    serving = [release]
    log = ExposureLog(tmp_path)
    answerer = Answerer(lambda: State(1, serving[0]), log, cache=2)

    def passes(*searches):
        before = serving[0].encoder.forward_passes
        answers = answerer.answer_all(searches)
        assert {answer["release"] for answer in answers} == {serving[0].id}
        return serving[0].encoder.forward_passes - before, answers

    first, (beach, again) = passes(search_for("beach"), search_for("beach"))
    assert first == 1, "equal searches of a moment are ranked once"
    second, (third,) = passes(search_for("beach"))
    assert second == 0
    assert beach["results"] == again["results"] == third["results"]
    assert len({beach["request_id"], again["request_id"], third["request_id"]}) == 3
    assert passes(search_for("beach", k=3))[0] == 1
    assert passes(search_for("moon"))[0] == 1
    assert passes(search_for("beach"))[0] == 1, "more is kept than may be"
    serving[0] = other
    assert passes(search_for("beach"))[0] == 1, "the ranking of another release was used"
    assert len((tmp_path / "exposures.jsonl").read_text().splitlines()) == 7, "an answer was not written down"
    assert log.latest_queries(5) == ["beach", "moon"]


def test_what_was_reranked_late_is_not_kept():
    cache = RankingCache(2)
    cache.keep("late", StageRankings({}, [("a", 1.0)], Reranked(20, 3)))
    cache.keep("whole", StageRankings({}, [("a", 1.0)], Reranked(20, 20)))
    assert cache.get("late") is None
    assert cache.get("whole") is not None


def test_a_release_is_warmed_by_what_people_asked(trained, tmp_path, monkeypatch):
    log = ExposureLog(tmp_path)
    assert log.latest_queries(2) == []
    release = load_release(open_store(), trained.release, 1)
    Answerer(lambda: State(1, release), log).answer_all([search_for(text) for text in ("sun", "moon", "sun", "beach")])
    append_line(tmp_path / "exposures.jsonl", b'{"query": "cut')
    assert log.latest_queries(2) == ["beach", "sun"]
    asked = []
    monkeypatch.setattr(type(release), "search", lambda _, texts, k: asked.extend(texts))
    route(trained.release)
    for queries_, expected in ((log.latest_queries, ["beach", "sun", "moon"]), (lambda _: [], None)):
        watcher = Watcher(open_store(), 0.1, 1, latest_queries=queries_)
        watcher.poll()
        assert asked == (expected or [release.documents[probe].text for probe in release.card.probes])
        assert watcher.state.ready
        asked.clear()


def test_who_waits_is_taken_together_and_one_more_than_may_wait_is_refused():
    batches, go = [], threading.Event()

    def work(items):
        batches.append(list(items))
        go.wait(10)
        return [ValueError(item) if item == 3 else 2 * item for item in items]

    async def ask():
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(work, pool, workers=1, most_waiting=4, most_together=3, patience_s=5)
            asked = []
            for number in range(5):
                asked.append(asyncio.create_task(batcher.answer(number)))
                await asyncio.sleep(0.01)
            with pytest.raises(Overloaded, match="at most 4 waiting") as refused:
                await batcher.answer(5)
            assert refused.value.wait_s >= 1
            asked[1].cancel()
            go.set()
            return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third, fourth, fifth = asyncio.run(ask())
    assert batches == [[0], [2, 3], [4]], "the first alone; then those that waited, without the one that has gone"
    assert (first, third, fifth) == (0, 4, 8)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(fourth, ValueError)


def test_who_waits_too_long_is_told_to_come_back():
    async def ask():
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(lambda _: threading.Event().wait(0.3), pool, 1, 4, 4, patience_s=0.05)
            with pytest.raises(Overloaded, match=r"within 0\.05 s"):
                await batcher.answer(1)

    asyncio.run(ask())


def test_who_comes_as_the_last_worker_ends_is_answered_too():
    """Two rounds of the loop after an answer, the queue was seen empty, and callbacks of the worker's end may wait yet."""

    class Inline(ThreadPoolExecutor):
        def submit(self, work, *values):
            done = Future()
            done.set_result(work(*values))
            return done

    async def ask():
        loop, late = asyncio.get_running_loop(), []

        def work(items):
            if items == [1]:
                loop.call_soon(loop.call_soon, lambda: late.append(loop.create_task(batcher.answer(2))))
            return items

        batcher = Batcher(work, Inline(1), workers=1, most_waiting=4, most_together=4, patience_s=0.5)
        assert await batcher.answer(1) == 1
        return await late[0]

    assert asyncio.run(ask()) == 2


def asked_at_once(server: RunningServer, texts: list[str], threads: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(server.search, texts))


def logged(folder) -> Counter[str]:
    return Counter(json.loads(line)["request_id"] for path in folder.glob("exposures*.jsonl") for line in path.open())


def test_beyond_its_bound_the_server_says_when_to_come_back_and_loses_nothing(trained, tmp_path):
    route(trained.release)
    with running_server(trained.home, RATCHET_QUEUE="1", RATCHET_EVENTS=str(tmp_path)) as server:
        server.wait(lambda status: status["ready"])
        answers = asked_at_once(server, texts_of(trained, 400), 32)
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 429}, statuses
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "at most 1 waiting" in refusal(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        accepted = {answer.json()["request_id"] for answer in answers if answer.status_code == 200}
        assert logged(tmp_path) == Counter(accepted)
        assert server.search("beach").status_code == 200, "it goes on"


def under_load(
    server: RunningServer, texts: list[str], answered: threading.Semaphore | None = None
) -> list[tuple[int, str, str]]:
    """Status, request id and `connection` header of each answer, until one says that the connection closes, or none comes."""
    answers = []
    key = {"Authorization": f"Bearer {server.key}"}
    with httpx.Client(base_url=server.url, headers=key, timeout=30) as client, suppress(httpx.TransportError):
        for text in itertools.cycle(texts):
            answer = client.get("/v1/search", params={"q": text})
            answers.append((answer.status_code, answer.json()["request_id"], answer.headers.get("connection", "")))
            if answered and len(answers) == 1:
                answered.release()
            if answers[-1][2] == "close":
                return answers
    return [*answers, (0, "", "lost")]


def test_on_sigterm_it_says_so_and_answers_until_nobody_asks(trained, tmp_path):
    route(trained.release)
    with running_server(trained.home, RATCHET_DRAIN_S="5", RATCHET_EVENTS=str(tmp_path)) as server:
        server.wait(lambda status: status["ready"])
        texts = texts_of(trained, 50)
        answered = threading.Semaphore(0)
        with ThreadPoolExecutor(8) as pool:
            loads = [pool.submit(under_load, server, texts, answered) for _ in range(8)]
            assert all(answered.acquire(timeout=30) for _ in loads), "a load got no answer"
            server.process.send_signal(signal.SIGTERM)
            status = server.wait(lambda status: status["problem"], 5)
            answers = [answer for load in loads for answer in load.result()]
        assert (status["ready"], status["champion"]) == (False, trained.release)
        assert status["problem"].startswith("draining")
        assert server.process.wait(10) == -signal.SIGTERM, "uvicorn ends by the signal that it was sent"
    assert {status for status, _, _ in answers} == {200}, "an accepted request was lost, or a connection was cut"
    assert logged(tmp_path) == Counter(request_id for _, request_id, _ in answers)


def test_kill_9_loses_no_answered_search(trained, tmp_path):
    route(trained.release)
    with running_server(trained.home, RATCHET_EVENTS=str(tmp_path)) as server:
        server.wait(lambda status: status["ready"])
        texts = texts_of(trained, 50)
        with ThreadPoolExecutor(8) as pool:
            loads = [pool.submit(under_load, server, texts) for _ in range(8)]
            while not (tmp_path / "exposures.jsonl").exists() or len((tmp_path / "exposures.jsonl").read_bytes()) < 200_000:
                assert server.process.poll() is None
            server.process.kill()
            answered = {request_id for load in loads for status, request_id, _ in load.result() if status == 200}
    lines = (tmp_path / "exposures.jsonl").read_bytes().splitlines()
    assert len(answered) > 50
    assert answered <= {json.loads(line)["request_id"] for line in lines if line.endswith(b"}")}


def test_lines_that_cannot_all_be_written_are_not_written_at_all(tmp_path):
    import resource

    log = tmp_path / "log"
    log.write_bytes(b"{}\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(OSError, match="only a part"):
            append_line(log, b'{"a": 1}\n{"b": 2}')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert log.read_bytes() == b"{}\n"
