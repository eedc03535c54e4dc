"""Pseudonyms of users in logs: a keyed hash, whose keys rotate and end.

The keys lie in one file, which only the account of the server may read. The newest key makes pseudonyms; the others still tell
which pseudonyms a user had, until they expire. A key that has expired is deleted with the next rotation, and with it the last
way from a user to that pseudonym.
"""

import fcntl
import hmac
import json
import os
import secrets
import tempfile
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipelines.errors import InputError

DAY_S = 86_400
LENGTH = 20
"""Hexadecimal digits of a pseudonym: 80 bits, so that two users of a billion share one with a probability of 1 in 2 million."""


@dataclass(frozen=True)
class UserKey:
    """A key of pseudonyms. Times are seconds since 1970."""

    id: str
    secret: str
    made: float
    expires: float


def pseudonym(secret: bytes, user: str, key_id: str = "") -> str:
    """The pseudonym of a user under a key, with the key's id in front; empty for nobody.

    >>> pseudonym(b"k", "ann", "u1")[:3], pseudonym(b"k", "ann") == pseudonym(b"k", "ann") != pseudonym(b"other", "ann")
    ('u1.', True)
    """
    if not user:
        return ""
    code = hmac.new(secret, f"user:{user}".encode("utf-8", "replace"), sha256).hexdigest()[:LENGTH]
    return f"{key_id}.{code}" if key_id else code


class UserKeys:
    """The keys of a file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self.keys: tuple[UserKey, ...] = ()
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it has changed.

        Raises:
            InputError: it can't be read, or is no file of keys.
        """
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp == self._stamp:
                return
            body = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"RATCHET_USER_KEYS_FILE={self.path}", "a readable file", f"make it with `users rotate` ({error})"
            ) from None
        self.keys, self._stamp = _parsed(body, self.path), stamp

    def refresh_valid(self) -> None:
        """`refresh`, for who makes pseudonyms.

        Raises:
            InputError: the file can't be read, or all its keys have expired, so that users are logged as nobody.
        """
        self.refresh()
        if not self.valid():
            raise InputError(f"{self.path}, whose keys have all expired", "one that is valid", "make it with `users rotate`")

    def pseudonym(self, user: str) -> str:
        """The user's pseudonym under the newest key; empty for nobody, and for everybody once all keys have expired."""
        valid = self.valid()
        return pseudonym(valid[-1].secret.encode(), user, valid[-1].id) if valid else ""

    def pseudonyms(self, user: str) -> dict[str, str]:
        """The user's pseudonyms under all keys that have not expired, by the key's id, oldest first."""
        return {key.id: pseudonym(key.secret.encode(), user, key.id) for key in self.valid()}

    def valid(self) -> list[UserKey]:
        """The keys that have not expired, oldest first."""
        return [key for key in self.keys if key.expires > time.time()]


def rotate(path: Path, keep_days: float) -> UserKey:
    """Make a key, the newest from now on; keys that have expired are deleted. The file is replaced at once, mode 0600.

    The folder is locked meanwhile: of two rotations at once the second would drop the key of the first, and with it whose
    pseudonyms those were that a server had made by then.

    Args:
        path: the file, made if it is missing.
        keep_days: days for which pseudonyms of the new key can be told from a user.

    Raises:
        InputError: the days can't be, the file is no file of keys, or it can't be written.
    """
    if not 0 < keep_days <= 4000:
        raise InputError(f"{keep_days:g} days", "more than 0 and at most 4000 days", "name how long logs are kept")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            kept = UserKeys(path).valid() if path.exists() else []  # a file that is not ours is refused, and left as it is
            now = time.time()
            made = UserKey(f"u{secrets.token_hex(2)}", secrets.token_urlsafe(32), now, now + keep_days * DAY_S)
            _replace(path, {"keys": [asdict(key) for key in [*kept, made]]})
        finally:
            os.close(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: {reason}", "a file that this account can write", "run it as the servers' account") from None
    return made


def _replace(path: Path, content: dict[str, Any]) -> None:
    """Write a file beside it, and put it in its place; where that fails, none is left behind."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            json.dump(content, file, indent=1)  # a temporary file is made with mode 0600
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _is_whole(key: UserKey) -> bool:
    texts = isinstance(key.id, str) and isinstance(key.secret, str) and key.id and len(key.secret) >= 32
    return bool(texts) and all(isinstance(moment, int | float) for moment in (key.made, key.expires))


def _parsed(body: str, path: Path) -> tuple[UserKey, ...]:
    try:
        keys = tuple(UserKey(**fields) for fields in json.loads(body)["keys"])
        if not keys or not all(_is_whole(key) for key in keys):
            raise ValueError("no key, or a short one")
        return tuple(sorted(keys, key=lambda key: key.made))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(
            f"{path}, which is no file of user keys", "a file that `users rotate` wrote", "make it again"
        ) from None
