"""The outcome of a pod and its cause, read from the pod's status: a step that was killed may have logged nothing."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.errors import InputError, NothingToDo, OutOfMemory, TryAgain

Cause = Literal["step", "memory", "disrupted", "hardware", "image", "no capacity", "running"]
"""Why a pod ended as it did: the step itself, its memory limit, a disruption by the cluster (eviction, preemption, deletion), a
faulty device or node, an image that can't be pulled, no node or quota for the pod, or not ended yet."""

DISRUPTIONS = frozenset(
    {
        "Evicted",
        "Preempting",
        "NodeLost",
        "NodeShutdown",
        "Shutdown",
        "Terminated",
        "NodeAffinity",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
    }
)
"""Reasons that kubelet and controllers write into a pod's status and that say nothing about the step."""
IMAGE_UNAVAILABLE = frozenset({"InvalidImageName", "ErrImageNeverPull"})
IMAGE_NOT_PULLED = IMAGE_UNAVAILABLE | {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"}
NOT_STARTED = frozenset({"UnexpectedAdmissionError", "ContainerCannotRun", "StartError", "CreateContainerError"})
HARDWARE_FAULT = re.compile(
    r"uncorrectable ECC|fallen off the bus|Xid \(|NVML: Unknown Error|Input/output error|CUDA driver initialization failed"
    r"|CUDA driver version is insufficient|CUDA error: (?:an illegal instruction|hardware stack|unknown error|device-side)"
    r"|CUDA-capable device\(s\) is/are busy or unavailable",
    re.IGNORECASE,
)
"""Driver messages about a device or disk; the same step may work on another node."""
HARDWARE_EXIT_CODES = frozenset({132, 135})
"""SIGILL and SIGBUS: an instruction or a memory cell that this node does not have."""
CONTRACT_EXIT_CODES = frozenset({InputError.exit_code, NothingToDo.exit_code})


@dataclass(frozen=True)
class PodOutcome:
    """Exit code, last message, cause, and the node the pod ran on."""

    exit_code: int
    message: str
    cause: Cause = "step"
    node: str = ""


def read_outcome(pod: Any, container: str) -> PodOutcome:
    """The outcome of `container` in a pod.

    Args:
        pod: V1Pod as the API returns it; None: the pod is gone.
        container: name of the container that ran the step.
    """
    if pod is None or pod.status is None:
        return PodOutcome(TryAgain.exit_code, "it is gone: deleted, preempted or lost with its node", "disrupted")
    node = (pod.spec.node_name if pod.spec else "") or ""
    statuses = pod.status.container_statuses or []
    state = next((status.state for status in statuses if status.name == container and status.state), None)
    terminated, waiting = (state.terminated, state.waiting) if state else (None, None)
    if terminated is not None and terminated.exit_code == 0:
        return PodOutcome(0, terminated.message or "", "step", node)
    disruption = _disruption(pod)
    if disruption is not None:
        cause, message = disruption
        return PodOutcome(TryAgain.exit_code, message, cause, node)
    if terminated is not None:
        return _terminated_outcome(terminated, node)
    if waiting is not None and waiting.reason in IMAGE_NOT_PULLED | NOT_STARTED:
        return _waiting_outcome(waiting, node)
    return _pending_outcome(pod, node)


def _disruption(pod: Any) -> tuple[Cause, str] | None:
    """Cause and message where the pod's own status blames the cluster or the node; else None."""
    status, reason = pod.status, pod.status.reason or ""
    if reason in NOT_STARTED:
        return "hardware", f"the node could not start it: {reason}: {status.message or ''}"
    if reason in DISRUPTIONS:
        return "disrupted", f"{reason}: {status.message or 'the node is short of something'}"
    target = _condition(pod, "DisruptionTarget", "True")
    if target is not None:
        return "disrupted", f"{target.reason}: {target.message or ''}"
    if pod.metadata is not None and pod.metadata.deletion_timestamp and status.phase != "Succeeded":
        return "disrupted", "it was told to go: drained, preempted, deleted, or its node is lost"
    return None


def _condition(pod: Any, kind: str, status: str) -> Any:
    return next((known for known in pod.status.conditions or [] if (known.type, known.status) == (kind, status)), None)


def _terminated_outcome(terminated: Any, node: str) -> PodOutcome:
    message, code = terminated.message or "", terminated.exit_code
    if terminated.reason == "OOMKilled" or code == OutOfMemory.exit_code:
        return PodOutcome(OutOfMemory.exit_code, message, "memory", node)
    if code in HARDWARE_EXIT_CODES or (code not in CONTRACT_EXIT_CODES and HARDWARE_FAULT.search(message)):
        return PodOutcome(code, message, "hardware", node)
    return PodOutcome(code, message, "step", node)


def _waiting_outcome(waiting: Any, node: str) -> PodOutcome:
    cause: Cause = "image" if waiting.reason in IMAGE_NOT_PULLED else "hardware"
    code = InputError.exit_code if waiting.reason in IMAGE_UNAVAILABLE else TryAgain.exit_code
    return PodOutcome(code, f"{waiting.reason}: {waiting.message or ''}".strip(": "), cause, node)


def _pending_outcome(pod: Any, node: str) -> PodOutcome:
    unscheduled = _condition(pod, "PodScheduled", "False")
    if unscheduled is not None or pod.status.phase == "Pending":
        message = (unscheduled and unscheduled.message) or "it did not start in time"
        return PodOutcome(TryAgain.exit_code, message, "no capacity", node)
    return PodOutcome(TryAgain.exit_code, "it was still running", "running", node)


def missing_resources(message: str) -> str:
    """The resources that no node has, from a scheduler's message; empty: it names none.

    >>> missing_resources("0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taints.")
    'nvidia.com/gpu'
    """
    return ", ".join(dict.fromkeys(re.findall(r"Insufficient ([\w./-]+\w)", message)))
