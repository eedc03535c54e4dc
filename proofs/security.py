"""`make proof-security`: what is closed stays closed, tried on real servers; writes build/proof/security.json.

Scopes: each set of scopes and each spoilt credential on each route. Limits: counted from outside, on two replicas with a Valkey
and on one without. Personal data and secrets: planted wherever a caller or an operator can put them, then looked for in all
that is written. Hostile requests, and the time that a wrong key takes beside an unknown one. Exit 1 if anything is let through.
"""

import http.client
import itertools
import json
import os
import random
import shutil
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
from fastapi.routing import APIRoute

from images.serve.app import build_app
from images.serve.auth import COOKIE, Auth
from images.serve.exposure_log import ExposureLog
from images.serve.interface import OPEN, PAGES, scope_of
from images.serve.watcher import Watcher
from pipelines.access import pseudonyms
from pipelines.access.keys import KeyLog
from pipelines.access.scopes import SCOPES
from pipelines.masking import PREFILTERS
from pipelines.store.objects import Store, open_store
from tests.conftest import PROJECT, call, embedded_release
from tests.figures import met, write_figures
from tests.hostile import raw_requests, requests
from tests.images.serve.conftest import route
from tests.images.serve.server import KEY, RunningServer, running_server
from tests.images.serve.test_access import BODIES
from tests.issuer import AUDIENCE, Issuer, elliptic, running_issuer
from tests.personal import planted
from tests.plugins.operators.test_pod_spec import SETTINGS
from tests.services import valkey

SEED = 20261129
HOSTILE, RAW, LIMITED, TIMED, PLANTED, LIMIT = 10_000, 1_000, 5_200, 4_000, 480, 50
PERMUTATIONS = 2_000
GOALS = {
    "open_routes": "≤ 2",
    "scope_violations_tried": "≥ 500",
    "scope_violations_allowed": "≤ 0",
    "scopes_refused_wrongly": "≤ 0",
    "limits_tried": "≥ 10000",
    "limits_exceeded": "≤ 0",
    "pii_planted": "≥ 200",
    "pii_leaks": "≤ 0",
    "secrets_planted": "≥ 10",
    "secrets_found_in_outputs": "≤ 0",
    "hostile_requests": "≥ 10000",
    "hostile_not_a_problem": "≤ 0",
    "hostile_tracebacks": "≤ 0",
    "revoked_within_s": "≤ 2",
}


def places() -> list[tuple[str, str, str | None]]:
    """Method, path and scope of each route of the application."""
    with tempfile.TemporaryDirectory() as folder:
        app = build_app(Watcher(Store(f"file://{folder}/store"), 1), ExposureLog(Path(folder)), Auth("k"), 1)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    return [(method, route.path, scope_of(route)) for route in routes for method in sorted(route.methods)]


def asked(server: RunningServer, method: str, path: str, **headers: str) -> httpx.Response:
    """A well-formed request of a route, with these headers and no others."""
    path = path.replace("{release_id}/{document_id:path}", "a/b").replace("{document_id:path}", "moon")
    path = "/v1/search?q=moon" if path == "/v1/search" else path
    body = {"json": BODIES[path]} if path in BODIES else {}
    return httpx.request(method, server.url + path, headers=headers, timeout=30, **body)


def spoilt(log: KeyLog, issuer: Issuer) -> Iterator[str]:
    """Values of the header Authorization of which none is valid."""
    seeded = random.Random(SEED)
    key, text = log.make("proof", SCOPES, 1, "proof")
    for place in range(3, len(text)):
        other = seeded.choice([char for char in string.ascii_letters + string.digits if char != text[place]])
        yield f"Bearer {text[:place]}{other}{text[place + 1 :]}"
    revoked, revoked_text = log.make("proof", SCOPES, 1, "proof")
    log.revoke(revoked.id, "proof")
    _, ended_text = log.make("proof", SCOPES, 1e-6, "proof")
    yield from (f"Bearer {value}" for value in (revoked_text, ended_text, key.hash, key.id, f"rk_{key.id}_{key.hash}"))
    yield from ("", "Bearer", f"Basic {KEY}", f"Digest {text}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {'x' * 9_000}")
    everything = " ".join(SCOPES)
    for changes in (
        {"exp": 1},
        {"nbf": 4e9},
        {"aud": "other"},
        {"iss": "https://s3.example.org"},
        {"sub": None},
        {"exp": None},
    ):
        yield f"Bearer {issuer.token(**{'scope': everything, **changes})}"
    yield f"Bearer {issuer.unsigned(scope=everything)}"
    yield f"Bearer {issuer.token(scope=everything, key='s' * 64, algorithm='HS256')}"
    yield f"Bearer {issuer.token(scope=everything, key=elliptic(), algorithm='ES256')}"
    yield f"Bearer {issuer.token(scope=everything, key_id='other', key=issuer.keys['rsa-1'])}"


def scopes(home: Path) -> dict[str, Any]:
    """Each set of scopes, as a key and as a token, and each spoilt credential, on each route."""
    closed = [(method, path, scope) for method, path, scope in places() if scope]
    tried = allowed = wrongly = 0
    with running_issuer() as issuer:
        settings = {"RATCHET_JWT_ISSUER": issuer.url, "RATCHET_JWT_AUDIENCE": AUDIENCE}
        with running_server(home, **settings) as server:
            log = KeyLog(Store(f"file://{home}/store"))
            sets = [chosen for size in range(len(SCOPES) + 1) for chosen in itertools.combinations(SCOPES, size)]
            callers = [(set(chosen), issuer.token(scope=" ".join(chosen))) for chosen in sets]
            callers += [(set(chosen), log.make("proof", chosen, 1, "proof")[1]) for chosen in sets if chosen]
            wrong = list(spoilt(log, issuer))
            time.sleep(2)
            for (method, path, scope), (held, text) in itertools.product(closed, callers):
                status = asked(server, method, path, authorization=f"Bearer {text}").status_code
                if scope in held:
                    wrongly += status in (401, 403)
                else:
                    tried, allowed = tried + 1, allowed + (status != 403)
            for (method, path, _), header in itertools.product(closed, wrong):
                status = asked(server, method, path, authorization=header).status_code
                tried, allowed = tried + 1, allowed + (status != 401)
            for (method, path, _), cookie in itertools.product(closed, ("", "1.2.3.4", "9" * 12 + ".a.server-key." + "0" * 64)):
                status = asked(server, method, path, cookie=f"{COOKIE}={cookie}").status_code
                tried, allowed = tried + 1, allowed + (status != 401)
            took = revoked_within(server, log)
    named = places()
    return {
        "routes": len(named),
        "open_routes": len([path for _, path, scope in named if scope is None and path not in PAGES]),
        "open_routes_are_health": all(path in OPEN for _, path, scope in named if scope is None and path not in PAGES),
        "scope_violations_tried": tried,
        "scope_violations_allowed": allowed,
        "scopes_refused_wrongly": wrongly,
        "revoked_within_s": took,
    }


def revoked_within(server: RunningServer, log: KeyLog) -> float:
    """The longest of ten times from the revocation of a key to its first refusal, in seconds."""
    longest = 0.0
    for _ in range(10):
        key, text = log.make("proof", ("search",), 1, "proof")
        while asked(server, "GET", "/v1/search", authorization=f"Bearer {text}").status_code == 401:
            time.sleep(0.05)
        log.revoke(key.id, "proof")
        started = time.monotonic()
        while asked(server, "GET", "/v1/search", authorization=f"Bearer {text}").status_code != 401:
            pass
        longest = max(longest, time.monotonic() - started)
    return round(longest, 2)


def limits(home: Path) -> dict[str, Any]:
    """Requests as fast as they go, on two replicas with a Valkey and on one alone; what was let in beyond the limit."""
    figures: dict[str, Any] = {"limits_per_s": LIMIT, "limits_tried": 0, "limits_exceeded": 0, "limits_let_in": 0}
    limit = {"RATCHET_LIMIT_KEY": f"{LIMIT}/second"}
    with ExitStack() as stack:
        shared = {**limit, "RATCHET_VALKEY_URL": stack.enter_context(valkey(home / "valkey"))}
        pair = [stack.enter_context(running_server(home / name, **shared)) for name in ("one", "two")]
        count(figures, pair)
        figures["limits_counted_in"] = pair[0].ready()["limits"]
    with running_server(home / "alone", **limit) as server:
        count(figures, [server])
    return figures


def count(figures: dict[str, Any], servers: list[RunningServer]) -> None:
    """Add what some servers let in to the figures.

    A request was counted between its start and its end. So all that lie wholly within one second were counted within it: more
    of them than the limit is too many, whatever the clocks say.
    """

    def ask(number: int) -> tuple[float, float, int]:
        started = time.monotonic()
        status = servers[number % len(servers)].search("moon").status_code
        return started, time.monotonic(), status

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(LIMITED)))
    passed = sorted((started, ended) for started, ended, status in answers if status != 429)
    most = max(sum(started >= first and ended < first + 1 for started, ended in passed) for first, _ in passed)
    figures["limits_tried"] += len(answers)
    figures["limits_let_in"] += len(passed)
    figures["limits_exceeded"] += max(0, most - LIMIT)


def trained(home: Path) -> None:
    """A champion of the icons."""
    os.environ["RATCHET_HOME"] = str(home)
    corpus, encoder = call("ingest").corpus, call("export_encoder").encoder
    route(embedded_release(home, corpus, encoder).release)


def personal(home: Path) -> dict[str, Any]:
    """Plant personal data in every field of requests and in log lines of a step; look for it in all that is written."""
    values = [value for _, value in planted(random.Random(SEED), PLANTED)]
    users = home / "users.json"
    pseudonyms.rotate(users, 30)
    with running_server(home, RATCHET_USER_KEYS_FILE=str(users), RATCHET_LOG_LEVEL="debug") as server:
        server.wait(lambda status: status["ready"], 120)
        _, lacking = KeyLog(open_store()).make("proof", ("metrics",), 1, "proof")
        time.sleep(1)
        for number, value in enumerate(values):
            person = {"user": value} if number % 2 else {"segment": f"note={value}"}  # both at once are refused
            fields = {"q": f"for {value} now", "experiment": value, "variant": value, **person}
            answer = server.client.get("/v1/search", params=fields)
            assert answer.status_code == 200, answer.text
            click = {"request_id": answer.json()["request_id"], "document": value, "position": 1}
            server.client.post("/v1/clicks", json=click)
            asked(server, "GET", f"/v1/pictures/{quote(value, safe='')}/x", authorization=f"Bearer {lacking}")
            server.client.get(f"/{quote(value)}")
        stderr = server.stderr.read_text()
    lines = (home / "events/exposures.jsonl").read_text()
    assert lines.count("\n") == len(values)
    assert all(
        f"<{kind}>" in lines for kind in ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE") if kind in PREFILTERS
    )
    outputs = {"stderr": stderr, "step": step_log(values), **texts(home / "events"), **texts(home / "store/access")}
    return {"pii_planted": len(values), "pii_outputs": len(outputs), "pii_leaks": found(values, outputs)}


def step_log(values: list[str]) -> str:
    """What a step's process logs of them: as text, as fields, and in the traceback of an error."""
    code = """
import json, sys
from pipelines import logs
from pipelines.settings import settings
logs.configure(settings(), "a-step")
for value in json.load(sys.stdin):
    logs.log().info(f"row of {value}", value=value, nested=[{"value": value}])
    try:
        raise ValueError(value)
    except ValueError as error:
        logs.log().error("failed", exc_info=error)
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, input=json.dumps(values), cwd=PROJECT, capture_output=True, text=True, check=True).stderr


def texts(folder: Path) -> dict[str, str]:
    """The texts of all files below a folder."""
    return {str(path): path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}


def found(values: Iterable[str], outputs: dict[str, str]) -> int:
    """How many values are in an output, as they are, as JSON writes them or as a URL does; the first ten are shown by place."""
    written = {value: {value, json.dumps(value)[1:-1], quote(value), quote(value, safe="")} for value in values}
    hits = [
        (place, value) for place, text in outputs.items() for value, ways in written.items() if any(way in text for way in ways)
    ]
    for place, value in hits[:10]:
        print(f"found in {place}: {value[:4]}…", file=sys.stderr)
    return len(hits)


def secrets_in_outputs(home: Path) -> dict[str, Any]:
    """Plant secrets as settings, headers and cookies; look for them in logs, answers, the store, results of steps and pods."""
    drawn = {
        name: f"{SEED}{name.lower().replace('_', '')}" + "".join(random.Random(name).choices(string.ascii_letters, k=24))
        for name in (
            "RATCHET_SERVER_KEY", "RATCHET_VALKEY_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD",
            "AWS_SESSION_TOKEN", "AIRFLOW__API_AUTH__JWT_SECRET",
        )
    }  # fmt: skip
    users = home / "users.json"
    outputs: dict[str, str] = {}
    with running_issuer() as issuer, valkey(home / "valkey", password=drawn["RATCHET_VALKEY_PASSWORD"]) as url:
        settings = {"RATCHET_JWT_ISSUER": issuer.url, "RATCHET_JWT_AUDIENCE": AUDIENCE, "RATCHET_USER_KEYS_FILE": str(users)}
        with running_server(home, **drawn, **settings, RATCHET_VALKEY_URL=url) as server:
            log = KeyLog(open_store())
            keys = [log.make("proof", (scope,), 1, "proof")[1] for scope in SCOPES]
            planted_here = [*drawn.values(), *keys, issuer.token(), *(key.secret for key in pseudonyms.UserKeys(users).keys)]
            time.sleep(1)
            link = server.link()
            cookie = httpx.get(link).cookies[COOKIE]
            planted_here += [link.partition("token=")[2], cookie]
            answers = [
                asked(server, method, path, authorization=f"Bearer {key}") for method, path, _ in places() for key in keys
            ]
            answers += [asked(server, "GET", "/v1/search", authorization=f"Bearer {key}x") for key in keys]
            answers += [server.client.get("/readyz"), server.client.get("/openapi.json")]
            outputs["answers"] = "\n".join(answer.text for answer in answers)
            outputs["stderr"] = server.stderr.read_text()
    outputs |= steps(home, {**os.environ, **drawn, **settings}) | texts(home / "events") | texts(home / "store")
    outputs["pod"] = pod(drawn)
    return {
        "secrets_planted": len(planted_here),
        "secrets_outputs": len(outputs),
        "secrets_found_in_outputs": found(planted_here, outputs),
    }


def steps(home: Path, environment: dict[str, str]) -> dict[str, str]:
    """What steps print, log and leave as their result (Airflow's XCom is this result) with the secrets in their environment."""
    outputs = {}
    for command in (
        ["pipelines", "doctor"],
        ["pipelines", "history"],
        ["pipelines", "ingest"],
        ["images.serve", "keys", "list"],
    ):
        result = home / f"result-{command[1]}.json"
        variables = {
            **environment,
            "RATCHET_RESULT_PATH": str(result),
            "RATCHET_LOG_LEVEL": "debug",
            "PYTHONPATH": str(PROJECT),
        }
        line = [sys.executable, "-m", *command]
        done = subprocess.run(line, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        outputs[" ".join(command)] = done.stdout + done.stderr + (result.read_text() if result.exists() else "")
    return outputs


def pod(secrets: dict[str, str]) -> str:
    """The specifications of two steps' pods, made in a process that has the secrets."""
    code = """
import yaml
from tests.plugins.operators.test_pod_spec import pod_of, pods
print(yaml.dump([pod_of(*one) for one in pods().values()]))
"""
    variables = {**os.environ, **SETTINGS, **secrets, "PYTHONPATH": f"{PROJECT}:{PROJECT}/plugins"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=variables, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "ratchet-store" in done.stdout
    return done.stdout + done.stderr


def hostile(home: Path) -> dict[str, Any]:
    """Ten thousand requests that nobody means well with, half of them with a key; and bytes that are no HTTP."""
    not_a_problem = 0
    with (
        running_issuer() as issuer,
        running_server(home, RATCHET_JWT_ISSUER=issuer.url, RATCHET_JWT_AUDIENCE=AUDIENCE) as server,
    ):
        with httpx.Client(base_url=server.url, timeout=30) as stranger:
            for number, request in enumerate(requests(SEED, HOSTILE)):
                answer = (server.client if number % 2 else stranger).request(**request)
                page = request["url"] == "/signin" and answer.status_code == 403
                wrong = answer.status_code >= 400 and answer.headers.get("content-type") != "application/problem+json"
                not_a_problem += (wrong and not page and request["url"] != "/readyz") or answer.status_code == 500
        for raw in raw_requests(SEED, RAW):
            with socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), timeout=15) as connection:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda connection=connection: connection.recv(65_536), b""))
                head = answer.partition(b"\r\n\r\n")[0]
                failed = head[9:10] in (b"4", b"5") and b"application/problem+json" not in head
                not_a_problem += failed and b"text/html" not in head
        tracebacks = server.stderr.read_text().count("Traceback")
        assert server.client.get("/healthz").status_code == 200
    return {"hostile_requests": HOSTILE + RAW, "hostile_not_a_problem": not_a_problem, "hostile_tracebacks": tracebacks}


def timing(home: Path) -> dict[str, Any]:
    """How much longer a wrong secret of a known key takes than an unknown key, in microseconds, beside what chance alone does.

    Chance: the difference of the medians when the labels are drawn again, its 99 % quantile over many draws.
    """
    with running_server(home) as server:
        _, text = KeyLog(Store(f"file://{home}/store")).make("proof", ("search",), 1, "proof")
        time.sleep(1)
        seeded, connection = random.Random(SEED), http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        labels = [seeded.random() < 0.5 for _ in range(2 * TIMED)]
        secrets = ["".join(seeded.choices(string.ascii_letters + string.digits, k=43)) for _ in labels]
        starts = {True: [text[:16]] * len(labels), False: [f"rk_{seeded.randrange(16**12):012x}_" for _ in labels]}
        keys = [starts[known][number] + secret for number, (known, secret) in enumerate(zip(labels, secrets, strict=True))]
        times = []
        for key in keys:  # all made before, so that making one does not come between two requests
            started = time.perf_counter_ns()
            connection.request("GET", "/v1/search?q=moon", headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            times.append((time.perf_counter_ns() - started) / 1000)
            assert answer.status == 401
    took, is_known, drawn = np.array(times), np.array(labels), np.random.default_rng(SEED)

    def difference(known: Any) -> float:
        return float(np.median(took[known]) - np.median(took[~known]))

    noise = np.quantile([abs(difference(drawn.permutation(is_known))) for _ in range(PERMUTATIONS)], 0.99)
    return {
        "timing_requests": len(times),
        "timing_median_us": round(statistics.median(times), 1),
        "timing_difference_us": round(abs(difference(is_known)), 2),
        "timing_noise_us": round(float(noise), 2),
    }


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="ratchet-proof-"))
    for name in [name for name in os.environ if name.startswith(("RATCHET_", "AWS_"))]:
        del os.environ[name]
    try:
        figures: dict[str, Any] = scopes(home / "scopes") | limits(home / "limits")
        trained(home / "home")
        figures |= (
            personal(home / "home") | secrets_in_outputs(home / "home") | hostile(home / "hostile") | timing(home / "timing")
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    goals = {**GOALS, "timing_difference_us": f"≤ {figures['timing_noise_us']}"}
    write_figures("proof/security", figures, seed=SEED, runs=1, goals=goals)
    return 0 if figures["open_routes_are_health"] and all(met(figures[name], goal) for name, goal in goals.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
