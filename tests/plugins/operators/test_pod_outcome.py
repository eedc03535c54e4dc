"""How a pod ended and what follows from it, offline, from what clusters say of pods."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException
from kubernetes.client import ApiException
from kubernetes.client import models as k8s
from operators.failures import StepFailed, is_over_quota, pod_refused
from operators.pod_outcome import PodOutcome, read_outcome
from operators.pod_run import LOST_AFTER, PodLost, StepPodManager, result_key
from operators.pod_spec import SPOT, affinity, resources
from operators.retries import StepRetryPolicy
from operators.step import StepOperator

from pipelines.__main__ import main
from pipelines.errors import InputError
from pipelines.settings import Profile, settings
from pipelines.steps.ingest_corpus.ingest import ingest
from pipelines.steps.refresh_embeddings.embed import embed
from pipelines.store.objects import open_store

GONE = datetime(2026, 1, 1, tzinfo=UTC)


def pod(code=None, reason="Error", message="", *, waiting="", leaving=False, **status):
    """A pod as the cluster's API tells of it."""
    terminated = k8s.V1ContainerStateTerminated(exit_code=code, reason=reason, message=message) if code is not None else None
    held = k8s.V1ContainerStateWaiting(reason=waiting, message=message) if waiting else None
    state = k8s.V1ContainerState(terminated=terminated, waiting=held)
    base = k8s.V1ContainerStatus(name="base", state=state, image="i", image_id="", ready=False, restart_count=0)
    meta = k8s.V1ObjectMeta(name="p", namespace="n", deletion_timestamp=GONE if leaving else None)
    statuses = [base] if terminated or held else None
    return k8s.V1Pod(
        metadata=meta, spec=k8s.V1PodSpec(node_name="node-1", containers=[k8s.V1Container(name="base")]),
        status=k8s.V1PodStatus(container_statuses=statuses, **{"phase": "Failed", **status}),
    )  # fmt: skip


def condition(kind, status, reason, message):
    return k8s.V1PodCondition(type=kind, status=status, reason=reason, message=message)


UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
PREEMPTED = condition("DisruptionTarget", "True", "PreemptionByScheduler", "a more important pod came")


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (pod(2, message="error: given x"), 2, "step"),
        (pod(1), 1, "step"),
        (pod(0, phase="Failed", reason="Evicted"), 0, "step"),
        (pod(1, "OOMKilled"), 137, "memory"),
        (pod(137), 137, "memory"),
        (pod(reason="Error", phase="Failed"), 75, "running"),
        (None, 75, "disrupted"),
        (pod(75, leaving=True), 75, "disrupted"),
        (pod(143, leaving=True), 75, "disrupted"),
        (pod(leaving=True, phase="Running"), 75, "disrupted"),
        (pod(137, conditions=[PREEMPTED]), 75, "disrupted"),
        (pod(phase="Pending", conditions=[UNSCHEDULABLE]), 75, "no capacity"),
        (pod(waiting="ImagePullBackOff", phase="Pending"), 75, "image"),
        (pod(waiting="InvalidImageName", phase="Pending"), 2, "image"),
        (pod(waiting="CreateContainerError", phase="Pending"), 75, "hardware"),
        (pod(135), 135, "hardware"),
        (pod(1, message="RuntimeError: CUDA error: uncorrectable ECC error encountered"), 1, "hardware"),
        (pod(2, message="error: given a file that says uncorrectable ECC; expected"), 2, "step"),
    ],
)
def test_the_cause(status, code, cause):
    outcome = read_outcome(status, "base")
    assert (outcome.exit_code, outcome.cause) == (code, cause)


@pytest.mark.parametrize("reason", ["Evicted", "NodeShutdown", "Terminated", "NodeLost", "Preempting", "OutOfcpu"])
def test_what_the_cluster_took(reason):
    taken = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="p"), status=k8s.V1PodStatus(phase="Failed", reason=reason, message="short")
    )
    assert read_outcome(taken, "base") == PodOutcome(75, f"{reason}: short", "disrupted")


@pytest.mark.parametrize(
    ("cause", "code", "action"),
    [
        ("disrupted", 75, RetryAction.RETRY),
        ("no capacity", 75, RetryAction.FAIL),
        ("image", 75, RetryAction.RETRY),
        ("image", 2, RetryAction.FAIL),
        ("hardware", 135, RetryAction.RETRY),
    ],
)
def test_retry_by_cause(cause, code, action):
    assert StepRetryPolicy().evaluate(StepFailed("x", code, cause=cause), 1, 3).action == action


@pytest.mark.parametrize("cause", ["image", "step"])
def test_an_image_and_a_store_are_asked_for_ever_later(cause):
    waits = [StepRetryPolicy().evaluate(StepFailed("x", 75, cause=cause), number, 9).retry_delay for number in (1, 2, 3, 9, 99)]
    assert waits == [timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40), *2 * [timedelta(minutes=5)]]


@pytest.fixture
def operator(context, monkeypatch):
    """An operator on pods, before it has asked the cluster anything."""
    monkeypatch.setenv("RATCHET_RUNTIME", "kubernetes")
    made = StepOperator(step=embed, step_params={"corpus": "c", "encoder": "e"}, over="shard", value="0/1")
    made.prepare_pod(context)
    return made


def ends(operator, context, monkeypatch, current):
    """What `cleanup` raises when the pod is as `current` in the cluster; the calls that would go to a cluster do nothing."""
    for asks in ("process_pod_deletion", "patch_already_checked", "is_istio_enabled"):
        monkeypatch.setattr(type(operator), asks, lambda *args, **kwargs: None)
    monkeypatch.setattr(type(operator), "_current_pod", lambda self, pod: current)
    monkeypatch.setattr(type(operator), "_task_pods", lambda self, context: [])
    operator.cleanup(current, pod(), None, context)


def test_the_steps_own_sentence(operator, context, monkeypatch):
    with pytest.raises(StepFailed, match=r"^given x; expected y; next: z$") as failed:
        ends(operator, context, monkeypatch, pod(2, message="{}\nerror: given x; expected y; next: z\n"))
    assert failed.value.exit_code == 2
    with pytest.raises(AirflowSkipException, match=r"^all done$"):
        ends(operator, context, monkeypatch, pod(4, message="skipped: all done"))


def test_a_dead_sidecar_does_not_spoil_a_step_that_ended_well(operator, context, monkeypatch):
    ends(operator, context, monkeypatch, pod(0, "Completed", phase="Failed"))


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (
            pod(waiting="ErrImagePull", message="not found", phase="Pending"),
            r"^given image \S+, which node node-1 can't",
        ),
        (
            pod(phase="Pending", conditions=[UNSCHEDULABLE]),
            r"within 600 s: .*; expected a node with enough nvidia\.com/gpu; ",
        ),
        (pod(phase="Pending"), r"did not start within 600 s: .*; expected a node that takes it; next: "),
        (
            pod(135, message="x\nBus error"),
            r"^given node node-1, on which the step failed \(exit 135\): Bus error; ",
        ),
        (None, r"^given a pod that the cluster took away: .*; expected it to run to its end; next: "),
    ],
)
def test_the_clusters_sentence(operator, context, monkeypatch, current, message):
    with pytest.raises(StepFailed, match=message):
        ends(operator, context, monkeypatch, current)


def test_a_bad_node_is_avoided(operator, context, monkeypatch):
    with pytest.raises(StepFailed):
        ends(operator, context, monkeypatch, pod(135))
    operator.prepare_pod(context)
    (term,) = operator.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution
    assert term.preference.match_expressions[0].to_dict() == {
        "key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-1"]
    }  # fmt: skip


def test_a_double_ends_and_a_later_trys_pod_does_not(operator, context, monkeypatch):
    def named(name, made_by):
        return k8s.V1Pod(metadata=k8s.V1ObjectMeta(name=name, labels={"try_number": str(made_by)}))

    deleted = []
    monkeypatch.setattr(
        type(operator), "_task_pods", lambda self, context: [named("own", 1), named("twin", 1), named("next", 2)]
    )
    monkeypatch.setattr(type(operator), "process_pod_deletion", lambda self, pod, reraise: deleted.append(pod.metadata.name))
    operator._delete_duplicates(named("own", 1), context)
    assert deleted == ["twin"]


def test_more_memory_only_if_the_profile_allows_it():
    plain, stepped = Profile(), Profile(memory_steps=["8Gi", "16Gi"])
    assert resources(plain, 1).limits["memory"] == "4Gi"
    assert [resources(stepped, times).limits["memory"] for times in (0, 1, 2, 3)] == ["4Gi", "8Gi", "16Gi", "16Gi"]
    assert resources(stepped, 1).requests["memory"] == "8Gi"


def test_spot():
    assert affinity(Profile()) is None
    never = affinity(Profile(spot=False)).node_affinity.required_during_scheduling_ignored_during_execution
    assert {(term.key, term.operator) for term in never.node_selector_terms[0].match_expressions} == {
        (label, "NotIn") for label in SPOT
    }
    rather = affinity(Profile(spot=True)).node_affinity
    assert rather.required_during_scheduling_ignored_during_execution is None
    assert len(rather.preferred_during_scheduling_ignored_during_execution) == len(SPOT)


@pytest.mark.parametrize("disrupted", [1, 3])
def test_a_pod_that_was_taken_is_replaced_without_a_try(operator, context, monkeypatch, disrupted):
    monkeypatch.setattr("operators.pod_run.time.sleep", lambda seconds: None)
    monkeypatch.setenv("RATCHET_REPLACEMENTS", "3")
    runs = []

    def run_once(self, context):
        runs.append(1)
        if len(runs) <= disrupted:
            raise StepFailed("disrupted", 75, cause="disrupted")
        return {"shard": "s"}

    monkeypatch.setattr(type(operator), "_run_once", run_once)
    assert operator.run_pod(context) == {"shard": "s"}
    assert len(runs) == disrupted + 1
    assert context["task_state_store"]["replaced"] == 0


def test_replacements_end(operator, context, monkeypatch):
    monkeypatch.setattr("operators.pod_run.time.sleep", lambda seconds: None)
    monkeypatch.setenv("RATCHET_REPLACEMENTS", "2")
    runs = []

    def run_once(self, context):
        runs.append(1)
        raise StepFailed("disrupted", 75, cause="disrupted")

    monkeypatch.setattr(type(operator), "_run_once", run_once)
    with pytest.raises(StepFailed, match="disrupted"):
        operator.run_pod(context)
    assert len(runs) == 3


def test_a_lost_node_is_noticed(monkeypatch):
    leaving = pod(leaving=True, phase="Running")
    manager = StepPodManager(kube_client=SimpleNamespace(read_namespaced_pod=lambda *args, **kwargs: leaving))
    with pytest.raises(PodLost):
        manager.read_pod(leaving)
    leaving.metadata.deletion_timestamp = datetime.now(UTC) - LOST_AFTER / 2
    assert manager.read_pod(leaving) is leaving


@pytest.mark.parametrize(
    ("status", "message", "waits"),
    [
        (403, 'pods "p" is forbidden: exceeded quota: nine, requested: pods=1, used: pods=9, limited: pods=9', True),
        (409, 'Operation cannot be fulfilled on resourcequotas "nine": the object has been modified', True),
        (403, 'pods is forbidden: User "airflow" cannot create resource "pods"', False),
        (409, "object is being deleted", False),
        (422, "invalid", False),
    ],
)
def test_quota_is_waited_for_and_nothing_else(status, message, waits):
    error = ApiException(status=status, reason="Forbidden")
    error.body = json.dumps({"message": message})
    assert is_over_quota(error) is waits


def test_a_refused_pod_names_what_the_cluster_said():
    error = ApiException(status=422, reason="Unprocessable")
    error.body = '{"message": "Pod \\"p\\" is invalid: spec.containers[0].resources.requests"}'
    failed = pod_refused(error)
    assert failed.exit_code == 2
    assert 'given a pod that the cluster refuses (422): Pod "p" is invalid' in str(failed)


def test_the_result_comes_back_through_the_store(operator, context, home, monkeypatch, capsys):
    """What the command line leaves under RATCHET_RESULT_KEY is what the operator reads: each pod's own."""
    for number, text in enumerate(("label", "label+category")):
        monkeypatch.setenv("RATCHET_RESULT_KEY", result_key(context, f"pod-{number}"))
        assert main(["ingest", "--text", text]) == 0
        line = capsys.readouterr().out.strip()
        assert operator._stored_result(context, f"pod-{number}") == json.loads(line)
        assert operator.cost["step_cost"]["step"] == "ingest"
        assert operator.cost["step_cost"]["wall_s"] > 0
    with pytest.raises(StepFailed, match="left no results/") as failed:
        operator._stored_result(context, "pod-2")
    assert failed.value.exit_code == 75


def test_a_pod_that_ended_well_while_nobody_watched_is_not_run_again(operator, context, home, monkeypatch):
    ended = []
    monkeypatch.setattr(type(operator), "_task_pods", lambda self, context: [pod(0)])
    monkeypatch.setattr(type(operator), "process_pod_deletion", lambda self, pod, reraise: ended.append(pod.metadata.name))
    context["task_state_store"]["pod_identifier"] = {"name": "earlier", "namespace": "n"}
    open_store().write(result_key(context, "earlier"), b'{"shard": "s"}')
    assert operator.run_pod(context) == {"shard": "s"}
    assert ended == ["p"]
    assert not context["task_state_store"]["pod_identifier"], "a task that is cleared must run again"


def test_a_profile_with_a_field_that_is_none(monkeypatch):
    monkeypatch.setenv("RATCHET_PROFILES", '{"cpu": {"memory": "1Gi"}}')
    with pytest.raises(InputError, match="RATCHET_PROFILES"):
        settings()


def test_the_image_a_pod_runs_is_what_its_node_said(tmp_path, monkeypatch):
    assert settings().image_digest == ""
    image_file = tmp_path / "image"
    monkeypatch.setenv("RATCHET_IMAGE_FILE", str(image_file))
    assert settings().image_digest == ""
    image_file.write_text("registry.example/steps@sha256:abc")
    assert settings().image_digest == "registry.example/steps@sha256:abc"


def test_labels(operator, context):
    pod_labels = operator.labels
    assert pod_labels == {"app.kubernetes.io/part-of": "ratchet", "app.kubernetes.io/component": "embed"}
    assert StepOperator(step=ingest).labels == {}
