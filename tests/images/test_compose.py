"""The stack of docker-compose.yaml: a valid one, and one that is closed. Each rule is also seen to find its harm."""

import copy
import json
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from pipelines.settings import Settings
from tests.conftest import PROJECT

FILE = PROJECT / "docker-compose.yaml"
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
ONCE = {"airflow-init", "buckets"}
PUBLISHED = {"airflow", "mlflow", "serve", "grafana"}
OBSERVERS = {"prometheus", "grafana", "jaeger", "loki", "alloy"}
TELLING = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|FERNET|_KEY|SQL_ALCHEMY_CONN|BACKEND_STORE")
BY_FILE = re.compile(r"_(FILE|CMD)$")


def load(text):
    """The stack as Compose sees it with no variable set."""
    return yaml.safe_load(re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", text))


STACK = load(FILE.read_text())


def check_tag(name, service):
    image, _, tag = service["image"].rpartition(":")
    if image.startswith("ratchet/"):
        return tag == VERSION and service.get("pull_policy") == "never"
    return bool(re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-[a-z]+)?", tag)) and "/" not in tag


def check_ports(name, service):
    ports = service.get("ports", [])
    return all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports) and (not ports or name in PUBLISHED)


def check_network(name, service):
    return ("published" in service["networks"]) == (name in PUBLISHED | {"scheduler"})  # steps may fetch from elsewhere


def check_health(name, service):
    return name in ONCE or "test" in service["healthcheck"]


def check_rights(name, service):
    allowed = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"} if not service["image"].startswith("ratchet/") else set()
    return (
        service["read_only"] is True
        and service["cap_drop"] == ["ALL"]
        and set(service.get("cap_add", [])) <= allowed
        and service["security_opt"] == ["no-new-privileges:true"]
        and not {"privileged", "user", "pid", "network_mode"} & set(service)
    )


def check_limits(name, service):
    limits = service["deploy"]["resources"]["limits"]
    return float(limits["cpus"]) <= 2 and re.fullmatch(r"\d+[mg]", limits["memory"]) is not None


def check_volumes(name, service):
    binds = [volume for volume in service.get("volumes", []) if volume.startswith((".", "/"))]
    named = {volume.partition(":")[0] for volume in service.get("volumes", []) if volume not in binds}
    return named <= set(STACK["volumes"]) and all(
        volume.startswith(("./images/stack/", "./images/observe/")) and volume.endswith(":ro") for volume in binds
    )


def check_environment(name, service):
    variables = service.get("environment", {})
    plain = [key for key in variables if TELLING.search(key) and not BY_FILE.search(key)]
    return not plain and not any(re.search(r"://[^/\s]*:[^/\s]*@", str(value)) for value in variables.values())


def check_secrets(name, service):
    mounted = set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(service)))
    return mounted <= set(service.get("secrets", []))


CHECKS = [value for key, value in globals().items() if key.startswith("check_")]
HARMS = [
    (check_tag, "valkey", {"image": "valkey/valkey:latest"}),
    (check_tag, "valkey", {"image": "valkey/valkey"}),
    (check_tag, "serve", {"pull_policy": "always"}),
    (check_ports, "serve", {"ports": ["8089:8089"]}),
    (check_ports, "serve", {"ports": ["0.0.0.0:8089:8089"]}),
    (check_ports, "postgres", {"ports": ["127.0.0.1:5432:5432"]}),
    (check_ports, "prometheus", {"ports": ["127.0.0.1:9090:9090"]}),
    (check_environment, "grafana", {"environment": {"GF_SECURITY_ADMIN_PASSWORD": "admin"}}),
    (check_network, "seaweedfs", {"networks": ["inside", "published"]}),
    (check_network, "serve", {"networks": ["inside"]}),
    (check_health, "postgres", {"healthcheck": {"interval": "1s"}}),
    (check_rights, "serve", {"cap_add": ["CHOWN"]}),
    (check_rights, "postgres", {"read_only": False}),
    (check_rights, "scheduler", {"privileged": True}),
    (check_limits, "mlflow", {"deploy": {"resources": {"limits": {"cpus": "2", "memory": "unlimited"}}}}),
    (check_volumes, "postgres", {"volumes": ["./data:/var/lib/postgresql"]}),
    (check_volumes, "alloy", {"volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}),
    (check_environment, "postgres", {"environment": {"POSTGRES_PASSWORD": "postgres"}}),
    (check_environment, "mlflow", {"environment": {"STORE": "postgresql://mlflow:mlflow@postgres/mlflow"}}),
    (check_secrets, "serve", {"secrets": ["server_key"]}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_service(check):
    assert [name for name, service in STACK["services"].items() if not check(name, service)] == []


@pytest.mark.parametrize(("check", "name", "change"), HARMS, ids=lambda value: getattr(value, "__name__", None))
def test_the_check_finds_its_harm(check, name, change):
    assert not check(name, {**STACK["services"][name], **change})


def specified(stack):
    """Raise if this is no Compose file."""
    compose_spec = pytest.importorskip("compose_spec")
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(json.loads(json.dumps(stack))))  # without anchors


def test_valid_by_the_specification():
    specified(STACK)


@pytest.mark.parametrize(
    "change", [{"healthchek": {}}, {"healthcheck": {"test": 5}}, {"depends_on": {"mlflow": {"condition": "service_well"}}}]
)
def test_the_specification_finds(change):
    stack = copy.deepcopy(STACK)
    stack["services"]["serve"] |= change
    with pytest.raises(ValueError, match=r"services\.serve"):
        specified(stack)


def test_valid_by_compose_itself():
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose on this machine")
    command = ["docker", "compose", "--file", str(FILE), "config", "--quiet"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_databases_cannot_be_reached_from_outside():
    assert STACK["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "valkey", "seaweedfs"):
        assert STACK["services"][name]["networks"] == ["inside"]


def test_all_parts_are_there_and_what_is_declared_is_used():
    parts = {"airflow", "scheduler", "dag-processor", "triggerer", "postgres", "valkey", "seaweedfs", "mlflow", "serve"}
    assert set(STACK["services"]) == parts | ONCE | OBSERVERS
    assert {name for name, service in STACK["services"].items() if service.get("profiles") == ["observability"]} == OBSERVERS
    assert {name for name, service in STACK["services"].items() if "profiles" in service} == OBSERVERS
    used = [service.get("secrets", []) for service in STACK["services"].values()]
    assert set(STACK["secrets"]) == {name for names in used for name in names}
    volumes = {volume.partition(":")[0] for service in STACK["services"].values() for volume in service.get("volumes", [])}
    assert set(STACK["volumes"]) == {name for name in volumes if not name.startswith(".")}


def test_the_settings_know_every_variable():
    variables = {
        name for service in STACK["services"].values() for name in service.get("environment", {}) if name.startswith("RATCHET_")
    }
    assert variables
    assert {name for name in variables if name.removeprefix("RATCHET_").lower() not in Settings.model_fields} == set()


def test_only_those_who_write_hold_an_account_that_may():
    holders = {name for name, service in STACK["services"].items() if "s3_ratchet.env" in service.get("secrets", [])}
    assert holders == {"scheduler"}
    assert "s3_server.env" in STACK["services"]["serve"]["secrets"], "which may write its logs and nothing else"


def mounts(name):
    """Where each file or folder of the project is in a container."""
    binds = [volume.split(":") for volume in STACK["services"][name]["volumes"] if volume.startswith("./")]
    return {inside: PROJECT / path for path, inside, _ in binds}


def test_prometheus_has_every_file_that_its_settings_name():
    files = mounts("prometheus")
    assert all(path.is_file() for path in files.values())
    settings = yaml.safe_load(files["/etc/ratchet/prometheus.yaml"].read_text())
    jobs = settings["scrape_configs"]
    named = {file for job in jobs for entry in job["file_sd_configs"] for file in entry["files"]}
    assert {f"/etc/ratchet/{name}" for name in (*settings["rule_files"], *named)} <= set(files)
    keys = {job["authorization"]["credentials_file"] for job in jobs}
    (command,) = STACK["services"]["prometheus"]["command"]
    assert [key for key in keys if f"/run/secrets/metrics_key /tmp/{key}" not in command] == []
    targets = {
        target
        for name in named
        for entry in json.loads(files[f"/etc/ratchet/{name}"].read_text())
        for target in entry["targets"]
    }
    assert {target.partition(":")[0] for target in targets} == {"serve", "airflow"}


def test_grafana_finds_its_sources_and_dashboards():
    files = mounts("grafana")
    sources = yaml.safe_load(files["/etc/grafana/provisioning/datasources/ratchet.yaml"].read_text())["datasources"]
    hosts = {source["uid"]: re.fullmatch(r"http://(\w+):\d+", source["url"])[1] for source in sources}
    assert hosts == {"prometheus": "prometheus", "jaeger": "jaeger", "loki": "loki"}
    (provider,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/ratchet.yaml"].read_text())["providers"]
    dashboards = [json.loads(path.read_text()) for path in files[provider["options"]["path"]].glob("*.json")]
    asked = {target["datasource"]["uid"] for made in dashboards for panel in made["panels"] for target in panel["targets"]}
    assert asked <= set(hosts)
    assert "http://loki:3100/" in mounts("alloy")["/etc/alloy/logs.alloy"].read_text()
