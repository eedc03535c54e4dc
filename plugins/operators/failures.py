"""What an operator reads when a step failed on a cluster: what was given, what was expected, what to do next."""

import json
from typing import Any

from airflow.sdk.exceptions import AirflowException
from kubernetes.client import ApiException

from operators.ending import Cause, Ending, missing
from pipelines.errors import InputError, TryAgain
from pipelines.settings import settings


class StepFailed(AirflowException):  # type: ignore[misc]  # Airflow's classes are untyped here
    """A step ended with an exit code that is not 0; `times` counts out-of-memory ends of the same task."""

    def __init__(self, message: str, exit_code: int, times: int = 0, cause: Cause = "step") -> None:
        super().__init__(message)
        self.exit_code, self.times, self.cause = exit_code, times, cause


def by_cluster(ended: Ending, profile: str, image: str) -> StepFailed | None:
    """The failure for which the cluster has the words, None if the step has."""
    if ended.cause == "taken":
        return taken(ended)
    if ended.cause == "no room":
        return _no_room(ended, profile)
    if ended.cause == "image":
        return _no_image(ended, image)
    return _bad_node(ended) if ended.cause == "hardware" else None


def taken(ended: Ending) -> StepFailed:
    """A pod that the cluster took away."""
    ask = f"see why (kubectl -n {settings().namespace} get events), or raise RATCHET_REPLACEMENTS"
    said = f"given a pod that the cluster took away: {ended.words}; expected it to run to its end; next: {ask}"
    return StepFailed(said, TryAgain.exit_code, cause="taken")


def _no_room(ended: Ending, profile: str) -> StepFailed:
    lacking = missing(ended.words)
    expected = f"a node with enough {lacking}" if lacking else "a node that takes it"
    given = f"given a pod of profile {profile} that did not start within {settings().pending_timeout_s} s: {ended.words}"
    ask = f"add such a node, ask less in RATCHET_PROFILES (profile {profile}), or raise RATCHET_PENDING_TIMEOUT_S"
    return StepFailed(f"{given}; expected {expected}; next: {ask}", TryAgain.exit_code, cause="no room")


def _no_image(ended: Ending, image: str) -> StepFailed:
    given = f"given image {image}, which node {ended.node or '?'} can't have: {ended.words}"
    ask = "correct RATCHET_IMAGE, the registry's access (imagePullSecrets of the service account) or its rate limit"
    return StepFailed(f"{given}; expected an image that it can pull; next: {ask}", ended.exit_code, cause="image")


def _bad_node(ended: Ending) -> StepFailed:
    last = (ended.words.strip().splitlines() or ["it said nothing"])[-1]
    given = f"given node {ended.node or '?'}, which broke the step (exit {ended.exit_code}): {last}"
    ask = "nothing, the next try prefers another node; look at this one"
    return StepFailed(f"{given}; expected a sound device; next: {ask}", ended.exit_code, cause="hardware")


def refused(error: ApiException) -> StepFailed:
    """A pod that the cluster did not let be made."""
    given = settings()
    words = api_message(error)
    if no_quota(error):
        said = f"given namespace {given.namespace} without quota for one more pod for {given.pending_timeout_s} s: {words}"
        ask = "end pods there, raise the quota, or raise RATCHET_PENDING_TIMEOUT_S"
        return StepFailed(f"{said}; expected room; next: {ask}", TryAgain.exit_code, cause="no room")
    if error.status in (400, 401, 403, 404, 422):
        said = f"given a pod that the cluster refuses ({error.status}): {words}"
        ask = f"correct RATCHET_PROFILES, or the rights in namespace {given.namespace} (images/k8s/access.yaml)"
        return StepFailed(f"{said}; expected a pod that it takes; next: {ask}", InputError.exit_code)
    return silent(error)


def silent(error: Exception) -> StepFailed:
    """A cluster that does not answer."""
    ask = "see that the cluster runs; the pod, if it lives, is taken over by the next try"
    said = f"given a cluster that does not answer: {first_line(error)}; expected its API; next: {ask}"
    return StepFailed(said, TryAgain.exit_code)


def api_message(error: BaseException) -> str:
    """The one sentence of an answer of the cluster's API; of any other error, what it says."""
    body: Any = getattr(error, "body", None)
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(getattr(error, "reason", None) or error).strip()


def first_line(error: BaseException) -> str:
    """The beginning of what an error says."""
    return api_message(error).partition("\n")[0][:300]


def no_quota(error: BaseException) -> bool:
    """Whether the quota is used up, or several pods were counted against it at once."""
    if not isinstance(error, ApiException):
        return False
    words = api_message(error)
    return (error.status == 403 and "exceeded quota" in words) or (error.status == 409 and "resourcequotas" in words)
