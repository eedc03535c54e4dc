"""A real OIDC issuer on 127.0.0.1: its discovery document, its keys, and tokens that it signs."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "ratchet-tests"


class Issuer:
    """Keys by id; `asked` counts the requests for them, `down` lets it answer 500."""

    def __init__(self, url: str) -> None:
        self.url, self.keys, self.asked, self.down = url, {}, 0, False
        self.add("rsa-1", rsa.generate_private_key(65537, 2048))

    def add(self, key_id: str, key: Any) -> None:
        self.keys[key_id] = key

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**public(key), "kid": key_id, "use": "sig"} for key_id, key in self.keys.items()]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = time.time()
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": "ann@example.org", "iat": now, "exp": now + 300, "scope": "openid search",
        }  # fmt: skip
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def token(self, key_id: str = "rsa-1", algorithm: str = "RS256", key: Any = None, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), key or self.keys[key_id], algorithm, {"kid": key_id})

    def unsigned(self, **changes: Any) -> str:
        """A token that says that nothing signs it."""
        parts = [{"alg": "none", "kid": "rsa-1", "typ": "JWT"}, self.claims(**changes)]
        return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def public(key: Any) -> dict[str, Any]:
    """The public key as JWK."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "alg": "RS256" if kind is RSAAlgorithm else "ES256"}


def elliptic() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer until the block ends."""
    issuer: Issuer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            documents = {
                "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                "/keys": issuer.jwks(),
            }
            body = json.dumps(documents.get(self.path, {})).encode()
            self.send_response(500 if issuer.down else 302 if self.path == "/moved" else 200)
            self.send_header("location", f"{issuer.url}/keys")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield issuer
        finally:
            server.shutdown()
