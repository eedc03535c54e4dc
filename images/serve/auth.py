"""Who may ask: holders of the key, and browsers that came by a one-time link."""

import hmac
import secrets
import time
from hashlib import sha256

LINK_LASTS_S = 15 * 60
SESSION_LASTS_S = 12 * 3600
LINKS = 1000
COOKIE = "ratchet_session"


class Auth:
    """Checks keys, one-time links and sessions. Links live in this process; sessions are signed with the key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._links: dict[str, float] = {}

    def holds_key(self, authorization: str) -> bool:
        """Whether the header `Authorization` carries the key."""
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._key) and scheme.lower() == "bearer"

    def link_token(self) -> str:
        """A token that signs in once, within 15 minutes. Beyond 1,000 unused ones the oldest is dropped."""
        token = secrets.token_urlsafe(24)
        self._links[_hashed(token)] = time.monotonic() + LINK_LASTS_S
        while len(self._links) > LINKS:
            del self._links[next(iter(self._links))]
        return token

    def redeem(self, token: str) -> str | None:
        """The session that a link's token buys; None if it is spent, too old or was never given."""
        until = self._links.pop(_hashed(token), 0.0)
        if time.monotonic() > until:
            return None
        session = f"{int(time.time()) + SESSION_LASTS_S}.{secrets.token_urlsafe(12)}"
        return f"{session}.{self._sign('session', session)}"

    def session(self, cookie: str) -> str | None:
        """The session's name, None if the cookie is not one of ours or too old."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return None
        return session if int(session.partition(".")[0]) > time.time() else None

    def pseudonym(self, user: str) -> str:
        """What stands for a user in the logs: equal for the same user as long as the key is.

        >>> Auth("a").pseudonym("ann") == Auth("a").pseudonym("ann") != Auth("b").pseudonym("ann")
        True
        """
        return self._sign("user", user)[:20] if user else ""

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()


def _hashed(token: str) -> str:
    """Links are kept as hashes, so that looking one up tells nothing about it by its timing."""
    return sha256(token.encode()).hexdigest()
