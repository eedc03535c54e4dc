"""Authentication: callers with a key or a token, and browsers that signed in by a one-time link."""

import asyncio
import hmac
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from images.serve.errors import NotAuthenticated
from pipelines.access.keys import Key, KeyLog, find
from pipelines.access.pseudonyms import UserKeys, pseudonym
from pipelines.access.scopes import SCOPES, Scope
from pipelines.access.tokens import InvalidToken, Tokens, looks_like_token
from pipelines.errors import StepError, TryAgain

LINK_TTL_S = 15 * 60
SESSION_TTL_S = 12 * 3600
MAX_LINKS = 1000
COOKIE = "ratchet_session"
SERVER_KEY = "server-key"
"""In place of an id: the key of the server's settings, which may do everything and makes the first others."""
PAGE_SCOPES: frozenset[Scope] = frozenset({"search", "events"})
LONGEST_AUTHORIZATION = 8_192
KEY_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Caller:
    """Who calls, and what it may do.

    `id` is the key's id, `server-key`, `token.` and a pseudonym, or one of these with `/page` for a browser that signed in;
    `user` is the person behind it, where it is known.
    """

    id: str
    scopes: frozenset[Scope]
    user: str = ""


class Auth:
    """Checks keys, tokens, one-time links and sessions. Links are in memory; the server's key signs cookies by HMAC-SHA256.

    Args:
        key: the server's own key, with all scopes.
        keys: the log of the other keys, which somebody else refreshes.
        tokens: what checks tokens of an issuer.
        user_keys: the keys of pseudonyms; none: the server's key makes them.
    """

    def __init__(
        self, key: str, keys: KeyLog | None = None, tokens: Tokens | None = None, user_keys: UserKeys | None = None
    ) -> None:
        self._key, self._key_hash = key.encode(), sha256(key.encode()).digest()
        self._log, self._tokens, self._user_keys = keys, tokens, user_keys
        self._links: dict[str, tuple[float, str]] = {}

    async def caller(self, authorization: str) -> Caller:
        """Who presents this `Authorization` header.

        Raises:
            NotAuthenticated: it is malformed, or its key or token is not valid.
            TryAgain: it may be valid: the log of keys, or the issuer's keys, were never read yet.
        """
        scheme, _, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or len(authorization) > LONGEST_AUTHORIZATION:
            raise _not_authenticated("no valid key")
        is_server_key = hmac.compare_digest(sha256(text.encode("utf-8", "replace")).digest(), self._key_hash)
        key = find(self._keys, text)
        if is_server_key:
            return Caller(SERVER_KEY, frozenset(SCOPES))
        if key is not None:
            if problem := key.problem(time.time()):
                raise _not_authenticated(f"key {key.id}, which {problem}")
            return Caller(key.id, key.scopes)
        if self._tokens is not None and looks_like_token(text):
            return await self._token(self._tokens, text)
        if self._log is not None and not self._log.was_read:
            raise TryAgain("a key that may be valid", "the log of keys, which is being read", "ask again in a second")
        raise _not_authenticated("no valid key")

    async def _token(self, tokens: Tokens, text: str) -> Caller:
        try:
            if tokens.needs_keys(text):
                await asyncio.to_thread(_refresh, tokens)
            if not tokens.was_read:
                raise TryAgain("a token that may be valid", "the issuer's keys, which were never read", "ask again later")
            subject = tokens.subject(text)
        except InvalidToken as error:
            raise _not_authenticated(f"a token {error}") from None
        return Caller(f"token.{self.pseudonym(subject.name)}", subject.scopes, subject.name)

    @property
    def _keys(self) -> dict[str, Key]:
        return self._log.keys if self._log else {}

    def link_token(self, maker: str = SERVER_KEY) -> str:
        """A token that signs in once, within 15 minutes. Of more than 1,000 unused tokens the oldest is dropped.

        Args:
            maker: the id of the caller that asks for it; the session ends when its key does.
        """
        token = secrets.token_urlsafe(24)
        self._links[_token_hash(token)] = (time.monotonic() + LINK_TTL_S, maker)
        while len(self._links) > MAX_LINKS:
            del self._links[next(iter(self._links))]
        return token

    def redeem(self, token: str) -> str | None:
        """A session cookie in exchange for a link's token; None if the token was used, is too old or was never issued."""
        until, maker = self._links.pop(_token_hash(token), (0.0, ""))
        if time.monotonic() > until:
            return None
        session = f"{int(time.time()) + SESSION_TTL_S}.{secrets.token_urlsafe(12)}.{maker}"
        return f"{session}.{self._sign('session', session)}"

    def session(self, cookie: str) -> Caller | None:
        """Who signed in; None if the cookie's signature is wrong, or the session or the key that made its link has ended."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return None
        until, _, rest = session.partition(".")
        name, _, maker = rest.partition(".")
        if int(until) <= time.time() or not self._lasts(maker):
            return None
        return Caller(f"{maker}/page", PAGE_SCOPES, f"{until}.{name}")

    def _lasts(self, maker: str) -> bool:
        """Whether the key that made a session's link is still valid; a token's link has the session's own end."""
        if not KEY_ID.fullmatch(maker):
            return bool(maker)
        key = self._keys.get(maker)
        return key is not None and not key.problem(time.time())

    def pseudonym(self, user: str) -> str:
        """A user's pseudonym in the logs, a keyed hash of the name; empty for nobody, and while no key of pseudonyms is valid.

        >>> Auth("a").pseudonym("ann") == Auth("a").pseudonym("ann") != Auth("b").pseudonym("ann")
        True
        """
        return self._user_keys.pseudonym(user) if self._user_keys else pseudonym(self._key, user)

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()


def _refresh(tokens: Tokens) -> None:
    """Read the issuer's keys; where that fails, those that are known decide, and `Credentials` logs the problem."""
    with suppress(StepError):
        tokens.refresh()


def _not_authenticated(given: str) -> NotAuthenticated:
    return NotAuthenticated(given, "the header 'Authorization: Bearer KEY', or a session", "send a key that is valid")


def _token_hash(token: str) -> str:
    """Links are stored by their hash, so that the time of a look-up reveals nothing about a token."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()
