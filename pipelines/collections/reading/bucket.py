"""Files of a bucket, brought to this machine in chunks, and one written there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from pipelines.artifacts import IN_FLIGHT, REFUSALS, s3_store
from pipelines.collections.reading.foreign import aside_by_name
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings

if TYPE_CHECKING:
    from obstore.store import S3Store

    Listed = tuple[str, int]

SAID = REFUSALS | {"NoSuchBucket": ("a bucket that exists", "check the URI and RATCHET_S3_ENDPOINT")}
"""What no second try mends, by words of obstore's messages."""


def download(uri: str, target: Path, endpoint: str | None, most: int) -> Iterator[tuple[str, Path, str]]:
    """The objects at or below `uri`, written below `target` one after the other.

    Args:
        uri: s3://bucket/key, or s3://bucket/prefix for all keys that begin so.
        target: a folder of our own.
        endpoint: of an S3-compatible server; None: the one that the settings name.
        most: how many are taken before it is said that these are too many.

    Yields:
        an object's key below the prefix, where it was written, and the reason why it was left aside instead.

    Raises:
        InputError: nothing lies there, or it may not be read.
        TryAgain: the server does not answer.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(repr(uri), "s3://bucket/key or s3://bucket/prefix", "name a bucket")
    store = s3_store(bucket, "", settings().s3_endpoint if endpoint is None else endpoint)
    target.mkdir(parents=True, exist_ok=True)
    with _answering(uri):
        found = _found(store, key, most)
    if not found:
        raise InputError(f"{uri}, where nothing lies", "a key, or a prefix of keys", "check the bucket and the key")
    within = len(key.rpartition("/")[0]) + 1 if "/" in key else 0
    for number, (path, size) in enumerate(found):
        name = path[within:]
        reason = "" if len(found) == 1 and path == key else aside_by_name(name) or ("" if size else "empty")
        if not reason:
            with _answering(f"s3://{bucket}/{path}"):
                _fetch(store, path, target / f"{number:06}")
        yield name, target / f"{number:06}", reason


def upload(file: Path, uri: str) -> None:
    """Write a local file to s3://bucket/key, all at once.

    Raises:
        InputError: no bucket or key is named, or it may not be written.
        TryAgain: the server does not answer.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise InputError(repr(uri), "s3://bucket/key", "name a bucket and a key")
    with _answering(uri):
        try:
            obstore.put(s3_store(bucket, "", settings().s3_endpoint), key, file, max_concurrency=IN_FLIGHT)
        except FileNotFoundError:
            raise InputError(f"{uri}, whose bucket is not there", "a bucket that exists", "create it") from None


def _found(store: "S3Store", key: str, most: int) -> "list[Listed]":
    """The objects that a key or prefix means: the key itself, else what lies below it, else all keys that begin so."""
    if key and not key.endswith("/"):
        try:
            return [(key, int(obstore.head(store, key)["size"]))]
        except FileNotFoundError:
            pass
    found = _below(store, key, most)
    if found or not key or key.endswith("/"):
        return found
    return [(path, size) for path, size in _below(store, key.rpartition("/")[0], most) if path.startswith(key)]


def _below(store: "S3Store", prefix: str, most: int) -> "list[Listed]":
    found: list[Listed] = []
    for chunk in obstore.list(store, prefix or None, chunk_size=1000):
        found += [(entry["path"], int(entry["size"])) for entry in chunk]
        if len(found) > most:
            raise InputError(f"more than {most:,} objects", "a prefix of data", "pass a longer prefix")
    return sorted(found)


def _fetch(store: "S3Store", path: str, target: Path) -> None:
    """Write an object in chunks; the server's size for what it sent must be what arrived."""
    answer = obstore.get(store, path)
    written = 0
    with target.open("xb") as file:
        for chunk in answer.stream(min_chunk_size=1 << 20):
            written += file.write(chunk)
    if written != answer.meta["size"]:
        raise OSError(f"{written:,} of {answer.meta['size']:,} bytes arrived")


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    """A conversation with the server, whose refusals are told from its silence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{uri}, which is not there", "an object that stays while it is read", "check the key") from None
    except (BaseError, OSError) as error:
        given = f"{uri}: {str(error).partition(chr(10))[0]}"
        refusal = next((refusal for words, refusal in SAID.items() if words in str(error)), None)
        if refusal:
            raise InputError(given, *refusal) from None
        raise TryAgain(given, "an S3 server that answers", "check the network, then run the same command again") from None
