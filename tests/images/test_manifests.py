"""The Kubernetes manifests: valid for the API, closed, and of one piece with the settings. By hand they ran on a cluster."""

import copy
import json
import re
import socket
import tomllib

import pytest
import yaml
from operators.pod_spec import USER

from cluster.canary import stateful_set
from images.serve.__main__ import _place
from pipelines.settings import Settings
from tests.conftest import PROJECT

FOLDER = PROJECT / "images" / "k8s"
VERSIONS = ("1.31", "1.37")
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = (PROJECT / "images/Dockerfile").read_text()
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES = [
    resource for name in KUSTOMIZATION["resources"] for resource in yaml.safe_load_all((FOLDER / name).read_text()) if resource
]
NAMES = [f"{resource['kind']}/{resource['metadata']['name']}" for resource in RESOURCES]
BY_NAME = dict(zip(NAMES, RESOURCES, strict=True))
SERVE = BY_NAME["StatefulSet/serve"]
POD = SERVE["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_valid_for_kubernetes(name, version):
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(BY_NAME[name], version, strict=True)


def test_the_schema_finds():
    validate = pytest.importorskip("kubernetes_validate")
    changed = copy.deepcopy(SERVE)
    changed["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(changed, VERSIONS[-1], strict=True)


def test_no_file_is_forgotten():
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert len(set(NAMES)) == len(NAMES)


def test_everything_is_in_the_namespace():
    namespace = Settings.model_fields["namespace"].default
    assert KUSTOMIZATION["namespace"] == namespace
    assert {resource["metadata"].get("namespace", resource["metadata"]["name"]) for resource in RESOURCES} == {namespace}
    assert not [resource for resource in RESOURCES if resource["kind"].startswith("Cluster")]


def test_airflow_may_run_pods_and_nothing_more():
    rules = [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in BY_NAME["Role/run-steps"]["rules"]]
    assert rules == [
        ([""], ["pods"], ["create", "delete", "get", "list", "patch"]),
        ([""], ["pods/log"], ["get"]),
        ([""], ["events"], ["list", "watch"]),
        ([""], ["secrets"], ["create"]),
    ]
    binding = BY_NAME["RoleBinding/airflow-runs-steps"]
    assert binding["roleRef"]["name"] == "run-steps"
    assert [subject["name"] for subject in binding["subjects"]] == ["airflow"]
    assert sum(name.startswith(("Role/", "RoleBinding/")) for name in NAMES) == 2
    assert f"ServiceAccount/{BY_NAME['ConfigMap/ratchet-airflow']['data']['RATCHET_SERVICE_ACCOUNT']}" in NAMES


def test_serve_is_confined():
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"cpu", "memory"} <= set(CONTAINER["resources"]["requests"])
    assert "memory" in CONTAINER["resources"]["limits"]


def test_a_refused_release_does_not_take_the_last_good_one_away():
    """Ready once it serves the champion; after that its life counts, as docs/serving.md says."""
    paths = {name: CONTAINER[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/readyz", "readiness": "/healthz", "liveness": "/healthz"}


def test_a_rollout_and_a_drain_leave_one_that_serves():
    assert SERVE["spec"]["replicas"] == 2
    assert SERVE["spec"]["updateStrategy"] == {"type": "RollingUpdate"}, "one at a time, and each is ready before the next"
    assert SERVE["spec"]["podManagementPolicy"] == "Parallel", "one that is not ready holds back no other"
    assert BY_NAME["PodDisruptionBudget/serve"]["spec"]["minAvailable"] == 1


def test_logs_are_on_a_volume_that_outlives_the_pod_and_have_room_there():
    (claim,) = SERVE["spec"]["volumeClaimTemplates"]
    environment = {variable["name"]: variable.get("value") for variable in CONTAINER["env"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted["/var/lib/ratchet/events"] == claim["metadata"]["name"] not in {volume["name"] for volume in POD["volumes"]}
    assert "RATCHET_HOME=/var/lib/ratchet" in IMAGE
    assert "RATCHET_EVENTS" not in environment, "the folder is the home's own"
    assert SERVE["spec"].get("persistentVolumeClaimRetentionPolicy") is None, "claims stay, as is the default"
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert int(environment["RATCHET_LOG_ROOM_MB"]) * 10**6 < 0.9 * size * 2**30


def test_the_pod_in_anothers_place_is_no_restart():
    """A StatefulSet keeps the names of its pods, by which a deployment by evidence would count an update as a crash loop."""
    (name,) = (variable for variable in CONTAINER["env"] if variable["name"] == "RATCHET_SERVER_NAME")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"
    given = Settings.model_validate({"server_name": "a-uid"})
    assert _place(given) == "a-uid"
    assert _place(Settings()).startswith(socket.gethostname())


def test_the_cluster_s_proof_takes_the_servers_of_the_manifest():
    made = stateful_set("an/image", {"RATCHET_STORE": "s3://bucket/store"})
    pod = made["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} <= volumes, "each is there without a claim"


def test_services_policies_and_budgets_mean_the_servers_pods():
    labels = SERVE["spec"]["template"]["metadata"]["labels"]
    selectors = [BY_NAME[f"Service/{name}"]["spec"]["selector"] for name in ("serve", "serve-watch")]
    selectors += [
        SERVE["spec"]["selector"]["matchLabels"],
        BY_NAME["PodDisruptionBudget/serve"]["spec"]["selector"]["matchLabels"],
    ]
    selectors += [BY_NAME["NetworkPolicy/callers-of-serve"]["spec"]["podSelector"]["matchLabels"]]
    assert [selector for selector in selectors if not selector.items() <= labels.items()] == []
    port = Settings.model_fields["server_port"].default
    assert {port["port"] for name in ("serve", "serve-watch") for port in BY_NAME[f"Service/{name}"]["spec"]["ports"]} == {port}
    assert CONTAINER["ports"][0]["containerPort"] == port


def test_deploy_can_ask_servers_that_are_not_ready_yet():
    service = BY_NAME["Service/serve-watch"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None", "its name has the address of each, to ask them all"
    assert SERVE["spec"]["serviceName"] == "serve-watch"
    assert BY_NAME["ConfigMap/ratchet-airflow"]["data"]["RATCHET_SERVER_URL"].startswith("http://serve-watch:")


def test_nobody_else_is_called():
    assert BY_NAME["NetworkPolicy/nobody-calls"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}


@pytest.mark.parametrize("name", ["ratchet", "ratchet-airflow"])
def test_the_settings_take_what_the_config_maps_say(monkeypatch, name):
    data = BY_NAME[f"ConfigMap/{name}"]["data"]
    own = {key: value for key, value in data.items() if key.startswith("RATCHET_")}
    assert {key for key in own if key.removeprefix("RATCHET_").lower() not in Settings.model_fields} == set()
    for key, value in own.items():
        monkeypatch.setenv(key, value)
    Settings()
    assert all(key in own or key.startswith("AIRFLOW_CONN_") for key in data)


def test_no_secret_is_written_down():
    assert "Secret" not in {resource["kind"] for resource in RESOURCES}
    variables = [
        *CONTAINER["env"],
        *({"name": key, "value": value} for resource in RESOURCES for key, value in resource.get("data", {}).items()),
    ]
    telling = [variable["name"] for variable in variables if re.search(r"PASSWORD|KEY|TOKEN|AWS_", variable["name"])]
    assert telling == ["RATCHET_SERVER_KEY_FILE"]
    assert not re.search(r"://[^/\s\"]*:[^/\s\"]*@", json.dumps(RESOURCES))


def test_secrets_and_maps_that_are_named_exist_or_are_told():
    page = (PROJECT / "docs/kubernetes.md").read_text()
    named = [source["secretRef"]["name"] for source in CONTAINER["envFrom"] if "secretRef" in source]
    named += [volume["secret"]["secretName"] for volume in POD["volumes"] if "secret" in volume]
    assert named == [Settings.model_fields["store_secret"].default, "ratchet-server"]
    assert [name for name in named if f"create secret generic {name}" not in page] == []
    maps = [source["configMapRef"]["name"] for source in CONTAINER["envFrom"] if "configMapRef" in source]
    assert [name for name in maps if f"ConfigMap/{name}" not in BY_NAME] == []


def test_images_are_pinned_to_this_version():
    assert CONTAINER["image"] == f"ratchet/serve:{VERSION}"
    data = BY_NAME["ConfigMap/ratchet-airflow"]["data"]
    assert (data["RATCHET_IMAGE"], data["RATCHET_IMAGE_GPU"]) == (f"ratchet/steps:{VERSION}", f"ratchet/steps-gpu:{VERSION}")
    assert KUSTOMIZATION["images"] == [{"name": "ratchet/serve", "newTag": VERSION}]
