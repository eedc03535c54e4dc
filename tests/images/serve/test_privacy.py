"""What the server writes down of people and of secrets; the proof plants more of both."""

import json
import random
import time
from urllib.parse import quote

import httpx

from images.serve.auth import COOKIE
from pipelines.access import pseudonyms
from pipelines.access.keys import KeyLog
from pipelines.corpus.exposure import Exposure
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server
from tests.issuer import AUDIENCE, running_issuer
from tests.personal import planted
from tests.services import valkey


def written(folder, server):
    """All that a server has written: its logs, its events, and the log of keys."""
    texts = [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]
    return "\n".join([*texts, server.stderr.read_text()])


def test_no_personal_data_is_written_down(trained):
    route(trained.release)
    values = list(planted(random.Random(3), 40))
    users = trained.home / "events/users.json"
    key = pseudonyms.rotate(users, 30)
    with running_server(trained.home, RATCHET_USER_KEYS_FILE=str(users), RATCHET_LOG_LEVEL="debug") as server:
        server.wait(lambda status: status["ready"])
        for number, (kind, value) in enumerate(values):
            person = {"user": value} if number % 2 else {"segment": f"note={value}"}
            fields = {"q": f"for {value} now", "experiment": value, "variant": value, **person}
            answer = server.client.get("/v1/search", params=fields)
            assert answer.json()["query"] == f"for {value} now", "the caller's own words come back"
            server.client.post("/v1/clicks", json={"request_id": answer.json()["request_id"], "document": value, "position": 1})
            server.client.get(f"/v1/pictures/{quote(value, safe='')}/x", headers={"Authorization": "Bearer x"})
            exposure = Exposure.model_validate_json((trained.home / "events/exposures.jsonl").read_text().splitlines()[-1])
            assert exposure.query == f"for <{kind}> now"
            assert exposure.experiment == f"<{kind}>"
            assert exposure.segment == ({} if number % 2 else {"note": f"<{kind}>"})
            assert exposure.user.startswith(f"{key.id}.") if number % 2 else exposure.user == ""
            assert exposure.caller == "server-key"
        output = written(trained.home / "events", server)
    assert [value for _, value in values if value in output] == []


def test_the_name_of_a_segment_and_a_long_path_are_masked_too(trained):
    route(trained.release)
    with running_server(trained.home) as server:
        server.wait(lambda status: status["ready"])
        assert server.search("moon", segment="4111111111111111=x").status_code == 200
        _, lacking = KeyLog(open_store()).make("a test", ("metrics",), 1, "a test")
        time.sleep(0.5)
        path = f"/v1/pictures/{'x' * 170}/ann@example.org"  # cut off within the address, it would be none any more
        assert httpx.get(server.url + path, headers={"Authorization": f"Bearer {lacking}"}).status_code == 403
        output = written(trained.home / "events", server)
    assert "GET /v1/pictures/xxx" in output
    assert [value for value in ("4111111111111111", "ann@") if value in output] == []


def test_a_user_gets_the_next_pseudonym_without_a_restart(trained):
    route(trained.release)
    users = trained.home / "users.json"
    pseudonyms.rotate(users, 30)
    with running_server(trained.home, RATCHET_USER_KEYS_FILE=str(users)) as server:
        server.wait(lambda status: status["ready"])
        server.search("moon", user="ann")
        second = pseudonyms.rotate(users, 30)
        time.sleep(0.5)
        server.search("moon", user="ann")
        users.write_text("{")
        time.sleep(0.5)
        assert "no file of user keys" in server.ready()["credentials"]["user keys"]
        server.search("moon", user="ann")
    lines = (trained.home / "events/exposures.jsonl").read_text().splitlines()
    named = [json.loads(line)["user"] for line in lines]
    assert named[0] != named[1] == named[2]
    assert named[1].startswith(f"{second.id}.")


def test_no_secret_is_written_down_or_answered(home, tmp_path):
    secrets = {
        name: f"planted-{name.lower()}-{'x' * 30}"
        for name in ("RATCHET_SERVER_KEY", "RATCHET_VALKEY_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    }
    users = tmp_path / "users.json"
    user_key = pseudonyms.rotate(users, 30)
    with running_issuer() as issuer, valkey(tmp_path / "valkey", password=secrets["RATCHET_VALKEY_PASSWORD"]) as url:
        settings = {"RATCHET_JWT_ISSUER": issuer.url, "RATCHET_JWT_AUDIENCE": AUDIENCE, "RATCHET_USER_KEYS_FILE": str(users)}
        with running_server(home, **secrets, **settings, RATCHET_VALKEY_URL=url, RATCHET_LOG_LEVEL="debug") as server:
            _, key = KeyLog(open_store()).make("a test", ("search", "admin"), 1, "a test")
            time.sleep(0.5)
            link = server.link()
            cookie = httpx.get(link).cookies[COOKIE]
            planted_here = [
                *secrets.values(),
                key,
                key[16:],
                issuer.token(),
                user_key.secret,
                link.partition("token=")[2],
                cookie,
            ]
            callers = [*planted_here, f"{key}x", "wrong"]
            paths = ("/v1/search?q=moon", "/readyz", "/openapi.json", "/v1/pictures/a/b", "/nothing")
            answers = [
                httpx.get(server.url + path, headers={"Authorization": f"Bearer {caller}"}).text
                for caller in callers
                for path in paths
            ]
            assert server.ready()["limits"] == "valkey"
            output = written(home, server) + "\n".join(answers)
    assert [secret for secret in planted_here if secret in output] == []


def test_a_leak_would_be_seen(home):
    """The sweep finds what is there: the id of a key is no secret, and is written."""
    with running_server(home) as server:
        made, _ = KeyLog(open_store()).make("a test", ("search",), 1, "a test")
        assert made.id in written(home, server)
        assert made.hash in written(home, server)
