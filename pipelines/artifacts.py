"""The store: immutable artifacts, named by their recipe, that exist once their manifest does.

`<store>/<kind>/<id>/manifest.json` names files that lie under `<store>/blobs/<sha256>`.
"""

import hashlib
import json
import platform
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import lineage
from pipelines.errors import CorruptArtifact, InputError, NewerVersion, TryAgain, is_newer
from pipelines.logs import log
from pipelines.settings import PROJECT, Settings, settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Kind = Literal[
    "corpus", "encoder", "shard", "embeddings", "index", "reranker", "release",
    "evaluation", "verdict", "drift", "experiment", "report", "queries", "scores",
]  # fmt: skip
MIN_PREFIX = 4
UTC = "%Y-%m-%dT%H:%M:%SZ"
STARTED = time.time()
"""When this process began, within the time that its first imports take."""
IN_FLIGHT = 3
"""Parts of 5 MiB of a large file that are in memory at once while it is stored."""
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
"""What no second try mends, by words of obstore's messages, whose classes do not tell all of these apart."""


def canonical(value: Any) -> bytes:
    """JSON whose bytes depend on the value alone.

    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: bytes) -> str:
    """The sha256 of `value`, 64 hexadecimal digits."""
    return hashlib.sha256(value).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileEntry(BaseModel):
    """One file of an artifact: its content's sha256 and its size in bytes."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class Recipe(BaseModel):
    """What an artifact is made from; the whole of its identity.

    >>> Recipe(kind="index", step="index", version=1, inputs={"embeddings": "ab"}, params={"kind": "flat"}).id
    '79d1475d926558716484'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    step: str
    version: int
    inputs: dict[str, str]
    params: dict[str, Any]

    @property
    def id(self) -> str:
        """20 hexadecimal digits of the recipe's sha256."""
        return digest(canonical(self.model_dump()))[:20]


class Manifest(BaseModel):
    """What the store says of one artifact. Only `recipe` is identity; the rest was observed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = 1
    id: str
    recipe: Recipe
    files: dict[str, FileEntry]
    facts: dict[str, Any]
    tuning: dict[str, Any]
    provenance: dict[str, Any]
    cost: dict[str, float]


@dataclass(frozen=True)
class Listed:
    """Something in the store: its path, its size in bytes, and when it was written, in seconds since 1970."""

    path: str
    bytes: int
    written: float


class Store:
    """An object store through obstore. Every operation passes through `operation`, so tests can count and break them."""

    def __init__(
        self, uri: str, s3_endpoint: str = "", cache: Path | None = None, account: Mapping[str, str] | None = None
    ) -> None:
        self.uri, self.endpoint = uri.rstrip("/"), s3_endpoint
        self.cache = cache
        self.local: Path | None = None
        parts = urlsplit(uri)
        if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
            self.local = Path(unquote(parts.path))
            self.backend: LocalStore | S3Store = _local_store(self.local)
        elif parts.scheme == "s3" and parts.netloc:
            self.backend = s3_store(parts.netloc, parts.path.strip("/"), s3_endpoint, account)
        else:
            raise InputError(
                f"RATCHET_STORE={uri!r}", "file:///folder or s3://bucket/prefix", "set RATCHET_STORE to one of these"
            )

    @contextmanager
    def operation(self, name: str, path: str) -> Iterator[None]:
        """One operation on the store: what passes here is retried by the caller's caller, never half-done."""
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
        """Write `body` at `path` unless something is there. True if this call wrote it."""
        with self.operation("create", path):
            try:
                obstore.put(self.backend, path, body, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def write(self, path: str, body: bytes) -> None:
        """Write `body` at `path`, over what may be there: for notes between tries, never for artifacts."""
        with self.operation("write", path):
            obstore.put(self.backend, path, body, use_multipart=False)

    def read(self, path: str) -> bytes:
        """The bytes at `path`.

        Raises:
            FileNotFoundError: nothing is there.
        """
        with self.operation("read", path):
            return bytes(obstore.get(self.backend, path).bytes())

    def size(self, path: str) -> int | None:
        """The size in bytes of what lies at `path`, None if nothing does."""
        with self.operation("size", path):
            try:
                return int(obstore.head(self.backend, path)["size"])
            except FileNotFoundError:
                return None

    def names(self, prefix: str) -> list[str]:
        """The folders and files directly under `prefix`, sorted."""
        with self.operation("names", prefix):
            found = obstore.list_with_delimiter(self.backend, prefix)
            paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Everything under `prefix`, at any depth."""
        with self.operation("list", prefix):
            for found in obstore.list(self.backend, prefix):
                for one in found:
                    yield Listed(one["path"], one["size"], one["last_modified"].timestamp())

    def move(self, path: str, target: str) -> None:
        """Give what lies at `path` another name; nothing there is fine: another may have been first."""
        with self.operation("move", path), suppress(FileNotFoundError):
            obstore.rename(self.backend, path, target)

    def delete(self, path: str) -> None:
        """Remove what lies at `path`; nothing there is fine: another may have been first."""
        with self.operation("delete", path), suppress(FileNotFoundError):
            obstore.delete(self.backend, path)

    def keep(self, file: Path) -> FileEntry:
        """Store a file under its sha256, once. What lies there already is read again: damage is replaced, not inherited."""
        entry = FileEntry(sha256=digest_file(file), bytes=file.stat().st_size)
        blob = blob_path(entry)
        size = self.size(blob)
        if size == entry.bytes and self._digest(blob) == entry.sha256:
            return entry
        if size is not None:
            log().warning("a stored file was damaged or has gone and is replaced", path=f"{self.uri}/{blob}")
        with self.operation("keep", blob):
            obstore.put(self.backend, blob, file, max_concurrency=IN_FLIGHT)
        return entry

    def _digest(self, path: str) -> str:
        """The sha256 of what lies at `path`, read in chunks; that of nothing if it has gone meanwhile."""
        content = hashlib.sha256()
        with self.operation("digest", path), suppress(FileNotFoundError):
            for chunk in obstore.get(self.backend, path):
                content.update(chunk)
        return content.hexdigest()

    def fetch(self, name: str, entry: FileEntry) -> Path:
        """A local path with the verified content of `entry`, called `name` in messages.

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
        """Bring a blob into the cache, all at once; nothing appears there if the store has none."""
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


def blob_path(entry: FileEntry) -> str:
    """Where a file's content lies, whatever artifacts share it."""
    return f"blobs/{entry.sha256}"


def _local_store(folder: Path) -> LocalStore:
    try:
        return LocalStore(folder, mkdir=True)
    except OSError as error:
        raise InputError(
            f"store file://{folder}: {error.strerror or error}",
            "a folder that this account may write",
            "set RATCHET_STORE to another folder, or correct its owner",
        ) from None


def s3_store(bucket: str, prefix: str, endpoint: str, account: Mapping[str, str] | None = None) -> S3Store:
    """A bucket whose silence is noticed: within a minute a request has moved on or failed.

    Args:
        bucket, prefix, endpoint: where; an empty endpoint is the cloud's own.
        account: AWS_ variables that take the place of the environment's.
    """
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise InputError(
            f"RATCHET_S3_ENDPOINT={endpoint!r}",
            "a URL such as https://s3.example.org",
            "correct it, or unset it for the cloud's own",
        )
    client: ClientConfig = {
        "allow_http": endpoint.startswith("http://"), "connect_timeout": "5s", "read_timeout": "15s", "timeout": "1h"
    }  # fmt: skip
    retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
    who: Any = {name.lower(): value for name, value in (account or {}).items() if name.startswith("AWS_")}
    return S3Store(bucket, prefix=prefix or None, endpoint=endpoint or None, client_options=client, retry_config=retries, **who)


def open_store(given: Settings | None = None, account: Mapping[str, str] | None = None) -> Store:
    """The store that the settings name, as the environment's account or another one."""
    chosen = given or settings()
    return Store(chosen.store_uri, chosen.s3_endpoint, chosen.home / "cache", account)


@dataclass(frozen=True)
class Artifact:
    """A committed artifact. `found` says that its work was done before."""

    store: Store = field(repr=False)
    manifest: Manifest
    found: bool = False

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def kind(self) -> str:
        return self.manifest.recipe.kind

    @property
    def inputs(self) -> dict[str, str]:
        return self.manifest.recipe.inputs

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest.facts

    @cached_property
    def uri(self) -> str:
        return f"{self.store.uri}/{self.kind}/{self.id}"

    def path(self, name: str) -> Path:
        """A local path to the verified file `name`.

        Raises:
            InputError: the artifact has no such file.
            CorruptArtifact: the stored bytes differ from the manifest.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise InputError(
                f"file {name!r} of {self.kind} {self.id}", f"one of {', '.join(self.manifest.files)}", "name one of these"
            )
        return self.store.fetch(f"{self.kind}/{self.id}/{name}", entry)

    def check_files(self) -> None:
        """Look whether all files are there in their size, without reading them.

        Raises:
            CorruptArtifact: a file is missing or has another size.
        """
        for name, entry in self.manifest.files.items():
            if self.store.size(blob_path(entry)) != entry.bytes:
                raise self.store.corrupt(f"{self.kind}/{self.id}/{name}", entry)

    def text(self, name: str) -> str:
        """The verified file `name` as text."""
        return self.path(name).read_text(encoding="utf-8")

    def json(self, name: str) -> Any:
        """The verified JSON file `name`."""
        return json.loads(self.text(name))


def find(store: Store, kind: Kind, artifact_id: str) -> Artifact | None:
    """The committed artifact, None if there is none.

    Raises:
        CorruptArtifact: the manifest is torn, or says another recipe than its id.
        NewerVersion: it has a field or a kind that this version does not know.
    """
    path = f"{kind}/{artifact_id}/manifest.json"
    try:
        body = store.read(path)
    except FileNotFoundError:
        return None
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        if is_newer(error, {"kind", "layout"}):
            raise NewerVersion(f"{store.uri}/{path}", error) from None
        raise _corrupt_manifest(store, path, error.errors()[0]["msg"]) from None
    if manifest.id != artifact_id or manifest.recipe.id != artifact_id or manifest.recipe.kind != kind:
        raise _corrupt_manifest(store, path, f"it describes {manifest.recipe.kind} {manifest.recipe.id}")
    return Artifact(store, manifest, found=True)


def _corrupt_manifest(store: Store, path: str, reason: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{store.uri}/{path}: {reason}", "the manifest that Ratchet wrote", "restore it, or delete it and run the step again"
    )


def committed(store: Store, kind: Kind, prefix: str = "") -> list[str]:
    """The ids of a kind that begin with `prefix`, sorted. A folder without a manifest is none: its writer was killed."""
    names = [name for name in store.names(f"{kind}/") if name.startswith(prefix)]
    return [name for name in names if store.size(f"{kind}/{name}/manifest.json") is not None]


def load(store: Store, kind: Kind, artifact_id: str) -> Artifact:
    """The committed artifact whose id is, or begins with, `artifact_id` (4 digits or more).

    Raises:
        InputError: none or several do.
    """
    exact = find(store, kind, artifact_id) if artifact_id.isalnum() else None
    if exact is not None:
        return exact
    ids = committed(store, kind, artifact_id) if len(artifact_id) >= MIN_PREFIX else []
    if len(ids) != 1:
        raise InputError(
            f"{kind} {artifact_id!r}, which {f'{len(ids)} ids begin with' if ids else 'is not in ' + store.uri}",
            f"the id of one {kind}",
            "run `python -m pipelines history`, or the step that makes it",
        )
    return load_exactly(store, kind, ids[0])


def load_exactly(store: Store, kind: Kind, artifact_id: str) -> Artifact:
    """The committed artifact with this id.

    Raises:
        InputError: there is none.
    """
    artifact = find(store, kind, artifact_id)
    if artifact is None:
        raise InputError(f"{kind} {artifact_id}", f"an artifact in {store.uri}", "run the step that makes it")
    return artifact


def produce(
    store: Store, recipe: Recipe, build: Callable[[Path], dict[str, Any]], tuning: dict[str, Any] | None = None
) -> Artifact:
    """The artifact of `recipe`: found if it was made before, else made by `build` and committed.

    `build` writes files into the folder it is given and returns facts (numbers, names) for the manifest.
    The artifact appears all at once; when two runs race, the first manifest wins and the other run's is discarded.
    """
    done = find(store, recipe.kind, recipe.id)
    if done is not None:
        log().info("found", kind=recipe.kind, id=recipe.id)
        return done
    meter = _Meter()
    with tempfile.TemporaryDirectory(prefix=f"ratchet-{recipe.kind}-") as folder:
        facts = build(Path(folder))
        written = {str(path.relative_to(folder)): path for path in sorted(Path(folder).rglob("*")) if path.is_file()}
        files = {name: store.keep(path) for name, path in written.items()}
        manifest = Manifest(
            id=recipe.id, recipe=recipe, files=files, facts=facts, tuning=tuning or {}, provenance=_provenance(),
            cost=meter.read(),
        )  # fmt: skip
        artifact = _commit(store, manifest)
        for name, path in written.items():  # what gc took for garbage before the manifest named it
            if artifact.manifest == manifest and store.size(blob_path(files[name])) is None:
                store.keep(path)
    return artifact


def _commit(store: Store, manifest: Manifest) -> Artifact:
    kind = manifest.recipe.kind
    if store.create(f"{kind}/{manifest.id}/manifest.json", manifest.model_dump_json(indent=1).encode()):
        log().info("committed", kind=kind, id=manifest.id, files=len(manifest.files), **manifest.cost)
        lineage.emit(store, manifest)
        return Artifact(store, manifest)
    winner = load_exactly(store, kind, manifest.id)
    differing = sorted(
        name
        for name in manifest.files.keys() | winner.manifest.files.keys()
        if manifest.files.get(name) != winner.manifest.files.get(name)
    )
    tell = log().warning if differing else log().info
    tell("lost the race: another run committed first, its files are kept", kind=kind, id=manifest.id, differing=differing)
    return winner


class _Meter:
    """Wall, CPU and GPU seconds since it was made, and the process's peak memory; a GPU counts while it is reserved."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall = time.monotonic() - self.wall
        return {
            "wall_s": round(wall, 3),
            "cpu_s": round(time.process_time() - self.cpu, 3),
            "gpu_s": round(wall * settings().gpus, 3),
            "peak_memory_mb": round(peak_kib / 1024, 1),
        }


def _provenance() -> dict[str, Any]:
    given = settings()
    return {
        "at": time.strftime(UTC, time.gmtime()),
        "who": given.who,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "git_sha": given.git_sha or _git_sha(),
        "image": given.image_digest,
        "pod": given.pod,
        "node": given.node,
        "queued_at": given.queued_at,
        "started_at": time.strftime(UTC, time.gmtime(STARTED)),
        "dag_run": "/".join(part for part in (given.dag, given.dag_run, given.task) if part),
    }


def _git_sha() -> str:
    command = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
