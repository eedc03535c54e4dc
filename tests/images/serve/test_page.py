"""The search page in a real browser: what people see, by keyboard, on a phone, and with hostile documents."""

import re
import time

import pytest

from pipelines.corpus.exposure import Click
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
PHONE = {"width": 375, "height": 740}


@pytest.fixture
def server(trained):
    route(trained.release)
    with running_server(trained.home) as running:
        running.wait(lambda status: status["ready"])
        yield running


def until(page, script, patience_s=10.0):
    """Wait until a script is true. Playwright's own `wait_for_function` evaluates within the page, which its policy forbids."""
    deadline = time.monotonic() + patience_s
    while not page.evaluate(script):
        assert time.monotonic() < deadline, script
        page.wait_for_timeout(50)


@pytest.fixture
def open_page(browser, server):
    """Sign in with a one-time link, in a browser of its own; scripts' errors fail the test."""
    contexts, errors = [], []

    def opened(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        page.goto(server.link())
        page.wait_for_url(server.url + "/")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def ask(page, query):
    page.locator("#q").fill(query)
    page.get_by_text(f"results for “{query}”").wait_for()


def titles(page, role="champion"):
    return page.locator(f".{role} .title").all_text_contents()


def test_without_a_session(browser, server):
    page = browser.new_page()
    assert page.goto(server.url).status == 401
    page.get_by_role("heading", name="Sign in with a one-time link").wait_for()
    assert f"{server.url}/v1/signin-links" in page.locator("pre").text_content()
    page.goto(server.url + "/signin?token=spent")
    page.get_by_role("heading", name="This link is spent").wait_for()
    page.close()


def test_type_see_choose_by_keyboard(open_page, server, trained):
    page = open_page()
    page.get_by_text("journal entry 1").wait_for()
    page.locator("body").click(position={"x": 5, "y": 500})
    page.keyboard.press("/")
    page.keyboard.type("beach", delay=20)
    page.get_by_text("10 results for “beach”").wait_for()
    expected = [result["title"] for result in server.search("beach").json()["results"]]
    assert titles(page) == expected
    drawn = "images => images.every(image => image.complete && image.naturalWidth > 0)"
    until(page, "[...document.querySelectorAll('.tile img')].length === 10")
    page.locator(".tile img").last.scroll_into_view_if_needed()
    until(page, f"({drawn})([...document.querySelectorAll('.tile img')])")
    focused = "document.activeElement.querySelector('.title')?.textContent ?? document.activeElement.id"
    for key, expected_focus in (("ArrowDown", expected[0]), ("ArrowDown", expected[1]), ("ArrowUp", expected[0])):
        page.keyboard.press(key)
        assert page.evaluate(focused) == expected_focus
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_text(f"{expected[1]} chosen").wait_for()
    click = Click.model_validate_json((trained.home / "events" / "clicks.jsonl").read_text())
    assert (click.position, click.document) == (2, server.search("beach").json()["results"][1]["id"])
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "q"


def test_champion_beside_challenger_and_a_swap(open_page, server, trained, small):
    page = open_page()
    ask(page, "beach")
    assert page.locator(".column").count() == 1
    route(trained.release, small, "promote")
    page.locator(".challenger .result").first.wait_for()
    left, right = page.locator(".column.champion").bounding_box(), page.locator(".column.challenger").bounding_box()
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 2
    shown = {role: server.search("beach", release=role).json()["results"] for role in ("champion", "challenger")}
    before = {row["id"]: row["position"] for row in shown["champion"]}
    marks = page.locator(".challenger .result").evaluate_all(
        "rows => rows.map(row => [row.dataset.document, row.querySelector('.move').textContent])"
    )
    for row, (document, mark) in zip(shown["challenger"], marks, strict=True):
        moved = before.get(row["id"], 0) - row["position"]
        expected_mark = "new" if row["id"] not in before else f"▲ {moved}" if moved > 0 else f"▼ {-moved}" if moved < 0 else ""
        assert (document, mark) == (row["id"], expected_mark)
    assert any(mark for _, mark in marks)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.closest('.column').classList.contains('challenger')")
    route(small)
    page.get_by_text("journal entry 3").wait_for()
    until(page, "document.querySelectorAll('.column').length === 1")
    assert page.locator(".routing .champion code").text_content() == small[:8]
    until(page, f"document.querySelector('.champion .title').textContent === {shown['challenger'][0]['title']!r}")


def test_champion_beside_the_one_before(open_page, server, trained, small):
    page = open_page()
    ask(page, "beach")
    assert page.locator("#beside").is_hidden()
    route(small)
    page.get_by_text("journal entry 2").wait_for()
    until(page, "document.querySelectorAll('.column').length === 1")
    page.get_by_label("beside the champion before").check()
    page.locator(".column.previous .result").first.wait_for()
    before, now = (server.search("beach", release=role).json()["results"] for role in ("previous", "champion"))
    assert titles(page, "column.previous") == [row["title"] for row in before]
    assert titles(page, "column.champion") == [row["title"] for row in now]
    left, right = page.locator(".column.previous").bounding_box(), page.locator(".column.champion").bounding_box()
    assert left["x"] + left["width"] <= right["x"]
    new = {row["id"] for row in now} - {row["id"] for row in before}
    marked = "rows => rows.map(row => row.dataset.document)"
    assert set(page.locator('.champion .result[data-move="added"]').evaluate_all(marked)) == new != set()
    page.reload()
    page.locator(".column.previous .result").first.wait_for()
    page.get_by_label("beside the champion before").uncheck()
    until(page, "document.querySelectorAll('.column').length === 1")


def test_a_link_may_name_what_it_shows(browser, server, small):
    route(small)
    server.wait(lambda status: status["previous"])
    page = browser.new_page()
    page.goto(server.link() + "#q=beach&beside=previous")
    page.get_by_text("results for “beach”").wait_for()
    assert page.locator(".column").count() == 2
    page.close()


def test_problem_is_shown(open_page, server, trained):
    page = open_page()
    route("0" * 20)
    page.get_by_role("alert").get_by_text("the champion can't be loaded").wait_for()  # where and why is for the key's holders
    ask(page, "house")
    assert titles(page)[0] == "House"


def test_hostile_text_is_text(open_page, server, trained, small):
    route(small)
    server.wait(lambda status: status["champion"] == small)
    page = open_page()
    title = page.title()
    ask(page, "beach onerror script")
    hostile = page.locator(".title", has_text="onerror")
    hostile.wait_for()
    assert "<script>" in hostile.text_content()
    page.locator(".result", has_text="onerror").click()
    page.get_by_text("chosen").wait_for()
    page.locator("#q").fill("<img src=x onerror=alert(1)>")
    page.get_by_text("results for “<img src=x").wait_for()
    assert page.title() == title
    assert page.locator("main script").count() == 0
    picture = next(
        row["picture"] for row in server.search("beach onerror script", k=24).json()["results"] if "onerror" in row["title"]
    )
    page.goto(server.url + picture)
    page.wait_for_timeout(200)
    assert page.title() != "owned"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(open_page, server, trained, small, scheme):
    route(trained.release, small, "promote")
    server.wait(lambda status: status["challenger"])
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, color_scheme=scheme)
    page.locator(".challenger").first.wait_for()
    ask(page, "a very long query " + "w" * 120)
    for query in ("beach", "beach onerror script"):
        ask(page, query)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".challenger .result").first.tap()
    page.get_by_text("chosen").wait_for()
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 200) == (scheme == "dark")


def test_the_order_is_explained(open_page, server, trained):
    stages = {
        "lexical": call("index_lexical", index=trained.index).lexical,
        "known_queries": call("index_known_queries", index=trained.index).known_queries,
    }
    chosen = call("choose_stages", index=trained.index, take="dense=0.5+lexical=0.2+known_queries=0.3", **stages)
    release = call("assemble", index=trained.index, stages=chosen.stages).release
    route(release)
    server.wait(lambda status: status["champion"] == release)
    plain, explained = server.search("money").json(), server.search("money", explain=True).json()
    assert [row["id"] for row in plain["results"]] == [row["id"] for row in explained["results"]]
    assert "stages" not in plain
    assert [stage["stage"] for stage in explained["stages"]] == ["dense", "lexical", "known_queries", "fusion"]
    for row in explained["results"]:
        assert row["stages"]["fusion"] == {"position": row["position"], "score": row["score"]}
        assert list(row["stages"]) == ["dense", "lexical", "known_queries", "fusion"]
    page = open_page()
    ask(page, "money")
    assert not page.locator(".stages").first.is_visible()
    page.get_by_label("explain the order").check()
    shown = page.locator(".stages").first
    shown.wait_for(state="visible")
    assert re.fullmatch(r"dense .+ · lexical .+ · known queries .+ · fusion #1 .+", shown.text_content())
    like = server.client.get("/v1/search", params={"like": plain["results"][0]["id"], "explain": True}).json()
    assert set(like["results"][0]["stages"]) == {"dense"}
