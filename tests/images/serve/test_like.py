"""More like a document, or like a history of them: over HTTP, in the log, and on the page in a real browser."""

import pytest

from pipelines.corpus.exposure import Exposure
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.images.serve.test_interface import exposures, refusal, shared
from tests.images.serve.test_page import ask, open_page, titles

__all__ = ["open_page", "shared"]
ONLY_CHAMPION = "digital-ocean"


@pytest.fixture
def server(trained, small):
    """The champion has all icons, the challenger 24 of them."""
    route(trained.release, small, "promote")
    with running_server(trained.home) as running:
        running.wait(lambda status: status["ready"] and status["challenger"])
        yield running


def like(server, *ids, **params):
    return server.client.get("/v1/search", params={"like": list(ids), **params})


def test_results_are_those_of_the_release_and_are_written_down(server, trained):
    answer = like(server, "moon", "house", k=5, user="ann").json()
    ranked = load_release(open_store(), trained.release).search_like([("moon", "house")], 5)[0]
    assert [row["id"] for row in answer["results"]] == [document for document, _ in ranked]
    assert [row["score"] for row in answer["results"]] == pytest.approx([score for _, score in ranked], abs=1e-5)
    assert (answer["query"], answer["like"]) == ("", [{"id": "moon", "title": "Moon"}, {"id": "house", "title": "House"}])
    (written,) = exposures(server, trained.home)
    assert (written.query, written.history, written.user != "") == ("", ("moon", "house"), True)
    for wrong in ({"history": ()}, {"query": "beach"}):
        with pytest.raises(ValueError, match="either a query or a history"):
            Exposure(**{**written.model_dump(), **wrong})
    assert [shown.document for shown in written.results] == [row["id"] for row in answer["results"]]
    top = {"request_id": answer["request_id"], "document": answer["results"][0]["id"], "position": 1}
    assert server.client.post("/v1/clicks", json=top).status_code == 201
    worded = server.search("beach", k=1).json()
    assert (worded["query"], worded["like"]) == ("beach", [])
    assert exposures(server, trained.home)[-1].history == ()


def test_unknown_documents_are_skipped_unless_all_are(server, trained):
    plain, odd = like(server, "moon", k=5).json(), like(server, "gone", "moon", "moon", k=5).json()
    assert odd["results"] == plain["results"]
    assert odd["like"] == plain["like"]
    assert [exposure.history for exposure in exposures(server, trained.home)] == [("moon",), ("moon",)]
    message = refusal(like(server, "gone", "<script>"), 404)
    assert "given like 'gone, <script>'" in message
    refusal(like(server, ONLY_CHAMPION, release="challenger"), 404)
    assert like(server, ONLY_CHAMPION).status_code == 200


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"like": ["moon"], "q": "beach"}, "q and like together"),
        ({}, "q nothing, like nothing"),
        ({"like": [""]}, "1 to 512 characters"),
        ({"like": ["a b"]}, "without blanks"),
        ({"like": ["a\u2028b"]}, "without blanks"),
        ({"like": ["a\x00b"]}, "without control characters"),
        ({"like": ["x" * 513]}, "1 to 512 characters"),
        ({"like": ["moon", "x" * 513]}, "like 'xxx"),
        ({"like": [f"m{number}" for number in range(51)]}, "at most 50 ids"),
        ({"like": ["moon"], "k": "101"}, "less than or equal to 100"),
        ({"like": ["moon"], "history": "moon"}, "no parameter of this name"),
    ],
)
def test_bad_requests(shared, parameters, word):
    assert word in refusal(shared.client.get("/v1/search", params=parameters), 422)


def test_fifty_documents_and_all_results(server, trained):
    ids = list(load_release(open_store(), trained.release).documents)[:50]
    results = like(server, *ids, k=100).json()["results"]
    assert len(results) == 100
    assert not {row["id"] for row in results} & set(ids)
    assert len(like(server, "moon", k=100, release="challenger").json()["results"]) == 23


def test_more_like_this_by_mouse_by_key_and_back(open_page, server, trained):
    page = open_page()
    ask(page, "beach")
    expected = [row["title"] for row in like(server, "moon").json()["results"]]
    page.get_by_role("link", name="More like this: Moon").first.click()
    page.get_by_text("10 results like “Moon”").wait_for()
    assert titles(page) == expected
    assert page.locator("#q").input_value() == ""
    focused = "document.activeElement.querySelector('.title')?.textContent"
    assert page.evaluate(focused) == expected[0], "the link is gone, so the first result has the focus"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.get_by_text(f"results like “{expected[1]}”").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "like"
    page.reload()
    page.get_by_text(f"results like “{expected[1]}”").wait_for()
    page.go_back()
    page.get_by_text("results like “Moon”").wait_for()
    page.go_back()
    page.get_by_text("results for “beach”").wait_for()
    assert page.locator("#q").input_value() == "beach"
    written = exposures(server, trained.home)
    assert ("moon",) in {exposure.history for exposure in written if exposure.policy == "challenger"}


def test_both_columns_answer_and_one_may_not_have_it(open_page, server, small):
    page = open_page()
    ask(page, "beach")
    page.get_by_role("link", name="More like this: Moon").first.click()
    page.get_by_text("results like “Moon”").wait_for()
    for role in ("champion", "challenger"):
        assert titles(page, role) == [row["title"] for row in like(server, "moon", release=role).json()["results"]]
    page.goto(server.url + f"/#like={ONLY_CHAMPION}")
    page.get_by_text("10 results like “Digital Ocean”").wait_for()
    assert titles(page, "challenger") == []
    page.locator(".challenger").get_by_text("does not have it").wait_for()
    assert page.get_by_role("alert").is_hidden()
    route(small)
    page.get_by_role("alert").get_by_text(f"given like '{ONLY_CHAMPION}'").wait_for()
    ask(page, "beach")
    assert page.get_by_role("alert").is_hidden()


def test_hostile_titles_are_text_in_links_too(open_page, server, small):
    route(small)
    server.wait(lambda status: status["champion"] == small)
    page = open_page()
    title = page.title()
    ask(page, "beach onerror script")
    page.locator(".result", has_text="onerror").locator("xpath=../a").click()
    page.get_by_text("results like “beach <img src=x").wait_for()
    page.goto(server.url + "/#like=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.get_by_role("alert").get_by_text("without blanks").wait_for()
    assert page.title() == title
    assert page.locator("main script, main img[onerror]").count() == 0
