"""A real Airflow, S3 store and cluster for the fault tests; cluster and store are each behind a relay that can fail."""

import contextlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import psutil

from cluster.local import Cluster, airflow_environment, until
from cluster.relay import Relay, relay
from demo.airflow_api import OVER, AirflowApi
from demo.services import HEALTH_TIMEOUT_S, Services
from pipelines.corpus.documents import Document
from pipelines.settings import Settings
from pipelines.store.artifacts import Artifact
from pipelines.store.objects import Store
from tests.conftest import PROJECT, call
from tests.corpora import write_corpus
from tests.services import S3, free_ports, running, seaweedfs

SEED = 20261125
WORDS = 60
PENDING_S = 90
PROFILES = {
    "cpu": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "2Gi", "ephemeral-storage": "200Mi"}},
    "small": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1300Mi"}},
    "gpu": {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}},
}


@dataclass
class Platform:
    """The parts in which faults are made, and access to what dag runs left."""

    cluster: Cluster
    api: AirflowApi
    store: Store
    s3: S3
    store_network: Relay
    cluster_network: Relay
    airflow: psutil.Process
    encoder: str

    def corpus(self, documents: int, seed: int = SEED, words: int = WORDS) -> str:
        """A corpus of `documents` random texts of `words` words; another seed gives another corpus."""
        generator = random.Random(seed)
        known = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randint(2, 9))) for _ in range(4000)]
        rows = [Document(id=f"{seed}-{row:05}", text=" ".join(generator.choices(known, k=words))) for row in range(documents)]
        return write_corpus(rows)

    def start(self, dag: str, **conf: Any) -> str:
        return self.api.trigger(dag, conf)

    def task(self, dag: str, run: str, task: str, map_index: int = -1) -> dict[str, Any]:
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{task}"
        return self.api._get(path if map_index < 0 else f"{path}/{map_index}")

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        return list(self.api._get(f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances")["task_instances"])

    def over(self, dag: str, run: str, timeout_s: float = 240) -> str:
        """Wait for the dag run's end; returns its state."""
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}"
        return str(until(lambda: (state := self.api._get(path)["state"]) in OVER and state, timeout_s, f"end of {dag}"))

    def log(self, dag: str, run: str, task: str, tries: int = 1, map_index: int = -1) -> str:
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{task}/logs/{tries}"
        answer = self.api.client.get(path, params={"map_index": map_index}, headers={"Accept": "application/json"})
        return "\n".join(map(_log_line, answer.json()["content"])) if answer.is_success else ""

    def result(self, dag: str, run: str, task: str, map_index: int = -1) -> dict[str, Any]:
        """The whole result of a task."""
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{task}/xcomEntries/result"
        answer = self.api.client.get(path, params={"deserialize": "true", "map_index": map_index})
        return dict(answer.raise_for_status().json()["value"])

    def process(self, *words: str) -> psutil.Process | None:
        """The child process of Airflow whose command line contains all the words."""
        children = self.airflow.children(recursive=True)
        matching = [child for child in children if all(word in _command_line(child) for word in words)]
        return matching[0] if matching else None


def _log_line(line: dict[str, Any]) -> str:
    """A line of a task's log, with its reason and the messages of its exceptions."""
    raised = [str(line["reason"])] if line.get("reason") else []
    raised += [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return " | ".join([str(line.get("event", line)), *raised])


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def torn(store: Store) -> int:
    """How many committed artifacts have a file that differs from their manifest."""
    bad = 0
    for kind in ("corpus", "encoder", "shard", "embeddings", "index"):
        for artifact_id in store.names(f"{kind}/"):
            try:
                manifest = json.loads(store.read(f"{kind}/{artifact_id}/manifest.json"))
            except FileNotFoundError:
                continue  # not committed: nobody can read it
            bad += any(_differs(store, entry) for entry in manifest["files"].values())
    return bad


def _differs(store: Store, entry: dict[str, Any]) -> bool:
    path = f"blobs/{entry['sha256']}"
    return store.size(path) != entry["bytes"] or store.digest(path) != entry["sha256"]


@contextlib.contextmanager
def platform(
    cluster: Cluster, encoder: Artifact | None = None, runtime: str = "kubernetes", **settings: str
) -> Iterator[Platform]:
    """Start everything; stop everything when the block ends.

    Args:
        cluster: where pods run.
        encoder: the encoder to copy into the store; None makes one.
        runtime: where steps run; `process` leaves the cluster alone.
        settings: more variables of Airflow's environment.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ratchet-cluster-")))
        s3 = stack.enter_context(seaweedfs(folder / "s3"))
        inner = urlsplit(s3.endpoint)
        store_network = stack.enter_context(relay(cluster.host, (str(inner.hostname), int(inner.port or 0))))
        endpoint = f"http://{cluster.host}:{store_network.port}"
        bucket = s3.create_bucket("ratchet")
        cluster_network = stack.enter_context(relay("127.0.0.1", cluster.server()))
        kubeconfig = cluster.through(cluster_network.port, folder)
        store_settings = {**s3.environment, "RATCHET_STORE": f"{bucket}/store", "RATCHET_S3_ENDPOINT": endpoint}
        stack.enter_context(patch.dict(os.environ, {**store_settings, "RATCHET_HOME": str(folder / "home")}))
        store = Store(f"{bucket}/store", endpoint, folder / "cache")
        encoder_id = copied(encoder, store) if encoder else str(call("export_encoder").encoder)
        variables = {**store_settings, **airflow_connection(s3, endpoint), "RATCHET_RUNTIME": runtime, **settings}
        airflow, api = stack.enter_context(_airflow(cluster, folder, kubeconfig, variables))
        yield Platform(cluster, api, store, s3, store_network, cluster_network, airflow, encoder_id)


def copied(artifact: Artifact, store: Store) -> str:
    """Copy an artifact into another store; returns its id, which is the same there."""
    for name in artifact.manifest.files:
        store.keep(artifact.path(name))
    body = artifact.store.read(f"{artifact.kind}/{artifact.id}/manifest.json")
    store.create(f"{artifact.kind}/{artifact.id}/manifest.json", body)
    return artifact.id


def airflow_connection(s3: S3, endpoint: str) -> dict[str, str]:
    """The store's credentials as an Airflow connection; the AWS variables are emptied, so that pods can only get them there."""
    extra = {"endpoint_url": endpoint, "region_name": s3.environment["AWS_REGION"]}
    connection = {"conn_type": "aws", "login": s3.access_key, "password": s3.secret_key, "extra": extra}
    emptied = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    return {"AIRFLOW_CONN_STORE": json.dumps(connection), "RATCHET_AWS_CONNECTION": "store", **emptied}


@contextlib.contextmanager
def _airflow(
    cluster: Cluster, folder: Path, kubeconfig: Path, variables: dict[str, str]
) -> Iterator[tuple[psutil.Process, AirflowApi]]:
    dags = folder / "dags"
    dags.mkdir()
    for path in [*(PROJECT / "dags").glob("*.py"), *(PROJECT / "cluster" / "dags").glob("*.py")]:
        shutil.copy(path, dags)
    port = free_ports(1)[0]
    services = Services(Settings(home=folder / "home"))
    services.home.mkdir(parents=True, exist_ok=True)
    command, defaults = services._airflow(port)
    home = Path(defaults["AIRFLOW_HOME"])
    changes = {
        **services.environment(),
        **defaults,
        **airflow_environment(cluster, home, kubeconfig),
        **variables,
        "RATCHET_MLFLOW_URI": "",
        "RATCHET_SERVER_URL": "",
        "RATCHET_PROFILES": json.dumps(PROFILES),
        "RATCHET_PENDING_TIMEOUT_S": str(PENDING_S),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "",  # other tests log less
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PARALLELISM": "12",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "12",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    url = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        from demo.services import is_healthy

        return is_healthy(f"{url}/api/v2/monitor/health")

    with running(command, folder / "airflow-log", healthy, changes, HEALTH_TIMEOUT_S) as child:
        services.urls["airflow"] = url
        api = AirflowApi(url, _token(services, url))
        api.wait_for_dags(["one_pod", "shards", "bad_image"])
        yield psutil.Process(child.pid), api


def _token(services: Services, url: str) -> str:
    import httpx

    password = json.loads(services.password_file.read_text())["admin"]
    answer = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": password}, timeout=30)
    return str(answer.raise_for_status().json()["access_token"])
