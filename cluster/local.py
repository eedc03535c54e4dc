"""A real cluster for tests: the one that KUBECONFIG names, otherwise the local one, with a namespace of its own.

Pods run the image that K8S_IMAGE names; without it they run this machine's Python and this project, mounted read-only, which
needs no image build and works only where the cluster's node is this machine. K8S_HOST is this machine's address as pods see it.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import client, config
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.conftest import PROJECT

UP = PROJECT.parent / "shared" / "k8s" / "up.sh"
K8S_HOME = Path(os.environ.get("K8S_HOME") or "~/.cache/local-k8s").expanduser()
MOUNTED = "k8s.local/hostfs:1"
START_S = 900


class NoCluster(Exception):
    """No cluster is available; the message says why."""


@dataclass
class Cluster:
    """A namespace of a cluster, and the address of this machine as its pods see it."""

    kubeconfig: Path
    namespace: str
    host: str
    image: str
    api: client.CoreV1Api = field(repr=False)

    def pods(self, **labels: str) -> list[Any]:
        """The pods there are now, oldest first."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        pods = self.api.list_namespaced_pod(self.namespace, label_selector=selector).items
        return sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))

    def pod_when(self, ready: Callable[[Any], bool], timeout_s: float = 120, **labels: str) -> Any:
        """The first pod for which `ready` is true.

        Raises:
            AssertionError: there is none within `timeout_s` seconds.
        """
        return until(lambda: next((pod for pod in self.pods(**labels) if ready(pod)), None), timeout_s, "such pod")

    def log(self, pod: str) -> str:
        """A pod's log so far; empty: it wrote nothing, or does not run yet."""
        try:
            answer = self.api.read_namespaced_pod_log(pod, self.namespace, container="base", _preload_content=False)
        except ApiException:
            return ""
        return str(answer.data.decode(errors="replace"))  # undecoded by the client, which would parse a line of JSON

    def server(self) -> tuple[str, int]:
        """Where the cluster's API listens."""
        parts = urlsplit(self.api.api_client.configuration.host)
        return str(parts.hostname), parts.port or 443

    def through(self, port: int, folder: Path) -> Path:
        """A kubeconfig that connects to this machine's `port` and still verifies the server's certificate."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        for entry in config["clusters"]:
            entry["cluster"] |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": self.server()[0]}
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path


def until(probe: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Call `probe` until its value is true; returns the value.

    Raises:
        AssertionError: it is not true within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {timeout_s:.0f} s")


def find_kubeconfig(build: bool) -> Path:
    """The kubeconfig to use; starts the local cluster if this machine can.

    Args:
        build: whether Kubernetes may be built first, which takes minutes.

    Raises:
        NoCluster: there is none.
    """
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if kubeconfig:
        return Path(kubeconfig)
    if not UP.exists() or os.geteuid() != 0:
        raise NoCluster("no KUBECONFIG, and no ../shared/k8s/up.sh to start a local cluster as root")
    if not build and not (K8S_HOME / "bin" / "kube-apiserver").exists():
        raise NoCluster("no KUBECONFIG, and a local cluster that ../shared/k8s/up.sh has not built yet, which takes minutes")
    try:
        subprocess.run([str(UP)], check=True, capture_output=True, text=True, timeout=START_S)
    except (subprocess.SubprocessError, OSError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip()[-300:]
        raise NoCluster(f"{UP.name} could not start a cluster: {reason}") from None
    return K8S_HOME / "admin.kubeconfig"


@contextlib.contextmanager
def cluster(build: bool = True) -> Iterator[Cluster]:
    """A fresh namespace, deleted with everything in it when the block ends.

    Raises:
        NoCluster: there is no cluster, or its pods can't run this project.
    """
    kubeconfig = find_kubeconfig(build)
    api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    namespace = f"ratchet-{secrets.token_hex(4)}"
    try:
        api.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    except (ApiException, HTTPError) as error:
        raise NoCluster(f"{kubeconfig} names a cluster that does not answer: {str(error)[:200]}") from None
    try:
        until(lambda: api.list_namespaced_service_account(namespace).items, 60, "service account")
        image = os.environ.get("K8S_IMAGE", MOUNTED)
        started = Cluster(kubeconfig, namespace, os.environ.get("K8S_HOST") or node_address(api), image, api)
        _check_pods_can_run(started)
        yield started
    finally:
        api.delete_namespace(namespace, grace_period_seconds=0)


def _check_pods_can_run(cluster: Cluster) -> None:
    """Run a pod that imports this project.

    Raises:
        NoCluster: it can't; the message has the pod's log.
    """
    container = client.V1Container(
        name="base",
        image=cluster.image,
        command=["python", "-c", "import pipelines.store.artifacts"],
        env=[],
        volume_mounts=[],
        security_context=client.V1SecurityContext(run_as_user=10001),
    )
    spec = client.V1PodSpec(containers=[container], volumes=[], restart_policy="Never")
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="probe"), spec=spec)
    changes: dict[str, Any] = {}
    exec(local_settings(cluster.image), changes)  # the hook that Airflow runs
    changes["pod_mutation_hook"](pod)
    until(lambda: _created(cluster, pod), 60, "account for pods")
    over = ("Succeeded", "Failed")
    try:
        ended = cluster.pod_when(lambda known: known.status.phase in over, 180)
    except AssertionError:
        raise NoCluster("a cluster whose pods do not start within 3 minutes") from None
    log = cluster.log("probe")
    cluster.api.delete_namespaced_pod("probe", cluster.namespace, grace_period_seconds=0)
    until(lambda: not cluster.pods(), 60, "end of the probe")
    if ended.status.phase == "Failed":
        raise NoCluster(f"a cluster whose pods can't run this project: {log.strip()[-300:]}")


def _created(cluster: Cluster, pod: client.V1Pod) -> bool:
    """Whether the cluster accepted the pod; a new namespace may have no token for its service account yet."""
    try:
        cluster.api.create_namespaced_pod(cluster.namespace, pod)
    except ApiException as error:
        if "retry after" in str(error.body):
            return False
        raise
    return True


def node_address(api: client.CoreV1Api) -> str:
    """The node's address, which is this machine's where the cluster is local.

    Raises:
        NoCluster: the cluster has no node with an address, so no pod can start.
    """
    for node in api.list_node().items:
        for address in node.status.addresses or []:
            if address.type == "InternalIP":
                return str(address.address)
    raise NoCluster("a cluster without a node that has an address, so its pods could not start")


HOOK = """
from kubernetes.client import models as k8s

MOUNTS, PYTHON, PROJECT, IMAGE = {mounts!r}, {python!r}, {project!r}, {image!r}


def pod_mutation_hook(pod):
    base = pod.spec.containers[0]
    if PYTHON and base.image == IMAGE:
        for number, path in enumerate(MOUNTS):
            name = f"host-{{number}}"
            pod.spec.volumes.append(k8s.V1Volume(name=name, host_path=k8s.V1HostPathVolumeSource(path=path)))
            base.volume_mounts.append(k8s.V1VolumeMount(name=name, mount_path=path, read_only=True))
        base.command = [PYTHON, *base.command[1:]]
        base.env += [k8s.V1EnvVar(name="PYTHONPATH", value=PROJECT), k8s.V1EnvVar(name="HOME", value="/tmp")]
    if "sidecar" in pod.metadata.name:
        base_mounts = [mount for mount in base.volume_mounts if mount.name.startswith("host-")]
        killed = [base.command[0], "-c", "import sys, time; time.sleep(6); sys.exit(137)"]
        pod.spec.containers.append(
            k8s.V1Container(name="airflow-xcom-sidecar", image=base.image, command=killed, volume_mounts=base_mounts)
        )
"""


def local_settings(image: str) -> str:
    """`airflow_local_settings.py`: pods of the mounted image get this machine's Python and this project, read-only.

    A pod whose name has "sidecar" in it also gets a sidecar that is killed after some seconds.
    """
    mounted = image == MOUNTED
    mounts = list(dict.fromkeys(["/usr", "/etc/ssl", sys.base_prefix, sys.prefix, str(PROJECT)])) if mounted else []
    return HOOK.format(mounts=mounts, python=sys.executable if mounted else "", project=str(PROJECT), image=image)


def airflow_environment(cluster: Cluster, folder: Path, kubeconfig: Path) -> dict[str, str]:
    """The environment of an Airflow whose home is `folder` and whose steps run as pods in this namespace."""
    local = folder / "config" / "airflow_local_settings.py"
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_text(local_settings(cluster.image))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig), "in_cluster": False}}
    return {
        "RATCHET_NAMESPACE": cluster.namespace,
        "RATCHET_IMAGE": cluster.image,
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
        "KUBECONFIG": "",
    }
