"""API keys: random secrets of which only the hash is kept, in a log of entries `access/<n>.json` in the store.

A key is `rk_ID_SECRET`. The secret has 256 random bits, so one SHA-256 of it is as good as a slow hash: nothing can be
guessed. The log is written like the journal: whoever creates entry n+1 has won, nothing is overwritten, and each entry names
the sha256 of the entry before it. Its entries say who made, rotated, expired or revoked which key, when and why.
"""

import hmac
import re
import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipelines.access.scopes import SCOPES, Scope, scopes_of
from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain, is_newer
from pipelines.settings import settings
from pipelines.store.objects import Store
from pipelines.store.recipes import digest

PREFIX = "rk_"
KEY = re.compile(r"rk_([0-9a-f]{12})_([\w-]{43})", re.ASCII)
KEY_ID = re.compile(r"[0-9a-f]{12}")
LONGEST_DAYS, DEFAULT_DAYS = 400.0, 90.0
DAY_S = 86_400
GENESIS = "0" * 64
NOBODYS_HASH = sha256(secrets.token_bytes(32)).hexdigest()
"""What the secret of an unknown key is compared with, so that this takes as long as for a known one."""
Act = Literal["make", "rotate", "expire", "revoke"]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class KeyEntry(BaseModel):
    """One change of who may call: which key, by whom, when and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=1)
    at: float = Field(ge=0, allow_inf_nan=False)
    """Seconds since 1970, as all times here."""
    who: Line
    why: Line
    act: Act
    key: str = Field(pattern=r"^[0-9a-f]{12}$")
    hash: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of the secret; empty where no key is made."""
    owner: str = Field("", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    scopes: tuple[str, ...] = ()
    """Words that this version does not know are scopes of a newer one, and let nobody do anything here."""
    expires: float = Field(0, ge=0, allow_inf_nan=False)
    replaces: str = Field("", pattern=r"^([0-9a-f]{12})?$")
    """The key that a rotation replaces."""
    until: float = Field(0, ge=0, allow_inf_nan=False)
    """When the key ends that expires or is replaced."""
    attempt: str = ""
    parent: str = Field(pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.act in ("make", "rotate")) != bool(self.hash and self.scopes and self.expires):
            raise ValueError("hash, scopes and expiry where a key is made, and nowhere else")
        return self


@dataclass(frozen=True)
class Key:
    """A key as the log leaves it. `ends` is the earlier of its expiry and its revocation, in seconds since 1970."""

    id: str
    hash: str
    owner: str
    scopes: frozenset[Scope]
    made: float
    made_by: str
    expires: float
    revoked: float | None = None

    def problem(self, now: float) -> str:
        """Why the key is not valid at `now`; empty: it is."""
        if self.revoked is not None:  # at once, whatever this machine's clock says
            return "was revoked"
        return "has expired" if now >= self.expires else ""


NOBODY = Key("", NOBODYS_HASH, "", frozenset(), 0, "", 0)


def find(keys: dict[str, Key], presented: str) -> Key | None:
    """The key whose id and secret were presented, valid or not; None if there is none.

    An unknown id and a wrong secret take the same steps: one look-up by the hash of the id, one hash, one comparison.
    """
    match = KEY.fullmatch(presented)
    key_id, secret = match.groups() if match else ("", presented)
    key = keys.get(key_id, NOBODY)
    same = hmac.compare_digest(key.hash, sha256(secret.encode("utf-8", "replace")).hexdigest())
    return key if same and key is not NOBODY else None


class KeyLog:
    """The entries read so far and the keys that they leave; `refresh` reads those written since."""

    def __init__(self, store: Store, read: bool = True) -> None:
        self.store = store
        self.entries: list[KeyEntry] = []
        self.keys: dict[str, Key] = {}
        """By id. Replaced as a whole, never changed: a request reads it without a lock."""
        self.was_read = False
        """Whether the whole log was read once; until then a key that is not known may still be one."""
        self._tip = GENESIS
        if read:
            self.refresh()

    def refresh(self) -> bool:
        """Read entries that were written since. True if there were any.

        Raises:
            CorruptArtifact: an entry is not one that was written after the one before it.
            NewerVersion: an entry has an act or a field that this version does not know.
        """
        before = len(self.entries)
        while (body := self._read(len(self.entries) + 1)) is not None:
            self._take(self._check(body), body)
        self.was_read = True
        return len(self.entries) > before

    def make(self, owner: str, scopes: Iterable[str], days: float, why: str) -> tuple[Key, str]:
        """A new key and its text, which is nowhere else.

        Args:
            owner: the person or program that gets it.
            days: until it expires, more than 0 and at most 400.
        """
        if not owner.strip():
            raise InputError("a key for nobody", "the person or program that gets it", "name an owner")
        text, fields = _fresh(_days(days))
        entry = self._append("make", why, owner=owner, scopes=tuple(sorted(scopes_of(scopes))), **fields)
        return self.keys[entry.key], text

    def rotate(self, key_id: str, days: float, grace_s: float, why: str) -> tuple[Key, str]:
        """A new key with the owner and scopes of another, which ends after `grace_s` seconds; and its text."""
        before = self.valid(key_id)
        text, fields = _fresh(_days(days))
        until = min(before.expires, time.time() + grace_s)
        entry = self._append(
            "rotate", why, owner=before.owner, scopes=tuple(sorted(before.scopes)), replaces=key_id, until=until, **fields
        )  # fmt: skip
        return self.keys[entry.key], text

    def revoke(self, key_id: str, why: str) -> Key:
        """End a key now."""
        self.valid(key_id)
        self._append("revoke", why, key=key_id)
        return self.keys[key_id]

    def expire(self, key_id: str, in_s: float, why: str) -> Key:
        """End a key in `in_s` seconds, at the latest when it would end anyway."""
        key = self.valid(key_id)
        self._append("expire", why, key=key_id, until=min(key.expires, time.time() + in_s))
        return self.keys[key_id]

    def known(self, key_id: str) -> Key:
        """The key with this id, whether it has ended or not.

        Raises:
            InputError: there is none.
        """
        if key_id not in self.keys:
            shown = key_id if KEY_ID.fullmatch(key_id) else "that is no id, not shown here"
            raise InputError(f"key {shown}", "the id of a key of this store", "take one from `keys list`")
        return self.keys[key_id]

    def valid(self, key_id: str) -> Key:
        """The key with this id.

        Raises:
            InputError: there is none, or it has ended.
        """
        key = self.known(key_id)
        if problem := key.problem(time.time()):
            raise InputError(f"key {key_id}, which {problem}", "a key that is valid", "make another with `keys make`")
        return key

    def _append(self, act: Act, why: str, **fields: object) -> KeyEntry:
        n = len(self.entries) + 1
        values = {
            "n": n, "at": time.time(), "who": settings().who, "why": why, "act": act,
            "attempt": uuid.uuid4().hex, "parent": self._tip, **fields,
        }  # fmt: skip
        try:
            entry = KeyEntry.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InputError(f"{name} {str(first['input'])[:80]!r}", "one line of 1 to 200 characters", "correct it") from None
        body = entry.model_dump_json(indent=1).encode()
        # Where a response was lost, the client retries the write and meets its own entry, which is a success.
        if not self.store.create(entry_path(n), body) and self._read(n) != body:
            raise TryAgain(
                f"{act} as entry {n} of the keys",
                "that nobody else wrote it meanwhile",
                "look at `keys list`, then run it again",
            )
        self._take(entry, body)
        return entry

    def _take(self, entry: KeyEntry, body: bytes) -> None:
        self.entries.append(entry)
        self._tip = digest(body)
        self.keys = _after(self.keys, entry)

    def _read(self, n: int) -> bytes | None:
        try:
            return self.store.read(entry_path(n))
        except FileNotFoundError:
            return None

    def _check(self, body: bytes) -> KeyEntry:
        n = len(self.entries) + 1
        try:
            entry = KeyEntry.model_validate_json(body)
        except ValidationError as error:
            if is_newer(error, {"act"}):
                raise NewerVersion(f"{self.store.uri}/{entry_path(n)}", error) from None
            raise self._corrupt(n, f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from None
        if entry.n != n or entry.parent != self._tip:
            raise self._corrupt(n, f"it follows another entry (n {entry.n}, parent {entry.parent[:12]}…)")
        return entry

    def _corrupt(self, n: int, reason: str) -> CorruptArtifact:
        return CorruptArtifact(
            f"{self.store.uri}/{entry_path(n)}: {reason}",
            f"the entry that Ratchet wrote after number {n - 1}",
            "find who wrote it, move it away; what it says is not followed",
        )


def entry_path(n: int) -> str:
    """The path of entry `n` in the store.

    >>> entry_path(7)
    'access/00000007.json'
    """
    return f"access/{n:08d}.json"


def _fresh(days: float) -> tuple[str, dict[str, object]]:
    """A new key's text, and what the log keeps of it."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    hashed = sha256(secret.encode()).hexdigest()
    return f"{PREFIX}{key_id}_{secret}", {"key": key_id, "hash": hashed, "expires": time.time() + days * DAY_S}


def _days(days: float) -> float:
    if not 0 < days <= LONGEST_DAYS:
        raise InputError(
            f"{days:g} days", f"more than 0 and at most {LONGEST_DAYS:g} days", "a key that expires is rotated in time"
        )
    return days


def _after(keys: dict[str, Key], entry: KeyEntry) -> dict[str, Key]:
    """The keys after an entry."""
    if entry.act in ("make", "rotate"):
        scopes = frozenset(scope for scope in SCOPES if scope in entry.scopes)
        made = Key(entry.key, entry.hash, entry.owner, scopes, entry.at, entry.who, entry.expires)
        keys = {**keys, entry.key: made}
    if entry.act == "rotate" and entry.replaces in keys:
        before = keys[entry.replaces]
        keys[entry.replaces] = replace(before, expires=min(before.expires, entry.until))
    if entry.act == "expire" and entry.key in keys:
        keys = {**keys, entry.key: replace(keys[entry.key], expires=min(keys[entry.key].expires, entry.until))}
    if entry.act == "revoke" and entry.key in keys:
        keys = {**keys, entry.key: replace(keys[entry.key], revoked=entry.at)}
    return keys
