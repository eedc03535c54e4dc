"""Requests that nobody means well with, at random: values, paths, headers and bodies; and bytes that are no HTTP."""

import random
from collections.abc import Iterator
from typing import Any

PATHS = (
    "/v1/search", "/v1/similar/moon", "/v1/recommend", "/v1/search/batch", "/v1/embed", "/v1/rerank",
    "/v1/events", "/v1/recommend/batch",
    "/v1/clicks", "/v1/signin-links", "/v1/pictures/a/b", "/readyz", "/openapi.json", "/signin",
    "/static/page.js",
    "/static/../../etc/passwd", "/static/..%2f..%2fapp.py", "/.env", "/.git/config", "/docs", "/metrics", "/v1/%00",
    "/v1/search/",
    "//v1/search", "/v1/pictures/%2e%2e/%2e%2e", "/v1/search%0d%0aX-Injected:%201",
)  # fmt: skip
VALUES = (
    "", "moon", "x" * 600, "\x00",
    "\x1b[2J", "' OR 1=1 --", "<script>alert(1)</script>", "{{7*7}}",
    "${jndi:ldap://x}", "../../etc/passwd",
    "%00", "٠١٢", "\ud7ff", "💣" * 100, "-1", "1e309", "NaN", "9" * 400, "[]", "{}", "null", "true", "rk_0_0",
    "eyJhbGciOiJub25lIn0.e30.",
    "DE89370400440532013000", "ann@example.org", "\u202e\u0000\ufeff", "a=b", "=" * 40,
)  # fmt: skip
NAMES = (
    "q",
    "k",
    "like",
    "user",
    "release",
    "segment",
    "explain",
    "filter",
    "exclude",
    "item",
    "token",
    "q[]",
    "__proto__",
    "",
    "experiment",
)
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")
HEADERS = (
    {"Authorization": "Bearer rk_000000000000_" + "A" * 43}, {"Authorization": "Bearer a.b.c"}, {"Authorization": ""},
    {"Cookie": "ratchet_session=1.2.3.4"}, {"Cookie": "ratchet_session=" + "." * 50},
    {"Content-Type": "application/xml"},
    {"Content-Type": "application/json"}, {"Accept": "*/*;q=NaN"}, {"Range": "bytes=0-,0-,0-"},
    {"X-Forwarded-For": "' OR 1=1"},
    {"Authorization": "Bearer " + "W1tb" * 1_500 + ".e30.e30"},
    {"Authorization": "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.e30"},
    {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"If-None-Match": "*"}, {"Expect": "100-continue"}, {},
)  # fmt: skip
BODIES = (
    b"", b"{", b"[" * 5000, b"null", b'"x"', b"\xff\xfe", b'{"request_id": "\\ud800", "document": "x", "position": 1}',
    b'{"request_id": {}, "document": [], "position": "1"}',
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
    b'{"position": 1e999, "request_id": "a", "document": "b"}', b'{"a":' * 900, b"x" * 20_000, b'{"__proto__": {"x": 1}}',
    b'{"\\ud800": 1}',
)  # fmt: skip
RAW = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    b"POST /v1/clicks HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n", b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/1.1\r\n Folded: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: " + b"0" * 5_000 + b"\r\n\r\n",
)  # fmt: skip


def requests(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Arguments of `httpx.Client.request`."""
    seeded = random.Random(seed)
    for _ in range(count):
        method = seeded.choice(METHODS)
        pairs = [(seeded.choice(NAMES), seeded.choice(VALUES)) for _ in range(seeded.randrange(4))]
        yield {
            "method": method,
            "url": seeded.choice(PATHS),
            "params": [(name, value.encode("utf-8", "replace").decode()) for name, value in pairs],
            "headers": seeded.choice(HEADERS),
            **({"content": seeded.choice(BODIES)} if method in ("POST", "PUT", "PATCH") else {}),
        }


def raw_requests(seed: int, count: int) -> Iterator[bytes]:
    """Bytes to send: some of RAW, and valid requests with a few bytes changed."""
    seeded = random.Random(seed)
    valid = b"GET /v1/search?q=moon HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 0\r\n\r\n"
    for number in range(count):
        if number < len(RAW):
            yield RAW[number]
            continue
        changed = bytearray(valid)
        for _ in range(seeded.randrange(1, 6)):
            changed[seeded.randrange(len(changed))] = seeded.randrange(256)
        yield bytes(changed)
