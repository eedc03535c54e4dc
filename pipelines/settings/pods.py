"""Settings of where steps run, and of their pods; and the CPU features that variants of a model ask of a node."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CPU_FEATURES: Mapping[str, tuple[str, ...]] = {
    "onnx-int8": ("avx512_vnni",),
    "openvino-int8": ("avx512_vnni",),
    "openvino-int8-nncf": ("avx512_vnni",),
    "openvino-bf16": ("avx512_bf16",),
}
"""By variant, as Linux names them. Without VNNI the sums of u8·s8 products saturate; without AVX512-BF16, bf16 is emulated at a
fifth of the speed."""


def node_labels(variants: Iterable[str]) -> list[str]:
    """The labels that node-feature-discovery gives to nodes whose CPU can run all of these variants.

    >>> node_labels(["onnx-fp32", "openvino-bf16"])
    ['feature.node.kubernetes.io/cpu-cpuid.AVX512BF16']
    """
    needed = {feature for variant in variants for feature in CPU_FEATURES.get(variant, ())}
    return [f"feature.node.kubernetes.io/cpu-cpuid.{feature.replace('_', '').upper()}" for feature in sorted(needed)]


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
    """Nodes that the cloud can take back at any time: true, preferred; false, avoided; none, as the cluster decides."""


GPU = Profile(
    requests={"cpu": "2", "memory": "8Gi"},
    limits={"memory": "16Gi", "nvidia.com/gpu": "1"},
    tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
)


class PodSettings(BaseModel):
    """How StepOperator runs steps."""

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
    training_profile: str = Field("cpu", description="Pod profile of steps that train: gpu where the cluster has one")
    kill_grace_s: float = Field(10, ge=0, description="Seconds between SIGTERM and SIGKILL")
