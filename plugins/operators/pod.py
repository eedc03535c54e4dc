"""What a step's pod looks like: the same command, without rights, with the store's credentials by reference only."""

import time
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
"""How the clouds label nodes that they may take back at any time; some also taint them by the same name."""
OBSERVED = "ratchet/image"
"""The annotation that tells a pod which image it runs, once the node has said so."""
OBSERVED_AT = "/etc/ratchet-pod"


def pod_arguments(given: Settings, name: str) -> dict[str, Any]:
    """KubernetesPodOperator's arguments for a step of the profile `name`.

    Raises:
        InputError: the settings have no such profile.
    """
    profile = profile_named(given, name)
    image = given.image_gpu if GPU in profile.limits else given.image
    return {
        "kubernetes_conn_id": given.kubernetes_connection,
        "namespace": given.namespace,
        "image": image,
        "cmds": ["python", "-m", "pipelines"],
        "env_from": [secret(given.store_secret, optional=True)],  # none is needed by an account with an identity of its own
        "service_account_name": given.service_account or None,
        "termination_grace_period": int(given.kill_grace_s),
        "schedule_timeout_seconds": given.pending_timeout_s,
        "startup_timeout_seconds": given.pending_timeout_s,
        "startup_check_interval_seconds": 1,
        "priority_class_name": profile.priority_class or None,
        "runtime_class_name": profile.runtime_class or None,
        "node_selector": profile.node_selector,
        "tolerations": [*map(_toleration, profile.tolerations), *(_spot_tolerations() if profile.spot else [])],
        "container_resources": resources(profile),
        "affinity": affinity(profile),
        "annotations": {OBSERVED: image},
        **_confinement(profile),
    }


def profile_named(given: Settings, name: str) -> Profile:
    """The profile of that name.

    Raises:
        InputError: the settings have no such profile.
    """
    if name not in given.profiles:
        known = ", ".join(given.profiles)
        raise InputError(f"profile {name!r}", f"one of {known}", "correct the DAG, or add it to RATCHET_PROFILES")
    return given.profiles[name]


def secret(name: str, optional: bool) -> k8s.V1EnvFromSource:
    """The environment from a Secret. A container waits for one that is not optional."""
    return k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name, optional=optional))


def resources(profile: Profile, out_of_memory: int = 0) -> k8s.V1ResourceRequirements:
    """What the pod asks for; after it ran out of memory `out_of_memory` times, that memory step of the profile."""
    requests, limits = dict(profile.requests), dict(profile.limits)
    steps = profile.memory_steps[:out_of_memory]
    if steps:
        requests["memory"] = limits["memory"] = steps[-1]
    return k8s.V1ResourceRequirements(requests=requests, limits=limits)


def affinity(profile: Profile, avoided: list[str] | None = None) -> k8s.V1Affinity | None:
    """Rather not on the nodes in `avoided`; on nodes that the cloud may take back as the profile says."""
    rather = [_weighted(100, "kubernetes.io/hostname", "NotIn", avoided)] if avoided else []
    if profile.spot:
        rather += [_weighted(10, label, "In", [value]) for label, value in SPOT.items()]
    never = [_requirement(label, "NotIn", [value]) for label, value in SPOT.items()] if profile.spot is False else []
    if not (rather or never):
        return None
    terms = k8s.V1NodeSelector(node_selector_terms=[k8s.V1NodeSelectorTerm(match_expressions=never)]) if never else None
    return k8s.V1Affinity(
        node_affinity=k8s.V1NodeAffinity(
            preferred_during_scheduling_ignored_during_execution=rather or None,
            required_during_scheduling_ignored_during_execution=terms,
        )
    )


def _requirement(label: str, operator: str, values: list[str]) -> k8s.V1NodeSelectorRequirement:
    return k8s.V1NodeSelectorRequirement(key=label, operator=operator, values=values)


def _weighted(weight: int, label: str, operator: str, values: list[str]) -> k8s.V1PreferredSchedulingTerm:
    term = k8s.V1NodeSelectorTerm(match_expressions=[_requirement(label, operator, values)])
    return k8s.V1PreferredSchedulingTerm(weight=weight, preference=term)


def _toleration(fields: dict[str, str]) -> k8s.V1Toleration:
    return k8s.V1Toleration(**fields)


def _spot_tolerations() -> list[k8s.V1Toleration]:
    return [_toleration({"key": label, "operator": "Equal", "value": value}) for label, value in SPOT.items()]


def _confinement(profile: Profile) -> dict[str, Any]:
    """No root, no rights, no cluster token, nothing writable but /tmp and, if asked for, shared memory."""
    told = k8s.V1DownwardAPIVolumeFile(
        path="image", field_ref=k8s.V1ObjectFieldSelector(field_path=f"metadata.annotations['{OBSERVED}']")
    )
    volumes = [
        k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource()),
        k8s.V1Volume(name="observed", downward_api=k8s.V1DownwardAPIVolumeSource(items=[told])),
    ]
    mounts = {"scratch": "/tmp", "observed": OBSERVED_AT}  # noqa: S108  # the pod's own
    if profile.shared_memory:
        in_memory = k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=profile.shared_memory)
        volumes.append(k8s.V1Volume(name="shm", empty_dir=in_memory))
        mounts["shm"] = "/dev/shm"  # noqa: S108  # the pod's own
    return {
        "automount_service_account_token": False,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True, run_as_user=USER, run_as_group=USER, fs_group=USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
        ),
        "volumes": volumes,
        "volume_mounts": [k8s.V1VolumeMount(name=name, mount_path=path) for name, path in mounts.items()],
    }  # fmt: skip


def pod_environment(given: Settings, profile: Profile, about: dict[str, str], results: str) -> list[k8s.V1EnvVar]:
    """The settings that a pod cannot know by itself, what its manifests tell of it, and the key for its result.

    No secret is among them. The name of the pod comes first, since the result's key refers to it.
    """
    asked = {
        "RATCHET_HOME": "/tmp/ratchet",  # noqa: S108  # the pod's own
        "RATCHET_STORE": given.store_uri,
        "RATCHET_S3_ENDPOINT": given.s3_endpoint,
        "RATCHET_USER": given.who,
        "RATCHET_LOG_LEVEL": given.log_level,
        "RATCHET_MLFLOW_URI": given.mlflow_uri,
        "RATCHET_SERVER_URL": given.server_url,
        "RATCHET_GIT_SHA": given.git_sha,
        "RATCHET_GPUS": profile.limits.get(GPU, ""),
        "RATCHET_QUEUED_AT": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "RATCHET_IMAGE_FILE": f"{OBSERVED_AT}/image",
        **about,
        "RATCHET_RESULT_KEY": f"{results}/$(RATCHET_POD).json",
    }
    observed = {"RATCHET_POD": "metadata.name", "RATCHET_NODE": "spec.nodeName"}
    return [
        *(k8s.V1EnvVar(name=name, value_from=_field(path)) for name, path in observed.items()),
        *(k8s.V1EnvVar(name=name, value=value) for name, value in asked.items() if value),
    ]


def _field(path: str) -> k8s.V1EnvVarSource:
    return k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path=path))


def pod_labels(step: str, release: str) -> dict[str, str]:
    """Labels beside Airflow's own, which name dag, dag run, task and map index."""
    labels = {
        "app.kubernetes.io/part-of": "ratchet",
        "app.kubernetes.io/component": step,
        "ratchet/release": release,
    }
    return {name: value for name, value in labels.items() if value}
