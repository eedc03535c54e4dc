"""What pods the operator asks for, offline, against committed files.

After a wanted change: `PYTHONPATH=.:plugins python -m tests.plugins.test_pods` writes the files again; read their diff.
"""

import traceback
from pathlib import Path
from types import SimpleNamespace as Record

import pytest
import yaml

from pipelines.errors import InputError
from pipelines.settings import settings
from tests import airflow_home

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = {
    "RATCHET_RUNTIME": "kubernetes",
    "RATCHET_STORE": "s3://ratchet/store",
    "RATCHET_S3_ENDPOINT": "http://seaweedfs:8333",
    "RATCHET_USER": "airflow",
    "RATCHET_GIT_SHA": "0" * 40,
    "RATCHET_IMAGE": "registry.example/ratchet/steps:1",
    "RATCHET_IMAGE_GPU": "registry.example/ratchet/steps-gpu:1",
}


def pods():
    """Each golden file's name and the operator whose pod it holds."""
    from operators.step import StepOperator

    from pipelines.steps.embed import embed
    from pipelines.steps.ingest import ingest

    values = {"corpus": "c0ffee", "encoder": "abba", "batch_tokens": 4096}
    return {
        "ingest": (StepOperator(step=ingest, step_params={"text": "label", "folder": ""}), -1),
        "embed-gpu": (StepOperator(step=embed, step_params=values, shard="1/2", profile="gpu"), 1),
    }


def pod_of(operator, map_index):
    """The pod as the API server would get it, without what changes by itself."""
    from kubernetes.client import ApiClient

    ti = Record(
        dag_id="d", run_id="manual__2026-01-01T00:00:00+00:00", task_id=operator.task_id, map_index=map_index, try_number=1
    )
    context = {"ti": ti, "run_id": ti.run_id, "dag": Record(), "task_state_store": {}}
    operator.prepare_pod(context)
    pod = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(context, dry_run=True))
    assert pod["metadata"].pop("name").startswith(operator.step.__name__)
    assert pod["metadata"]["labels"].pop("airflow_version")
    return pod


@pytest.fixture
def cluster(monkeypatch):
    assert airflow_home.HOME
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["ingest", "embed-gpu"])
def test_golden(cluster, name):
    assert pod_of(*pods()[name]) == yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", ["ingest", "embed-gpu"])
def test_confined_and_without_secrets(cluster, monkeypatch, name):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("RATCHET_SERVER_KEY", "hush-hush")
    pod = pod_of(*pods()[name])
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert "hush-hush" not in yaml.safe_dump(pod)
    assert container["envFrom"] == [{"secretRef": {"name": "ratchet-store"}}]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert len(spec["containers"]) == 1


@pytest.mark.parametrize("name", ["RATCHET_MLFLOW_URI", "RATCHET_SERVER_URL", "RATCHET_S3_ENDPOINT"])
@pytest.mark.parametrize(
    "address", ["https://ann:hush-hush@host:5000", "http://hush-hush@host", "ann:hush-hush@host", "http://ann:hush-hush/[@host"]
)
def test_no_password_in_an_address(cluster, monkeypatch, name, address):
    """It would be in every pod's spec and in every message that names the address."""
    monkeypatch.setenv("RATCHET_POLL_S", "9")  # another bad setting does not bring it to light either
    monkeypatch.setenv(name, address)
    with pytest.raises(InputError, match=f"given {name} with .*; expected an address alone; next: ") as refused:
        settings()
    assert "hush-hush" not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(InputError, match=name):
        pods()


def test_valid_for_kubernetes(cluster):
    validate = pytest.importorskip("kubernetes_validate")
    for operator, map_index in pods().values():
        validate.validate({**pod_of(operator, map_index), "apiVersion": "v1", "kind": "Pod"}, "1.31", strict=True)


def ended_pod(exit_code, reason="Error", message=""):
    """A failed pod as the cluster's API tells of it."""
    from kubernetes.client import models as k8s

    ended = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code, reason=reason, message=message))
    base = k8s.V1ContainerStatus(name="base", state=ended, image="i", image_id="i", ready=False, restart_count=0)
    spec = k8s.V1PodSpec(containers=[k8s.V1Container(name="base")])
    status = k8s.V1PodStatus(phase="Failed", container_statuses=[base])
    return k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="p", namespace="n"), spec=spec, status=status)


def test_how_a_pod_ended():
    from kubernetes.client import models as k8s
    from operators.pod import how_it_ended

    assert how_it_ended(ended_pod(2, message="error: given x"), "base") == (2, "error: given x")
    assert how_it_ended(ended_pod(1, "OOMKilled"), "base")[0] == 137
    evicted = k8s.V1Pod(status=k8s.V1PodStatus(phase="Failed", reason="Evicted", message="low on disk"))
    assert how_it_ended(evicted, "base") == (75, "the pod was evicted: low on disk")
    assert how_it_ended(None, "base")[0] == 75


def test_a_failed_pod_says_the_steps_sentence(cluster, context, monkeypatch):
    from airflow.sdk.exceptions import AirflowSkipException
    from operators.step import KubernetesPodOperator, StepFailed

    operator = pods()["ingest"][0]
    for asks_the_cluster in ("process_pod_deletion", "patch_already_checked", "is_istio_enabled"):
        monkeypatch.setattr(KubernetesPodOperator, asks_the_cluster, lambda *args, **kwargs: None)
    failed_pod = ended_pod(2, message="{}\nerror: given x; expected y; next: z\n")
    with pytest.raises(StepFailed, match=r"^given x; expected y; next: z$") as failed:
        operator.cleanup(failed_pod, failed_pod, None, context)
    assert failed.value.exit_code == 2
    with pytest.raises(AirflowSkipException):
        operator.cleanup(ended_pod(4), ended_pod(4), None, context)


def test_the_result_comes_back_through_the_store(context, home, monkeypatch, capsys):
    """What the command line leaves under RATCHET_RESULT_KEY is what the operator reads, and a later try replaces it."""
    from operators.step import _stored_result, result_key

    from pipelines.__main__ import main

    monkeypatch.setenv("RATCHET_RESULT_KEY", result_key(context))
    for text in ("label", "label+category"):
        assert main(["ingest", "--text", text]) == 0
        line = capsys.readouterr().out.strip()
        assert _stored_result(context) == yaml.safe_load(line)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        for variable, setting in SETTINGS.items():
            patch.setenv(variable, setting)
        for file, made in pods().items():
            (GOLDEN / f"{file}.yaml").write_text(yaml.safe_dump(pod_of(*made), sort_keys=True), encoding="utf-8")
