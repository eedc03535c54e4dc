"""Authentication: callers with the server's key, and browsers that signed in by a one-time link."""

import hmac
import secrets
import time
from hashlib import sha256

LINK_TTL_S = 15 * 60
SESSION_TTL_S = 12 * 3600
MAX_LINKS = 1000
COOKIE = "ratchet_session"


class Auth:
    """Checks keys, one-time links and sessions. Links are in memory; session cookies are signed with the key by HMAC-SHA256."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._links: dict[str, float] = {}

    def has_key(self, authorization: str) -> bool:
        """Whether the `Authorization` header has the key as bearer token."""
        scheme, _, key = authorization.partition(" ")
        return hmac.compare_digest(key.strip().encode("latin-1", "replace"), self._key) and scheme.lower() == "bearer"

    def link_token(self) -> str:
        """A token that signs in once, within 15 minutes. Of more than 1,000 unused tokens the oldest is dropped."""
        token = secrets.token_urlsafe(24)
        self._links[_token_hash(token)] = time.monotonic() + LINK_TTL_S
        while len(self._links) > MAX_LINKS:
            del self._links[next(iter(self._links))]
        return token

    def redeem(self, token: str) -> str | None:
        """A session cookie in exchange for a link's token; None if the token was used, is too old or was never issued."""
        until = self._links.pop(_token_hash(token), 0.0)
        if time.monotonic() > until:
            return None
        session = f"{int(time.time()) + SESSION_TTL_S}.{secrets.token_urlsafe(12)}"
        return f"{session}.{self._sign('session', session)}"

    def session(self, cookie: str) -> str | None:
        """The session's name, None if the cookie's signature is wrong or the session has expired."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return None
        return session if int(session.partition(".")[0]) > time.time() else None

    def pseudonym(self, user: str) -> str:
        """A user's pseudonym in the logs, HMAC-SHA256 of the name: equal for the same user as long as the key stays.

        >>> Auth("a").pseudonym("ann") == Auth("a").pseudonym("ann") != Auth("b").pseudonym("ann")
        True
        """
        return self._sign("user", user)[:20] if user else ""

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()


def _token_hash(token: str) -> str:
    """Links are stored by their hash, so that the time of a look-up reveals nothing about a token."""
    return sha256(token.encode()).hexdigest()
