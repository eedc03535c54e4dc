"""How a pod ended, and whose fault it was: read from what the cluster says of it, since the step itself may say nothing."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.errors import InputError, NothingToDo, OutOfMemory, TryAgain

Cause = Literal["step", "memory", "taken", "hardware", "image", "no room", "running"]
"""The step's own doing, its memory, a pod that the cluster took away, a bad device or node, an image, no node that takes the
pod, and none yet."""

TAKEN = frozenset({
    "Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "NodeAffinity", "OutOfcpu", "OutOfmemory",
    "OutOfpods",
})  # fmt: skip
"""Reasons, as kubelet and controllers write them into a pod's status, that say nothing about the step."""
NEVER_PULLED = frozenset({"InvalidImageName", "ErrImageNeverPull"})
NOT_PULLED = NEVER_PULLED | {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"}
NOT_STARTED = frozenset({"UnexpectedAdmissionError", "ContainerCannotRun", "StartError", "CreateContainerError"})
FAULTY = re.compile(
    r"uncorrectable ECC|fallen off the bus|Xid \(|NVML: Unknown Error|Input/output error|CUDA driver initialization failed"
    r"|CUDA driver version is insufficient|CUDA error: (?:an illegal instruction|hardware stack|unknown error|device-side)"
    r"|CUDA-capable device\(s\) is/are busy or unavailable",
    re.IGNORECASE,
)
"""Words of drivers about a device or disk that another node would not have."""
BROKEN_NODE = frozenset({132, 135})
"""SIGILL and SIGBUS: an instruction or a memory cell that this node does not have."""
BY_CONTRACT = frozenset({InputError.exit_code, NothingToDo.exit_code})


@dataclass(frozen=True)
class Ending:
    """An exit code, the last words, the cause, and the node where it happened."""

    exit_code: int
    words: str
    cause: Cause = "step"
    node: str = ""


def how_it_ended(pod: Any, container: str) -> Ending:
    """What became of `container` of a pod as the API tells of it; None for a pod stands for one that is gone.

    Args:
        pod: V1Pod or None.
        container: name of the container that ran the step.
    """
    if pod is None or pod.status is None:
        return Ending(TryAgain.exit_code, "it is gone: deleted, preempted or lost with its node", "taken")
    node = (pod.spec.node_name if pod.spec else "") or ""
    state = next((one.state for one in pod.status.container_statuses or [] if one.name == container and one.state), None)
    ended, waiting = (state.terminated, state.waiting) if state else (None, None)
    if ended is not None and ended.exit_code == 0:
        return Ending(0, ended.message or "", "step", node)
    found = _by_pod(pod)
    if found is not None:
        return Ending(TryAgain.exit_code, found[1], found[0], node)
    if ended is not None:
        return _by_container(ended, node)
    if waiting is not None and waiting.reason in NOT_PULLED | NOT_STARTED:
        return _by_waiting(waiting, node)
    return _by_schedule(pod, node)


def _by_pod(pod: Any) -> tuple[Cause, str] | None:
    """Whether the pod's own status blames something else than the step."""
    status, reason = pod.status, pod.status.reason or ""
    if reason in NOT_STARTED:
        return "hardware", f"the node could not start it: {reason}: {status.message or ''}"
    disrupted = next((one for one in status.conditions or [] if one.type == "DisruptionTarget" and one.status == "True"), None)
    if reason in TAKEN:
        return "taken", f"{reason}: {status.message or 'the node is short of something'}"
    if disrupted is not None:
        return "taken", f"{disrupted.reason}: {disrupted.message or ''}"
    if pod.metadata is not None and pod.metadata.deletion_timestamp and status.phase != "Succeeded":
        return "taken", "it was told to go: drained, preempted, deleted, or its node is lost"
    return None


def _by_container(ended: Any, node: str) -> Ending:
    words, code = ended.message or "", ended.exit_code
    if ended.reason == "OOMKilled" or code == OutOfMemory.exit_code:
        return Ending(OutOfMemory.exit_code, words, "memory", node)
    if code in BROKEN_NODE or (code not in BY_CONTRACT and FAULTY.search(words)):
        return Ending(code, words, "hardware", node)
    return Ending(code, words, "step", node)


def _by_waiting(waiting: Any, node: str) -> Ending:
    cause: Cause = "image" if waiting.reason in NOT_PULLED else "hardware"
    code = InputError.exit_code if waiting.reason in NEVER_PULLED else TryAgain.exit_code
    return Ending(code, f"{waiting.reason}: {waiting.message or ''}".strip(": "), cause, node)


def _by_schedule(pod: Any, node: str) -> Ending:
    unmet = next(
        (one for one in pod.status.conditions or [] if one.type == "PodScheduled" and one.status == "False"),
        None,
    )
    if unmet is not None or pod.status.phase == "Pending":
        return Ending(TryAgain.exit_code, (unmet and unmet.message) or "it did not start in time", "no room", node)
    return Ending(TryAgain.exit_code, "it was still running", "running", node)


def missing(words: str) -> str:
    """What a scheduler's message says that no node has.

    >>> missing("0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had taints that the pod didn't tolerate.")
    'nvidia.com/gpu'
    """
    return ", ".join(dict.fromkeys(re.findall(r"Insufficient ([\w./-]+\w)", words)))
