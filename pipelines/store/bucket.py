"""Buckets: a client for S3 and compatible servers with timeouts, and downloads from and uploads to any bucket."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Object = tuple[str, int]
"""The key of an object and its size in bytes."""
IN_FLIGHT = 3
"""Parts of 5 MiB of a large file that are in memory at once while it is written."""
ACCESS = ("an account that may read and write the store", "correct the credentials, or the folder's owner and mode")
REFUSALS = {
    "NoSuchBucket": ("a bucket that exists", "create the bucket, or correct RATCHET_STORE"),
    "403 Forbidden": ACCESS,
    "401 Unauthorized": ACCESS,
    "necessary privileges": ACCESS,
    "Permission denied": ACCESS,
    "Read-only file system": ("a store that may be written", "mount it writable, or set RATCHET_STORE to another folder"),
    "169.254.169.254": ("credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
}
"""Errors that a retry does not mend, by words of obstore's messages: its classes do not distinguish all of them."""


def s3_store(bucket: str, prefix: str, endpoint: str, account: Mapping[str, str] | None = None) -> S3Store:
    """A client of a bucket with timeouts: a request without progress fails within a minute.

    Args:
        bucket, prefix, endpoint: where; an empty endpoint is that of AWS.
        account: AWS_ variables instead of the environment's.
    """
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise InputError(
            f"RATCHET_S3_ENDPOINT={endpoint!r}",
            "a URL such as https://s3.example.org",
            "correct it, or unset it for the cloud's own",
        )
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": "5s",
        "read_timeout": "15s",
        "timeout": "1h",
    }
    retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
    credentials: Any = {name.lower(): value for name, value in (account or {}).items() if name.startswith("AWS_")}
    return S3Store(
        bucket, prefix=prefix or None, endpoint=endpoint or None, client_options=client, retry_config=retries, **credentials
    )


BUCKET_REFUSALS = REFUSALS | {"NoSuchBucket": ("a bucket that exists", "check the URI and RATCHET_S3_ENDPOINT")}
"""The same for a bucket that is not the store's."""


def download(
    uri: str, target: Path, endpoint: str | None, most: int, skip: Callable[[str], str] = lambda _: ""
) -> Iterator[tuple[str, Path, str]]:
    """The objects at or below `uri`, written below `target` one after the other.

    Args:
        uri: s3://bucket/key, or s3://bucket/prefix for all keys that begin so.
        target: a folder for the files, made if it is missing.
        endpoint: of an S3-compatible server; None: the one that the settings name.
        most: the number of objects above which the prefix is refused.
        skip: gives the reason to skip an object, from its key below the prefix; empty: it is downloaded.

    Yields:
        the object's key below the prefix, the path of its file, and the reason why it was skipped; empty: it was not.

    Raises:
        InputError: there is no object, or it may not be read.
        TryAgain: the server does not answer.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(repr(uri), "s3://bucket/key or s3://bucket/prefix", "name a bucket")
    store = s3_store(bucket, "", settings().s3_endpoint if endpoint is None else endpoint)
    target.mkdir(parents=True, exist_ok=True)
    with _translated_errors(uri):
        objects = _objects_of(store, key, most)
    if not objects:
        raise InputError(f"{uri}, where nothing lies", "a key, or a prefix of keys", "check the bucket and the key")
    within = len(key.rpartition("/")[0]) + 1 if "/" in key else 0
    for number, (path, size) in enumerate(objects):
        name = path[within:]
        reason = "" if len(objects) == 1 and path == key else skip(name) or ("" if size else "empty")
        if not reason:
            with _translated_errors(f"s3://{bucket}/{path}"):
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
    with _translated_errors(uri):
        try:
            obstore.put(s3_store(bucket, "", settings().s3_endpoint), key, file, max_concurrency=IN_FLIGHT)
        except FileNotFoundError:
            raise InputError(f"{uri}, whose bucket is not there", "a bucket that exists", "create it") from None


def _objects_of(store: S3Store, key: str, most: int) -> list[Object]:
    """The objects of a key or prefix: the object with this key, else those below it as a folder, else all that begin so."""
    if key and not key.endswith("/"):
        try:
            return [(key, int(obstore.head(store, key)["size"]))]
        except FileNotFoundError:
            pass
    objects = _below(store, key, most)
    if objects or not key or key.endswith("/"):
        return objects
    return [(path, size) for path, size in _below(store, key.rpartition("/")[0], most) if path.startswith(key)]


def _below(store: S3Store, prefix: str, most: int) -> list[Object]:
    objects: list[Object] = []
    for chunk in obstore.list(store, prefix or None, chunk_size=1000):
        objects += [(entry["path"], int(entry["size"])) for entry in chunk]
        if len(objects) > most:
            raise InputError(f"more than {most:,} objects", "a prefix of data", "pass a longer prefix")
    return sorted(objects)


def _fetch(store: S3Store, path: str, target: Path) -> None:
    """Write an object in chunks and compare its size with what the server announced."""
    answer = obstore.get(store, path)
    written = 0
    with target.open("xb") as file:
        for chunk in answer.stream(min_chunk_size=1 << 20):
            written += file.write(chunk)
    if written != answer.meta["size"]:
        raise OSError(f"{written:,} of {answer.meta['size']:,} bytes arrived")


@contextmanager
def _translated_errors(uri: str) -> Iterator[None]:
    """Translate errors of the client: refusals are InputError, everything else of the network is TryAgain."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{uri}, which is not there", "an object that stays while it is read", "check the key") from None
    except (BaseError, OSError) as error:
        given = f"{uri}: {str(error).partition(chr(10))[0]}"
        refusal = next((refusal for words, refusal in BUCKET_REFUSALS.items() if words in str(error)), None)
        if refusal:
            raise InputError(given, *refusal) from None
        raise TryAgain(given, "an S3 server that answers", "check the network, then run the same command again") from None
