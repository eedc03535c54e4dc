"""Who may call what: keys, tokens, sessions and their scopes, on a real server with an empty store."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from images.serve.app import build_app
from images.serve.audit import Act
from images.serve.auth import COOKIE, Auth
from images.serve.dependencies import Requires
from images.serve.exposure_log import ExposureLog
from images.serve.interface import OPEN, PAGES, describe, scope_of
from images.serve.watcher import Watcher
from pipelines.access.keys import KeyLog
from pipelines.access.scopes import SCOPES
from pipelines.errors import InputError
from pipelines.store.objects import Store
from tests import warm
from tests.conftest import PROJECT
from tests.images.serve.server import KEY, running_server, server_environment
from tests.images.serve.test_interface import refusal
from tests.issuer import AUDIENCE, running_issuer

ROUTES = {
    ("GET", "/v1/search"): "search",
    ("GET", "/v1/similar/{document_id:path}"): "search",
    ("GET", "/v1/recommend"): "search",
    ("POST", "/v1/search/batch"): "search",
    ("POST", "/v1/recommend/batch"): "search",
    ("POST", "/v1/embed"): "embed",
    ("POST", "/v1/rerank"): "embed",
    ("POST", "/v1/events"): "events",
    ("GET", "/v1/pictures/{release_id}/{document_id:path}"): "search",
    ("GET", "/openapi.json"): "search",
    ("POST", "/v1/clicks"): "events",
    ("POST", "/v1/signin-links"): "admin",
    ("GET", "/metrics"): "metrics",
}
"""The scope of each route, by method and path; a route that is added is added here, too."""
CLICK = {"request_id": "f" * 32, "document": "moon", "position": 1}


BODIES = {
    "/v1/clicks": CLICK,
    "/v1/events": {"events": [{"type": "click", **CLICK}]},
    "/v1/search/batch": {"searches": [{"q": "moon"}]},
    "/v1/recommend/batch": {"recommendations": [{"item": ["moon"]}]},
    "/v1/embed": {"texts": ["moon"]},
    "/v1/rerank": {"query": "moon", "texts": ["sun"]},
}
"""A well-formed body of each route that takes one."""


@pytest.fixture(scope="module")
def issuer():
    with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def server(issuer, tmp_path_factory):
    """No champion: who may search is told 503, who may not 401 or 403."""
    home = tmp_path_factory.mktemp("access")
    with running_server(home, RATCHET_JWT_ISSUER=issuer.url, RATCHET_JWT_AUDIENCE=AUDIENCE) as running:
        running.wait(lambda status: status["problem"].startswith("no champion"))
        yield running


@pytest.fixture
def log(server) -> KeyLog:
    return KeyLog(Store(f"file://{home_of(server)}/store"))


def home_of(server) -> Path:
    environment = Path(f"/proc/{server.process.pid}/environ").read_bytes().split(b"\0")
    return Path(next(line.split(b"=", 1)[1].decode() for line in environment if line.startswith(b"RATCHET_HOME=")))


def with_key(server, text, method="GET", path="/v1/search?q=moon", **arguments):
    headers = {"Authorization": f"Bearer {text}"} if text else {}
    return httpx.request(method, server.url + path, headers=headers, timeout=30, **arguments)


def until(holds, within_s=5.0):
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < within_s
        time.sleep(0.02)
    return time.monotonic() - started


def app(home):
    return build_app(Watcher(Store(f"file://{home}/store"), 0.1), ExposureLog(home / "events"), Auth("k"), 1)


def routes(home):
    return [route for route in app(home).routes if isinstance(route, APIRoute)]


def test_every_route_declares_its_scope(home):
    found = {(method, route.path): scope_of(route) for route in routes(home) for method in route.methods}
    assert {place: scope for place, scope in found.items() if scope is not None} == ROUTES
    assert {path for (_, path), scope in found.items() if scope is None} == {*OPEN, *PAGES}
    mounts = [route.path for route in app(home).routes if not isinstance(route, APIRoute)]
    assert mounts == ["/static"], "files that anybody may read"


def test_no_route_has_two_scopes(home):
    for route in routes(home):
        assert sum(isinstance(dependency.call, Requires) for dependency in route.dependant.dependencies) <= 1


def test_a_route_without_a_scope_is_seen(home):
    opened = app(home)
    opened.add_api_route("/v1/forgotten", lambda: None)
    (route,) = [route for route in opened.routes if getattr(route, "path", "") == "/v1/forgotten"]
    assert scope_of(route) is None


def test_openapi_names_scheme_and_scope_of_each_route(home):
    document = describe(app(home))
    assert set(document["components"]["securitySchemes"]) == {"key", "token", "session"}
    for (method, path), scope in ROUTES.items():
        operation = document["paths"][path.replace(":path", "")][method.lower()]
        ways = [
            {"key": [scope]},
            {"token": [scope]},
            *([{"session": [scope]}] if scope in ("search", "events") else []),
        ]
        assert operation["security"] == ways
        assert operation["responses"]["403"] == {"$ref": "#/components/responses/403"}
    assert document["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_says_and_nothing_else(server, log, scope):
    _, text = log.make("a test", (scope,), 1, "a test")
    until(lambda: with_key(server, text).status_code != 401)
    for (method, template), required in ROUTES.items():
        path = template.replace("{release_id}/{document_id:path}", "a/b").replace("{document_id:path}", "moon")
        path = "/v1/search?q=moon" if path == "/v1/search" else path
        answer = with_key(server, text, method, path, **({"json": BODIES[path]} if path in BODIES else {}))
        if scope == required:
            assert answer.status_code in (200, 201, 404, 503), path
        else:
            assert f"expected scope {required}" in refusal(answer, 403)
            assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{required}"'


def test_a_revoked_key_stops_within_two_seconds(server, log):
    key, text = log.make("a test", ("search",), 1, "a test")
    until(lambda: with_key(server, text).status_code == 503)
    log.revoke(key.id, "lost")
    assert until(lambda: with_key(server, text).status_code == 401) < 2
    assert f"key {key.id}, which was revoked" in refusal(with_key(server, text), 401)


def test_an_expired_and_a_rotated_key_stop(server, log):
    before, before_text = log.make("a test", ("search",), 1, "a test")
    _, text = log.rotate(before.id, 1, 0.5, "a test")
    until(lambda: with_key(server, text).status_code == 503)
    until(lambda: with_key(server, before_text).status_code == 401)
    assert "which has expired" in refusal(with_key(server, before_text), 401)
    assert with_key(server, text).status_code == 503


@pytest.mark.parametrize(
    "header",
    [
        b"", b"Bearer", b"Basic " + KEY.encode(), b"Bearer " + KEY.encode() + b"x", b"bearer\t" + KEY.encode(),
        b"Bearer rk_", b"Bearer rk_000000000000_" + b"A" * 43, b"Bearer " + b"x" * 8_100, b"Bearer " + b"x" * 9_000,
        "Bearer schlüssel".encode(), b"Bearer a.b.c", b"Bearer ..", b"Bearer null", b"Bearer " + b"\xff" * 40,
    ],
)  # fmt: skip
def test_malformed_and_oversized_keys(server, header):
    answer = httpx.get(server.url + "/v1/search?q=moon", headers={b"Authorization": header})
    assert "Bearer" in refusal(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_tokens_of_the_issuer(server, issuer):
    assert with_key(server, issuer.token()).status_code == 503
    assert "expected scope events" in refusal(with_key(server, issuer.token(), "POST", "/v1/clicks", json=CLICK), 403)
    assert with_key(server, issuer.token(scope="events"), "POST", "/v1/clicks", json=CLICK).status_code == 404
    for token, word in (
        (issuer.token(exp=time.time() - 60), "has expired"),
        (issuer.token(aud="another"), "another audience"),
        (issuer.token(iss="http://127.0.0.1:2"), "another issuer"),
        (issuer.unsigned(), "not accepted"),
        (issuer.token(key="s" * 40, algorithm="HS256"), "not accepted"),
        (issuer.token()[:-5] + "AAAAA", "wrong signature"),
        ("a" * 9_000, "Bearer"),
    ):
        assert word in refusal(with_key(server, token), 401)


def test_a_token_is_not_refused_before_the_issuers_keys_were_read(issuer, tmp_path):
    issuer.down = True
    try:
        with running_server(tmp_path, RATCHET_JWT_ISSUER=issuer.url, RATCHET_JWT_AUDIENCE=AUDIENCE) as other:
            assert "never read" in refusal(with_key(other, issuer.token()), 503)
            refusal(with_key(other, "a.b.c"), 401)
            until(lambda: "issuer" in other.ready()["credentials"])
    finally:
        issuer.down = False


def test_without_an_issuer_no_token_is_one(server, issuer, tmp_path):
    with running_server(tmp_path) as other:
        refusal(with_key(other, issuer.token()), 401)


def test_a_session_ends_with_the_key_that_made_its_link(server, log):
    key, text = log.make("a test", ("admin",), 1, "a test")
    until(lambda: with_key(server, text, "POST", "/v1/signin-links").status_code == 201)
    with httpx.Client(base_url=server.url) as browser:
        browser.get(with_key(server, text, "POST", "/v1/signin-links").json()["url"])
        assert browser.get("/v1/search?q=moon").status_code == 503
        assert "scope admin" in refusal(browser.post("/v1/signin-links", headers={"Origin": server.url}), 403)
        log.revoke(key.id, "lost")
        until(lambda: browser.get("/v1/search?q=moon").status_code == 401)
        assert browser.get("/").status_code == 401


def test_a_header_counts_before_a_cookie(server):
    """A wrong key is an error, also for a browser with a session."""
    with httpx.Client(base_url=server.url) as browser:
        browser.get(server.link())
        assert browser.cookies[COOKIE]
        refusal(browser.get("/v1/search?q=moon", headers={"Authorization": "Bearer wrong"}), 401)


def test_acts_of_admins_and_refusals_are_written_down(server, log):
    key, text = log.make("a test", ("admin",), 1, "a test")
    until(lambda: with_key(server, text, "POST", "/v1/signin-links").status_code == 201)
    refusal(with_key(server, text), 403)
    lines = (home_of(server) / "events/audit.jsonl").read_text().splitlines()
    acts = [(act.act, act.outcome) for act in map(Act.model_validate_json, lines) if act.caller == key.id]
    assert acts == [("POST /v1/signin-links", "allowed"), ("GET /v1/search", "refused")]
    shown = command(home_of(server), "keys", "history", key.id)
    assert [act["act"] for act in shown["acts"]] == ["POST /v1/signin-links", "GET /v1/search"]
    assert (shown["changes"][0]["act"], shown["searches"]["count"], shown["state"]) == ("make", 0, "valid")
    assert (shown["clicks"]["count"], shown["conversions"]["count"]) == (0, 0)
    assert text not in json.dumps(shown)


def test_an_act_that_cannot_be_written_down_is_refused(tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "events/audit.jsonl").symlink_to("/dev/full")
    with running_server(tmp_path) as server:
        assert "No space left" in refusal(server.client.post("/v1/signin-links"), 503)


def command(home, *arguments, code=0, **env):
    done = subprocess.run(
        warm.command("-m", "images.serve", *arguments), cwd=PROJECT, env=server_environment(home, **env),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    if code:
        assert "Traceback" not in done.stderr
        return done.stderr
    return json.loads(done.stdout)


def test_commands(home, tmp_path):
    made = command(home, "keys", "make", "--owner", "shop", "--scopes", "search, events", "--days", "30", "--why", "launch")
    assert (made["owner"], made["scopes"], made["state"]) == ("shop", ["events", "search"], "valid")
    rotated = command(home, "keys", "rotate", made["id"], "--grace-minutes", "0")
    assert rotated["replaces"]["id"] == made["id"]
    assert rotated["replaces"]["state"] == "expired"
    command(home, "keys", "expire", rotated["id"], "--in-hours", "1")
    assert command(home, "keys", "revoke", rotated["id"], "--why", "lost")["state"] == "revoked"
    assert command(home, "keys", "list") == {"keys": []}
    listed = command(home, "keys", "list", "--all")["keys"]
    assert [key["state"] for key in listed] == ["expired", "revoked"]
    assert not {made["key"], rotated["key"]} & {json.dumps(listed)}
    changes = command(home, "keys", "history", rotated["id"])["changes"]
    assert [(change["act"], change["why"]) for change in changes] == [
        ("rotate", "by hand"),
        ("expire", "by hand"),
        ("revoke", "lost"),
    ]
    users = {"RATCHET_USER_KEYS_FILE": str(tmp_path / "users.json")}
    first = command(home, "users", "rotate", **users)["id"]
    assert list(command(home, "users", "pseudonyms", "ann", **users)["pseudonyms"]) == [first]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["keys", "make", "--owner", "x", "--scopes", "root"], "scopes root"),
        (["keys", "make", "--owner", "x", "--scopes", ""], "scopes none"),
        (["keys", "make", "--scopes", "search"], "--owner"),
        (["keys", "make", "--owner", "x", "--scopes", "search", "--days", "0"], "0 days"),
        (["keys", "rotate", "0" * 12], "key 000000000000"),
        (["keys", "rotate", "0" * 12, "--grace-minutes", "-1"], "0 or more"),
        (["keys", "expire", "0" * 12, "--in-hours", "-1"], "0 or more"),
        (["keys", "expire", "0" * 12, "--in-hours", "nan"], "0 or more"),
        (["keys", "rotate", "0" * 12, "--grace-minutes", "nan"], "0 or more"),
        (["keys", "revoke", "rk_secret"], "not shown here"),
        (["keys", "history", "../../etc"], "not shown here"),
        (["users", "rotate"], "RATCHET_USER_KEYS_FILE"),
        (["nonsense"], "nonsense"),
    ],
)
def test_commands_with_bad_input(home, arguments, word):
    assert word in command(home, *arguments, code=InputError.exit_code)


def test_two_replicas_know_the_same_keys(tmp_path):
    store = f"file://{tmp_path}/store"
    log = KeyLog(Store(store))
    with (
        running_server(tmp_path / "one", RATCHET_STORE=store) as one,
        running_server(tmp_path / "two", RATCHET_STORE=store) as two,
    ):
        key, text = log.make("a test", ("search",), 1, "a test")
        for server in (one, two):
            until(lambda server=server: with_key(server, text).status_code == 503)
        log.revoke(key.id, "lost")
        with ThreadPoolExecutor(2) as pool:
            waits = list(pool.map(lambda server: until(lambda: with_key(server, text).status_code == 401), (one, two)))
        assert max(waits) < 2


def test_a_log_of_keys_that_was_changed_is_told_to_an_admin_and_known_keys_hold(tmp_path):
    log = KeyLog(Store(f"file://{tmp_path}/store"))
    _, text = log.make("a test", ("search",), 1, "a test")
    with running_server(tmp_path) as server:
        until(lambda: with_key(server, text).status_code == 503)
        (tmp_path / "store/access/00000002.json").write_text("{")
        until(lambda: server.ready()["credentials"] != {})
        assert "00000002.json" in server.ready()["credentials"]["keys"]
        assert "credentials" not in server.ready_to_anybody()
        assert with_key(server, text).status_code == 503
        (tmp_path / "store/access/00000002.json").unlink()
        until(lambda: server.ready()["credentials"] == {})
        assert "can't be followed" in server.stderr.read_text()
