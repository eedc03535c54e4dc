"""Tokens of an OIDC issuer: JWTs signed by its keys, for this audience, with the scopes in them. PyJWT checks them.

The issuer's keys (JWKS) are read from a file or an address and kept; a token with an unknown key id has them read again, at
most every `REFETCH_S` seconds, so that forged ids cause no requests.
"""

import json
import threading
import time
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipelines.access.scopes import SCOPES, Scope
from pipelines.errors import InputError, StepError, TryAgain
from pipelines.settings import Settings

if TYPE_CHECKING:
    from jwt import PyJWK

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with public keys alone: with a shared secret, who checks tokens could make them, and `none` signs nothing."""
REFETCH_S, FRESH_S, FETCH_TIMEOUT_S = 10.0, 300.0, 5.0
LONGEST_TOKEN, LONGEST_JWKS = 8_192, 1 << 20
LONGEST_SUBJECT = 256
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Subject:
    """Whom a valid token names, and what it lets them do."""

    name: str
    scopes: frozenset[Scope]


class InvalidToken(Exception):
    """A token that is not valid here; the text says why, and may be told to its sender."""


class Tokens:
    """Checks tokens of one issuer.

    Args:
        issuer: the `iss` of its tokens.
        audience: the `aud` of tokens for this server.
        jwks: a file or an address with the issuer's keys; empty: the address that the issuer's discovery document names.
        leeway_s: seconds by which the clocks may differ.
    """

    def __init__(self, issuer: str, audience: str, jwks: str = "", leeway_s: float = 30) -> None:
        self._issuer, self._audience, self._jwks, self._leeway_s = issuer, audience, jwks, leeway_s
        self._keys: dict[str, PyJWK] = {}
        self._read_at, self._tried_at = -FRESH_S, -REFETCH_S
        self.was_read = False
        """Whether the issuer's keys were read once; until then a token may be valid."""
        self._problem: StepError | None = None
        self._lock = threading.Lock()

    def needs_keys(self, token: str) -> bool:
        """Whether `refresh` is due before this token can be checked: its key is unknown. A thread reads old keys again."""
        return _key_id(token) not in self._keys and time.monotonic() - self._tried_at > REFETCH_S

    def refresh_when_old(self) -> None:
        """`refresh` if the keys were read more than `FRESH_S` seconds ago, or never."""
        if time.monotonic() - self._read_at > FRESH_S:
            self.refresh()

    def refresh(self) -> None:
        """Read the issuer's keys again, which may take seconds; the keys that are known stay where that fails.

        Raises:
            TryAgain: they can't be read now, or could not when it was last tried, less than `REFETCH_S` seconds ago.
            InputError: what lies there is no JWKS.
        """
        with self._lock:
            if time.monotonic() - self._tried_at <= REFETCH_S:
                if self._problem:  # it lasts: silence would say that the keys were read
                    raise self._problem.with_traceback(None)
                return
            try:
                self._keys = _parsed(self._fetch(), self._jwks or self._issuer)
                self._read_at, self.was_read, self._problem = time.monotonic(), True, None
            except StepError as error:
                self._problem = error
                raise
            finally:
                self._tried_at = time.monotonic()

    def subject(self, token: str) -> Subject:
        """Whom the token names.

        Raises:
            InvalidToken: it is malformed, expired, another's, or signed by another or in another way.
        """
        import jwt

        key = self._keys.get(_key_id(token))
        if key is None:
            raise InvalidToken("signed by a key that the issuer does not name")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm for algorithm in ALGORITHMS if algorithm == key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(_reason(error)) from None
        name = claims["sub"]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_SUBJECT:
            raise InvalidToken("without a subject of usual length")
        return Subject(name, _scopes(claims))

    def _fetch(self) -> bytes:
        if self._jwks and not self._jwks.startswith(("http://", "https://")):
            try:
                return Path(self._jwks).read_bytes()
            except OSError as error:
                raise InputError(f"RATCHET_JWT_KEYS={self._jwks}", "a readable file", f"create it ({error.strerror})") from None
        address = self._jwks
        if not address:
            document = _object(_get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"), self._issuer)
            address = str(document.get("jwks_uri", ""))
        return _get(address)


def tokens_of(config: Settings) -> Tokens | None:
    """What checks tokens by these settings; None where no issuer is set.

    Raises:
        InputError: an issuer without an audience, so that it would take tokens for others; or keys at an address that anybody
            on the way could change.
    """
    if not config.jwt_issuer:
        return None
    if not config.jwt_audience:
        raise InputError(
            "RATCHET_JWT_ISSUER without RATCHET_JWT_AUDIENCE", "the audience of tokens for this server", "set it, too"
        )
    for address in filter(None, (config.jwt_issuer, config.jwt_keys)):
        if address.startswith(("http://", "https://")) or not config.jwt_keys:
            _checked(address)
    return Tokens(config.jwt_issuer, config.jwt_audience, config.jwt_keys, config.jwt_leeway_s)


def looks_like_token(text: str) -> bool:
    """Whether it has the form of a signed JWT: three parts."""
    return text.count(".") == 2 and len(text) <= LONGEST_TOKEN


def _key_id(token: str) -> str:
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise InvalidToken(_reason(error)) from None
    if header.get("alg") not in ALGORITHMS:
        raise InvalidToken("signed in a way that is not accepted")
    key_id = header.get("kid", "")
    return key_id if isinstance(key_id, str) else ""


def _parsed(body: bytes, place: str) -> "dict[str, PyJWK]":
    """The keys by their id; those of kinds that are not accepted are left out."""
    import jwt

    try:
        keys = jwt.PyJWKSet.from_dict(_object(body, place)).keys
        return {key.key_id or "": key for key in keys if key.algorithm_name in ALGORITHMS}
    except (jwt.PyJWTError, TypeError) as error:  # TypeError: PyJWT, where an algorithm or id is no text
        raise InputError(f"keys at {place}: {error}", "a JWKS", "correct RATCHET_JWT_KEYS") from None


def _object(body: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"keys at {place} that are no JSON object", "a JWKS", "correct RATCHET_JWT_KEYS")
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """The scopes of the claim `scope` (RFC 8693) or `scp`; words that are no scopes here are for other services."""
    words = claims.get("scope", claims.get("scp", ""))
    named = words.split() if isinstance(words, str) else words if isinstance(words, list) else []
    return frozenset(scope for scope in SCOPES if scope in named)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        """Follow none: where the keys are is what decides who may sign."""


def _checked(address: str) -> str:
    """An address whose answer nobody on the way can change: https, or this machine.

    Raises:
        InputError: it is another.
    """
    try:
        scheme, host = urlsplit(address).scheme, urlsplit(address).hostname
    except ValueError:  # half a bracket
        scheme, host = "", None
    if host and (scheme == "https" or (scheme == "http" and host in LOOPBACK)):
        return address
    raise InputError(f"keys at {address[:200]!r}", "an https:// address", "correct RATCHET_JWT_ISSUER or RATCHET_JWT_KEYS")


def _get(address: str) -> bytes:
    request = Request(_checked(address), headers={"accept": "application/json"})  # noqa: S310  # the scheme was checked
    try:
        with build_opener(_NoRedirect).open(request, timeout=FETCH_TIMEOUT_S) as answer:
            body = bytes(answer.read(LONGEST_JWKS + 1))
            if answer.length and len(body) <= LONGEST_JWKS:  # `read` with a length does not tell that it got less
                raise IncompleteRead(body, answer.length)
    except (URLError, OSError, ValueError, HTTPException) as error:
        raise TryAgain(
            f"keys at {address}: {getattr(error, 'reason', error)}", "an issuer that answers", "check the network"
        ) from None
    if len(body) > LONGEST_JWKS:
        raise InputError(f"keys at {address} of more than {LONGEST_JWKS:,} bytes", "a JWKS", "correct RATCHET_JWT_KEYS")
    return body


def _reason(error: Exception) -> str:
    """Why PyJWT refuses a token, in words that quote nothing of it."""
    import jwt

    reasons: dict[type[Exception], str] = {
        jwt.ExpiredSignatureError: "that has expired",
        jwt.ImmatureSignatureError: "that is not valid yet",
        jwt.InvalidIssuedAtError: "issued in the future",
        jwt.InvalidAudienceError: "for another audience",
        jwt.InvalidIssuerError: "of another issuer",
        jwt.InvalidSignatureError: "with a wrong signature",
        jwt.InvalidAlgorithmError: "signed in a way that is not accepted",
        jwt.MissingRequiredClaimError: "without exp, iss, aud or sub",
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "that is malformed")
