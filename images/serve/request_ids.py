"""Ids of searches that every replica recognises, whichever of them answered: a random part, what it counts as, a signature.

Replicas share the server's key, from which the key of signatures is derived. What a search counts as is encrypted: a user's
group would otherwise remain in the logs after the pseudonym can no longer be told.
"""

import hmac
import re
import secrets
import time
from hashlib import sha256
from typing import NamedTuple, get_args

from pipelines.corpus.exposure import Policy
from pipelines.deployment.guardrails import GROUPS

SALT, ORIGIN, SIGNATURE = 10, 11, 6
"""Bytes. Of ten billion searches two have one salt with a probability of 4 in 100,000; to forge an id takes 2**48 tries."""
FORM = re.compile(f"[0-9a-f]{{{2 * (SALT + ORIGIN + SIGNATURE)}}}")
POLICIES = get_args(Policy)
TIMES = 2**48


class Origin(NamedTuple):
    """Where a search was answered."""

    entry: int
    """Of the journal, which gave the release its role."""
    policy: Policy
    """That role."""
    milliseconds: int
    """Since 1970."""
    group: int | None
    """The user's, where the search counts for an arm of a deployment by evidence."""


def origin_now(entry: int, policy: Policy, group: int | None) -> Origin:
    """The origin of a search that is answered now."""
    return Origin(entry, policy, int(1000 * time.time()), group)


class RequestIds:
    """Makes ids of 54 hexadecimal digits, and recognises those of all processes with the same key.

    Args:
        key: that replicas share; empty: a random one, so that only this process's ids are recognised.
    """

    def __init__(self, key: str = "") -> None:
        self._key = hmac.digest(key.encode() or secrets.token_bytes(32), b"request ids", sha256)

    def make(self, origin: Origin) -> str:
        """A new id.

        >>> ids, told = RequestIds("k"), origin_now(7, "challenger", 31)
        >>> RequestIds("k").origin(ids.make(told)) == told, RequestIds("other").origin(ids.make(told))
        (True, None)
        """
        salt = secrets.token_bytes(SALT)
        body = salt + self._masked(salt, _packed(origin).to_bytes(ORIGIN))
        return (body + self._sign(body)).hex()

    def origin(self, request_id: str) -> Origin | None:
        """Where the search with this id was answered; None: by no process with this key."""
        if not FORM.fullmatch(request_id):
            return None
        whole = bytes.fromhex(request_id)
        body, signature = whole[:-SIGNATURE], whole[-SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(body)):
            return None
        return _unpacked(int.from_bytes(self._masked(body[:SALT], body[SALT:])))

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"sign" + body, sha256)[:SIGNATURE]

    def _masked(self, salt: bytes, text: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(text, hmac.digest(self._key, b"mask" + salt, sha256), strict=False))


def _packed(origin: Origin) -> int:
    group = GROUPS if origin.group is None else origin.group
    return ((origin.entry % 2**32 * TIMES) + origin.milliseconds) * 256 + POLICIES.index(origin.policy) * 64 + group


def _unpacked(number: int) -> Origin:
    rest, last = divmod(number, 256)
    entry, milliseconds = divmod(rest, TIMES)
    policy, group = divmod(last, 64)
    return Origin(entry, POLICIES[policy], milliseconds, None if group == GROUPS else group)
