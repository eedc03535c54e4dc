"""The spec of a step's pod: the same command line, no privileges, the store's credentials by reference only."""

import json
import time
from collections.abc import Sequence
from typing import Any

from kubernetes.client import models as k8s

from pipelines.errors import InputError
from pipelines.settings import Profile, Settings

USER = 10001
GPU = "nvidia.com/gpu"
SPOT = {
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-provisioning": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "karpenter.sh/capacity-type": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""Labels of spot nodes, which the cloud may reclaim at any time; some clouds also taint them with the same key."""
DISCOVERED = "feature.node.kubernetes.io/cpu-model.vendor_id"
"""A label that every node has where node-feature-discovery runs."""
IMAGE_ANNOTATION = "ratchet/image"
"""The annotation with the digest of the pod's image, as the node resolved it."""
POD_INFO_PATH = "/etc/ratchet-pod"


def pod_arguments(settings: Settings, name: str) -> dict[str, Any]:
    """KubernetesPodOperator's arguments for a step of the profile `name`.

    Raises:
        InputError: the settings have no such profile.
    """
    profile = profile_named(settings, name)
    image = settings.image_gpu if GPU in profile.limits else settings.image
    return {
        "kubernetes_conn_id": settings.kubernetes_connection,
        "namespace": settings.namespace,
        "image": image,
        "cmds": ["python", "-m", "pipelines"],
        "env_from": [secret(settings.store_secret, optional=True)],  # optional: a service account may have its own identity
        "service_account_name": settings.service_account or None,
        "termination_grace_period": int(settings.kill_grace_s),
        "schedule_timeout_seconds": settings.pending_timeout_s,
        "startup_timeout_seconds": settings.pending_timeout_s,
        "startup_check_interval_seconds": 1,
        "priority_class_name": profile.priority_class or None,
        "runtime_class_name": profile.runtime_class or None,
        "node_selector": profile.node_selector,
        "tolerations": [*map(_toleration, profile.tolerations), *(_spot_tolerations() if profile.spot else [])],
        "container_resources": resources(profile),
        "affinity": affinity(profile),
        "annotations": {IMAGE_ANNOTATION: image},
        **_confinement(profile),
    }


def profile_named(settings: Settings, name: str) -> Profile:
    """The profile of that name.

    Raises:
        InputError: the settings have no such profile.
    """
    if name not in settings.profiles:
        known = ", ".join(settings.profiles)
        raise InputError(f"profile {name!r}", f"one of {known}", "correct the DAG, or add it to RATCHET_PROFILES")
    return settings.profiles[name]


def secret(name: str, optional: bool) -> k8s.V1EnvFromSource:
    """Environment variables from a Secret. A container waits until a Secret that is not optional exists."""
    return k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name, optional=optional))


def resources(profile: Profile, out_of_memory: int = 0) -> k8s.V1ResourceRequirements:
    """Requests and limits of the pod; after `out_of_memory` such ends, the memory of that entry of `memory_steps`."""
    requests, limits = dict(profile.requests), dict(profile.limits)
    raised = profile.memory_steps[:out_of_memory]
    if raised:
        requests["memory"] = limits["memory"] = raised[-1]
    return k8s.V1ResourceRequirements(requests=requests, limits=limits)


def affinity(profile: Profile, avoided: list[str] | None = None, features: Sequence[str] = ()) -> k8s.V1Affinity | None:
    """Node affinity: avoid the nodes in `avoided` if possible; prefer or exclude spot nodes as the profile says.

    Args:
        profile: of the pod.
        avoided: names of nodes.
        features: labels of node-feature-discovery that a node must have, unless it carries none of them at all.
    """
    preferred = [_weighted(100, "kubernetes.io/hostname", "NotIn", avoided)] if avoided else []
    if profile.spot:
        preferred += [_weighted(10, label, "In", [value]) for label, value in SPOT.items()]
    required = [_requirement(label, "NotIn", [value]) for label, value in SPOT.items()] if profile.spot is False else []
    by_features = [[_requirement(label, "In", ["true"]) for label in features]]
    by_features += [[_requirement(DISCOVERED, "DoesNotExist", [])]] if features else []  # such a node's step refuses by itself
    if not (preferred or required or features):
        return None
    alternatives = [k8s.V1NodeSelectorTerm(match_expressions=[*required, *more]) for more in by_features]
    terms = k8s.V1NodeSelector(node_selector_terms=alternatives) if required or features else None
    return k8s.V1Affinity(
        node_affinity=k8s.V1NodeAffinity(
            preferred_during_scheduling_ignored_during_execution=preferred or None,
            required_during_scheduling_ignored_during_execution=terms,
        )
    )


def _requirement(label: str, operator: str, values: list[str]) -> k8s.V1NodeSelectorRequirement:
    return k8s.V1NodeSelectorRequirement(key=label, operator=operator, values=values or None)


def _weighted(weight: int, label: str, operator: str, values: list[str]) -> k8s.V1PreferredSchedulingTerm:
    term = k8s.V1NodeSelectorTerm(match_expressions=[_requirement(label, operator, values)])
    return k8s.V1PreferredSchedulingTerm(weight=weight, preference=term)


def _toleration(fields: dict[str, str]) -> k8s.V1Toleration:
    return k8s.V1Toleration(**fields)


def _spot_tolerations() -> list[k8s.V1Toleration]:
    return [_toleration({"key": label, "operator": "Equal", "value": value}) for label, value in SPOT.items()]


def _confinement(profile: Profile) -> dict[str, Any]:
    """No root, no capabilities, no service account token, nothing writable but /tmp and, if the profile says so, /dev/shm."""
    image_file = k8s.V1DownwardAPIVolumeFile(
        path="image", field_ref=k8s.V1ObjectFieldSelector(field_path=f"metadata.annotations['{IMAGE_ANNOTATION}']")
    )
    volumes = [
        k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource()),
        k8s.V1Volume(name="observed", downward_api=k8s.V1DownwardAPIVolumeSource(items=[image_file])),
    ]
    mounts = {"scratch": "/tmp", "observed": POD_INFO_PATH}  # noqa: S108  # the pod's own
    if profile.shared_memory:
        in_memory = k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=profile.shared_memory)
        volumes.append(k8s.V1Volume(name="shm", empty_dir=in_memory))
        mounts["shm"] = "/dev/shm"  # noqa: S108  # the pod's own
    return {
        "automount_service_account_token": False,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=USER,
            fs_group=USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
        ),
        "volumes": volumes,
        "volume_mounts": [k8s.V1VolumeMount(name=name, mount_path=path) for name, path in mounts.items()],
    }


def pod_environment(settings: Settings, profile: Profile, task_variables: dict[str, str], results: str) -> list[k8s.V1EnvVar]:
    """The pod's environment: settings, what artifact manifests record about the task, and the key of the result.

    Contains no secret. The pod's name comes first, since the result's key refers to it.
    """
    variables = {
        "RATCHET_HOME": "/tmp/ratchet",  # noqa: S108  # the pod's own
        "RATCHET_STORE": settings.store_uri,
        "RATCHET_S3_ENDPOINT": settings.s3_endpoint,
        "RATCHET_USER": settings.who,
        "RATCHET_LOG_LEVEL": settings.log_level,
        "RATCHET_MLFLOW_URI": settings.mlflow_uri,
        "RATCHET_MLFLOW_MODEL": Settings().mlflow_model if settings.mlflow_uri else "",  # the pod adds the environment to it
        "RATCHET_MLFLOW_EXPERIMENT": settings.mlflow_experiment if settings.mlflow_uri else "",
        "RATCHET_SERVER_URL": settings.server_url,
        "RATCHET_TRACES_URL": settings.traces_url,
        "RATCHET_FEATURE_ONLINE": settings.feature_online if settings.feature_online != "sqlite" else "",
        "RATCHET_VALKEY_URL": settings.valkey_url,
        "RATCHET_ENVIRONMENT": settings.environment,
        "RATCHET_ENVIRONMENTS": _as_json(settings) if settings.environments else "",
        "RATCHET_GIT_SHA": settings.git_sha,
        "RATCHET_GPUS": profile.limits.get(GPU, ""),
        "RATCHET_QUEUED_AT": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "RATCHET_IMAGE_FILE": f"{POD_INFO_PATH}/image",
        **task_variables,
        "RATCHET_RESULT_KEY": f"{results}/$(RATCHET_POD).json",
    }
    field_paths = {"RATCHET_POD": "metadata.name", "RATCHET_NODE": "spec.nodeName"}
    return [
        *(k8s.V1EnvVar(name=name, value_from=_field(path)) for name, path in field_paths.items()),
        *(k8s.V1EnvVar(name=name, value=value) for name, value in variables.items() if value),
    ]


def _as_json(settings: Settings) -> str:
    return json.dumps({name: chosen.model_dump() for name, chosen in settings.environments.items()})


def _field(path: str) -> k8s.V1EnvVarSource:
    return k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path=path))


def pod_labels(step: str, release: str) -> dict[str, str]:
    """Labels in addition to Airflow's own, which name dag, dag run, task and map index."""
    labels = {
        "app.kubernetes.io/part-of": "ratchet",
        "app.kubernetes.io/component": step,
        "ratchet/release": release,
    }
    return {name: value for name, value in labels.items() if value}
