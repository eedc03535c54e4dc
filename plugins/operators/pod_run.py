"""StepPodOperator: a step as a pod, by KubernetesPodOperator with recovery from disruptions.

A pod that is evicted, preempted or deleted is replaced within the same try. The result is read from the store, so neither a
sidecar nor the log is needed for it. A pod that can't be created or started fails with the reason within
RATCHET_PENDING_TIMEOUT_S.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import tenacity
from airflow.providers.cncf.kubernetes.operators.pod import FoundMoreThanOnePodFailure, KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, PodNotFoundException
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import ApiException
from kubernetes.client import models as k8s
from urllib3.exceptions import HTTPError

from operators.credentials import open_task_store, with_credentials
from operators.failures import (
    StepFailed,
    api_message,
    cluster_failure,
    cluster_unreachable,
    first_line,
    is_over_quota,
    pod_disrupted,
    pod_refused,
)
from operators.pod_outcome import PodOutcome, read_outcome
from operators.pod_spec import IMAGE_ANNOTATION, affinity, profile_named, resources, secret
from pipelines.contract import COST
from pipelines.errors import TryAgain
from pipelines.settings import node_labels, settings
from pipelines.store.recipes import canonical, digest

LOST_AFTER = timedelta(seconds=15)
"""How long after its deletion time a pod may still be listed before its node counts as lost."""
POD_IDENTIFIER = "pod_identifier"
"""The task state key under which KubernetesPodOperator keeps the name of a task's pod between tries."""


class PodLost(AirflowException):  # type: ignore[misc]  # Airflow's classes are untyped here
    """A pod is still listed long after its deletion time: its node is lost."""


class StepPodManager(PodManager):  # type: ignore[misc]
    """PodManager that detects a pod on a lost node, which the API lists as running for ever."""

    def read_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """The pod's current state.

        Raises:
            PodLost: its deletion time is over by more than `LOST_AFTER`.
        """
        current = super().read_pod(pod)
        deletion = current.metadata.deletion_timestamp
        if deletion is not None and datetime.now(UTC) > deletion + LOST_AFTER:
            raise PodLost(f"pod {current.metadata.name} should have ended at {deletion}")
        return current


class StepPodOperator(KubernetesPodOperator):  # type: ignore[misc]
    """The kubernetes runtime of `StepOperator`, which inherits from it."""

    profile: str
    step_params: dict[str, Any]
    cost: dict[str, Any]
    """What the step cost, as the XCom that it becomes; empty where a step of an earlier version told none."""

    def run_pod(self, context: Context) -> dict[str, Any]:
        """Run the step as a pod, replaced by another one after a disruption; returns the step's result.

        Raises:
            StepFailed: with the step's or the cluster's message, an exit code and a cause.
            TaskDeferred: the triggerer goes on waiting for the pod.
        """
        return self._replacing_disrupted_pods(context, lambda: self._run_once(context))

    def resume_pod(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Continue after a deferral, in another process; returns the step's result.

        Raises:
            StepFailed, TaskDeferred: as for `run_pod`.
        """
        return self._replacing_disrupted_pods(context, lambda: self._resume_once(context, event))

    def prepare_pod(self, context: Context) -> None:
        """Set the arguments of the pod that are known only in this try."""
        raise NotImplementedError

    def failure(self, context: Context, code: int, output: str) -> AirflowException:
        """The exception for a step that wrote `output` and ended with exit code `code`."""
        raise NotImplementedError

    def _run_once(self, context: Context) -> dict[str, Any]:
        earlier_result = self._result_of_earlier_try(context)
        if earlier_result is not None:
            return earlier_result
        self.prepare_pod(context)
        super().execute(context)
        return self._stored_result(context, self.pod.metadata.name)  # type: ignore[attr-defined]

    def _resume_once(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        self.do_xcom_push = False
        try:
            super().trigger_reentry(context, event)
        except PodNotFoundException:
            if not self._has_result(context, event["name"]):
                raise pod_disrupted(read_outcome(None, "")) from None
        return self._stored_result(context, event["name"])

    def _result_of_earlier_try(self, context: Context) -> dict[str, Any] | None:
        """The result of an earlier try's pod that succeeded while no worker watched it, None if there is none."""
        identifier = context["task_state_store"].get(POD_IDENTIFIER) or {}
        if not identifier or not self._has_result(context, identifier["name"]):
            return None
        self.log.info("pod %s of an earlier try ended well while nobody watched: its result is taken", identifier["name"])
        for pod in self._task_pods(context):
            self.process_pod_deletion(pod, reraise=False)
        return self._stored_result(context, identifier["name"])

    def _replacing_disrupted_pods(self, context: Context, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Call `run`; after a disruption run a new pod within the same try, at most RATCHET_REPLACEMENTS times."""
        state, allowed = context["task_state_store"], settings().replacements
        while True:
            try:
                result = run()
            except StepFailed as failed:
                replaced = int(state.get("replaced") or 0)
                if failed.cause != "disrupted" or replaced >= allowed:
                    state.set("replaced", 0)
                    raise
                state.set("replaced", replaced + 1)
                wait = min(60, 2**replaced)
                self.log.warning("%s; replacement %d of %d in %d s", failed, replaced + 1, allowed, wait)
                time.sleep(wait)
                self._forget_pod(context)
                run = lambda: self._run_once(context)  # noqa: E731
            else:
                state.set("replaced", 0)
                state.set(POD_IDENTIFIER, "")  # it takes no None
                return result

    def _forget_pod(self, context: Context) -> None:
        self.pod = self.pod_request_obj = self.remote_pod = None
        context["task_state_store"].set(POD_IDENTIFIER, "")

    # Overrides of KubernetesPodOperator

    @cached_property
    def pod_manager(self) -> PodManager:
        return StepPodManager(kube_client=self.client, callbacks=self.callbacks)

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod's spec, with the Secret of an Airflow connection's credentials, which has the pod's name."""
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        if self._credentials():
            container = pod.spec.containers[0]
            container.env_from = [*container.env_from, secret(pod.metadata.name, optional=False)]
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """The pod of an earlier try that still runs, otherwise a new one as soon as the namespace's quota allows it.

        Raises:
            StepFailed: no quota within RATCHET_PENDING_TIMEOUT_S, or the cluster refuses the pod.
        """
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_over_quota),
            wait=tenacity.wait_exponential(multiplier=2, max=30),
            stop=tenacity.stop_after_delay(settings().pending_timeout_s),
            before_sleep=lambda state: self._log_quota_wait(state, settings().pending_timeout_s),
            reraise=True,
        )
        try:
            pod = waiting(super().get_or_create_pod, pod_request_obj, context)
        except ApiException as error:
            raise pod_refused(error) from None
        self._create_secret(pod)
        return pod

    def find_pod(self, namespace: str, context: Context, *, exclude_checked: bool = True) -> k8s.V1Pod | None:
        """This try's pod by its name, otherwise a pod of the task that still runs. Of several the oldest is kept."""
        if self.pod is not None:
            return self._current_pod(self.pod) or self.pod
        try:
            pod = super().find_pod(namespace, context, exclude_checked=exclude_checked)
            return None if pod is not None and pod.metadata.deletion_timestamp else pod
        except FoundMoreThanOnePodFailure:
            oldest = self._task_pods(context)[0]
            self._delete_duplicates(oldest, context)
            return oldest

    def _task_pods(self, context: Context) -> list[k8s.V1Pod]:
        """Every pod of this task of this dag run, oldest first."""
        selector = self._build_find_pod_label_selector(context, exclude_checked=False)
        pods = self.client.list_namespaced_pod(namespace=self.namespace, label_selector=selector).items
        return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)

    def _delete_duplicates(self, kept: k8s.V1Pod, context: Context) -> None:
        """Delete the other pods of this task, except those of a later try, which has taken over."""
        for pod in self._task_pods(context):
            try_number = int((pod.metadata.labels or {}).get("try_number", 0))
            expected = pod.metadata.name == kept.metadata.name or pod.metadata.deletion_timestamp is not None
            if not expected and try_number <= context["ti"].try_number:
                self.log.warning("pod %s runs the same task as %s: it ends", pod.metadata.name, kept.metadata.name)
                self.process_pod_deletion(pod, reraise=False)

    def await_pod_start(self, pod: k8s.V1Pod) -> None:
        """Wait until the pod runs, then write the digest of its image into an annotation, which the pod can read."""
        super().await_pod_start(pod)
        current = self._current_pod(pod)
        statuses = (current and current.status.container_statuses) or []
        image = next((status.image_id for status in statuses if status.image_id), "")
        if image:
            body = {"metadata": {"annotations": {IMAGE_ANNOTATION: image}}}
            with suppress(ApiException):  # only the manifest's provenance lacks it then
                self.client.patch_namespaced_pod(name=pod.metadata.name, namespace=pod.metadata.namespace, body=body)

    def await_pod_completion(self, pod: k8s.V1Pod) -> None:
        """Follow the log to its end. If the log breaks off, wait for the container: the result comes from the store."""
        try:
            super().await_pod_completion(pod)
        except (ApiException, HTTPError) as error:
            if isinstance(error, ApiException) and error.status == 404:
                raise
            self.log.warning("the log broke off (%s); the pod goes on, and its result will be in the store", first_line(error))
            self.pod_manager.await_container_completion(pod, self.base_container_name, 2)

    def cleanup(self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Any = None) -> None:
        """Delete the pod. Success is decided by the step's container alone, whatever became of sidecars.

        Raises:
            StepFailed: the container failed; with the step's own message if it wrote one.
            AirflowSkipException: there was nothing to do.
        """
        if self._killed or remote_pod is None:
            return
        try:
            current = self._current_pod(remote_pod)
        except (ApiException, HTTPError) as error:  # the pod may still run: the next try takes it over
            raise cluster_unreachable(error) from None
        self._delete_duplicates(remote_pod, context)
        outcome = read_outcome(current, self.base_container_name)
        if outcome.exit_code == 0:
            self.process_pod_deletion(current, reraise=False)
            return
        with suppress(AirflowException):
            super().cleanup(pod, current or remote_pod, xcom_result, context)
        interrupted = outcome.cause == "running" and sys.exc_info()[1] is not None  # by a timeout of the task, for example
        if not interrupted:
            raise self._outcome_failure(context, outcome)

    def _outcome_failure(self, context: Context, outcome: PodOutcome) -> AirflowException:
        if outcome.cause == "hardware":
            self._avoid_node(context, outcome.node)
        by_cluster = cluster_failure(outcome, self.profile, self.image)
        return by_cluster or self.failure(context, outcome.exit_code, outcome.message)

    def _log_quota_wait(self, state: tenacity.RetryCallState, timeout_s: int) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        reason = api_message(error) if error else ""
        self.log.warning("no quota for one more pod: %s; again in %.0f s, for %d s at most", reason, wait, timeout_s)

    # Credentials, results, nodes

    def _credentials(self) -> dict[str, str]:
        return with_credentials({}, settings(), self.step_params)

    def _create_secret(self, pod: k8s.V1Pod) -> None:
        """Create the pod's own Secret, which is deleted with the pod; an existing one is this pod's from an earlier try."""
        credentials = self._credentials()
        if not credentials:
            return
        owner = self._current_pod(pod)
        if owner is None:
            return
        reference = k8s.V1OwnerReference(api_version="v1", kind="Pod", name=owner.metadata.name, uid=owner.metadata.uid)
        meta = k8s.V1ObjectMeta(name=owner.metadata.name, owner_references=[reference])
        try:
            self.client.create_namespaced_secret(owner.metadata.namespace, k8s.V1Secret(metadata=meta, string_data=credentials))
        except ApiException as error:
            if error.status != 409:
                self.process_pod_deletion(owner, reraise=False)
                raise

    def _stored_result(self, context: Context, pod: str) -> dict[str, Any]:
        key = result_key(context, pod)
        store = open_task_store(settings())
        try:
            result = parse_result(store.read(key))
        except FileNotFoundError:
            message = f"given a pod that succeeded but left no {key}; expected its result; next: run the task again"
            raise StepFailed(message, TryAgain.exit_code) from None
        with suppress(FileNotFoundError):
            self.cost = {COST: parse_result(store.read(f"{key}.{COST}"))}
        return result

    def _has_result(self, context: Context, pod: str) -> bool:
        return open_task_store(settings()).size(result_key(context, pod)) is not None

    def _current_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod | None:
        """The pod as the cluster has it now, None if it is gone."""
        try:
            return self.client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _avoid_node(self, context: Context, node: str) -> None:
        state = context["task_state_store"]
        state.set("avoided", [*(state.get("avoided") or []), *([node] if node else [])][-10:])

    def adapt_pod(self, context: Context, out_of_memory: int) -> None:
        """Set memory and node affinity by what happened in earlier tries of this task, and by the variants that encode."""
        profile = profile_named(settings(), self.profile)
        self.container_resources = resources(profile, out_of_memory)
        variants = [str(self.step_params.get(name) or "") for name in ("variant", "query_variant")]
        self.affinity = affinity(profile, context["task_state_store"].get("avoided") or [], node_labels(variants))


def results_folder(context: Context) -> str:
    """The folder in the store where the pods of this task leave their results."""
    ti = context["ti"]
    return f"results/{ti.dag_id}/{digest(canonical([ti.run_id, ti.task_id, ti.map_index]))[:20]}"


def result_key(context: Context, pod: str) -> str:
    """The store key of a pod's result: by the pod's name, so that no try reads the result of an earlier one."""
    return f"{results_folder(context)}/{pod}.json"


def parse_result(body: bytes) -> dict[str, Any]:
    """A step's result from its JSON.

    Raises:
        StepFailed: the result is no JSON object.
    """
    result = json.loads(body)
    if not isinstance(result, dict):
        raise StepFailed(f"given {body[:80]!r} as a result; expected a JSON object; next: look at the step's log", 1)
    return result
