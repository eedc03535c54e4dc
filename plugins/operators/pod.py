"""What a step's pod looks like: the same command, without rights, with the store's credentials by reference only."""

from typing import Any

from kubernetes.client import models as k8s

from pipelines.errors import InputError
from pipelines.settings import Profile, Settings

USER = 10001


def pod_arguments(given: Settings, profile: str) -> dict[str, Any]:
    """KubernetesPodOperator's arguments for a step of `profile`.

    Raises:
        InputError: the settings have no such profile.
    """
    asked = given.profiles.get(profile)
    if asked is None:
        raise InputError(
            f"profile {profile!r}", f"one of {', '.join(given.profiles)}", "correct the DAG, or add it to RATCHET_PROFILES"
        )
    return {
        "kubernetes_conn_id": given.kubernetes_connection,
        "namespace": given.namespace,
        "image": given.image_gpu if profile == "gpu" else given.image,
        "cmds": ["python", "-m", "pipelines"],
        "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=given.store_secret))],
        "termination_grace_period": int(given.kill_grace_s),
        **_resources(asked),
        **_confinement(),
    }


def _resources(profile: Profile) -> dict[str, Any]:
    return {
        "container_resources": k8s.V1ResourceRequirements(requests=profile.requests, limits=profile.limits),
        "node_selector": profile.node_selector,
        "tolerations": [k8s.V1Toleration(**toleration) for toleration in profile.tolerations],
    }


def _confinement() -> dict[str, Any]:
    """No root, no rights, no cluster token, nothing writable but /tmp."""
    return {
        "automount_service_account_token": False,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True, run_as_user=USER, run_as_group=USER, fs_group=USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=k8s.V1Capabilities(drop=["ALL"])
        ),
        "volumes": [k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource())],
        "volume_mounts": [k8s.V1VolumeMount(name="scratch", mount_path="/tmp")],  # noqa: S108  # the pod's own
    }  # fmt: skip


def pod_environment(given: Settings) -> dict[str, str]:
    """The settings that a pod cannot know by itself; no secret is among them."""
    asked = {
        "RATCHET_HOME": "/tmp/ratchet",  # noqa: S108  # the pod's own
        "RATCHET_STORE": given.store_uri,
        "RATCHET_S3_ENDPOINT": given.s3_endpoint,
        "RATCHET_USER": given.who,
        "RATCHET_LOG_LEVEL": given.log_level,
        "RATCHET_MLFLOW_URI": given.mlflow_uri,
        "RATCHET_SERVER_URL": given.server_url,
        "RATCHET_GIT_SHA": given.git_sha,
    }
    return {name: value for name, value in asked.items() if value}


def how_it_ended(pod: Any, container: str) -> tuple[int, str]:
    """The exit code and the last words of a pod that failed; an eviction, which has no exit code, is a 75."""
    status = pod.status if pod is not None else None
    if status is not None and status.reason == "Evicted":
        return 75, f"the pod was evicted: {status.message or 'the node is short of resources'}"
    for one in getattr(status, "container_statuses", None) or []:
        ended = one.state.terminated if one.name == container and one.state else None
        if ended is not None:
            return (137 if ended.reason == "OOMKilled" else ended.exit_code), ended.message or ""
    return 75, "the pod is gone and left no exit code"
