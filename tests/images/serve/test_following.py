"""The server follows the journal: swaps, rollbacks, and everything that must not be followed."""

import asyncio
import gc
import threading
import time
from collections import Counter

import httpx
import pytest

from images.serve import watcher as watcher_module
from images.serve.__main__ import keep_from_collection, running
from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.exposure_log import ExposureLog
from images.serve.watcher import Watcher
from pipelines.deployment.readiness import readiness
from pipelines.retrieval.release import load_release
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.journal import Journal, Routing, entry_path
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe
from tests.conftest import Trained
from tests.images.serve.conftest import route
from tests.images.serve.server import KEY, for_anybody, running_server


def test_no_champion_then_one(trained):
    with running_server(trained.home) as server:
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
        server.wait(lambda status: status["problem"].startswith("no champion yet"))
        before = server.search("beach")
        assert before.status_code == 503
        assert "no champion yet" in before.json()["detail"]
        readyz = httpx.get(f"{server.url}/readyz")
        assert readyz.status_code == 503
        assert readyz.json()["problem"].startswith("no champion yet")
        assert server.ready()["problem"].endswith("then run deploy")
        entry = route(trained.release)
        status = server.wait(lambda status: status["ready"])
        assert status.pop("log")["problem"] == ""
        assert status == {
            "ready": True, "entry": entry, "champion": trained.release, "challenger": None, "previous": None,
            "warm": [trained.release], "problem": None, "split": None, "shadow": 0, "limits": "memory", "credentials": {},
            "threads": {},
        }  # fmt: skip
        answer = server.search("beach", k=5).json()
        ranked = load_release(open_store(), trained.release).search(["beach"], 5)[0]
        assert [result["id"] for result in answer["results"]] == [document for document, _ in ranked]
        assert [result["score"] for result in answer["results"]] == pytest.approx([score for _, score in ranked], abs=1e-5)
        assert [result["position"] for result in answer["results"]] == [1, 2, 3, 4, 5]
        assert answer["release"] == trained.release
        assert answer["query"] == "beach"


def test_swap_and_rollback_under_load(trained, small):
    route(trained.release)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])
        answers: list[tuple[int, str]] = []
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=30) as client:
                while not stop.is_set():
                    answer = client.get("/v1/search", params={"q": "beach", "k": 3})
                    answers.append((answer.status_code, answer.json().get("release", answer.text)))

        client = threading.Thread(target=ask)
        client.start()
        try:
            route(trained.release, small, "promote")
            server.wait(lambda status: status["challenger"] == small and status["champion"] == trained.release)
            assert server.search("beach", release="challenger").json()["release"] == small
            route(small)
            status = server.wait(lambda status: status["champion"] == small)
            assert set(status["warm"]) == {small, trained.release}, "the previous champion stays in memory"
            seen = len(answers)
            while len(answers) < seen + 10:
                assert client.is_alive()
            entry = route(trained.release, action="rollback")
            server.wait(lambda status: status["champion"] == trained.release and status["entry"] == entry)
            seen = len(answers)
            while len(answers) < seen + 10:
                assert client.is_alive()
        finally:
            stop.set()
            client.join()
        assert Counter(status for status, _ in answers) == {200: len(answers)}
        order = [release for number, (_, release) in enumerate(answers) if number == 0 or answers[number - 1][1] != release]
        assert order == [trained.release, small, trained.release]
        assert server.process.poll() is None


def test_previous_champion_is_loaded_after_a_restart(trained, small):
    route(small)
    route(trained.release)
    with running_server(trained.home) as server:
        status = server.wait(lambda status: len(status["warm"]) == 2)
        assert status["champion"] == trained.release
        assert small in status["warm"]
        assert server.wait(lambda status: status["previous"])["previous"] == small
        answer = server.search("beach", k=5, release="previous").json()
        assert answer["release"] == small
        ranked = load_release(open_store(), small).search(["beach"], 5)[0]
        assert [result["id"] for result in answer["results"]] == [document for document, _ in ranked]
        entry = route(small, action="rollback")
        server.wait(lambda status: status["entry"] == entry)
        answer = server.search("beach", release="previous")
        assert answer.status_code == 404
        assert "a champion before the present one" in answer.json()["detail"]


def spoilt_vectors(store: Store, release: str) -> None:
    """Flip a byte in the stored index of a release; the blob is copied first, for others link to it."""
    card = load_exactly(store, "release", release).json("release.json")
    path = load_exactly(store, "index", card["index"]).path("index.faiss")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.with_suffix(".spoilt").write_bytes(body)
    path.with_suffix(".spoilt").replace(path)


def test_corrupt_release_is_refused_while_the_champion_serves(trained, small):
    route(trained.release)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])
        spoilt_vectors(open_store(), small)
        refused = route(small)
        status = server.wait(lambda status: not status["ready"])
        assert status["champion"] == trained.release
        assert status["entry"] == refused - 1
        assert "index.faiss" in status["problem"]
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        assert server.ready_to_anybody() == {**for_anybody(status), "problem": "the champion can't be loaded"}
        assert server.search("beach").json()["release"] == trained.release
        back = route(trained.release, action="rollback")
        assert server.wait(lambda status: status["ready"])["entry"] == back
        assert server.stderr.read_text().count("index.faiss") == 1, "a problem is logged once"


def test_corrupt_challenger_does_not_hold_up_the_champion(trained, small):
    spoilt_vectors(open_store(), small)
    entry = route(trained.release, small, "promote")
    with running_server(trained.home) as server:
        status = server.wait(lambda status: status["ready"] and status["problem"])
        assert (status["entry"], status["champion"], status["challenger"]) == (entry, trained.release, None)
        assert "index.faiss" in status["problem"]
        assert server.ready_to_anybody() == {**for_anybody(status), "problem": "the challenger can't be loaded"}
        assert server.search("beach", release="challenger").status_code == 404


def test_a_challenger_that_can_not_be_loaded_does_not_make_a_rollback_slow(trained, small):
    """Also after a restart the previous champion is in memory."""
    route(small)
    route(trained.release)
    route(trained.release, "0" * 20, "promote")
    watcher = Watcher(open_store(), 0.1)
    watcher.poll()
    state = watcher.state
    assert (state.champion.id, state.challenger, state.previous.id) == (trained.release, None, small)
    assert state.problem.short == "the challenger can't be loaded"


def test_repaired_release_is_served_without_another_entry(trained, small):
    store = open_store()
    card = load_exactly(store, "release", small).json("release.json")
    path = load_exactly(store, "index", card["index"]).path("index.faiss")
    path.rename(path.with_suffix(".away"))
    route(small)
    with running_server(trained.home) as server:
        assert "missing" in server.wait(lambda status: "missing" in status["problem"])["problem"]
        refused = server.search("beach")
        assert refused.status_code == 503
        assert "(the champion can't be loaded)" in refused.json()["detail"]
        assert str(trained.home) not in refused.text
        path.with_suffix(".away").rename(path)
        assert server.wait(lambda status: status["ready"])["champion"] == small


def test_the_first_champion_is_told_while_it_loads(trained, monkeypatch):
    route(trained.release)
    watcher = Watcher(open_store(), 0.1)
    app = build_app(watcher, ExposureLog(trained.home / "events"), Auth(KEY), 1)
    responses: list[httpx.Response] = []

    async def ask() -> None:
        key = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for path, headers in (("/readyz", key), ("/readyz", {}), ("/v1/search?q=beach", key)):
                responses.append(await client.get(path, headers=headers))

    def load_after_asking(*arguments):
        asyncio.run(ask())
        return load_release(*arguments)

    monkeypatch.setattr(watcher_module, "load_release", load_after_asking)
    watcher.poll()
    full, short, refused = responses
    assert full.json()["problem"] == f"loading champion {trained.release}"
    assert short.json()["problem"] == "loading"
    assert (short.status_code, refused.status_code) == (503, 503)
    assert "(loading)" in refused.json()["detail"]
    assert watcher.state.ready
    assert watcher.state.problem is None


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer a-wrong-key", f"Basic {KEY}"])
def test_strangers_learn_no_place_of_the_store(trained, authorization):
    route("0" * 20)
    with running_server(trained.home) as server:
        assert str(trained.home) in server.wait(lambda status: "0" * 20 in status["problem"])["problem"]
        answer = httpx.get(f"{server.url}/readyz", headers={"Authorization": authorization})
        assert answer.status_code == 503
        assert set(answer.json()) == {"ready", "entry", "champion", "challenger", "previous", "warm", "problem"}
        assert answer.json()["problem"] == "the champion can't be loaded"
        assert str(trained.home) not in answer.text


def test_a_release_tells_the_ndcg_of_the_evaluation_by_which_it_was_promoted(trained, small):
    def made(kind, facts, **inputs):
        recipe = Recipe(kind=kind, step="a_test", version=1, inputs=inputs, params=facts)
        return produce(open_store(), recipe, lambda _: facts).id

    evaluation = made("evaluation", {"measures": {"nDCG@10": {"mean": 0.375}}})
    verdict = made("verdict", {"outcome": "passed"}, evaluation=evaluation)
    routing = Routing(champion=None, challenger=trained.release)
    Journal(open_store()).append("promote", trained.release, "for a test", routing, verdict=verdict)
    route(trained.release)
    route(trained.release, small, "promote")
    watcher = Watcher(open_store(), 0.1)
    watcher.poll()
    assert set(watcher.state.warm) == {trained.release, small}
    told = {sample.name: (sample.labels, sample.value) for family in watcher.collect() for sample in family.samples}
    assert told["ratchet_probe_ndcg"] == ({"release": trained.release}, 0.375), "nobody evaluated the other"


def test_the_age_of_the_journal_grows_while_it_can_not_be_read(trained):
    route(trained.release)
    watcher = Watcher(open_store(), 0.1)

    def age():
        return next(iter(watcher.collect())).samples[0].value

    assert age() >= 0
    watcher._read_at -= 1_000
    assert age() >= 1_000
    open_store().create(entry_path(2), b"{}")
    watcher.poll()
    assert age() >= 1_000, "it is as ready as before"
    assert watcher.state.ready
    (trained.home / "store" / entry_path(2)).unlink()
    watcher.poll()
    assert age() < 1_000


def test_what_stays_is_left_out_of_collections_once(trained, small):
    """A full collection of all that is imported holds every search up, and each release that is loaded brings one."""
    frozen = []

    def began():
        keep_from_collection()
        frozen.append(gc.get_freeze_count())
        gc.unfreeze()  # these are the tests' own modules

    watcher = Watcher(open_store(), 0.1, began=began)
    watcher.poll()
    assert frozen == [], "nothing is loaded yet"
    for release in (trained.release, small):
        route(release)
        watcher.poll()
    (count,) = frozen
    assert count > 10_000


def test_a_thread_that_fails_runs_again_and_says_so():
    """Else the server would go on as it is, and follow nothing."""

    class Failing:
        runs = 0
        ended = threading.Event()

        def run(self):
            self.runs += 1
            if self.runs < 3:
                raise OSError(28, "No space left on device")
            self.ended.set()

        def stop(self):
            pass

    failures = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("images.serve.__main__.RUN_AGAIN_S", 0.01)
        with running(failing := Failing(), failures=failures):
            assert failing.ended.wait(30)
    assert "No space left" in failures["failing"]


def test_swapped_tokenizer_is_refused(trained, swapped_tokenizer):
    route(trained.release)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])
        route(swapped_tokenizer)
        status = server.wait(lambda status: not status["ready"])
        assert "whose encoder gives vectors that differ by" in status["problem"]
        assert status["champion"] == trained.release
        assert server.search("beach").json()["release"] == trained.release


def test_missing_release(trained):
    route("0" * 20)
    with running_server(trained.home) as server:
        status = server.wait(lambda status: "0" * 20 in status["problem"])
        assert not status["ready"]


@pytest.mark.parametrize("body", [b"{}", b"\xff\x00", b'{"n": 2, "routing": {"champion": "x"}}'])
def test_journal_entry_by_a_stranger(trained: Trained, body: bytes):
    route(trained.release)
    open_store().create(entry_path(2), body)
    with running_server(trained.home) as server:  # also after a restart the entries before it hold
        status = server.wait(lambda status: status["ready"] and status["problem"])
        assert "journal/00000002.json" in status["problem"]
        assert server.ready_to_anybody() == {**for_anybody(status), "problem": "the journal can't be followed"}
        assert (status["entry"], status["champion"]) == (1, trained.release)
        assert server.search("beach").json()["release"] == trained.release
        (trained.home / "store" / entry_path(2)).unlink()
        assert server.wait(lambda status: status["problem"] is None)["ready"]


def test_release_that_is_no_release(trained):
    """A manifest that names files which are not what a release holds: no exception ends the watcher."""
    recipe = Recipe(kind="release", step="assemble", version=1, inputs={}, params={"odd": 1})

    def build(folder):
        (folder / "release.json").write_text('{"odd": 1}')
        return {}

    odd = produce(open_store(), recipe, build).id
    route(odd)
    with running_server(trained.home) as server:
        server.wait(lambda status: "release that can be read" in status["problem"])
        route(trained.release)
        assert server.wait(lambda status: status["ready"])["champion"] == trained.release


def test_deploy_sees_the_full_sentence(trained, monkeypatch):
    route("0" * 20)
    with running_server(trained.home) as server:
        sentence = server.wait(lambda status: "0" * 20 in status["problem"])["problem"]
        assert readiness(server.url).problem == "the champion can't be loaded"
        monkeypatch.setenv("RATCHET_SERVER_KEY", KEY)
        assert readiness(server.url).problem == sentence


def test_a_rollback_does_not_wait_for_a_challenger_that_loads(trained, small, monkeypatch):
    route(small)
    route(trained.release)
    watcher = Watcher(open_store(), 0.1)
    following = threading.Thread(target=watcher.run, daemon=True)
    loading, go_on = threading.Event(), threading.Event()

    def slowly(store, release, *options):
        if release == "0" * 20:
            loading.set()
            assert go_on.wait(30)
        return load_release(store, release, *options)

    monkeypatch.setattr(watcher_module, "load_release", slowly)
    following.start()
    try:
        wait_for(lambda: set(watcher.state.warm) == {small, trained.release})
        assert len({id(release.encoder) for release in watcher.state.warm.values()}) == 1, "the same encoder is in memory once"
        route(trained.release, "0" * 20, "promote")
        assert loading.wait(10)
        assert watcher.state.champion.id == trained.release
        route(small, action="rollback")
        wait_for(lambda: watcher.state.champion.id == small)
    finally:
        go_on.set()
        watcher.stop()
        following.join(10)


def wait_for(holds, patience_s=30.0):
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
