"""A step as a pod: KubernetesPodOperator, made to outlive what clusters do to pods.

A pod that the cluster took away is replaced within the same try. Its result is in the store, so neither a sidecar nor the log
is needed to get it. A pod that can't be made or started ends with the reason, within a time that the settings give.
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

from operators.credentials import granted, open_granted_store
from operators.ending import Ending, how_it_ended
from operators.failures import StepFailed, api_message, by_cluster, first_line, no_quota, refused, silent, taken
from operators.pod import OBSERVED, affinity, profile_named, resources, secret
from pipelines.errors import TryAgain
from pipelines.settings import settings
from pipelines.store.recipes import canonical, digest

STALE = timedelta(seconds=15)
"""How long after the end of its grace a pod may still be listed before its node counts as lost."""
IDENTIFIER = "pod_identifier"
"""Where KubernetesPodOperator keeps the name of a task's pod between tries."""


class PodTaken(AirflowException):  # type: ignore[misc]  # Airflow's classes are untyped here
    """A pod that should have ended long ago: nobody runs it any more."""


class WatchfulPodManager(PodManager):  # type: ignore[misc]
    """Airflow's, but a pod whose node is lost, which stays "running" for ever, is noticed."""

    def read_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """The pod as the cluster has it now.

        Raises:
            PodTaken: it was told to go and its time is over.
        """
        found = super().read_pod(pod)
        leaves = found.metadata.deletion_timestamp
        if leaves is not None and datetime.now(UTC) > leaves + STALE:
            raise PodTaken(f"pod {found.metadata.name} should have ended at {leaves}")
        return found


class StepRunner(KubernetesPodOperator):  # type: ignore[misc]
    """What `StepOperator` does where `RATCHET_RUNTIME` is kubernetes."""

    profile: str
    step_params: dict[str, Any]

    def run_pod(self, context: Context) -> dict[str, Any]:
        """The result of the step, run as a pod, or as several if the cluster takes pods away.

        Raises:
            StepFailed: the step's or the cluster's one sentence, with an exit code and a cause.
            TaskDeferred: the wait goes on in the triggerer.
        """
        return self._outlive(context, lambda: self._run_once(context))

    def resume_pod(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """The same, back from the triggerer in another process.

        Raises:
            StepFailed, TaskDeferred: as above.
        """
        return self._outlive(context, lambda: self._resume_once(context, event))

    def prepare_pod(self, context: Context) -> None:
        """Give the pod what only this try knows."""
        raise NotImplementedError

    def failure(self, context: Context, code: int, words: str) -> AirflowException:
        """The exception for a step that said `words` and ended with `code`."""
        raise NotImplementedError

    def _run_once(self, context: Context) -> dict[str, Any]:
        left = self._left_behind(context)
        if left is not None:
            return left
        self.prepare_pod(context)
        super().execute(context)
        return self._stored_result(context, self.pod.metadata.name)  # type: ignore[attr-defined]

    def _resume_once(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        self.do_xcom_push = False
        try:
            super().trigger_reentry(context, event)
        except PodNotFoundException:
            if not self._left_result(context, event["name"]):
                raise taken(how_it_ended(None, "")) from None
        return self._stored_result(context, event["name"])

    def _left_behind(self, context: Context) -> dict[str, Any] | None:
        """The result of an earlier try's pod that ended well while nobody watched, None if there is none."""
        known = context["task_state_store"].get(IDENTIFIER) or {}
        if not known or not self._left_result(context, known["name"]):
            return None
        self.log.info("pod %s of an earlier try ended well while nobody watched: its result is taken", known["name"])
        for pod in self._pods_of(context):
            self.process_pod_deletion(pod, reraise=False)
        return self._stored_result(context, known["name"])

    def _outlive(self, context: Context, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `run` gives, with a new pod, within the same try, for one that the cluster took away."""
        state, allowed = context["task_state_store"], settings().replacements
        while True:
            try:
                result = run()
            except StepFailed as failed:
                replaced = int(state.get("replaced") or 0)
                if failed.cause != "taken" or replaced >= allowed:
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
                state.set(IDENTIFIER, "")  # it takes no None
                return result

    def _forget_pod(self, context: Context) -> None:
        self.pod = self.pod_request_obj = self.remote_pod = None
        context["task_state_store"].set(IDENTIFIER, "")

    # What of KubernetesPodOperator works otherwise here

    @cached_property
    def pod_manager(self) -> PodManager:
        return WatchfulPodManager(kube_client=self.client, callbacks=self.callbacks)

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod; credentials of an Airflow connection come through a Secret that is named after it."""
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        if self._credentials():
            container = pod.spec.containers[0]
            container.env_from = [*container.env_from, secret(pod.metadata.name, optional=False)]
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """The pod of an earlier try that still runs, else a new one, as soon as the namespace's quota has room for it.

        Raises:
            StepFailed: there is no room for too long, or the cluster refuses such a pod.
        """
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(no_quota),
            wait=tenacity.wait_exponential(multiplier=2, max=30),
            stop=tenacity.stop_after_delay(settings().pending_timeout_s),
            before_sleep=lambda state: self._tell_quota(state, settings().pending_timeout_s),
            reraise=True,
        )
        try:
            pod = waiting(super().get_or_create_pod, pod_request_obj, context)
        except ApiException as error:
            raise refused(error) from None
        self._grant(pod)
        return pod

    def find_pod(self, namespace: str, context: Context, *, exclude_checked: bool = True) -> k8s.V1Pod | None:
        """This try's pod by its name; else one of the task that still runs: the first of several, which end but for it."""
        if self.pod is not None:
            return self._latest(self.pod) or self.pod
        try:
            found = super().find_pod(namespace, context, exclude_checked=exclude_checked)
            return None if found is not None and found.metadata.deletion_timestamp else found
        except FoundMoreThanOnePodFailure:
            first = self._pods_of(context)[0]
            self._end_doubles(first, context)
            return first

    def _pods_of(self, context: Context) -> list[k8s.V1Pod]:
        """Every pod of this task of this dag run, oldest first."""
        selector = self._build_find_pod_label_selector(context, exclude_checked=False)
        pods = self.client.list_namespaced_pod(namespace=self.namespace, label_selector=selector).items
        return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)

    def _end_doubles(self, kept: k8s.V1Pod, context: Context) -> None:
        """Delete the other pods of this task, unless a later try, which has taken over, made them."""
        for pod in self._pods_of(context):
            made_by = int((pod.metadata.labels or {}).get("try_number", 0))
            fine = pod.metadata.name == kept.metadata.name or pod.metadata.deletion_timestamp is not None
            if not fine and made_by <= context["ti"].try_number:
                self.log.warning("pod %s runs the same task as %s: it ends", pod.metadata.name, kept.metadata.name)
                self.process_pod_deletion(pod, reraise=False)

    def await_pod_start(self, pod: k8s.V1Pod) -> None:
        """Wait until the pod runs, then tell it by which image: it can't ask."""
        super().await_pod_start(pod)
        found = self._latest(pod)
        image = next((one.image_id for one in (found and found.status.container_statuses) or [] if one.image_id), "")
        if image:
            body = {"metadata": {"annotations": {OBSERVED: image}}}
            with suppress(ApiException):  # it is for the manifest only
                self.client.patch_namespaced_pod(name=pod.metadata.name, namespace=pod.metadata.namespace, body=body)

    def await_pod_completion(self, pod: k8s.V1Pod) -> None:
        """Follow the log to its end; without a log, wait for the container: the result does not come from there."""
        try:
            super().await_pod_completion(pod)
        except (ApiException, HTTPError) as error:
            if isinstance(error, ApiException) and error.status == 404:
                raise
            self.log.warning("the log broke off (%s); the pod goes on, and its result will be in the store", first_line(error))
            self.pod_manager.await_container_completion(pod, self.base_container_name, 2)

    def cleanup(self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Any = None) -> None:
        """Delete the pod as Airflow does, but judge by the step's own container, in the step's own words.

        Raises:
            StepFailed, AirflowSkipException: it did not end well.
        """
        if self._killed or remote_pod is None:
            return
        try:
            latest = self._latest(remote_pod)
        except (ApiException, HTTPError) as error:  # it may well go on: the next try takes it over
            raise silent(error) from None
        self._end_doubles(remote_pod, context)
        ended = how_it_ended(latest, self.base_container_name)
        if ended.exit_code == 0:
            self.process_pod_deletion(latest, reraise=False)
            return
        with suppress(AirflowException):
            super().cleanup(pod, latest or remote_pod, xcom_result, context)
        if not (ended.cause == "running" and sys.exc_info()[1] is not None):  # a timeout of the task, say, speaks for itself
            raise self._failed(context, ended)

    def _failed(self, context: Context, ended: Ending) -> AirflowException:
        if ended.cause == "hardware":
            self._avoid(context, ended.node)
        return by_cluster(ended, self.profile, self.image) or self.failure(context, ended.exit_code, ended.words)

    def _tell_quota(self, state: tenacity.RetryCallState, most: int) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        words = api_message(error) if error else ""
        self.log.warning("no quota for one more pod: %s; again in %.0f s, for %d s at most", words, wait, most)

    # Credentials, results, nodes

    def _credentials(self) -> dict[str, str]:
        return granted({}, settings(), self.step_params)

    def _grant(self, pod: k8s.V1Pod) -> None:
        """Make the pod's own Secret, which goes when the pod goes; one that is there is this pod's from an earlier try."""
        credentials = self._credentials()
        if not credentials:
            return
        owner = self._latest(pod)
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
        try:
            return read_result(open_granted_store(settings()).read(key))
        except FileNotFoundError:
            said = f"given a pod that ended well but left no {key}; expected its result; next: run the task again"
            raise StepFailed(said, TryAgain.exit_code) from None

    def _left_result(self, context: Context, pod: str) -> bool:
        return open_granted_store(settings()).size(result_key(context, pod)) is not None

    def _latest(self, pod: k8s.V1Pod) -> k8s.V1Pod | None:
        try:
            return self.client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _avoid(self, context: Context, node: str) -> None:
        state = context["task_state_store"]
        state.set("avoided", [*(state.get("avoided") or []), *([node] if node else [])][-10:])

    def adapt_pod(self, context: Context, out_of_memory: int) -> None:
        """What earlier tries of this task taught: more memory, other nodes."""
        profile = profile_named(settings(), self.profile)
        self.container_resources = resources(profile, out_of_memory)
        self.affinity = affinity(profile, context["task_state_store"].get("avoided") or [])


def results_of(context: Context) -> str:
    """The folder in the store where the pods of this task leave their results."""
    ti = context["ti"]
    return f"results/{ti.dag_id}/{digest(canonical([ti.run_id, ti.task_id, ti.map_index]))[:20]}"


def result_key(context: Context, pod: str) -> str:
    """Where a pod leaves its result: by its name, so that no try takes an earlier one's for its own."""
    return f"{results_of(context)}/{pod}.json"


def read_result(body: bytes) -> dict[str, Any]:
    """A step's result.

    Raises:
        StepFailed: it is no JSON object.
    """
    result = json.loads(body)
    if not isinstance(result, dict):
        raise StepFailed(f"given {body[:80]!r} as a result; expected a JSON object; next: look at the step's log", 1)
    return result
