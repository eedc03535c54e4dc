"""What pods the operator asks for, offline, against committed files.

After a wanted change write the files again, `PYTHONPATH=.:plugins python -m tests.plugins.operators.test_pod_spec`, and read
their diff.
"""

import json
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

    from pipelines.steps.ingest_corpus.ingest import ingest
    from pipelines.steps.refresh_embeddings.embed import embed

    values = {"corpus": "c0ffee", "encoder": "abba", "batch_tokens": 4096}
    return {
        "ingest": (StepOperator(step=ingest, step_params={"text": "label", "folder": ""}), -1),
        "embed-gpu": (StepOperator(step=embed, step_params=values, over="shard", value="1/2", profile="gpu"), 1),
    }


def pod_of(operator, map_index):
    """The pod as the API server would get it, without what changes by itself."""
    from kubernetes.client import ApiClient

    ti = Record(
        id="01234567-89ab-7cde-8f01-23456789abcd", dag_id="d", run_id="manual__2026-01-01T00:00:00+00:00",
        task_id=operator.task_id, map_index=map_index, try_number=1,
    )  # fmt: skip
    context = {"ti": ti, "run_id": ti.run_id, "dag": Record(), "task_state_store": {}}
    operator.prepare_pod(context)
    pod = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj(context, dry_run=True))
    assert pod["metadata"].pop("name").startswith(operator.step.__name__)
    assert pod["metadata"]["labels"].pop("airflow_version")
    queued = next(one for one in pod["spec"]["containers"][0]["env"] if one["name"] == "RATCHET_QUEUED_AT")
    assert queued.pop("value")
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
    assert container["envFrom"] == [{"secretRef": {"name": "ratchet-store", "optional": True}}]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert len(spec["containers"]) == 1


@pytest.mark.parametrize("chosen", ["", "prod"])
def test_a_pod_acts_on_the_environment_of_airflow_or_on_that_of_its_task(cluster, monkeypatch, chosen):
    """Its settings are those that the same step has as a process: the model's name has one environment behind it."""
    from operators.step import StepOperator

    from pipelines.steps.ingest_corpus.ingest import ingest

    stores = {name: {"store": f"s3://ratchet/{name}"} for name in ("staging", "prod")}
    given = {
        "MLFLOW_URI": "http://mlflow:5000",
        "MLFLOW_EXPERIMENT": "shop",
        "ENVIRONMENTS": json.dumps(stores),
        "ENVIRONMENT": "staging",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"RATCHET_{name}", value)
    container = pod_of(StepOperator(step=ingest, in_environment=chosen), -1)["spec"]["containers"][0]
    with pytest.MonkeyPatch.context() as pod:
        for name in given:
            pod.delenv(f"RATCHET_{name}")
        for variable in container["env"]:
            if "value" in variable:
                pod.setenv(variable["name"], variable["value"])
        inside = settings()
    name = chosen or "staging"
    assert (inside.environment, inside.store, inside.mlflow_model) == (name, f"s3://ratchet/{name}", f"release-{name}")
    assert inside.mlflow_experiment == "shop"


def test_a_pod_has_features_where_airflow_has_them_and_its_secrets_from_the_secret(cluster, monkeypatch):
    places = {"RATCHET_FEATURE_ONLINE": "valkey", "RATCHET_VALKEY_URL": "valkey://valkey:6379"}
    secrets = {"FEATURE_REGISTRY": "postgresql+psycopg://ann:hush-hush@h/x", "VALKEY_PASSWORD": "hush-hush"}
    for name, value in {**places, **{f"RATCHET_{name}": value for name, value in secrets.items()}}.items():
        monkeypatch.setenv(name, value)
    pod = pod_of(*pods()["ingest"])
    assert "hush-hush" not in yaml.safe_dump(pod)
    given = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    assert {name: given.get(name) for name in places} == places
    assert not [name for name in given if name.removeprefix("RATCHET_") in secrets], "else the Secret's would not count"


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


@pytest.mark.parametrize("spot", [None, False])
def test_a_pod_that_encodes_asks_for_the_cpu_of_its_variant(cluster, monkeypatch, spot):
    """A node has what the variant needs, or is not labelled at all: there the step says what is missing."""
    from operators.step import StepOperator

    from pipelines.steps.refresh_embeddings.embed import embed

    if spot is not None:
        monkeypatch.setenv("RATCHET_PROFILES", '{"cpu": {"spot": false}}')
    values = {"corpus": "c0ffee", "encoder": "abba", "variant": "openvino-bf16"}
    pod = pod_of(StepOperator(step=embed, step_params=values), -1)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    own = [[one for one in term["matchExpressions"] if "feature.node" in one["key"]] for term in terms]
    assert own == [
        [{"key": "feature.node.kubernetes.io/cpu-cpuid.AVX512BF16", "operator": "In", "values": ["true"]}],
        [{"key": "feature.node.kubernetes.io/cpu-model.vendor_id", "operator": "DoesNotExist"}],
    ]
    assert [len(term["matchExpressions"]) for term in terms] == [1, 1] if spot is None else [6, 6]
    plain = pod_of(StepOperator(step=embed, step_params={**values, "variant": "onnx-fp32"}), -1)
    assert "feature.node" not in yaml.safe_dump(plain)
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate({**pod, "apiVersion": "v1", "kind": "Pod"}, "1.31", strict=True)


def test_valid_for_kubernetes(cluster):
    validate = pytest.importorskip("kubernetes_validate")
    for operator, map_index in pods().values():
        validate.validate({**pod_of(operator, map_index), "apiVersion": "v1", "kind": "Pod"}, "1.31", strict=True)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        for variable, setting in SETTINGS.items():
            patch.setenv(variable, setting)
        for file, made in pods().items():
            (GOLDEN / f"{file}.yaml").write_text(yaml.safe_dump(pod_of(*made), sort_keys=True), encoding="utf-8")
