"""`make bench-cluster`: what a pod costs beyond `kubectl run`, a chain with nothing to do, and the server's image.

Writes build/bench/cluster.json. K8S_IMAGE names another image (see local.py); the server's is looked for in Docker.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cluster.local import Cluster, NoCluster, airflow_environment, cluster
from cluster.parity import chain
from cluster.platform import SEED, Platform, airflow_connection, platform
from demo.services import is_healthy
from tests.conftest import PROJECT
from tests.figures import write_figures
from tests.services import free_ports

RUNS = 10
STARTS = 5
GOALS = {"pod_overhead_s": "≤ 5", "no_change_chain_s": "≤ 180"}
SERVE = f"ratchet/serve:{tomllib.loads((PROJECT / 'pyproject.toml').read_text())['project']['version']}"


def pod_overhead_s(p: Platform) -> dict[str, float]:
    """StepOperator's pod over `kubectl run` of the same image and command, medians of alternating runs of a short step.

    Neither waits for the pod's deletion: the operator requests it and goes on, and `kubectl` does not remove its pod.
    """
    from tests.airflow_home import HOME, task_context  # isort: skip  # Airflow's home comes before Airflow

    settings = {**airflow_environment(p.cluster, Path(HOME), p.cluster.kubeconfig), "RATCHET_RUNTIME": "kubernetes"}
    settings |= airflow_connection(p.s3, str(p.store.endpoint))
    with patch.dict(os.environ, settings):
        sys.path.insert(0, str(Path(HOME) / "config"))
        from kubernetes.client import ApiClient
        from operators.step import StepOperator

        from pipelines.steps.look.history import history

        account = {name: p.s3.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")}
        bare, operated = [], []
        for number in range(RUNS):
            context = task_context()
            context["ti"].run_id = context["run_id"] = f"bench-{number}"
            operator = StepOperator(step=history, task_id="history")
            operator.prepare_pod(context)
            spec = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(context))["spec"]
            base = spec["containers"][0]  # without the operator's Secret the credentials are passed by value
            base |= {"envFrom": [], "env": base["env"] + [{"name": name, "value": value} for name, value in account.items()]}
            bare.append(_kubectl_run(p.cluster, f"bare-{number}", spec))
            with redirect_stdout(StringIO()):
                operated.append(_timed(lambda operator=operator, context=context: operator.execute(context)))
    pod_s, kubectl_run_s = statistics.median(operated), statistics.median(bare)
    return {"pod_overhead_s": pod_s - kubectl_run_s, "pod_s": pod_s, "kubectl_run_s": kubectl_run_s}


def _timed(action: Any) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _kubectl_run(cluster: Cluster, name: str, spec: dict[str, Any]) -> float:
    """Seconds of `kubectl run --attach` with this specification, to its end."""
    spec["containers"][0]["name"] = name
    command = [
        "kubectl",
        "--kubeconfig",
        str(cluster.kubeconfig),
        "--namespace",
        cluster.namespace,
        "run",
        name,
        "--image",
        cluster.image,
        "--restart=Never",
        "--attach",
        "--quiet",
        "--overrides",
        json.dumps({"apiVersion": "v1", "spec": spec}),
    ]
    seconds = _timed(lambda: _run(command))
    cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=0)
    return seconds


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"kubectl run ended with {done.returncode}: {done.stderr[-600:]}{done.stdout[-600:]}")


def no_change_chain_s(p: Platform) -> float:
    """The whole chain of DAGs as pods when nothing has changed since the last: the gate finds that it has passed before."""
    chain(p, "")
    return chain(p, "", last="evaluate_release")


def server() -> dict[str, float]:
    """The image's size in MB, and the median of seconds from `docker run` to its first answer; empty without the image."""
    docker = shutil.which("docker")
    size = _output(docker, "image", "inspect", "--format", "{{.Size}}", SERVE) if docker else ""
    if not size:
        print(f"no image {SERVE} in Docker (make images TARGETS=serve): its size and start are left out")
        return {}
    return {"serve_image_mb": int(size) / 1e6, "serve_start_s": statistics.median(_start_s(str(docker)) for _ in range(STARTS))}


def _output(*command: str | None) -> str:
    answer = subprocess.run([str(argument) for argument in command], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _start_s(docker: str) -> float:
    port = free_ports(1)[0]
    started = time.monotonic()
    with _container(docker, port):
        while not is_healthy(f"http://127.0.0.1:{port}/healthz"):
            if time.monotonic() - started > 60:
                raise RuntimeError(f"{SERVE} did not answer within a minute")
            time.sleep(0.02)
        return time.monotonic() - started


@contextmanager
def _container(docker: str, port: int) -> Iterator[None]:
    command = [docker, "run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/ratchet:uid=10001"]
    options = ["--env", "RATCHET_SERVER_KEY=bench", "--publish", f"127.0.0.1:{port}:8089"]
    name = subprocess.run([*command, *options, SERVE], check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield
    finally:
        subprocess.run([docker, "kill", name], check=False, capture_output=True)


def main() -> int:
    """Measure and write the figures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with cluster() as started, platform(started) as p:
            figures: dict[str, Any] = {**pod_overhead_s(p), "no_change_chain_s": no_change_chain_s(p), **server()}
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster; next: set KUBECONFIG", file=sys.stderr)
        return 2
    write_figures("bench/cluster", figures, seed=SEED, runs=RUNS, goals=GOALS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
