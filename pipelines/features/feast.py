"""Feast as the settings have it: its registry, its stores, the lock of what changes the registry, and its errors as ours."""

import contextlib
import fcntl
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError, TryAgain
from pipelines.features.importing import import_feast
from pipelines.features.online import online_file, project_name, valkey_place
from pipelines.settings import Settings, settings

if TYPE_CHECKING:
    from feast import FeatureStore

LOCKED_WITHIN_S, LOOK_S = 30.0, 0.1
"""How long another change of the registry is waited for, and how often it is looked."""
ADVISORY_LOCK = 0x52415443
"""The key of the lock in PostgreSQL."""


def feature_store(config: Settings | None = None) -> "FeatureStore":
    """Feast's client.

    Raises:
        InputError: the settings name no place that can hold features.
        TryAgain: the registry does not answer.
    """
    config = config or settings()
    check_places(config)
    import_feast()
    (config.home / "feast").mkdir(parents=True, exist_ok=True)
    from feast import FeatureStore, RepoConfig

    with calls_feast("the registry"):
        described: dict[str, Any] = {
            "project": project_name(config),
            "provider": "local",
            "registry": {"registry_type": "sql", "path": registry_url(config), "cache_ttl_seconds": 0},
            "offline_store": {"type": "dask"},
            "online_store": _online(config),
            "entity_key_serialization_version": 3,
        }
        store = FeatureStore(config=RepoConfig(**described))
    _describe(config.home / "feast" / "feature_store.yaml", described)
    return store


def _describe(path: Path, described: dict[str, Any]) -> None:
    """Write what Feast's own command line and page read; it may hold passwords. JSON is YAML."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            json.dump(described, file, indent=1)  # a temporary file is made with mode 0600
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def check_places(config: Settings) -> None:
    """Refuse files under home in a pod: they end with it, and no other pod sees them.

    Raises:
        InputError: the registry or the online store is one.
    """
    files = ["no RATCHET_FEATURE_REGISTRY"] if not config.feature_registry.get_secret_value() else []
    files += ["RATCHET_FEATURE_ONLINE=sqlite"] if config.feature_online == "sqlite" else []
    if config.pod and files:
        raise InputError(
            f"{' and '.join(files)} in a pod, whose files end with it",
            "a PostgreSQL for Feast's registry, and a Valkey for values online",
            "put RATCHET_FEATURE_REGISTRY into the pods' Secret, and set RATCHET_FEATURE_ONLINE=valkey and RATCHET_VALKEY_URL"
            " where Airflow runs; docs/add-a-feature.md says more",
        )


def registry_url(config: Settings) -> str:
    """SQLAlchemy's address of the registry: a PostgreSQL, or a file.

    Raises:
        InputError: SQLAlchemy can't read it, or its driver is not installed.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError

    given = config.feature_registry.get_secret_value()
    if not given:
        return f"sqlite:///{config.home.absolute() / 'feast' / 'registry.db'}"
    try:
        sqlalchemy.create_engine(given)  # it opens no connection
    except (ArgumentError, ImportError, ValueError):
        raise InputError(
            f"RATCHET_FEATURE_REGISTRY={given.partition('://')[0]}://…, not shown whole, which SQLAlchemy can't open",
            "an address such as postgresql+psycopg://user:password@host:5432/name",
            "correct it; the extra `features` brings the driver psycopg",
        ) from None
    return given


def _online(config: Settings) -> dict[str, Any]:
    if config.feature_online == "sqlite":
        return {"type": "sqlite", "path": str(online_file(config))}
    place = valkey_place(config)
    described = [f"{place.host}:{place.port}", f"db={place.db}"]
    described += ["ssl=true"] if place.encrypted else []
    # Feast parts the text at commas, then reads each value as JSON: a password of digits would be a number.
    described += ["password=" + json.dumps(config.password).replace(",", "\\u002c")] if config.password else []
    # Without `skip_dedup` a value that late data corrected would be dropped: its row has the moment of the wrong one.
    return {"type": "redis", "connection_string": ",".join(described), "skip_dedup": True}


@contextlib.contextmanager
def calls_feast(what: str) -> Iterator[None]:
    """A block that calls Feast, which prints on stdout; what it says goes with the logs.

    Args:
        what: that it needs, for the message.

    Raises:
        TryAgain: a database or a Valkey does not answer, or is locked.
    """
    import sqlite3

    from redis.exceptions import RedisError
    from sqlalchemy.exc import DatabaseError

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (RedisError, DatabaseError, sqlite3.OperationalError) as error:
        said = str(error).partition("\n")[0].partition(" connection to server")[0]
        raise TryAgain(
            f"{what} of the feature store: {type(error).__name__}: {said}",
            "a database that answers",
            "check RATCHET_FEATURE_REGISTRY, RATCHET_FEATURE_ONLINE and RATCHET_VALKEY_URL, then run the same command again",
        ) from None


@contextlib.contextmanager
def registry_lock() -> Iterator[None]:
    """Nobody else changes the registry within the block. A killed holder leaves no lock.

    Raises:
        TryAgain: somebody else holds it for longer.
    """
    config = settings()
    url = registry_url(config)
    (config.home / "feast").mkdir(parents=True, exist_ok=True)
    with (_file_lock if url.startswith("sqlite") else _postgres_lock)(config):
        yield


@contextlib.contextmanager
def _file_lock(config: Settings) -> Iterator[None]:
    until = time.monotonic() + LOCKED_WITHIN_S
    with (config.home / "feast" / "lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(until)
        yield


@contextlib.contextmanager
def _postgres_lock(config: Settings) -> Iterator[None]:
    import sqlalchemy

    until = time.monotonic() + LOCKED_WITHIN_S
    # without a transaction, which a server may end when it has been idle for as long as values take to go online
    engine = sqlalchemy.create_engine(registry_url(config), poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with calls_feast("the registry"), engine.connect() as connection:
        taken = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
        while not connection.execute(taken, {"key": ADVISORY_LOCK}).scalar():
            _wait(until)
        yield  # closing the connection gives the lock back


def _wait(until: float) -> None:
    if time.monotonic() > until:
        raise TryAgain(
            f"Feast's registry, which somebody has locked for {LOCKED_WITHIN_S:g} s",
            "one change at a time",
            "wait for the other dag run of materialize_features, then clear the task",
        )
    time.sleep(LOOK_S)
