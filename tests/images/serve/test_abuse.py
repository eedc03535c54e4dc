"""What callers may not do: too often, too much, too slowly; on real servers, with a real Valkey."""

import asyncio
import json
import random
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest
import uvicorn
from fastapi.responses import StreamingResponse

from images.serve import dependencies as dependencies_module
from images.serve import limits as limits_module
from images.serve.app import build_app
from images.serve.auth import Auth
from images.serve.dependencies import Dependencies
from images.serve.exposure_log import ExposureLog
from images.serve.limits import Windows
from images.serve.middleware import BODY_LIMIT, SecurityHeaders, ids_of
from images.serve.protocol import HEAD_LIMIT, BoundedHttp
from images.serve.watcher import Watcher
from pipelines.access.keys import KeyLog
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings
from pipelines.store.objects import Store
from tests.hostile import raw_requests, requests
from tests.images.serve.server import KEY, running_server
from tests.images.serve.test_interface import refusal, start
from tests.issuer import AUDIENCE, running_issuer
from tests.services import free_ports, valkey

REQUEST_S = 0.5


def asked(server, count, **headers):
    """The statuses of so many searches."""
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: server.client.get("/v1/search?q=a", headers=headers), range(count))
        return [answer.status_code for answer in answers]


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    """A server with little patience, on an empty store."""
    with running_issuer() as issuer:
        settings = {"RATCHET_JWT_ISSUER": issuer.url, "RATCHET_JWT_AUDIENCE": AUDIENCE, "RATCHET_REQUEST_S": str(REQUEST_S)}
        with running_server(tmp_path_factory.mktemp("bounded"), **settings) as running:
            yield running


def test_a_key_is_let_in_as_often_as_its_limit_says(tmp_path):
    log = KeyLog(Store(f"file://{tmp_path}/store"))
    _, other = log.make("another", ("search",), 1, "a test")
    with running_server(tmp_path, RATCHET_LIMIT_KEY="20/minute") as server:
        statuses = asked(server, 50)
        assert (statuses.count(503), statuses.count(429)) == (20, 30)
        answer = server.client.get("/v1/search?q=a")
        assert "too many requests with this key" in refusal(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        refusal(server.client.post("/v1/signin-links"), 429)
        assert set(asked(server, 20, Authorization=f"Bearer {other}")) == {503}
        assert server.ready()["limits"] == "memory"


def test_an_address_is_let_in_as_often_as_its_limit_says(tmp_path):
    with running_server(tmp_path, RATCHET_LIMIT_ADDRESS="30/minute") as server:
        statuses = [httpx.get(f"{server.url}/static/page.css").status_code for _ in range(40)]
        assert (statuses.count(200), statuses.count(429)) == (30, 10)
        spoofed = httpx.get(f"{server.url}/", headers={"X-Forwarded-For": "203.0.113.9"})
        assert "from this address" in refusal(spoofed, 429)
        assert spoofed.headers["x-content-type-options"] == "nosniff"
        assert {httpx.get(f"{server.url}{path}").status_code for path in ("/healthz", "/readyz")} == {200, 503}


def test_keys_are_not_guessed_at_a_health_check(tmp_path):
    with running_server(tmp_path, RATCHET_LIMIT_ADDRESS="5/minute") as server:
        guess = {"Authorization": "Bearer wrong"}
        statuses = [httpx.get(f"{server.url}/readyz", headers=guess).status_code for _ in range(8)]
        assert (statuses.count(503), statuses.count(429)) == (5, 3)
        assert {httpx.get(f"{server.url}{path}").status_code for path in ("/healthz", "/readyz")} == {200, 503}


def test_only_a_named_proxy_says_whom_it_forwards(tmp_path):
    with running_server(tmp_path, RATCHET_LIMIT_ADDRESS="5/minute", RATCHET_PROXIES="127.0.0.1") as server:
        for client in ("203.0.113.1", "203.0.113.2"):
            sent = [httpx.get(f"{server.url}/", headers={"X-Forwarded-For": client}).status_code for _ in range(8)]
            assert (sent.count(401), sent.count(429)) == (5, 3)


def test_guessing_is_slowed_and_the_right_key_is_not(tmp_path):
    with running_server(tmp_path, RATCHET_LIMIT_FAILURES="5/minute") as server:
        guesses = [
            httpx.get(f"{server.url}/v1/search?q=a", headers={"Authorization": f"Bearer {number}"}).status_code
            for number in range(12)
        ]
        assert guesses == [401] * 5 + [429] * 7
        assert server.search("a").status_code == 503


def test_replicas_count_together_in_valkey_and_alone_without_it(tmp_path):
    (port,) = free_ports(1)
    limits = {
        "RATCHET_LIMIT_KEY": "40/second",
        "RATCHET_VALKEY_URL": f"valkey://127.0.0.1:{port}",
        "RATCHET_VALKEY_PASSWORD": "hush-hush",
    }
    with ExitStack() as replicas:
        with valkey(tmp_path / "valkey", port, "hush-hush"):
            one, two = (replicas.enter_context(running_server(tmp_path / name, **limits)) for name in ("one", "two"))
            admitted = exceeded = 0
            for _ in range(3):
                time.sleep(1.1)
                with ThreadPoolExecutor(2) as pool:
                    started = time.monotonic()
                    statuses = [status for both in pool.map(lambda server: asked(server, 60), (one, two)) for status in both]
                windows = 1 + int(time.monotonic() - started)  # of a second each; counted apart, 80 would be let in
                admitted += statuses.count(503)
                exceeded += max(0, statuses.count(503) - 40 * windows)
            assert admitted >= 120
            assert exceeded == 0
            assert one.ready()["limits"] == two.ready()["limits"] == "valkey"
        statuses = asked(one, 60)
        assert set(statuses) == {503, 429}, "without Valkey the limit still holds, and requests are still answered"
        assert one.ready()["limits"] == "memory: valkey does not answer"
        log = one.stderr.read_text()
        assert log.count("limits are counted in memory") == 1
        assert "hush-hush" not in log
        with valkey(tmp_path / "again", port, "hush-hush"):
            until = time.monotonic() + 20
            while one.ready()["limits"] != "valkey":
                assert time.monotonic() < until
                one.search("a")
                time.sleep(0.2)
        assert "limits are counted in valkey again" in one.stderr.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATCHET_LIMIT_KEY", "many"),
        ("RATCHET_LIMIT_ADDRESS", "0/second"),
        ("RATCHET_LIMIT_FAILURES", "5/fortnight"),
        ("RATCHET_VALKEY_URL", "http://127.0.0.1:1"),
        ("RATCHET_VALKEY_URL", "valkey://"),
        ("RATCHET_VALKEY_URL", "valkey://:hush-hush@127.0.0.1:1"),
        ("RATCHET_JWT_ISSUER", "http://192.0.2.1"),
        ("RATCHET_USER_KEYS_FILE", "/nothing/users.json"),
        ("RATCHET_REQUEST_S", "0"),
        ("RATCHET_SERVER_KEY_FILE", "/bin/sh"),
        ("RATCHET_PROXIES", "*"),
        ("RATCHET_PROXIES", "127.0.0.1, proxy"),
    ],
)
def test_settings_that_cannot_work(home, name, value):
    ended = start(home, **{name: value})
    assert ended.returncode == InputError.exit_code, ended.stderr
    assert name in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "hush-hush" not in ended.stderr


def connected(server):
    return socket.create_connection(server.url.removeprefix("http://").split(":"), timeout=10)


def received(connection):
    """All that the server sends until it closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def raw_refusal(answer, status):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"].startswith("given ")


SLOW = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /v1/clicks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    + KEY.encode()
    + b"\r\nContent-Length: 90\r\n\r\n{",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_who_sends_slowly_is_not_waited_for(bounded, sent):
    with connected(bounded) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        raw_refusal(received(connection), 408)
        assert REQUEST_S * 0.8 < time.monotonic() - started < REQUEST_S + 2


def test_too_many_connections_are_told_to_come_back_and_health_checks_pass(bounded):
    """What the kubelet takes for dead, it restarts: a flood must not do that to servers that answer."""
    idle = []
    try:
        for _ in range(1_000):
            idle.append(connected(bounded))
            idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(connection.recv(4096).startswith(b"HTTP/1.1 200") for connection in idle)
        for path, status in (("/healthz", 200), ("/readyz?probe=1", 503), ("/v1/search?q=a", 429), ("/", 429)):
            with connected(bounded) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = received(connection)
                assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
                assert b"connection: close" in answer.lower()
                if status == 429:
                    raw_refusal(answer, 429)
                    assert b"retry-after: 1\r\n" in answer.lower()
        with connected(bounded) as connection:
            raw_refusal(received(connection), 408)
    finally:
        for connection in idle:
            connection.close()
    with connected(bounded) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert not received(connection).startswith(b"HTTP/1.1 429")


def seconds_until_closed(connection, text, pause_s):
    """Send a text again and again, until the server has closed the connection."""
    started = time.monotonic()
    connection.setblocking(False)
    while time.monotonic() - started < 15:
        try:
            connection.send(text)
        except BlockingIOError:
            pass
        except OSError:
            return time.monotonic() - started
        time.sleep(pause_s)
    return pytest.fail("it was never closed")


@pytest.mark.parametrize("drip", [b"\r\n", b"a"])
def test_who_sends_a_little_at_a_time_is_not_waited_for(bounded, drip):
    """Also behind a finished request, where uvicorn's own clock for idle connections has run."""
    with connected(bounded) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert seconds_until_closed(connection, drip, 0.05) < 2 * REQUEST_S + 2


def test_who_does_not_read_is_not_waited_for():
    """The answer is longer than the buffers of both sides."""
    ended = []

    async def endless(scope, receive, send):
        started = time.monotonic()
        await receive()
        gone = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)
        ended.append(time.monotonic() - started)

    class Impatient(BoundedHttp):
        request_s = REQUEST_S

    config = uvicorn.Config(endless, http=Impatient, log_config=None, lifespan="off")
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        server = uvicorn.Server(config)
        serving = pool.submit(server.run, [listening])
        with socket.create_connection(listening.getsockname()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until = time.monotonic() + 15
            while not ended and time.monotonic() < until:
                time.sleep(0.05)
        server.should_exit = True
        serving.result(15)
    assert ended
    assert 2 * REQUEST_S * 0.8 <= ended[0] < 10, "the server ended it, not the client after 15 s"


def test_who_does_not_read_the_last_answer_holds_no_connection():
    """What is left of it is too little for the clock of a full buffer; the connection is closed, its client reads nothing."""
    size = 60_000

    async def last(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * size})

    class Impatient(BoundedHttp):
        request_s = REQUEST_S

    config = uvicorn.Config(last, http=Impatient, log_config=None, lifespan="off")
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server = uvicorn.Server(config)
        serving = pool.submit(server.run, [listening])
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(listening.getsockname())
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(2 * REQUEST_S + 1)
            assert len(received(connection)) < size
        server.should_exit = True
        serving.result(15)


def test_requests_that_do_not_wait_for_answers_get_one(bounded):
    with connected(bounded) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        answer = received(connection)
        assert answer.count(b"HTTP/1.1 200") == answer.count(b"HTTP/1.1 ") < 20


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD_LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * HEAD_LIMIT + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 400_000,
    ],
    ids=["path", "header", "headers", "endless"],
)
def test_heads_that_are_too_long(bounded, head):
    with connected(bounded) as connection:
        with suppress(OSError):  # it may close before it has all
            connection.sendall(head)
        answer = received(connection)
        if answer or len(head) < 100_000:  # a reset can overtake the answer where more was sent than read
            raw_refusal(answer, 431)


def test_bodies_that_are_too_long(bounded):
    for content in (b"x" * (BODY_LIMIT + 1), iter([b"x"])):
        refusal(bounded.client.post("/v1/clicks", content=content), 413)
    with connected(bounded) as connection:  # more digits than Python converts to a number
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + b"0" * 5_000 + b"\r\n\r\n"
        )
        raw_refusal(received(connection), 413)


@pytest.mark.parametrize("part", ["bytes=9-5", "bytes=999999-", "lines=1-2", "bytes=0-1"])
def test_a_part_of_a_file_is_the_whole(bounded, part):
    for path, status in (("/static/page.js", 200), ("/", 401)):
        answer = httpx.get(bounded.url + path, headers={"Range": part})
        assert answer.status_code == status
        assert len(answer.content) > 500


def test_other_sites_are_told_nothing(bounded):
    preflight = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    for answer in (
        bounded.client.options("/v1/search", headers=preflight),
        bounded.client.get("/readyz", headers=preflight),
        bounded.client.get("/v1/search?q=a", headers=preflight),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    refusal(bounded.client.options("/v1/search", headers=preflight), 405)


def test_no_upgrade_of_the_protocol(bounded):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a" * 24}
    assert httpx.get(f"{bounded.url}/healthz", headers=upgrade).status_code == 200
    refusal(httpx.get(f"{bounded.url}/v1/search?q=a", headers=upgrade), 401)


def test_hostile_requests_are_problems_without_a_traceback(bounded):
    """A few hundred here; the proof sends ten thousand."""
    for request in requests(seed=11, count=300):
        answer = bounded.client.request(**request)
        assert answer.status_code < 500 or answer.status_code == 503, (request, answer.text)
        if answer.status_code >= 400 and request["url"] != "/readyz":
            assert answer.headers["content-type"] in ("application/problem+json", "text/html; charset=utf-8"), request
        assert "Traceback" not in answer.text
        assert 'File "' not in answer.text
    for raw in raw_requests(seed=11, count=60):
        with connected(bounded) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = received(connection)
            assert b"Traceback" not in answer
    log = bounded.stderr.read_text()
    assert "Traceback" not in log
    assert "request failed" not in log
    assert bounded.client.get("/healthz").status_code == 200


def test_what_fails_within_is_one_problem_and_one_line_of_the_log(home, capsys):
    """A defect cannot be had by asking, so one is planted: a route that raises, with personal data in its message."""
    from pipelines import logs

    logs.configure(settings(), "serve")
    app = build_app(Watcher(Store(f"file://{home}/store"), 0.1), ExposureLog(home / "events"), Auth("k"), 1)

    @app.get("/v1/defect")
    async def defect():
        raise RuntimeError("about ann@example.org")

    @app.get("/v1/half")
    async def half():
        async def some():
            yield b"half of "
            raise RuntimeError("about bob@example.org")

        return StreamingResponse(some())

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(SecurityHeaders(app)), base_url="http://x") as client:
            return await client.get(path, headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    answer = asyncio.run(ask("/v1/defect"))
    assert "this is a defect" in refusal(answer, 500)
    assert answer.headers["x-frame-options"] == "DENY"
    logged = capsys.readouterr().err
    assert logged.count("request failed") == 1
    (line,) = [json.loads(line) for line in logged.splitlines() if "request failed" in line]
    assert line["trace_id"] == "ab" * 16
    assert re.fullmatch("[0-9a-f]{16}", line["request"])
    assert answer.json()["instance"] == f"urn:ratchet:request:{line['request']}", "who asks can name the line"
    assert "ann@example.org" not in logged
    with pytest.raises(AssertionError):  # of httpx: the answer had begun, and ends amid its body
        asyncio.run(ask("/v1/half"))
    logged = capsys.readouterr().err
    (line,) = [json.loads(line) for line in logged.splitlines() if "request failed" in line]
    assert line["path"] == "/v1/half"
    assert "bob@example.org" not in logged


@pytest.mark.parametrize(
    "header",
    [None, b"", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"00-ann@example.org-1-01", b"00-" + b"a" * 33, b"\xff" * 55],
)
def test_a_trace_that_is_none_gets_a_random_id(header):
    scope = {"headers": [] if header is None else [(b"traceparent", header)]}
    first, second = ids_of(scope), ids_of(scope)
    assert re.fullmatch("[0-9a-f]{32}", first["trace_id"])
    assert first["trace_id"] != second["trace_id"]
    assert first["request"] != second["request"]


def test_more_work_than_can_wait_is_refused_and_slow_work_is_given_up(home, monkeypatch):
    monkeypatch.setattr(dependencies_module, "MOST_WAITING", 3)
    monkeypatch.setattr(dependencies_module, "WORK_S", 0.2)

    async def both():
        with ThreadPoolExecutor(1) as pool:
            watcher = Watcher(Store(f"file://{home}/store"), 0.1)
            dependencies = Dependencies(watcher, ExposureLog(home / "events"), Auth("k"), pool)
            waiting = [asyncio.create_task(dependencies.run(time.sleep, 0.4)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(TryAgain, match="at most 3 at once"):
                await dependencies.run(time.sleep, 0)
            for task in waiting:
                with pytest.raises(TryAgain, match=r"within 0\.2 s"):
                    await task
            await asyncio.sleep(0.5)
            await dependencies.run(time.sleep, 0)

    asyncio.run(both())


def test_while_valkey_is_down_one_request_asks_and_no_other_waits(monkeypatch):
    monkeypatch.setenv("RATCHET_VALKEY_URL", f"valkey://127.0.0.1:{free_ports(1)[0]}")
    limiter, asked = limits_module.Limiter(settings()), []

    async def silent(*_, **__):
        asked.append(1)
        await asyncio.sleep(0.05)
        raise TimeoutError

    monkeypatch.setattr(limiter._shared, "hit", silent)

    async def both():
        await limiter.wait_s("key", "k")
        assert limiter.counted_in == "memory: valkey does not answer"
        limiter._retry_at = 0.0
        await asyncio.gather(*(limiter.wait_s("key", "k") for _ in range(20)))

    asyncio.run(both())
    assert len(asked) == 2


def test_addresses_that_are_idle_are_forgotten(monkeypatch):
    monkeypatch.setattr(limits_module, "MOST_CALLERS", 100)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    windows = Windows()
    for number in range(300):
        windows.wait_s("address", f"10.0.0.{number}", 5, 1)
    now += 1.5
    assert [windows.wait_s("address", "10.0.0.7", 5, 1) for _ in range(6)] == [0.0] * 5 + [1.0]
    assert len(windows) == 1


@pytest.mark.parametrize("most_at_once", [1, 5])
def test_a_window_moves(monkeypatch, most_at_once):
    """Never more than five in any second, wherever it begins; refused requests do not count, others as what they cost."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    windows, let_in, seeded = Windows(), [], random.Random(5)
    for _ in range(2_000):
        now += seeded.expovariate(12)
        cost = seeded.randint(1, most_at_once)
        wait_s = windows.wait_s("key", "k", 5, 1, cost)
        before = [moment for moment in let_in if moment > now - 1]
        assert (wait_s == 0) == (len(before) + cost <= 5)
        if wait_s == 0:
            let_in += [now] * cost
        else:
            left = [moment for moment in before if moment > now + wait_s - 1 + 1e-9]
            assert len(left) <= 5 - cost
            assert now + wait_s - 1 == pytest.approx(before[len(before) + cost - 6]), "no later than there is room"


def test_a_request_that_costs_several_is_one_question_to_valkey(tmp_path, monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setenv("RATCHET_VALKEY_URL", f"valkey://127.0.0.1:{port}")
    monkeypatch.setenv("RATCHET_LIMIT_KEY", "40/minute")
    limiter = limits_module.Limiter(settings())

    async def waits():
        return [await limiter.wait_s("key", "k", cost) for cost in (30, 11, 10, 1)]

    with valkey(tmp_path / "valkey", port, ""):
        let_in, refused, rest, full = asyncio.run(waits())
    assert (let_in, rest) == (0, 0), "what was refused is not counted"
    assert 50 < refused <= 60
    assert 50 < full <= 60
    assert limiter.counted_in == "valkey"
