"""`make proof-first-release`: docs/kubernetes.md walked from a clone to a search; writes build/proof/first-release.json.

The commands are the page's own, taken from its text; only the names that it leaves open are filled in: the registry, the bucket
and its account. Needs Docker, Debian's `docker-registry`, a cluster whose node can pull from this machine, and port 8080 free.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from kubernetes import client, config

from cluster.local import NoCluster, find_kubeconfig, node_address
from cluster.parity import follow
from cluster.platform import SEED
from cluster.relay import relay
from demo.airflow_api import AirflowApi
from tests.conftest import PROJECT
from tests.figures import write_figures
from tests.services import S3, _end, answers, free_ports, running, seaweedfs

PAGE = "docs/kubernetes.md"
PARTS = ("## 1. Images", "## 2. Namespace", "## 3. Airflow", "## 4. The first release")
AIRFLOW = "http://127.0.0.1:8080"
NAMESPACE = "ratchet"
NO_BUDGET = """  - patch: |
      {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: serve, namespace: ratchet}, \\$patch: delete}
"""
"""Added to the overlay for a Kubernetes before 1.21, which the page asks for and the local cluster is not."""


def commands(page: str) -> list[str]:
    """The shell blocks of the page's four parts, in order."""
    sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    parts = [part for part in sections if part.startswith(PARTS)]
    return ["\n".join(re.findall(r"^```bash\n(.*?)^```", part, re.MULTILINE | re.DOTALL)) for part in parts]


def filled(text: str, registry: str, bucket: str, s3: S3, endpoint: str, old: bool) -> str:
    """The commands with the names that the page leaves open."""
    search = "'http://127.0.0.1:8089/v1/search?q=rocket'"
    account = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    names = {
        "registry.example/": f"{registry}/",
        "s3://bucket/store endpoint=": f"{bucket}/store endpoint={endpoint}",
        **{f"{name}=…": f"{name}={s3.environment[name]}" for name in account},
        "patches:\n": f"patches:\n{NO_BUDGET if old else ''}",
        "airflow standalone ": 'airflow standalone > "$HOME/airflow.log" 2>&1 & ',
        "port-forward service/serve 8089 &": "port-forward service/serve 8089 > /dev/null &\nsleep 3",
        search: f'--fail --silent {search} > "$HOME/found.json"',
    }
    for placeholder, value in names.items():
        assert text.count(placeholder) >= 1, f"{PAGE} no longer says {placeholder!r}"
        text = text.replace(placeholder, value)
    return text


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry on 127.0.0.1, which Docker and a node on this machine trust without TLS; its address."""
    program = shutil.which("docker-registry")
    if not program or not shutil.which("docker"):
        raise NoCluster("no docker, or no docker-registry (Debian's package of that name)")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    folder.mkdir()
    config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "images")}}, "http": {"addr": address}}
    (folder / "config.json").write_text(json.dumps(config))  # JSON is YAML too
    with running([program, "serve", str(folder / "config.json")], folder, lambda: answers(f"http://{address}/v2/")):
        try:
            yield address
        finally:
            _untag(address)


@contextlib.contextmanager
def volumes(api: client.CoreV1Api, folder: Path) -> Iterator[None]:
    """Folders of this machine as volumes for the servers' claims, since a local cluster has no storage class that makes any."""
    names = [f"{NAMESPACE}-logs-{number}" for number in range(2)]
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o777)  # the node gives such a folder to no group
        spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}, "hostPath": {"path": str(folder / name)}}
        api.create_persistent_volume({"metadata": {"name": name}, "spec": spec})
    try:
        yield
    finally:
        for name in names:
            with contextlib.suppress(client.ApiException):
                api.delete_persistent_volume(name)


def _untag(registry: str) -> None:
    """Take the names away that images got for a registry which is gone; the images stay."""
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={registry}/*/*"]
    names = subprocess.run(listed, check=False, capture_output=True, text=True).stdout.split()
    if names:
        subprocess.run(["docker", "image", "rm", *names], check=False, capture_output=True)


def first_release(clone: Path) -> float:
    """Start `ingest_corpus` as an operator does and follow it to the champion; seconds."""
    password = clone / ".ratchet/cluster/airflow/simple_auth_manager_passwords.json.generated"
    deadline = time.monotonic() + 180
    while not (password.exists() and answers(f"{AIRFLOW}/api/v2/monitor/health")):
        assert time.monotonic() < deadline, "no Airflow within 3 minutes"
        time.sleep(1)
    account = {"username": "admin", "password": json.loads(password.read_text())["admin"]}
    token = httpx.post(f"{AIRFLOW}/auth/token", json=account, timeout=30).raise_for_status().json()["access_token"]
    api = AirflowApi(AIRFLOW, token)
    api.wait_for_dags(["ingest_corpus", "refresh_embeddings", "evaluate_release", "promote_release", "deploy_release"])
    return follow(api, {})


def walk(folder: Path) -> dict[str, Any]:
    """From a clone in a home of its own to the answer to a search."""
    kubeconfig = find_kubeconfig(build=True)
    api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    if NAMESPACE in {namespace.metadata.name for namespace in api.list_namespace().items}:
        raise NoCluster(f"a cluster that has a namespace {NAMESPACE} already, which this would take for its own")
    home, clone, python = folder / "home", folder / "clone", sys.executable
    (home / ".kube").mkdir(parents=True)
    shutil.copy(kubeconfig, home / ".kube" / "config")
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    version = client.VersionApi(api.api_client).get_code()
    with registry(folder / "registry") as images, seaweedfs(folder / "s3") as s3, volumes(api, folder / "volumes"):
        inner = urlsplit(s3.endpoint)
        with relay(node_address(api), (str(inner.hostname), int(inner.port or 0))) as network:
            text = "\n".join(commands((clone / PAGE).read_text()))
            endpoint = f"http://{node_address(api)}:{network.port}"
            old = int(re.sub(r"\D", "", version.minor)) < 21
            text = filled(text, images, s3.create_bucket("ratchet"), s3, endpoint, old)
            watched = f"cd {PROJECT} && {python} -m cluster.first_release {clone}"
            exporting, rest = text.split("kubectl --namespace ratchet port-forward")
            script = f"{exporting}\n({watched})\nkubectl --namespace ratchet port-forward{rest}"
            started = time.monotonic()
            try:
                _bash(script, clone, home)
            finally:
                with contextlib.suppress(client.ApiException):
                    api.delete_namespace(NAMESPACE, grace_period_seconds=0)
    chain = json.loads((clone / "build/chain.json").read_text())
    results = json.loads((home / "found.json").read_text())["results"]
    return {"walk_s": time.monotonic() - started, **chain, "results": len(results)}


def _bash(script: str, clone: Path, home: Path) -> None:
    """Run it as a new user would, in the clone and with a home of its own, and end what it leaves running.

    Raises:
        RuntimeError: a command of it failed; says which.
    """
    (home / "walk.sh").write_text(f"set -eux\n{script}\n")
    own = ("RATCHET_", "AIRFLOW", "AWS_", "KUBECONFIG", "PYTHONPATH", "VIRTUAL_ENV", "K8S_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"HOME": str(home)}
    child = subprocess.Popen(["bash", str(home / "walk.sh")], cwd=clone, env=environment, start_new_session=True)
    try:
        if child.wait(3600):
            log = (home / "airflow.log").read_text()[-2000:] if (home / "airflow.log").exists() else ""
            raise RuntimeError(f"the walk ended with {child.returncode}; its last command is above; Airflow's log: {log}")
    finally:
        _end(child)


def main(arguments: list[str]) -> int:
    """Walk and write; with a clone's folder only the part in Airflow's UI."""
    if arguments:
        clone = Path(arguments[0])
        seconds = first_release(clone)
        (clone / "build").mkdir(exist_ok=True)
        (clone / "build/chain.json").write_text(json.dumps({"chain_s": seconds}))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="ratchet-walk-") as folder:
            figures = walk(Path(folder))
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster, Docker and a registry; next: see {PAGE}", file=sys.stderr)
        return 2
    write_figures("proof/first-release", figures, seed=SEED, runs=1, goals={"results": "≥ 1"})
    return 0 if figures["results"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
