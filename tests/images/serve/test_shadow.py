"""A challenger that ranks searches unseen: whatever it does, users' answers and their times are as without it."""

import asyncio
import statistics
import threading
import time
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from images.serve import shadow
from images.serve.app import build_app
from images.serve.arm_counts import ArmCounts
from images.serve.auth import Auth
from images.serve.exposure_log import ExposureLog
from images.serve.requests import SearchRequest
from images.serve.routing import Search
from images.serve.search import Answerer
from images.serve.watcher import State
from pipelines.corpus.exposure import Exposure, FailedSearch, ShadowSearch
from pipelines.deployment.counts import counts_of
from pipelines.errors import InputError, TryAgain
from pipelines.retrieval.release import load_release
from pipelines.store.journal import Split
from pipelines.store.objects import open_store
from tests.images.serve.test_load import texts_of

KEY = "a-key-of-the-tests"
SLOW_S = 0.3


class Encoding:
    """An encoder that does something before it encodes."""

    def __init__(self, encoder, before):
        self._encoder, self._before = encoder, before

    def encode(self, *given):
        self._before()
        return self._encoder.encode(*given)


class Served:
    """A server's application in this process, and what it wrote."""

    def __init__(self, folder, champion, challenger, share):
        self.folder = folder
        self.state = State(7, champion, challenger, shadow=share, warm={champion.id: champion}, ready=True, problem=None)
        self.app = build_app(self, ExposureLog(folder), Auth(KEY), 2)
        self.dependencies = self.app.state.dependencies

    def ask(self, *paths):
        """The answers one after another, and the seconds that each took."""

        async def each():
            transport = httpx.ASGITransport(self.app)
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
                answers, times = [], []
                for path in paths:
                    began = time.monotonic()
                    answers.append(await client.get(path))
                    times.append(time.monotonic() - began)
                return answers, times

        return asyncio.run(each())

    def lines(self, name, form):
        path = self.folder / name
        return [form.model_validate_json(line) for line in path.open()] if path.exists() else []

    def seen(self, number):
        """The lines of the shadow, once there are so many."""
        deadline = time.monotonic() + 30
        while len(lines := self.lines("shadow.jsonl", ShadowSearch)) < number:
            assert time.monotonic() < deadline, lines
            time.sleep(0.01)
        return lines

    def metrics(self):
        page = self.dependencies.metrics.page().decode()
        return {
            (sample.name.removeprefix("ratchet_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


@pytest.fixture
def releases(trained, small):
    return load_release(open_store(), trained.release, 1), load_release(open_store(), small, 1)


def shown(answers):
    return [[(result["id"], result["score"]) for result in answer.json()["results"]] for answer in answers]


def searches(trained, count):
    return [f"/v1/search?q={text}&k=3" for text in texts_of(trained, count)]


def test_both_releases_are_compared_and_nothing_of_it_is_an_exposure(trained, releases, tmp_path):
    champion, challenger = releases
    served = Served(tmp_path, champion, challenger, 1.0)
    texts = texts_of(trained, 6)
    answers, _ = served.ask(*searches(trained, 6), "/v1/similar/moon?k=3")
    lines = served.seen(7)
    exposures = served.lines("exposures.jsonl", Exposure)
    assert {exposure.release for exposure in exposures} == {champion.id}
    assert [line.request_id for line in lines] == [exposure.request_id for exposure in exposures]
    assert {(line.entry, line.champion, line.challenger) for line in lines} == {(7, champion.id, challenger.id)}
    for text, line in zip(texts, lines, strict=False):
        ours, theirs = ({document for document, _ in release.search([text], 10)[0]} for release in releases)
        assert line.overlap == len(ours & theirs) / 10
        assert (line.champion_results, line.challenger_results, line.reason) == (10, 10, None)
        assert line.champion_ms > 0 < line.challenger_ms
    assert 0 < statistics.mean(line.overlap for line in lines) < 1
    told = served.metrics()
    assert told["searches_total", champion.id] == 7
    assert ("searches_total", challenger.id) not in told
    assert told["shadow_searches_total", challenger.id] == 7
    assert told["shadow_overlap_total", challenger.id] == pytest.approx(sum(line.overlap for line in lines))
    for name, field in (("shadow_seconds_total", "challenger_ms"), ("shadow_champion_seconds_total", "champion_ms")):
        assert told[name, challenger.id] == pytest.approx(sum(getattr(line, field) for line in lines) / 1000)
    assert told["shadow_share",] == 1
    raw = (tmp_path / "shadow.jsonl").read_text()
    assert [word for word in (*texts, *(result["id"] for result in answers[0].json()["results"])) if f'"{word}"' in raw] == []


def spoilt(release, before):
    return replace(release, encoder=Encoding(release.encoder, before))


def test_a_slow_challenger_makes_no_search_slower(trained, releases, tmp_path):
    champion, challenger = releases
    asked = searches(trained, 12)
    alone, _ = Served(tmp_path / "alone", champion, challenger, 0.0).ask(*asked)
    served = Served(tmp_path / "shadow", champion, spoilt(challenger, lambda: time.sleep(SLOW_S)), 1.0)
    answers, times = served.ask(*asked)
    assert shown(answers) == shown(alone)
    assert statistics.median(times) < SLOW_S / 3
    first = served.seen(1)[0]
    assert first.challenger_ms > 1000 * SLOW_S > first.champion_ms


def test_a_challenger_that_hangs_holds_up_nobody_and_searches_are_dropped(trained, releases, tmp_path):
    champion, challenger = releases
    asked, go = searches(trained, shadow.MOST_WAITING + 5), threading.Event()
    served = Served(tmp_path, champion, spoilt(challenger, lambda: go.wait(60)), 1.0)
    answers, _ = served.ask(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert served.metrics()["shadow_dropped_total", "full"] >= 4
    go.set()
    served.seen(shadow.MOST_WAITING)


def test_a_challenger_that_fails_is_blamed_and_nobody_sees_it(trained, releases, tmp_path):
    champion, challenger = releases
    asked = searches(trained, 4)
    alone, _ = Served(tmp_path / "alone", champion, challenger, 0.0).ask(*asked)

    def fail():
        raise MemoryError

    served = Served(tmp_path / "shadow", champion, spoilt(challenger, fail), 1.0)
    answers, _ = served.ask(*asked, "/v1/search?q=moon&filter=category=animals")
    assert shown(answers[:-1]) == shown(alone)
    lines = served.seen(len(asked))
    assert [(line.reason, line.error, line.overlap, line.challenger_results) for line in lines[:4]] == [
        ("failed", "MemoryError", None, 0)
    ] * 4
    told = served.metrics()
    assert told["shadow_failed_total", challenger.id] >= 4
    assert told["shadow_overlap_total", challenger.id] == told["shadow_seconds_total", challenger.id] == 0
    assert ("searches_failed_total", challenger.id) not in told


def test_only_searches_in_the_share_that_the_champion_answered_by_default(releases, tmp_path, monkeypatch):
    champion, challenger = releases
    monkeypatch.setattr(shadow, "PATIENCE_S", 0.0)
    served = Served(tmp_path, champion, challenger, 0.25)
    served.dependencies.shadow._idle = lambda: False

    def offered(policy=None, request="0" * 32, release=champion.id):
        search = Search(SearchRequest(q="moon", release=policy), "", "", "a test")
        before = served.metrics().get(("shadow_dropped_total", "busy"), 0)
        served.dependencies.shadow.offer(search, {"request_id": request, "release": release})
        deadline = time.monotonic() + 0.3
        while (after := served.metrics().get(("shadow_dropped_total", "busy"), 0)) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        return after > before

    assert offered()
    assert offered(request="3fffffff" + "0" * 24)
    assert not offered(request="40000000" + "0" * 24), "beyond a quarter"
    assert not offered(policy="champion")
    assert not offered(release=challenger.id)
    served.state = replace(served.state, challenger=None)
    assert not offered()
    assert served.lines("shadow.jsonl", ShadowSearch) == []


def test_releases_that_changed_meanwhile_are_not_compared(releases, tmp_path):
    champion, challenger = releases
    served = Served(tmp_path, champion, challenger, 1.0)
    search, answer = Search(SearchRequest(q="moon"), "", "", "a test"), {"request_id": "0" * 32, "release": champion.id}
    shadows = served.dependencies.shadow
    assert shadows._take(search, answer, False) == ""
    served.state = replace(served.state, champion=challenger, challenger=champion)
    assert shadows._take(search, answer, False) == "routing"
    served.state = replace(served.state, champion=spoilt(champion, lambda: {}["nothing"]), challenger=challenger)
    assert shadows._take(search, answer, True) == "champion"
    served.state = replace(served.state, champion=champion)

    def full(_):
        raise TryAgain("a disk", "room", "make room")

    served.dependencies.exposure_log.log_shadow = full
    assert shadows._take(search, answer, True) == "log"
    assert served.metrics()["shadow_searches_total", challenger.id] == 2


def test_a_release_that_fails_in_shadow_is_logged_once(releases, tmp_path):
    champion, challenger = releases

    def fail():
        raise MemoryError

    served = Served(tmp_path, spoilt(champion, fail), spoilt(challenger, fail), 1.0)
    search, answer = Search(SearchRequest(q="moon"), "", "", "a test"), {"request_id": "0" * 32, "release": champion.id}
    with capture_logs() as logged:
        for _ in range(3):
            assert served.dependencies.shadow._take(search, answer, False) == "champion"
    assert [(line["event"], line["release"]) for line in logged] == [
        ("the champion did not answer in shadow", champion.id),
        ("the challenger did not answer in shadow", challenger.id),
    ]


def test_a_deployment_counts_both_releases_whichever_of_them_fails(releases, tmp_path):
    champion, challenger = releases

    def fail():
        raise MemoryError

    served = Served(tmp_path, champion, challenger, 1.0)
    shadows = served.dependencies.shadow
    shadows._arms = arms = ArmCounts(open_store(), lambda: served.state, 3600, "host:1")
    search, answer = Search(SearchRequest(q="moon"), "", "", "a test"), {"request_id": "0" * 32, "release": champion.id}
    states = [(champion, challenger), (spoilt(champion, fail), challenger), (champion, spoilt(challenger, fail))]
    for ours, theirs in states:
        for challenger_first in (False, True):
            served.state = replace(served.state, champion=ours, challenger=theirs)
            shadows._take(search, answer, challenger_first)
    counts, _ = counts_of([arms._body(7, arms._entries[7])], {7})
    assert counts.searches.sum(0).tolist() == [6, 6]
    assert counts.errors.sum(0).tolist() == [2, 2], "blamed for the champion's failures, it would look worse than it is"
    assert counts.latency.sum((0, 2)).tolist() == [4, 4]


def test_it_begins_after_the_answer_was_sent(releases, tmp_path):
    served = Served(tmp_path, *releases, 1.0)
    events = []
    served.dependencies.shadow.offer = lambda search, answer: events.append(search.parameters.q)

    async def ask():
        scope = {
            "type": "http", "method": "GET", "path": "/v1/search", "raw_path": b"/v1/search", "query_string": b"q=moon",
            "headers": [(b"authorization", f"Bearer {KEY}".encode())], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            events.append(message["type"])

        await served.app(scope, receive, send)

    asyncio.run(ask())
    assert events == ["http.response.start", "http.response.body", "moon"]


def test_a_search_that_only_the_challenger_fails_is_counted_and_written_down(releases, tmp_path):
    champion, challenger = releases

    def fail():
        raise MemoryError

    split = {"split": Split(name="titles", share=1.0), "ready": True}
    state = State(7, champion, spoilt(challenger, fail), warm={}, **split)
    failed = []
    answerer = Answerer(lambda: state, ExposureLog(tmp_path), failed=lambda *told: failed.append(told))
    wanted = {"q": "moon", "filter": ["a field that no document has=1"]}
    asked = [
        Search(SearchRequest(q="moon"), "ann", "p", "shop"),
        Search(SearchRequest(q="moon"), "", "", "shop"),
        Search(SearchRequest(**wanted), "ann", "p", "shop"),
        Search(SearchRequest(q="moon", release="previous"), "ann", "p", "shop"),
    ]
    first, second, third, fourth = answerer.answer_all(asked)
    assert isinstance(first, MemoryError)
    assert second["release"] == champion.id
    assert isinstance(third, InputError)
    assert isinstance(fourth, InputError)
    assert failed == [(challenger.id, "refused"), (challenger.id, "failed")], "no release was to answer the last"
    lines = [FailedSearch.model_validate_json(line) for line in (tmp_path / "failures.jsonl").open()]
    assert [(line.release, line.policy, line.entry, line.reason, line.error) for line in lines] == [
        (challenger.id, "challenger", 7, "refused", "InputError"),
        (challenger.id, "challenger", 7, "failed", "MemoryError"),
    ]
    assert {(line.experiment, line.variant, line.caller) for line in lines} == {("titles", "challenger", "shop")}
    assert len((tmp_path / "exposures.jsonl").read_text().splitlines()) == 1
    assert "moon" not in (tmp_path / "failures.jsonl").read_text()
    (tmp_path / "failures.jsonl").unlink()
    (tmp_path / "failures.jsonl").mkdir()
    assert isinstance(answerer.answer_all(asked[:1])[0], MemoryError), "a log that can't grow changes nothing for who asked"
