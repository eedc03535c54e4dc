"""The HTTP interface: keys, searches, clicks, one-time links, bad input; and how the process starts."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from images.serve.auth import Auth
from images.serve.exposure_log import append_line
from pipelines.corpus.exposure import Click, Exposure
from pipelines.errors import InputError
from tests import warm
from tests.images.serve.conftest import HOSTILE, HOSTILE_PICTURE, route
from tests.images.serve.server import KEY, PROJECT, running_server, server_environment

CONTROL = "\x00\x07\x1b\x7f\x85"


@pytest.fixture
def server(trained, small):
    route(trained.release, small, "promote")
    with running_server(trained.home) as running:
        running.wait(lambda status: status["challenger"])
        yield running


def exposures(server, home: Path) -> list[Exposure]:
    return [Exposure.model_validate_json(line) for line in (home / "events" / "exposures.jsonl").read_text().splitlines()]


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    message = answer.json()["detail"]
    assert message.startswith("given ")
    assert "; expected " in message
    assert "; next: " in message
    assert len(message) < 600
    return message


def test_who_may_ask(shared):
    without = [
        ("GET", "/v1/search?q=beach"), ("POST", "/v1/clicks"), ("POST", "/v1/signin-links"), ("GET", "/v1/pictures/a/b"),
        ("GET", "/v1/similar/moon"), ("GET", "/v1/recommend?item=moon"),
        ("GET", "/openapi.json"),
    ]  # fmt: skip
    for method, path in without:
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": f"Basic {KEY}"},
            {"Authorization": f"Bearer {KEY}x"},
        ):
            refusal(httpx.request(method, shared.url + path, headers=headers), 401)
    refusal(httpx.get(shared.url + "/v1/search?q=beach", headers={b"Authorization": "Bearer schlüssel".encode()}), 401)
    refusal(httpx.get(shared.url + "/v1/search?q=beach", cookies={"ratchet_session": "99999999999.a.b"}), 401)
    refusal(httpx.get(shared.url + "/v1/search?q=beach", cookies={"ratchet_session": ""}), 401)
    for closed in ("/docs", "/redoc", "/static/../app.py", "/static/..%2f..%2fapp.py"):
        refusal(shared.client.get(closed), 404)
    for beside in ("/v1/search/?q=beach", "/healthz/", "/static"):
        refusal(httpx.get(shared.url + beside, headers={"Host": "evil.example"}), 404)


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "q nothing"),
        ({"q": ""}, "1 to 512 characters"),
        ({"q": "  \t "}, "1 to 512 characters"),
        ({"q": "x" * 513}, "1 to 512 characters"),
        ({"q": "x" * 10_000}, "1 to 512 characters"),
        *(({"q": f"a{control}b"}, "without control characters") for control in CONTROL if control != "\x85"),
        ({"q": "a", "k": "0"}, "greater than or equal to 1"),
        ({"q": "a", "k": "101"}, "less than or equal to 100"),
        ({"q": "a", "k": "NaN"}, "valid integer"),
        ({"q": "a", "k": "1e3"}, "valid integer"),
        ({"q": "a", "k": "9" * 5000}, "integer"),
        ({"q": "a", "release": "last"}, "'champion', 'challenger' or 'previous'"),
        ({"q": "a", "user": "u" * 129}, "at most 128"),
        ({"q": "a", "kk": "1"}, "no parameter of this name"),
    ],
)
def test_bad_searches(shared, parameters, word):
    assert word in refusal(shared.client.get("/v1/search", params=parameters), 422)


@pytest.mark.parametrize(
    "q", [HOSTILE, "x" * 512, " a\tb\nc ", "東京 ☂ 👩‍👩‍👧 ﷽", "'; drop table --", "%00", "../../etc/passwd", "NaN"]
)
def test_odd_searches_are_answered(shared, q):
    answer = shared.search(q, k=100)
    assert answer.status_code == 200, answer.text
    assert answer.json()["query"] == " ".join(q.split())
    assert len(answer.json()["results"]) == 100


@pytest.fixture(scope="module")
def shared(_trained_once, tmp_path_factory):
    """One server for all that only ask, or look at nothing that is written."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("shared")
        patch.setenv("RATCHET_HOME", str(home))
        (home / "store").symlink_to(_trained_once.home / "store")
        patch.setenv("RATCHET_STORE", f"file://{copy_of(_trained_once.home / 'store', home / 'own')}")
        route(_trained_once.release)
        with running_server(home) as running:
            running.wait(lambda status: status["ready"])
            yield running


def copy_of(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=os.link)
    return target


def test_exposures_are_written_before_the_answer(server, trained, small):
    answer = server.search("beach", k=3, user="ann@example.org").json()
    written = exposures(server, trained.home)
    assert [exposure.request_id for exposure in written] == [answer["request_id"]]
    other = server.search("beach", k=3, user="ann@example.org", release="challenger").json()
    first, second = exposures(server, trained.home)
    assert (first.policy, first.release, first.entry, first.query) == ("champion", trained.release, 1, "beach")
    assert (second.policy, second.release) == ("challenger", small)
    for exposure, search in ((first, answer), (second, other)):
        shown = [(row.document, row.position, row.score, row.propensity) for row in exposure.results]
        assert shown == [(row["id"], row["position"], row["score"], 1.0) for row in search["results"]]
    assert first.user == second.user != ""
    log = trained.home / "events" / "exposures.jsonl"
    assert "ann" not in log.read_text().replace("anno", "")
    assert log.stat().st_mode & 0o077 == 0, "queries are private"
    with ThreadPoolExecutor(8) as pool:
        searches = [pool.submit(server.search, f"query {number}", k=100) for number in range(40)]
        ids = {search.result().json()["request_id"] for search in searches}
    assert {exposure.request_id for exposure in exposures(server, trained.home)[2:]} == ids


def test_a_search_that_cannot_be_written_down_is_not_answered(trained):
    route(trained.release)
    (trained.home / "events").mkdir()
    (trained.home / "events" / "exposures.jsonl").symlink_to("/dev/full")
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])
        assert "No space left" in refusal(server.search("beach"), 503)
        (trained.home / "events" / "exposures.jsonl").unlink()
        assert server.search("beach").status_code == 200, "it goes on once there is room"


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b'{"a": 1}\n{"b')
    append_line(log, b'{"c": 3}')
    append_line(log, b'{"d": 4}')
    assert log.read_bytes().split(b"\n") == [b'{"a": 1}', b'{"b', b'{"c": 3}', b'{"d": 4}', b""]


def test_long_lines_written_at_once_leave_no_empty_line(tmp_path):
    log = tmp_path / "log"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append_line(log, b"%d " % number + b"x" * 60_000), range(1_000)))
    lines = log.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert sorted(int(line.split()[0]) for line in lines if line) == list(range(1_000))
    assert len(lines) == 1_000, "a line that still grew was taken for one that was cut off"


def test_clicks(server, trained):
    answer = server.search("beach", k=2).json()
    top = {"request_id": answer["request_id"], "document": answer["results"][0]["id"], "position": 1}
    assert server.client.post("/v1/clicks", json=top).status_code == 201
    for wrong in (
        {"position": 2},
        {"document": "moo"},
        {"position": 3},
        {"position": 0},
        {"position": 1.5},
        {"x": 1},
        {"document": ""},
    ):
        refusal(server.client.post("/v1/clicks", json={**top, **wrong}), 422)
    assert "a search of these servers" in refusal(server.client.post("/v1/clicks", json={**top, "request_id": "f" * 32}), 404)
    for body in (b"", b"{", b"[]", b"null", b'{"request_id": "\\ud800", "document": "\\ud800", "position": NaN}'):
        refusal(server.client.post("/v1/clicks", content=body, headers={"Content-Type": "application/json"}), 422)
    refusal(server.client.post("/v1/clicks", content=json.dumps(top), headers={"Content-Type": "text/plain"}), 422)
    refusal(server.client.post("/v1/clicks", content=b"\xff", headers={"Content-Type": "application/json"}), 400)
    refusal(server.client.post("/v1/clicks", content=b"x" * 20_000), 413)
    refusal(server.client.post("/v1/clicks", content=iter([b"x" * 20_000])), 413)
    lines = (trained.home / "events" / "clicks.jsonl").read_text().splitlines()
    assert [Click.model_validate_json(line).model_dump(exclude={"at"}) for line in lines] == [{**top, "caller": "server-key"}]


def test_pictures_can_run_nothing(server, trained, small):
    results = server.search("beach", k=24, release="challenger").json()["results"]
    hostile = next(result for result in results if "onerror" in result["title"])
    answer = server.client.get(hostile["picture"])
    assert answer.text == HOSTILE_PICTURE
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    refusal(server.client.get(f"/v1/pictures/{small}/nothing"), 404)
    refusal(server.client.get(f"/v1/pictures/{'0' * 20}/house"), 404)


def test_security_headers(shared):
    for path in ("/", "/healthz", "/v1/search?q=a", "/static/page.js", "/nothing", "/signin?token=x"):
        headers = shared.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in headers


def test_one_time_link(shared):
    with httpx.Client(base_url=shared.url) as browser:
        assert browser.get("/").status_code == 401
        assert "one-time link" in browser.get("/").text
        link = shared.link()
        assert browser.head(link).status_code == 405  # what previews a link does not spend it
        first = browser.get(link)
        assert first.status_code == 200
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/").status_code == 200
        assert browser.get("/v1/search?q=beach").status_code == 200
        refusal(browser.post("/v1/signin-links"), 401)
        with httpx.Client(base_url=shared.url) as other:
            assert other.get(link).status_code == 403
            assert other.get("/").status_code == 401
            assert other.get("/signin").status_code == 403


def test_links_race_for_one_session():
    access = Auth("k")
    token = access.link_token()
    with ThreadPoolExecutor(8) as pool:
        redeemed = list(pool.map(access.redeem, [token] * 32))
    assert sum(session is not None for session in redeemed) == 1


def test_links_and_sessions_end(monkeypatch):
    import time

    access = Auth("k")
    token, fresh = access.link_token(), access.redeem(access.link_token())
    assert access.session(fresh)
    assert Auth("another").session(fresh) is None
    later = time.monotonic() + 16 * 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert access.redeem(token) is None
    tomorrow = time.time() + 13 * 3600
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert access.session(fresh) is None


def test_another_site_cannot_use_a_session(shared):
    with httpx.Client(base_url=shared.url) as browser:
        browser.get(shared.link())
        answer = browser.get("/v1/search?q=beach").json()
        top = {"request_id": answer["request_id"], "document": answer["results"][0]["id"], "position": 1}
        for headers in (
            {}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
            {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": shared.url, "Sec-Fetch-Site": "cross-site"},
        ):  # fmt: skip
            refusal(browser.post("/v1/clicks", json=top, headers=headers), 401)
        refusal(browser.get("/v1/search?q=beach", headers={"Sec-Fetch-Site": "cross-site"}), 401)
        for headers in ({"Origin": shared.url}, {"Sec-Fetch-Site": "same-origin"}):
            assert browser.post("/v1/clicks", json=top, headers=headers).status_code == 201


def start(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        warm.command("-m", "images.serve"), cwd=PROJECT, env=server_environment(home, **env),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_starts_that_are_refused(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = {
            f"127.0.0.1:{port}": {"RATCHET_SERVER_PORT": port},
            "no RATCHET_SERVER_KEY": {"RATCHET_SERVER_KEY": ""},
            "RATCHET_SERVER_KEY_FILE": {"RATCHET_SERVER_KEY_FILE": str(home / "nothing")},
            "no-such-host.invalid": {"RATCHET_SERVER_HOST": "no-such-host.invalid"},
            "RATCHET_POLL_S": {"RATCHET_POLL_S": "9"},
            "RATCHET_STORE": {"RATCHET_STORE": "ftp://nowhere"},
        }
        for word, env in cases.items():
            ended = start(home, **env)
            assert ended.returncode == InputError.exit_code, ended.stderr
            assert ended.stdout == ""
            assert word in ended.stderr
            assert ended.stderr.startswith("error: given ")
            assert ended.stderr.count("\n") == 1, ended.stderr


def test_serving_imports_nothing_heavy(trained):
    route(trained.release)
    code = """
import asyncio, httpx, json, sys
from pathlib import Path
from images.serve.__main__ import Auth, ExposureLog, Watcher, build_app, open_store
watcher = Watcher(open_store(), 0.1); watcher.poll()
app = build_app(watcher, ExposureLog(Path(sys.argv[1])), Auth("k"), 1)
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        return await client.get("/v1/search?q=beach", headers={"Authorization": "Bearer k"})
print(json.dumps({"status": asyncio.run(ask()).status_code, "modules": sorted(sys.modules)}))
"""
    environment = server_environment(trained.home)
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained.home / "events")],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    output = json.loads(done.stdout.splitlines()[-1])
    assert output["status"] == 200
    loaded = {name.split(".")[0] for name in output["modules"]}
    assert {"onnxruntime", "faiss", "fastapi"} <= loaded
    assert not loaded & {"torch", "airflow", "pandas", "transformers", "mlflow", "scipy", "feast"}
    assert not [name for name in output["modules"] if name.startswith("pipelines.steps")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_documented_commands_work(trained):
    route(trained.release)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    page = (PROJECT / "docs" / "serving.md").read_text().replace("8089", port)
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL))
    environment = server_environment(trained.home, RATCHET_SERVER_PORT=port)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    script = f"set -e\ntrap 'kill $!' EXIT\n{commands}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "/signin?token=" in done.stdout
    assert done.stdout.rstrip().endswith("beach champion ['umbrella-beach', 'moon', 'bath']")
