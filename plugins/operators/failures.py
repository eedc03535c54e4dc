"""StepFailed and the messages of failures that a cluster caused: what was given, what was expected, what to do next."""

import json
from typing import Any

from airflow.sdk.exceptions import AirflowException
from kubernetes.client import ApiException

from operators.pod_outcome import Cause, PodOutcome, missing_resources
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings


class StepFailed(AirflowException):  # type: ignore[misc]  # Airflow's classes are untyped here
    """A step ended with an exit code other than 0; `times` counts how often the same task ran out of memory."""

    def __init__(self, message: str, exit_code: int, times: int = 0, cause: Cause = "step") -> None:
        super().__init__(message)
        self.exit_code, self.times, self.cause = exit_code, times, cause


def cluster_failure(outcome: PodOutcome, profile: str, image: str) -> StepFailed | None:
    """The failure if the cluster caused it; None if the step's own message explains it."""
    if outcome.cause == "disrupted":
        return pod_disrupted(outcome)
    if outcome.cause == "no capacity":
        return _no_capacity(outcome, profile)
    if outcome.cause == "image":
        return _image_unavailable(outcome, image)
    return _hardware_fault(outcome) if outcome.cause == "hardware" else None


def pod_disrupted(outcome: PodOutcome) -> StepFailed:
    """A pod was evicted, preempted or deleted, or its node is lost."""
    next_action = f"see why (kubectl -n {settings().namespace} get events), or raise RATCHET_REPLACEMENTS"
    given = f"given a pod that the cluster took away: {outcome.message}"
    message = f"{given}; expected it to run to its end; next: {next_action}"
    return StepFailed(message, TryAgain.exit_code, cause="disrupted")


def _no_capacity(outcome: PodOutcome, profile: str) -> StepFailed:
    lacking = missing_resources(outcome.message)
    expected = f"a node with enough {lacking}" if lacking else "a node that takes it"
    given = f"given a pod of profile {profile} that did not start within {settings().pending_timeout_s} s: {outcome.message}"
    next_action = f"add such a node, request less in RATCHET_PROFILES (profile {profile}), or raise RATCHET_PENDING_TIMEOUT_S"
    return StepFailed(f"{given}; expected {expected}; next: {next_action}", TryAgain.exit_code, cause="no capacity")


def _image_unavailable(outcome: PodOutcome, image: str) -> StepFailed:
    given = f"given image {image}, which node {outcome.node or '?'} can't have: {outcome.message}"
    next_action = "correct RATCHET_IMAGE, the registry's access (imagePullSecrets of the service account) or its rate limit"
    message = f"{given}; expected an image that it can pull; next: {next_action}"
    return StepFailed(message, outcome.exit_code, cause="image")


def _hardware_fault(outcome: PodOutcome) -> StepFailed:
    last_line = (outcome.message.strip().splitlines() or ["no message"])[-1]
    given = f"given node {outcome.node or '?'}, on which the step failed (exit {outcome.exit_code}): {last_line}"
    next_action = "nothing, the next try prefers another node; check this node"
    message = f"{given}; expected a sound device; next: {next_action}"
    return StepFailed(message, outcome.exit_code, cause="hardware")


def pod_refused(error: ApiException) -> StepFailed:
    """The cluster's API refused to create the pod."""
    config = settings()
    reason = api_message(error)
    if is_over_quota(error):
        given = f"given namespace {config.namespace} without quota for one more pod for {config.pending_timeout_s} s: {reason}"
        next_action = "end pods there, raise the quota, or raise RATCHET_PENDING_TIMEOUT_S"
        message = f"{given}; expected quota for one more pod; next: {next_action}"
        return StepFailed(message, TryAgain.exit_code, cause="no capacity")
    if error.status in (400, 401, 403, 404, 422):
        given = f"given a pod that the cluster refuses ({error.status}): {reason}"
        next_action = f"correct RATCHET_PROFILES, or the rights in namespace {config.namespace} (images/k8s/access.yaml)"
        return StepFailed(f"{given}; expected a pod that it accepts; next: {next_action}", InputError.exit_code)
    return cluster_unreachable(error)


def cluster_unreachable(error: Exception) -> StepFailed:
    """The cluster's API does not answer."""
    next_action = "check that the cluster runs; a pod that still runs is taken over by the next try"
    given = f"given a cluster that does not answer: {first_line(error)}"
    return StepFailed(f"{given}; expected its API to answer; next: {next_action}", TryAgain.exit_code)


def api_message(error: BaseException) -> str:
    """The message in an answer of the cluster's API; of any other error, its reason or text."""
    body: Any = getattr(error, "body", None)
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(getattr(error, "reason", None) or error).strip()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 characters."""
    return api_message(error).partition("\n")[0][:300]


def is_over_quota(error: BaseException) -> bool:
    """Whether the quota is used up, or several pods were counted against it at once."""
    if not isinstance(error, ApiException):
        return False
    reason = api_message(error)
    return (error.status == 403 and "exceeded quota" in reason) or (error.status == 409 and "resourcequotas" in reason)
