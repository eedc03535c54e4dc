"""Everything the environment says, read here and nowhere else. Each field is `RATCHET_<NAME>`."""

import getpass
import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pipelines.errors import InputError, expectation

PROJECT = Path(__file__).resolve().parents[1]
INSTEAD = {  # of a password in an address
    "mlflow_uri": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "server_url": "set RATCHET_SERVER_KEY or RATCHET_SERVER_KEY_FILE",
    "s3_endpoint": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}


class Profile(BaseModel):
    """What one kind of pod asks of the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: dict[str, str] = {"cpu": "1", "memory": "2Gi"}
    limits: dict[str, str] = {"memory": "4Gi"}
    memory_steps: list[str] = []
    """Memory of the next pods, one after another, of a step that ran out of it; empty: only its batch is halved."""
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, str]] = []
    runtime_class: str = ""
    priority_class: str = ""
    shared_memory: str = ""
    """Size of /dev/shm, for loaders with several processes; empty: the runtime's 64 MB."""
    spot: bool | None = None
    """Nodes that the cloud can take back at any time: true, rather there; false, never; none, as the cluster likes."""


GPU = Profile(
    requests={"cpu": "2", "memory": "8Gi"},
    limits={"memory": "16Gi", "nvidia.com/gpu": "1"},
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
)


class Settings(BaseSettings):
    """Where things are and how steps run; none of it enters an artifact's id."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(PROJECT / ".ratchet", description="Folder of everything that is made on this machine")
    store: str = Field("", description="Artifact store: file:///folder or s3://bucket/prefix")
    s3_endpoint: str = Field("", description="URL of an S3-compatible server; empty: the cloud's own")
    user: str = Field("", description="Name written into journal entries")
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    result_path: Path | None = Field(None, description="File that also receives a step's result")
    result_key: str = Field("", description="Key in the store that also receives a step's result")

    runtime: Literal["process", "kubernetes"] = Field("process", description="Where StepOperator runs steps")
    image: str = Field("ratchet/steps:0.1.0", description="Image of step pods")
    image_gpu: str = Field("ratchet/steps-gpu:0.1.0", description="Image of step pods of profile gpu")
    namespace: str = Field("ratchet", description="Kubernetes namespace of step pods")
    kubernetes_connection: str = Field("kubernetes_default", description="Airflow connection of the cluster")
    aws_connection: str = Field("", description="Airflow connection for S3; empty: aws_default for s3:// sources")
    store_secret: str = Field("ratchet-store", description="Kubernetes Secret with the store's credentials")
    service_account: str = Field("", description="Service account of step pods; empty: the namespace's default")
    pending_timeout_s: int = Field(600, ge=1, description="Seconds that a pod may wait for room, quota and its image")
    replacements: int = Field(5, ge=0, description="Pods of a task that the cluster may take away without costing a try")
    profiles: dict[str, Profile] = {"cpu": Profile(), "gpu": GPU}
    kill_grace_s: float = Field(10, ge=0, description="Seconds between SIGTERM and SIGKILL")

    mlflow_uri: str = Field("", description="MLflow tracking server; empty: no projection into MLflow")
    server_url: str = Field("", description="A search server that deploy and rollback wait for")
    server_key: SecretStr = Field(SecretStr(""), description="Key of the search server")
    server_key_file: Path | None = Field(None, description="File that holds the key instead")
    server_host: str = "127.0.0.1"
    server_port: int = Field(8089, ge=0, le=65535)
    poll_s: float = Field(0.5, gt=0, le=0.5, description="Seconds between two looks at the journal's head")
    events: Path | None = Field(None, description="Folder of exposure and click logs; default: home/events")
    suite: str = Field("", description="File with the team's own checks of its data; empty: the shipped suite")

    dag: str = ""
    dag_run: str = ""
    task: str = ""
    try_number: int = 0
    git_sha: str = ""
    image_file: Path | None = None
    pod: str = ""
    node: str = ""
    gpus: int = 0
    queued_at: str = ""
    lineage_parent: str = Field("", validation_alias=AliasChoices("OPENLINEAGE_PARENT_ID", "RATCHET_LINEAGE_PARENT"))
    traceparent: str = Field("", validation_alias=AliasChoices("TRACEPARENT", "RATCHET_TRACEPARENT"))

    @field_validator(*INSTEAD)
    @classmethod
    def _without_password(cls, address: str, info: ValidationInfo) -> str:
        """Addresses go into pod specs, messages and logs. Any @ counts: a password may hold what ends an address's name."""
        if "@" in address:
            name = f"RATCHET_{info.field_name}".upper()
            raise InputError(
                f"{name} with a user name or password (an @) in it, not shown here",
                "an address alone",
                INSTEAD[str(info.field_name)],
            )
        return address

    @property
    def store_uri(self) -> str:
        """The store's URI, the folder `store` under home when none is set."""
        return self.store or (self.home.absolute() / "store").as_uri()

    @property
    def who(self) -> str:
        """Who acts: the set name, else the account's."""
        try:
            return self.user or getpass.getuser()
        except (KeyError, OSError):  # a container's account may have a number and no name
            return f"uid-{os.getuid()}"

    @property
    def image_digest(self) -> str:
        """The image that this process runs in, as its node names it; empty outside a pod, or as long as nobody told."""
        if self.image_file is None or not self.image_file.is_file():
            return ""
        return self.image_file.read_text(encoding="utf-8").strip()

    @property
    def key(self) -> str:
        """The search server's key, from the file when one is named.

        Raises:
            InputError: the key's file cannot be read.
        """
        if self.server_key_file is None:
            return self.server_key.get_secret_value()
        try:
            return self.server_key_file.read_text().strip()
        except OSError as error:
            raise InputError(
                f"RATCHET_SERVER_KEY_FILE={self.server_key_file}", "a readable file", f"create it ({error.strerror})"
            ) from None


def settings() -> Settings:
    """The settings as the environment has them now.

    Raises:
        InputError: a variable has a value that its setting can't take.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"RATCHET_{'_'.join(map(str, first['loc']))}".upper()
        raise InputError(f"{name}={first['input']!r}", expectation(first["msg"]), f"correct or unset {name}") from None
    except SettingsError as error:
        raise InputError(f"a setting that is no JSON: {error}", "JSON", "correct or unset the RATCHET_ variable") from None


def installing(extra: str) -> str:
    """The command that installs what an extra lacks, to be run in the project's folder."""
    uv = ".venv/bin/uv"
    return f"{uv} pip install --python .venv -c constraints.txt -e '.[{extra}]'" if (PROJECT / uv).exists() else "make install"


def environment(changes: dict[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, and this code found first: what a child process gets."""
    paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}


def bound_mlflow() -> None:
    """Keep MLflow's client from waiting for minutes, printing on stdout and reporting home. What is set already stays."""
    bounds = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    for name, value in bounds.items():
        os.environ.setdefault(name, value)
