"""A real cluster for tests: the one KUBECONFIG names, else the local one, with a namespace of the test's own.

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
    """There is no cluster to be had here; says why."""


@dataclass
class Cluster:
    """A namespace of a cluster, and what its pods need to know of this machine."""

    kubeconfig: Path
    namespace: str
    host: str
    image: str
    api: client.CoreV1Api = field(repr=False)

    def pods(self, **labels: str) -> list[Any]:
        """The pods there are now, oldest first."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self.api.list_namespaced_pod(self.namespace, label_selector=selector).items
        return sorted(found, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))

    def pod_when(self, ready: Callable[[Any], bool], timeout_s: float = 120, **labels: str) -> Any:
        """The first pod that is as asked."""
        return until(lambda: next((pod for pod in self.pods(**labels) if ready(pod)), None), timeout_s, "a pod as asked")

    def log(self, pod: str) -> str:
        """What a pod said so far; empty: nothing, or it does not run yet."""
        try:
            answer = self.api.read_namespaced_pod_log(pod, self.namespace, container="base", _preload_content=False)
        except ApiException:
            return ""
        return str(answer.data.decode(errors="replace"))  # as it is: the client would parse a line of JSON

    def server(self) -> tuple[str, int]:
        """Where the cluster's API listens."""
        parts = urlsplit(self.api.api_client.configuration.host)
        return str(parts.hostname), parts.port or 443

    def through(self, port: int, folder: Path) -> Path:
        """A kubeconfig that goes to this machine's `port` and still checks the server's certificate."""
        known = yaml.safe_load(self.kubeconfig.read_text())
        for one in known["clusters"]:
            one["cluster"] |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": self.server()[0]}
        path = folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(known))
        return path


def until(found: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """What `found` gives as soon as it is true.

    Raises:
        AssertionError: it was not in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {timeout_s:.0f} s")


def find_kubeconfig(build: bool) -> Path:
    """The kubeconfig to use; starts the local cluster where there is the means.

    Args:
        build: whether Kubernetes may be built first, which takes minutes.

    Raises:
        NoCluster: there is none.
    """
    named = os.environ.get("KUBECONFIG", "")
    if named:
        return Path(named)
    if not UP.exists() or os.geteuid() != 0:
        raise NoCluster("no KUBECONFIG, and no ../shared/k8s/up.sh to start a local cluster as root")
    if not build and not (K8S_HOME / "bin" / "kube-apiserver").exists():
        raise NoCluster("no KUBECONFIG, and a local cluster that ../shared/k8s/up.sh has not built yet, which takes minutes")
    try:
        subprocess.run([str(UP)], check=True, capture_output=True, text=True, timeout=START_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()[-300:]
        raise NoCluster(f"{UP.name} could not start a cluster: {said}") from None
    return K8S_HOME / "admin.kubeconfig"


@contextlib.contextmanager
def cluster(build: bool = True) -> Iterator[Cluster]:
    """A fresh namespace, gone with everything in it when the block ends.

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
        found = Cluster(kubeconfig, namespace, os.environ.get("K8S_HOST") or _host(api), image, api)
        _probe(found)
        yield found
    finally:
        api.delete_namespace(namespace, grace_period_seconds=0)


def _probe(found: Cluster) -> None:
    """Whether a pod can run this project at all.

    Raises:
        NoCluster: it can't; says what the pod said.
    """
    container = client.V1Container(
        name="base", image=found.image, command=["python", "-c", "import pipelines.artifacts"], env=[], volume_mounts=[],
        security_context=client.V1SecurityContext(run_as_user=10001),
    )  # fmt: skip
    spec = client.V1PodSpec(containers=[container], volumes=[], restart_policy="Never")
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="probe"), spec=spec)
    changes: dict[str, Any] = {}
    exec(local_settings(found.image), changes)  # our own text, as Airflow runs it
    changes["pod_mutation_hook"](pod)
    until(lambda: _created(found, pod), 60, "account for pods")
    over = ("Succeeded", "Failed")
    try:
        ended = found.pod_when(lambda one: one.status.phase in over, 180)
    except AssertionError:
        raise NoCluster("a cluster whose pods do not start within 3 minutes") from None
    said = found.log("probe")
    found.api.delete_namespaced_pod("probe", found.namespace, grace_period_seconds=0)
    until(lambda: not found.pods(), 60, "end of the probe")
    if ended.status.phase == "Failed":
        raise NoCluster(f"a cluster whose pods can't run this project: {said.strip()[-300:]}")


def _created(found: Cluster, pod: client.V1Pod) -> bool:
    """Whether the cluster took the pod; a namespace a moment old may have no token for its account yet."""
    try:
        found.api.create_namespaced_pod(found.namespace, pod)
    except ApiException as error:
        if "retry after" in str(error.body):
            return False
        raise
    return True


def _host(api: client.CoreV1Api) -> str:
    """The node's address, which is this machine's where the cluster is local."""
    addresses = [one for node in api.list_node().items for one in node.status.addresses if one.type == "InternalIP"]
    return str(addresses[0].address)


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
        base_mounts = [one for one in base.volume_mounts if one.name.startswith("host-")]
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


def airflow_environment(one: Cluster, folder: Path, kubeconfig: Path) -> dict[str, str]:
    """What an Airflow whose home is `folder` needs, so that its steps become pods in this namespace."""
    local = folder / "config" / "airflow_local_settings.py"
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_text(local_settings(one.image))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig), "in_cluster": False}}
    return {
        "RATCHET_NAMESPACE": one.namespace,
        "RATCHET_IMAGE": one.image,
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(connection),
        "KUBECONFIG": "",
    }
