"""`make proof-canary-k8s`: a deployment by evidence over two pods of the serve StatefulSet, on a real cluster.

The StatefulSet is that of `images/k8s/serve.yaml`; only what a namespace of its own needs is changed. Stage and readiness must
be those of all replicas, and a pod that is taken away must be missed. Writes build/proof/canary-k8s.json.
"""

import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx
import yaml
from kubernetes import client

from cluster.local import Cluster, NoCluster, cluster, local_settings, until
from cluster.platform import SEED
from cluster.relay import relay
from proofs.deploy_harmed import MINUTE_S, pair
from proofs.deploy_replicas import over_replicas
from tests.conftest import PROJECT
from tests.figures import write_figures
from tests.images.serve.server import RunningServer
from tests.services import seaweedfs

MANIFESTS = PROJECT / "images/k8s/serve.yaml"
LABEL = {"app.kubernetes.io/name": "serve"}
PORT = 8089


def stateful_set(image: str, settings: dict[str, str]) -> dict[str, Any]:
    """The StatefulSet of the manifests, by this image; a mounted one runs this machine's Python and this project.

    Logs are in a folder of the pod's own: a cluster of one's own machine may have no class of storage.
    """
    made = next(one for one in yaml.safe_load_all(MANIFESTS.read_text()) if one["kind"] == "StatefulSet")
    made["metadata"].pop("namespace")
    made["spec"].pop("volumeClaimTemplates")
    pod = made["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "logs", "emptyDir": {}})
    pod["serviceAccountName"] = "default"
    container = pod["containers"][0]
    hook: dict[str, Any] = {}
    exec(local_settings(image), hook)  # as pods of steps are changed
    for number, path in enumerate(hook["MOUNTS"]):
        pod["volumes"].append({"name": f"host-{number}", "hostPath": {"path": path}})
        container["volumeMounts"].append({"name": f"host-{number}", "mountPath": path, "readOnly": True})
    own = {"PYTHONPATH": hook["PROJECT"], "HOME": "/tmp"} if hook["PYTHON"] else {}
    if hook["PYTHON"]:
        container["command"] = [hook["PYTHON"], "-m", "images.serve"]
    container |= {"image": image, "workingDir": "/tmp"}
    container.pop("envFrom")
    container["env"] += [{"name": name, "value": value} for name, value in {**settings, **own}.items()]
    container["resources"]["requests"]["cpu"] = "100m"
    return dict(made)


def replicas(found: Cluster, key: str, number: int) -> list[RunningServer]:
    """The pods that run, once there are so many of them, each by its own address."""

    def running() -> list[Any] | None:
        pods = [pod for pod in found.pods(**LABEL) if pod.status.pod_ip and not pod.metadata.deletion_timestamp]
        return pods if len(pods) == number and all(pod.status.phase == "Running" for pod in pods) else None

    servers = []
    for pod in until(running, 300, f"{number} pods of the server"):
        url = f"http://{pod.status.pod_ip}:{PORT}"
        asking = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        until(lambda asking=asking: answers(asking), 300, f"answer of {pod.metadata.name}")
        servers.append(RunningServer(url, key, None, asking, Path()))  # type: ignore[arg-type]
    return servers


def answers(asking: httpx.Client) -> bool:
    """Whether a server listens."""
    try:
        return asking.get("/healthz").status_code < 500
    except httpx.HTTPError:
        return False


def service(found: Cluster) -> str:
    """Make the Service by which looks reach any of the servers; its address in the cluster."""
    port = client.V1ServicePort(port=PORT, protocol="TCP")
    spec = client.V1ServiceSpec(selector=LABEL, ports=[port], publish_not_ready_addresses=True)
    made = found.api.create_namespaced_service(
        found.namespace, client.V1Service(metadata=client.V1ObjectMeta(name="serve"), spec=spec)
    )
    return f"http://{made.spec.cluster_ip}:{PORT}"


def deployed_over_pods(found: Cluster) -> dict[str, Any]:
    """Start store and servers, and deploy."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ratchet-canary-")))
        s3 = stack.enter_context(seaweedfs(folder / "s3"))
        inner = urlsplit(s3.endpoint)
        network = stack.enter_context(relay(found.host, (str(inner.hostname), int(inner.port or 0))))
        endpoint = {"RATCHET_S3_ENDPOINT": f"http://{found.host}:{network.port}"}
        store = {**s3.environment, "RATCHET_STORE": f"{s3.create_bucket('ratchet')}/store", **endpoint}
        stack.enter_context(patch.dict(os.environ, {**store, "RATCHET_HOME": str(folder), "RATCHET_USER": "proof"}))
        releases, queries = pair(folder)
        key = secrets.token_urlsafe(24)
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name="ratchet-server"), string_data={"key": key})
        found.api.create_namespaced_secret(found.namespace, secret)
        unlimited = {f"RATCHET_LIMIT_{kind}": "1000000/second" for kind in ("KEY", "ADDRESS", "FAILURES")}
        bound = {"RATCHET_SERVER_HOST": "0.0.0.0", "RATCHET_HOME": "/var/lib/ratchet"}  # a pod's own
        manifest = stateful_set(found.image, {**store, **bound, **unlimited, "RATCHET_COUNTS_S": MINUTE_S})
        apps = client.AppsV1Api(found.api.api_client)
        apps.create_namespaced_stateful_set(found.namespace, manifest)
        asked = {"RATCHET_SERVER_URL": service(found), "RATCHET_SERVER_KEY": key}
        stack.enter_context(patch.dict(os.environ, asked))

        def end_one() -> Sequence[RunningServer]:
            apps.patch_namespaced_stateful_set_scale("serve", found.namespace, {"spec": {"replicas": 1}})
            return replicas(found, key, 1)

        return over_replicas(replicas(found, key, 2), releases, queries, end_one)


def main() -> int:
    """Deploy over two pods and write what was seen."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the store and the namespace go
    try:
        with cluster() as found:
            figures = deployed_over_pods(found)
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster; next: set KUBECONFIG", file=sys.stderr)
        return 2
    goals = {"replicas_counted_min": "≥ 2", "replicas_passed": "≥ 1", "replicas_silent_told": "≥ 1"}
    write_figures("proof/canary-k8s", figures, seed=SEED, runs=1, goals=goals)
    return int(not (figures["replicas_passed"] and figures["replicas_silent_told"] and figures["replicas_counted_min"] > 1))


if __name__ == "__main__":
    sys.exit(main())
