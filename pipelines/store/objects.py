"""The object store: a folder or a bucket, with create-if-absent writes and files named by their sha256."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store

from pipelines.errors import CorruptArtifact, InputError, TryAgain
from pipelines.logs import log
from pipelines.settings import Settings, settings
from pipelines.store.bucket import IN_FLIGHT, REFUSALS, s3_store
from pipelines.store.bundle import unpack
from pipelines.store.recipes import FileEntry, blob_path, digest_file

WRITES = ("create", "write", "move", "delete", "keep")
"""Operations that change a store."""


@dataclass(frozen=True)
class Listed:
    """An object of a listing: its path, its size in bytes, and when it was written, in seconds since 1970."""

    path: str
    bytes: int
    written: float


class Store:
    """An object store through obstore. `bundled` is the release of a bundle, which is only read; empty: it is no bundle.

    Every operation runs inside `operation`, which turns errors of the backend into step errors; tests count and fail it.
    """

    def __init__(
        self, uri: str, s3_endpoint: str = "", cache: Path | None = None, account: Mapping[str, str] | None = None
    ) -> None:
        self.uri, self.endpoint = uri.rstrip("/"), s3_endpoint
        self.cache = cache
        self.local: Path | None = None
        self.bundled = ""
        parts = urlsplit(uri)
        if parts.scheme == "bundle" and parts.path.startswith("/") and not parts.netloc:
            self.local, self.bundled = unpack(Path(unquote(parts.path)), self._cache())
            self.backend: LocalStore | S3Store = _local_store(self.local)
        elif parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
            self.local = Path(unquote(parts.path))
            self.backend = _local_store(self.local)
        elif parts.scheme == "s3" and parts.netloc:
            self.backend = s3_store(parts.netloc, parts.path.strip("/"), s3_endpoint, account)
        else:
            raise InputError(
                f"RATCHET_STORE={uri!r}",
                "file:///folder, s3://bucket/prefix or bundle:///file",
                "set RATCHET_STORE to one of these",
            )

    @contextmanager
    def operation(self, name: str, path: str) -> Iterator[None]:
        """Run one operation of the backend and translate its errors.

        Args:
            name, path: what is done to what, for the message.

        Raises:
            FileNotFoundError: there is no object at `path`.
            InputError: the backend refuses for a reason that stays, such as missing rights; see `REFUSALS`. Or the store is a
                bundle, and would be changed.
            TryAgain: any other error of the network or the disk, after the client's own retries.
        """
        if self.bundled and name in WRITES:
            raise InputError(
                f"{name} {path} in {self.uri}",
                "a store: a bundle is only read",
                "run `import_release` in a store, and use that",
            )
        try:
            yield
        except (BaseError, OSError) as error:
            refusal = next((refusal for words, refusal in REFUSALS.items() if words in str(error)), None)
            if isinstance(error, FileNotFoundError) and not refusal:
                raise
            given = f"{name} {path} in {self.uri}: {str(error).partition(chr(10))[0]}"
            if refusal:
                raise InputError(given, *refusal) from error
            raise TryAgain(
                given, "a store that answers and has room", "check the disk and the network, then run the same command again"
            ) from error

    def create(self, path: str, body: bytes) -> bool:
        """Write `body` at `path` unless there is an object. True if this call wrote it."""
        with self.operation("create", path):
            try:
                obstore.put(self.backend, path, body, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def write(self, path: str, body: bytes) -> None:
        """Write or overwrite `body` at `path`: for checkpoints, results and erasures from logs, never for artifacts."""
        with self.operation("write", path):
            obstore.put(self.backend, path, body, use_multipart=False)

    def read(self, path: str) -> bytes:
        """The bytes at `path`.

        Raises:
            FileNotFoundError: there is no object.
        """
        with self.operation("read", path):
            return bytes(obstore.get(self.backend, path).bytes())

    def size(self, path: str) -> int | None:
        """The size in bytes of the object at `path`, None if there is none."""
        with self.operation("size", path):
            try:
                return int(obstore.head(self.backend, path)["size"])
            except FileNotFoundError:
                return None

    def names(self, prefix: str) -> list[str]:
        """The folders and files directly under `prefix`, sorted."""
        with self.operation("names", prefix):
            listing = obstore.list_with_delimiter(self.backend, prefix)
            paths = [*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """All objects under `prefix`, at any depth."""
        with self.operation("list", prefix):
            for chunk in obstore.list(self.backend, prefix):
                for entry in chunk:
                    yield Listed(entry["path"], entry["size"], entry["last_modified"].timestamp())

    def move(self, path: str, target: str) -> None:
        """Rename the object at `path`; no error if there is none, since another process may have moved it."""
        with self.operation("move", path), suppress(FileNotFoundError):
            obstore.rename(self.backend, path, target)

    def delete(self, path: str) -> None:
        """Delete the object at `path`; no error if there is none, since another process may have deleted it."""
        with self.operation("delete", path), suppress(FileNotFoundError):
            obstore.delete(self.backend, path)

    def keep(self, file: Path) -> FileEntry:
        """Store a file under its sha256, unless it is there; an object there with other content is replaced."""
        entry = FileEntry(sha256=digest_file(file), bytes=file.stat().st_size)
        blob = blob_path(entry)
        size = self.size(blob)
        if size == entry.bytes and self.digest(blob) == entry.sha256:
            return entry
        if size is not None:
            log().warning("a stored file was damaged or has gone and is replaced", path=f"{self.uri}/{blob}")
        with self.operation("keep", blob):
            obstore.put(self.backend, blob, file, max_concurrency=IN_FLIGHT)
        return entry

    def digest(self, path: str) -> str:
        """The sha256 of the object at `path`, read in chunks; that of no bytes if there is none any more."""
        content = hashlib.sha256()
        with self.operation("digest", path), suppress(FileNotFoundError):
            for chunk in obstore.get(self.backend, path):
                content.update(chunk)
        return content.hexdigest()

    def fetch(self, name: str, entry: FileEntry) -> Path:
        """A local path to the verified content of `entry`; messages call it `name`.

        Raises:
            CorruptArtifact: the content is missing or is not what the manifest names.
        """
        blob = blob_path(entry)
        path = (self.local or self._cache()) / blob
        if not self.local and not _holds(path, entry):
            self._download(blob, path)
        if not _holds(path, entry):
            raise self.corrupt(name, entry)
        return path

    def corrupt(self, name: str, entry: FileEntry) -> CorruptArtifact:
        """The error that file `name` of an artifact is not what its manifest says."""
        return CorruptArtifact(
            f"{name} at {self.uri}/{blob_path(entry)}, which is missing or was changed",
            f"{entry.bytes} bytes with sha256 {entry.sha256}",
            "restore the file from a backup, or delete it and the artifact's manifest and run the step again",
        )

    def _cache(self) -> Path:
        if self.cache is None:
            raise InputError(f"{self.uri} without a cache folder", "a folder", "pass cache=")
        return self.cache

    def _download(self, blob: str, path: Path) -> None:
        """Download a blob into the cache under a temporary name, then rename it; no file appears if the store has none."""
        with self.operation("fetch", blob):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part, suppress(FileNotFoundError):
                try:
                    for chunk in obstore.get(self.backend, blob):
                        part.write(chunk)
                    part.flush()
                    Path(part.name).replace(path)
                finally:
                    Path(part.name).unlink(missing_ok=True)


def _holds(path: Path, entry: FileEntry) -> bool:
    """Whether a local file has the content of `entry`."""
    return path.is_file() and path.stat().st_size == entry.bytes and digest_file(path) == entry.sha256


def _local_store(folder: Path) -> LocalStore:
    try:
        return LocalStore(folder, mkdir=True)
    except OSError as error:
        raise InputError(
            f"store file://{folder}: {error.strerror or error}",
            "a folder that this account may write",
            "set RATCHET_STORE to another folder, or correct its owner",
        ) from None


def open_store(current: Settings | None = None, account: Mapping[str, str] | None = None) -> Store:
    """The store of the settings, with the credentials of the environment or of `account`."""
    current = current or settings()
    return Store(current.store_uri, current.s3_endpoint, current.home / "cache", account)
