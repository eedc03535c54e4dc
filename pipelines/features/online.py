"""Values of features from the online store, read without Feast, whose import takes seconds and 400 MB.

Feast keeps a value under the entity's key, as its serialization of version 3 writes it, as a message of protobuf. In SQLite
each view is a table; in Valkey each entity is a hash whose fields are named by murmur3 of `view:feature`.
"""

import json
import re
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pipelines.errors import InputError, TryAgain
from pipelines.settings import Settings, settings

if TYPE_CHECKING:
    from redis import Redis

Value = str | int | float | bool | None
Row = tuple[datetime, dict[str, Value]]
"""The moment that values are for, and the values by feature."""
STRING = 2
"""Feast's number of the type of a text."""
AT_ONCE = 500
"""Entities in one question to SQLite."""
ENCRYPTED = {"valkey": False, "valkeys": True, "redis": False, "rediss": True}
"""By scheme of a Valkey's address."""
HOST = re.compile(r"[\w.-]+")
"""Feast takes no more of a host's name: it parts what it is told at colons, commas and equals signs."""


class OnlineStore(Protocol):
    """Where Feast put the values."""

    def rows(self, view: str, key: str, ids: Sequence[str], features: Sequence[str]) -> list[Row | None]:
        """The row of each entity, in the order of `ids`; none where there is none.

        Args:
            view: of the features.
            key: the column that names the entity.
            ids: of entities.
            features: of the view.

        Raises:
            TryAgain: the store does not answer.
        """

    def has(self, view: str) -> bool:
        """Whether there is a place for values of the view, which a lost file or table is not.

        Raises:
            TryAgain: the store does not answer.
        """

    def holding(self, holds: Callable[[bytes], bool]) -> int:
        """How many entities' keys or values hold somebody."""

    def erase(self, holds: Callable[[bytes], bool]) -> None:
        """Delete all values of those entities."""


def project_name(config: Settings) -> str:
    """Feast's name for these features: environments that share a store have names of their own."""
    return "_".join(filter(None, ["ratchet", config.environment.replace("-", "_")]))


def online_file(config: Settings) -> Path:
    """Where values are online in SQLite: a file for each environment, since Feast tells their tables by how names begin."""
    return config.home.absolute() / "feast" / f"{project_name(config).replace('ratchet', 'online', 1)}.db"


def open_online() -> OnlineStore:
    """The online store of the settings.

    Raises:
        InputError: the address of the Valkey can't be one.
    """
    config = settings()
    project = project_name(config)
    if config.feature_online == "sqlite":
        return SqliteOnline(online_file(config), project)
    from redis import Redis

    place = valkey_place(config)
    client = Redis(
        host=place.host,
        port=place.port,
        db=place.db,
        ssl=place.encrypted,
        password=config.password or None,
        socket_timeout=5,
    )
    return ValkeyOnline(client, project)


@dataclass(frozen=True)
class ValkeyPlace:
    """Where a Valkey or Redis is."""

    host: str
    port: int
    db: int
    encrypted: bool


def valkey_place(config: Settings) -> ValkeyPlace:
    """Where the Valkey of the settings is: Feast writes there, and what reads beside it reads there.

    Raises:
        InputError: there is no address, or one that Feast can't be told.
    """
    if not config.valkey_url:
        raise InputError("RATCHET_FEATURE_ONLINE=valkey without RATCHET_VALKEY_URL", "the Valkey's address", "set it")
    try:
        parts = urlsplit(config.valkey_url)
        host, db = parts.hostname or "", parts.path.strip("/") or "0"
        if parts.scheme not in ENCRYPTED or not HOST.fullmatch(host) or not db.isdecimal() or parts.query or parts.fragment:
            raise ValueError(parts.scheme)
        return ValkeyPlace(host, parts.port or 6379, int(db), ENCRYPTED[parts.scheme])
    except ValueError:
        raise InputError(
            f"RATCHET_VALKEY_URL={config.valkey_url[:200]!r} for features",
            f"{', '.join(ENCRYPTED)} with a host, a port and a database's number, such as valkey://127.0.0.1:6379/0",
            "correct it",
        ) from None


def read_features(
    store: OnlineStore, view: str, key: str, features: Sequence[str], ids: Sequence[str], at: datetime, ttl: timedelta
) -> list[dict[str, Value] | None]:
    """The values of each entity that are not older than `ttl` at a moment; none where there are none.

    Raises:
        TryAgain: the store does not answer.
    """
    rows = store.rows(view, key, ids, features)
    return [row[1] if row and at - row[0] <= ttl else None for row in rows]


def entity_key(key: str, name: str) -> bytes:
    """The key of an entity, as Feast writes it.

    >>> entity_key("user_id", "u1").hex()
    '010000000200000007000000757365725f696402000000020000007531'
    """
    column, value = key.encode(), name.encode()
    return struct.pack("<III", 1, STRING, len(column)) + column + struct.pack("<II", STRING, len(value)) + value


def _named(entity: bytes) -> bytes:
    """An entity's key as JSON, by which an id that is a word or a number is told from other text.

    >>> _named(entity_key("user_id", "5031") + b"ratchet")
    b'{"user_id": "5031"}'
    """
    column, start = _text(entity, 8)
    return json.dumps({column: _text(entity, start + 4)[0]}, ensure_ascii=False).encode()


def _project(entity: bytes) -> bytes:
    """The project in a key of Valkey; of a key that is not Feast's, nothing.

    >>> _project(entity_key("user_id", "u1") + b"ratchet_my_ratchet"), _project(b"limits of ratchet")
    (b'ratchet_my_ratchet', b'')
    """
    try:
        return entity[_text(entity, _text(entity, 8)[1] + 4)[1] :]
    except (struct.error, UnicodeDecodeError):
        return b""


def _text(body: bytes, start: int) -> tuple[str, int]:
    """A text behind its length, and where it ends."""
    end = start + 4 + int(struct.unpack_from("<I", body, start)[0])
    return body[start + 4 : end].decode(), end


@dataclass(frozen=True)
class SqliteOnline:
    """A file."""

    path: Path
    project: str

    def rows(self, view: str, key: str, ids: Sequence[str], features: Sequence[str]) -> list[Row | None]:
        """See `OnlineStore.rows`."""
        found: dict[bytes, Row] = {}
        keys = [entity_key(key, name) for name in ids]
        wanted = ", ".join("?" * len(features))
        with _database(self.path) as db:
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                question = (
                    f'SELECT entity_key, feature_name, value, event_ts FROM "{self.project}_{view}" '
                    f"WHERE entity_key IN ({', '.join('?' * len(some))}) AND feature_name IN ({wanted})"
                )
                for entity, feature, value, at in db.execute(question, [*some, *features]):
                    # Feast writes what the machine's zone makes of a time without one
                    row = found.setdefault(entity, (datetime.fromtimestamp(at).replace(tzinfo=UTC), {}))
                    row[1][feature] = decoded(value)
        return [found.get(entity) for entity in keys]

    def has(self, view: str) -> bool:
        """See `OnlineStore.has`."""
        if not self.path.is_file():
            return False
        with _database(self.path) as db:
            named = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            return db.execute(named, [f"{self.project}_{view}"]).fetchone() is not None

    def holding(self, holds: Callable[[bytes], bool]) -> int:
        """See `OnlineStore.holding`."""
        return sum(len(keys) for keys in self._held(holds).values())

    def erase(self, holds: Callable[[bytes], bool]) -> None:
        """See `OnlineStore.erase`."""
        held = self._held(holds)
        if not any(held.values()):
            return
        with _database(self.path) as db:
            db.execute("PRAGMA secure_delete = ON")
            for table, keys in held.items():
                db.executemany(f'DELETE FROM "{table}" WHERE entity_key = ?', [(key,) for key in keys])
            db.commit()

    def _held(self, holds: Callable[[bytes], bool]) -> dict[str, list[bytes]]:
        if not self.path.is_file():
            return {}
        with _database(self.path) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {table: sorted(self._held_in(db, table, holds)) for table in tables}

    @staticmethod
    def _held_in(db: sqlite3.Connection, table: str, holds: Callable[[bytes], bool]) -> set[bytes]:
        rows = db.execute(f'SELECT entity_key, value FROM "{table}"')
        return {entity for entity, value in rows if holds(_named(entity)) or holds(_told(value))}


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5)) as db:
            yield db
    except sqlite3.Error as error:
        raise _does_not_answer(f"{path}: {error}") from None


@dataclass(frozen=True)
class ValkeyOnline:
    """A Valkey or Redis."""

    client: "Redis"
    project: str

    def rows(self, view: str, key: str, ids: Sequence[str], features: Sequence[str]) -> list[Row | None]:
        """See `OnlineStore.rows`."""
        fields = [f"_ts:{view}".encode(), *(struct.pack("<I", murmur3(f"{view}:{name}".encode())) for name in features)]
        pipe = self.client.pipeline(transaction=False)
        for name in ids:
            pipe.hmget(entity_key(key, name) + self.project.encode(), fields)
        with _valkey_answers():
            return [self._row(found, features) for found in pipe.execute()]

    @staticmethod
    def _row(found: list[bytes | None], features: Sequence[str]) -> Row | None:
        if found[0] is None:
            return None
        values = {name: decoded(value) for name, value in zip(features, found[1:], strict=True) if value is not None}
        return datetime.fromtimestamp(_seconds(found[0]), UTC), values

    def has(self, view: str) -> bool:  # noqa: ARG002  # a Valkey makes a place for each key
        """See `OnlineStore.has`."""
        return True

    def holding(self, holds: Callable[[bytes], bool]) -> int:
        """See `OnlineStore.holding`."""
        with _valkey_answers():
            return sum(1 for _ in self._held(holds))

    def erase(self, holds: Callable[[bytes], bool]) -> None:
        """See `OnlineStore.erase`."""
        with _valkey_answers():
            for entity in list(self._held(holds)):
                self.client.delete(entity)

    def _held(self, holds: Callable[[bytes], bool]) -> Iterator[bytes]:
        project = self.project.encode()
        for entity in list(self.client.scan_iter(match=b"*" + project, count=1000)):
            if _project(entity) == project and (
                holds(_named(entity)) or any(holds(_told(value)) for value in self.client.hvals(entity))
            ):
                yield entity


@contextmanager
def _valkey_answers() -> Iterator[None]:
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise _does_not_answer(f"Valkey: {error}") from None


def _does_not_answer(what: str) -> TryAgain:
    return TryAgain(
        f"the online store of features, {what}"[:300],
        "an online store that answers",
        "check RATCHET_FEATURE_ONLINE and RATCHET_VALKEY_URL; where it was emptied, start materialize_features",
    )


def decoded(body: bytes) -> Value:
    """A value out of Feast's message: one field, whose number says its type; an empty message is no value.

    >>> decoded(bytes.fromhex("120568656c6c6f")), decoded(bytes.fromhex("2007")), decoded(b"")
    ('hello', 7, None)
    """
    if not body:
        return None
    field, payload = body[0] >> 3, body[1:]
    if field == 2:
        length, start = _varint(payload)
        return payload[start : start + length].decode()
    if field in (3, 4, 7):
        number = _varint(payload)[0]
        return bool(number) if field == 7 else number - (1 << 64) if number >> 63 else number
    if field in (5, 6):
        return float(struct.unpack("<d" if field == 5 else "<f", payload)[0])
    raise ValueError(f"a value of Feast's type {field}, which no view may have")


def _told(body: bytes) -> bytes:
    """A value as JSON: in Feast's message a text stands behind its length, which may be a letter and hide the first word.

    >>> _told(bytes.fromhex("120568656c6c6f"))
    b'["hello"]'
    """
    try:
        return json.dumps([decoded(body)], ensure_ascii=False).encode()
    except (ValueError, IndexError, struct.error):  # a moment, or what others wrote
        return body


def _varint(body: bytes) -> tuple[int, int]:
    """A number of protobuf, and how many bytes it takes."""
    number = shift = place = 0
    while True:
        number |= (body[place] & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if not body[place - 1] & 0x80:
            return number, place


def _seconds(timestamp: bytes) -> float:
    """Seconds since 1970 out of protobuf's message Timestamp: field 1 seconds, field 2 nanoseconds."""
    seconds = nanoseconds = place = 0
    while place < len(timestamp):
        number, taken = _varint(timestamp[place + 1 :])
        seconds, nanoseconds = (number, nanoseconds) if timestamp[place] >> 3 == 1 else (seconds, number)
        place += 1 + taken
    return (seconds - (1 << 64) if seconds >> 63 else seconds) + nanoseconds / 1e9


def murmur3(body: bytes) -> int:
    """MurmurHash3, 32 bits, seed 0 (Appleby, public domain), as Feast names fields in Valkey.

    >>> murmur3(b""), murmur3(b"hello")
    (0, 613153351)
    """
    mask, state = 0xFFFFFFFF, 0
    whole = len(body) & ~3
    for place in range(0, whole, 4):
        block = int.from_bytes(body[place : place + 4], "little")
        state ^= _scrambled(block)
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & mask
    state ^= _scrambled(int.from_bytes(body[whole:], "little")) ^ len(body)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    return state ^ state >> 16


def _scrambled(block: int) -> int:
    block = block * 0xCC9E2D51 & 0xFFFFFFFF
    return (block << 15 | block >> 17) * 0x1B873593 & 0xFFFFFFFF
