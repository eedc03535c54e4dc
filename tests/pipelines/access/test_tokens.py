"""Tokens of a real issuer: those that are let in, and all that are not."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.access import tokens as tokens_module
from pipelines.access.tokens import InvalidToken, Tokens, tokens_of
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings
from tests.issuer import AUDIENCE, elliptic, running_issuer


@pytest.fixture(scope="module")
def issuer():
    with running_issuer() as running:
        yield running


@pytest.fixture
def tokens(issuer):
    checked = Tokens(issuer.url, AUDIENCE)
    checked.refresh()
    return checked


def test_a_valid_token_names_its_subject_and_our_scopes(issuer, tokens):
    subject = tokens.subject(issuer.token())
    assert (subject.name, subject.scopes) == ("ann@example.org", frozenset({"search"}))
    assert tokens.subject(issuer.token(scope=None, scp=["events", "search", 7])).scopes == frozenset({"events", "search"})
    assert tokens.subject(issuer.token(scope=None)).scopes == frozenset()
    assert tokens.subject(issuer.token(aud=["other", AUDIENCE])).name == "ann@example.org"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"exp": time.time() - 3600}, "expired"),
        ({"nbf": time.time() + 3600}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"iss": "http://127.0.0.1:1"}, "another issuer"),
        ({"exp": None}, "without exp"),
        ({"sub": None}, "without exp, iss, aud or sub"),
        ({"aud": None}, "without exp"),
        ({"sub": "x" * 300}, "usual length"),
        ({"sub": ""}, "usual length"),
    ],
)
def test_what_a_token_must_say(issuer, tokens, changes, word):
    with pytest.raises(InvalidToken, match=word):
        tokens.subject(issuer.token(**changes))


def test_who_must_have_signed_it(issuer, tokens):
    valid = issuer.token()
    head, body, signature = valid.split(".")
    forged = {
        issuer.unsigned(): "not accepted",
        f"{head}.{body}.": "wrong signature|malformed",
        f"{head}.{issuer.token(sub='eve').split('.')[1]}.{signature}": "wrong signature",
        issuer.token(key=elliptic(), algorithm="ES256"): "not accepted",
        issuer.token(key="s" * 64, algorithm="HS256"): "not accepted",
        issuer.token(key_id="nobody", key=issuer.keys["rsa-1"]): "the issuer does not name",
        "a.b.c": "malformed",
        "..": "malformed",
        "é.ü.ß": "malformed",
    }
    for token, word in forged.items():
        with pytest.raises(InvalidToken, match=word):
            tokens.subject(token)


def test_clocks_may_differ_by_the_leeway(issuer):
    patient, strict = Tokens(issuer.url, AUDIENCE, leeway_s=30), Tokens(issuer.url, AUDIENCE, leeway_s=0)
    late, early = issuer.token(exp=time.time() - 20), issuer.token(nbf=time.time() + 20, iat=time.time() + 20)
    for tokens in (patient, strict):
        tokens.refresh()
    for token in (late, early):
        assert patient.subject(token).name
        with pytest.raises(InvalidToken):
            strict.subject(token)


def test_a_rotated_key_is_fetched_and_forged_ids_are_not(issuer, tokens, monkeypatch):
    issuer.add("ec-2", elliptic())
    token = issuer.token("ec-2", "ES256")
    asked = issuer.asked
    assert not tokens.needs_keys(token), "they were read less than ten seconds ago"
    for number in range(50):
        tokens.needs_keys(issuer.token(f"forged-{number}", key=issuer.keys["rsa-1"]))
        tokens.refresh()
    assert issuer.asked == asked
    monkeypatch.setattr(tokens_module, "REFETCH_S", 0.0)
    assert tokens.needs_keys(token)
    tokens.refresh()
    assert tokens.subject(token).name == "ann@example.org"


def test_no_request_waits_for_old_keys_to_be_read_again(issuer, tokens, monkeypatch):
    """A thread reads them; while the issuer is down a request would wait for its answer, with a key that is known."""
    monkeypatch.setattr(tokens_module, "REFETCH_S", 0.0)
    monkeypatch.setattr(tokens_module, "FRESH_S", 0.0)
    asked = issuer.asked
    assert not tokens.needs_keys(issuer.token())
    tokens.refresh_when_old()
    assert issuer.asked > asked


@pytest.mark.parametrize("answer", [b"this is no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", b""])
def test_an_issuer_that_answers_nonsense_is_one_that_does_not_answer(answer):
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def once():
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        serving = pool.submit(once)
        with pytest.raises(TryAgain, match="issuer that answers"):
            Tokens("https://s3.example.org", AUDIENCE, f"http://127.0.0.1:{listening.getsockname()[1]}/keys").refresh()
        serving.result(10)


def test_that_the_issuer_is_down_is_told_also_between_two_tries(issuer):
    tokens, asked = Tokens(issuer.url, AUDIENCE), issuer.asked
    issuer.down = True
    try:
        for _ in range(3):
            with pytest.raises(TryAgain, match="issuer that answers"):
                tokens.refresh_when_old()
        assert issuer.asked == asked + 1
    finally:
        issuer.down = False


def test_while_the_issuer_is_down_known_keys_hold(issuer, tokens, monkeypatch):
    monkeypatch.setattr(tokens_module, "REFETCH_S", 0.0)
    issuer.down = True
    try:
        with pytest.raises(TryAgain, match="issuer that answers"):
            tokens.refresh()
        assert tokens.subject(issuer.token()).name
    finally:
        issuer.down = False


def test_where_the_keys_may_lie(issuer, tmp_path):
    import json

    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(issuer.jwks()))
    from_file = Tokens(issuer.url, AUDIENCE, str(file))
    from_file.refresh()
    assert from_file.subject(issuer.token()).name
    for odd in ({"kty": "RSA", "alg": ["RS256"]}, {**issuer.jwks()["keys"][0], "kid": [1]}, 7):
        file.write_text(json.dumps({"keys": [odd]}))
        with pytest.raises(InputError, match="a JWKS"):
            Tokens(issuer.url, AUDIENCE, str(file)).refresh()
    file.write_text("[]")
    for place, word in (
        (str(file), "no JSON object"),
        (str(tmp_path / "nothing"), "readable file"),
        ("http://192.0.2.1/keys", "https://"),
        ("https://[/keys", "https://"),
        (f"{issuer.url}/nothing", "a JWKS"),
    ):
        with pytest.raises(InputError, match=word):
            Tokens(issuer.url, AUDIENCE, place).refresh()
    with pytest.raises((TryAgain, InputError)):
        Tokens(issuer.url, AUDIENCE, f"{issuer.url}/moved").refresh()


def test_settings_that_would_take_tokens_for_others(monkeypatch):
    assert tokens_of(settings()) is None
    monkeypatch.setenv("RATCHET_JWT_ISSUER", "https://s3.example.org")
    with pytest.raises(InputError, match="RATCHET_JWT_AUDIENCE"):
        tokens_of(settings())
    monkeypatch.setenv("RATCHET_JWT_AUDIENCE", AUDIENCE)
    assert tokens_of(settings())
    for odd in ("s3.example.org", "ftp://s3.example.org", "https://[", "https://"):
        monkeypatch.setenv("RATCHET_JWT_ISSUER", odd)
        with pytest.raises(InputError, match="https://"):
            tokens_of(settings())
    monkeypatch.setenv("RATCHET_JWT_ISSUER", "https://s3.example.org")
    monkeypatch.setenv("RATCHET_JWT_KEYS", "http://192.0.2.1/keys")
    with pytest.raises(InputError, match="https://"):
        tokens_of(settings())
