"""Twelve things that clusters do to pods, done to real ones. Each is named after the report of it at Airflow's own project."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from kubernetes import client, config, watch
from kubernetes.client import ApiException
from kubernetes.stream import stream

from cluster.local import MOUNTED, until
from cluster.platform import SEED, Platform
from pipelines.embeddings.layout import rows
from pipelines.store.artifacts import load
from tests.conftest import call

DOCUMENTS = 400
SHARDS = 2
LONG = 3 * DOCUMENTS
LONGEST = 256
"""Tokens that the encoder reads of a text, so every text of as many words is cut to this length."""
LARGE_BATCH = 64 * LONGEST
"""Tokens of a batch that is larger than the memory of the profile `small`, 1300 MiB.

The texts are of one length, else no batch fills up. Peak resident memory of `embed` as a plain process (MiniLM, onnx-fp32;
with 1, 2 and 4 threads):

- 64 texts in one batch: 1449 to 1453 MiB; 128 texts in two such batches: 2061 to 2067 MiB;
- 128 texts in four batches, each half as large: 1042 to 1047 MiB.

Some 55 MiB of each are pages of files, which the kernel can drop. ONNX Runtime takes more for the second batch of a shape than
for the first. So a full batch does not fit by 7 % at first and by 54 % later, while a half batch leaves 20 % of the limit free.
"""
LARGE_BATCHES = 2
LOG_CUT = r"log read interrupted[^|\n]*|the log broke off[^|\n]*|Reading of logs interrupted[^|\n]*"
TAKEN_OVER = r"Reconnecting to pod [^|\n]*|pod [^|\n]* ended well while nobody watched[^|\n]*"
STORE_DOWN = r"given [^|\n\"]*expected a store that answers[^|\n\"]*"


@dataclass
class Outcome:
    """What became of one fault."""

    message: str
    """The sentence that an operator reads; where the run goes on as if nothing was, the line that says what happened."""
    vectors_lost: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One of the twelve: its report upstream, what it is, and how it is made."""

    number: int
    upstream: str
    title: str
    make: Callable[[Platform], Outcome]


def evicted(p: Platform) -> Outcome:
    """A pod is evicted in the middle of a shard: first as a drain does it, then by its node, whose disk it fills."""
    first, second = drained(p), _filled(p)
    return Outcome(f"{first.message} · {second.message}", first.vectors_lost + second.vectors_lost, first.facts)


def drained(p: Platform) -> Outcome:
    """The eviction API, as `kubectl drain` asks it: SIGTERM, a checkpoint, another pod in the same try."""
    run = _shards(p, "shards")
    pod = _embedding(p)
    _evict(p, pod)
    line = _said(p, "shards", run, "embed", r"given a pod that the cluster took away: [^;]*")
    assert p.over("shards", run) == "success"
    assert {task["try_number"] for task in p.tasks("shards", run)} == {1}, "an eviction cost a try"
    kept = _found(_logs(p, "shards", run), r"[^|\n]*kept[^|\n]*")
    return _whole(p, "shards", run, f"{line}; {kept}")


def _filled(p: Platform) -> Outcome:
    run = _shards(p, "shards", seed=SEED + 1, documents=4 * DOCUMENTS)  # a node looks once a minute
    _exec(p, _embedding(p), "open('/tmp/fill', 'wb').write(bytes(300 << 20))")
    line = _said(p, "shards", run, "embed", r"the cluster took away: Evicted: [^;]*")
    assert p.over("shards", run, 600) == "success"
    assert {task["try_number"] for task in p.tasks("shards", run)} == {1}, "an eviction cost a try"
    return _whole(p, "shards", run, line, documents=4 * DOCUMENTS)


def _evict(p: Platform, pod: str) -> None:
    """Ask for the eviction in the newest way that the cluster knows."""
    for version in ("v1", "v1beta1"):
        body = {
            "apiVersion": f"policy/{version}",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": p.cluster.namespace},
        }
        try:
            p.cluster.api.create_namespaced_pod_eviction(pod, p.cluster.namespace, body)
        except ApiException as error:
            if version == "v1beta1":
                raise AssertionError(f"no eviction: {error.reason}") from None
        else:
            return


def two_pods(p: Platform) -> Outcome:
    """Two dag runs encode the same shards at once; and a task's pod has a double with the same labels."""
    few = DOCUMENTS // 2  # five pods share the machine
    runs = [_shards(p, "shards", seed=SEED + 2, documents=few) for _ in range(2)]
    pod = _embedding(p)
    double = p.cluster.api.read_namespaced_pod(pod, p.cluster.namespace)
    meta, spec = double.metadata, double.spec
    spec.node_name = None
    copy = client.V1Pod(metadata=client.V1ObjectMeta(name=f"{pod}-double", labels=meta.labels), spec=spec)
    p.cluster.api.create_namespaced_pod(p.cluster.namespace, copy)
    assert [p.over("shards", run) for run in runs] == ["success", "success"]
    results = [p.result("shards", run, "embed", index) for run in runs for index in range(SHARDS)]
    assert len({one["shard"] for one in results}) == SHARDS, "two pods of one shard made two artifacts"
    assert len({p.result("shards", run, "commit_embeddings")["embeddings"] for run in runs}) == 1
    logs = "\n".join(p.log("shards", run, "embed", 1, index) for run in runs for index in range(SHARDS))
    line = _found(logs, r"lost the race[^|\n]*|found kind=shard[^|\n]*")
    return _whole(p, "shards", runs[0], line, documents=few)


def log_cut(p: Platform) -> Outcome:
    """Every connection to the cluster breaks, three times, while logs are followed."""
    run = _shards(p, "shards", seed=SEED + 3)
    pod = _embedding(p)
    for _ in range(3):
        until(p.cluster_network.cut, 20, "open connection")
        time.sleep(2)
    assert p.over("shards", run) == "success"
    line = _found(_logs(p, "shards", run), LOG_CUT)
    assert len(p.cluster.pods()) == 0
    return _whole(p, "shards", run, f"{line} (pod {pod} went on)")


def sidecar_killed(p: Platform) -> Outcome:
    """A sidecar dies with 137 long before the step's container ends well."""
    run = _one_shard(p, "with_sidecar", seed=SEED + 4)
    pod = p.cluster.pod_when(lambda pod: _code(pod, "airflow-xcom-sidecar") == 137, 120)
    assert _code(pod, "base") is None, "the step had ended before its sidecar: the fault was not made"
    assert p.over("with_sidecar", run) == "success"
    documents = p.result("with_sidecar", run, "embed")["documents"]
    return Outcome("the sidecar ended with 137; the result came from the store", DOCUMENTS // SHARDS - documents)


def worker_killed(p: Platform) -> Outcome:
    """The process that waits for the pod is killed -9; its successor takes the pod over."""
    run = _shards(p, "shards", seed=SEED + 5, documents=LONG)  # it takes Airflow up to a minute to notice
    _embedding(p)
    until(lambda: len(p.cluster.pods(task_id="embed")) == SHARDS, 60, "both pods")
    first = {pod.metadata.name for pod in p.cluster.pods(task_id="embed")}
    ti = p.task("shards", run, "embed", 0)
    victim = until(lambda: _task_process(p, ti), 30, "process of the task")
    for one in [*victim.children(recursive=True), victim]:
        one.kill()
    line = _said(p, "shards", run, "embed", TAKEN_OVER, tries=2, map_index=0, timeout_s=300)
    seen = {pod.metadata.name for pod in p.cluster.pods(task_id="embed")}
    assert seen <= first, f"a second pod was made: {seen - first}"
    assert p.over("shards", run, 600) == "success"
    return _whole(p, "shards", run, line, documents=LONG)


def pod_collected(p: Platform) -> Outcome:
    """A finished pod is garbage-collected before the task comes back from its deferral to read it."""
    run = _one_shard(p, "shards_deferred", seed=SEED + 6)
    pod = _embedding(p, "shards_deferred")
    scheduler = until(lambda: p.process("airflow", "scheduler"), 30, "scheduler's process")
    until(lambda: p.task("shards_deferred", run, "embed", 0)["state"] == "deferred", 60, "deferral")
    scheduler.suspend()  # so that the task cannot come back yet
    try:
        until(lambda: _code(p.cluster.api.read_namespaced_pod(pod, p.cluster.namespace), "base") == 0, 120, "end of the step")
        time.sleep(6)  # the trigger looks every 2 s
        p.cluster.api.delete_namespaced_pod(pod, p.cluster.namespace, grace_period_seconds=0)
        until(lambda: pod not in {one.metadata.name for one in p.cluster.pods()}, 30, "collection of the pod")
    finally:
        scheduler.resume()
    assert p.over("shards_deferred", run) == "success"
    line = _found(p.log("shards_deferred", run, "embed", 1, 0), r"Pod [^|\n]*not found after resuming[^|\n]*")
    return _whole(p, "shards_deferred", run, line)


def marked_failed(p: Platform) -> Outcome:
    """An operator marks a deferred task failed in the UI: its pod goes."""
    run = _one_shard(p, "shards_deferred", seed=SEED + 7)
    pod = _embedding(p, "shards_deferred")
    until(lambda: p.task("shards_deferred", run, "embed", 0)["state"] == "deferred", 60, "deferral")
    path = f"/dags/shards_deferred/dagRuns/{quote(run, safe='')}/taskInstances/embed/0"
    p.api.client.patch(path, json={"new_state": "failed"}).raise_for_status()
    until(lambda: pod not in {one.metadata.name for one in p.cluster.pods()}, 60, "end of the pod")
    assert p.over("shards_deferred", run) == "failed"
    again = _one_shard(p, "shards_deferred", seed=SEED + 7)  # what it had finished is kept
    assert p.over("shards_deferred", again) == "success"
    line = _found(p.log("shards_deferred", run, "embed", 1, 0), r"[^|\n]*(?:cancelled by user|Task killed)[^|\n]*")
    passes = p.result("shards_deferred", again, "embed", 0)["forward_passes"]
    return _whole(p, "shards_deferred", again, line, facts={"forward_passes_of_the_rest": passes})


def out_of_memory(p: Platform) -> Outcome:
    """A batch is larger than the pod's memory: once more, with half of it."""
    texts = LARGE_BATCHES * LARGE_BATCH // LONGEST
    run = _alone(p, "small", p.corpus(texts, SEED + 8, words=LONGEST), batch_tokens=LARGE_BATCH)
    assert _end_of_first_pod(p, "small") == (137, "OOMKilled")
    assert p.over("small", run) == "success"
    task = p.task("small", run, "embed")
    assert task["try_number"] == 2, f"try {task['try_number']}"
    line = _found(p.log("small", run, "embed", 1), r"given more than memory holds[^|\n\"]*")
    tuned = load(p.store, "shard", p.result("small", run, "embed")["shard"]).manifest.tuning
    assert tuned["batch_tokens"] == LARGE_BATCH // 2
    lost = texts - p.result("small", run, "embed")["documents"]
    return Outcome(line, lost)


def unschedulable(p: Platform) -> Outcome:
    """No node has a GPU: the task ends within the time that the settings give, and names what is missing."""
    run = _one_shard(p, "wants_a_gpu", seed=SEED + 9)
    started = time.monotonic()
    assert p.over("wants_a_gpu", run) == "failed"
    line = _found(p.log("wants_a_gpu", run, "embed", 1), r"given a pod of profile gpu[^|\n\"]*")
    assert "expected a node with enough nvidia.com/gpu" in line
    assert p.task("wants_a_gpu", run, "embed")["try_number"] == 1
    return Outcome(line, facts={"seconds": round(time.monotonic() - started)})


def bad_image(p: Platform) -> Outcome:
    """No registry has the image: tried again later, then red, with the image and the node named."""
    run = _one_shard(p, "bad_image", seed=SEED + 10)
    assert p.over("bad_image", run) == "failed"
    line = _found(p.log("bad_image", run, "embed", 1), r"given image 127\.0\.0\.1:9/nothing:1[^|\"]*")
    first = p.log("bad_image", run, "embed", 1)
    assert "the image can't be had: again in 10 s" in first, "no back-off"
    return Outcome(line.replace("\n", " "))


def store_down(p: Platform) -> Outcome:
    """The store refuses everything for 30 s in the middle of a shard, then is back."""
    run = _shards(p, "shards", seed=SEED + 11)
    _embedding(p)
    p.store_network.shut(30)
    shut = time.monotonic()
    ended = p.over("shards", run)
    time.sleep(max(0, 31 - (time.monotonic() - shut)))  # so that a run that failed does not end the others with it
    assert ended == "success"
    tries = {f"{task['task_id']}[{task['map_index']}]": task["try_number"] for task in p.tasks("shards", run)}
    found = re.findall(STORE_DOWN, _logs(p, "shards", run))
    line = found[0] if found else "the store's client tried again until it was back"
    return _whole(p, "shards", run, line, facts={"tries": max(tries.values())})


def quota(p: Platform) -> Outcome:
    """The namespace has quota for nine pods; the tenth waits until there is room."""
    hard = client.V1ResourceQuotaSpec(hard={"pods": "9"})
    p.cluster.api.create_namespaced_resource_quota(
        p.cluster.namespace, client.V1ResourceQuota(metadata=client.V1ObjectMeta(name="nine"), spec=hard)
    )
    try:
        run = _shards(p, "shards", seed=SEED + 12, shards=10, documents=10 * 40)
        assert p.over("shards", run, 400) == "success"
    finally:
        p.cluster.api.delete_namespaced_resource_quota("nine", p.cluster.namespace)
    logs = "\n".join(p.log("shards", run, "embed", 1, index) for index in range(10))
    line = _found(logs, r"no quota for one more pod[^|\n]*")
    assert {task["try_number"] for task in p.tasks("shards", run)} == {1}, "waiting for quota cost a try"
    return _whole(p, "shards", run, line, documents=10 * 40)


FAULTS = [
    Fault(1, "airflow#39096", "evicted in the middle of a shard", evicted),
    Fault(2, "airflow#58496", "two pods run one shard", two_pods),
    Fault(3, "airflow#17649", "the log's stream is cut", log_cut),
    Fault(4, "airflow#71369", "a sidecar is killed before the result is read", sidecar_killed),
    Fault(5, "airflow#39791", "the worker is killed -9", worker_killed),
    Fault(6, "airflow#66715", "the pod is collected before the task comes back", pod_collected),
    Fault(7, "airflow#62398", "marked failed while deferred", marked_failed),
    Fault(8, "", "out of memory", out_of_memory),
    Fault(9, "", "no node has the GPU", unschedulable),
    Fault(10, "", "the image can't be had", bad_image),
    Fault(11, "", "the store is down for 30 s", store_down),
    Fault(12, "airflow#15097", "quota refuses the tenth pod", quota),
]


def _shards(p: Platform, dag: str, seed: int = SEED, shards: int = SHARDS, documents: int = DOCUMENTS) -> str:
    return p.start(dag, corpus=p.corpus(documents, seed), encoder=p.encoder, mode="full", shards=shards)


def _one_shard(p: Platform, dag: str, seed: int) -> str:
    if dag.startswith("shards"):
        return _shards(p, dag, seed, shards=1, documents=DOCUMENTS // SHARDS)
    return _alone(p, dag, p.corpus(DOCUMENTS // SHARDS, seed))


def _alone(p: Platform, dag: str, corpus: str, **tuning: int) -> str:
    """A run of a DAG that is one task: the whole corpus is its shard."""
    planned = call("plan", corpus=corpus, encoder=p.encoder, mode="full")
    return p.start(dag, corpus=planned.corpus, encoder=p.encoder, shard=planned.shards[0], **tuning)


def _embedding(p: Platform, dag: str = "shards") -> str:
    """The name of a pod that is in the middle of a shard."""

    def works(pod: Any) -> bool:
        return pod.status.phase == "Running" and "encoding" in p.cluster.log(pod.metadata.name)

    name = str(p.cluster.pod_when(works, 180, task_id="embed", dag_id=dag).metadata.name)
    time.sleep(2)  # a few batches
    return name


def _exec(p: Platform, pod: str, code: str) -> None:
    python = sys.executable if p.cluster.image == MOUNTED else "python"
    own = client.CoreV1Api(config.new_client_from_config(str(p.cluster.kubeconfig)))  # `stream` changes it for all its threads
    try:
        stream(
            own.connect_get_namespaced_pod_exec, pod, p.cluster.namespace, container="base",
            command=[python, "-c", code], stderr=True, stdin=False, stdout=True, tty=False,
        )  # fmt: skip
    except ApiException as error:
        raise AssertionError(f"{pod} took no command: {error.reason}") from None


def _end_of_first_pod(p: Platform, dag: str, timeout_s: int = 180) -> tuple[int, str]:
    """Exit code and reason with which the step's container of the DAG's first pod ends: a watch misses no state of a pod."""
    seen = watch.Watch().stream(
        p.cluster.api.list_namespaced_pod, p.cluster.namespace, label_selector=f"dag_id={dag}", timeout_seconds=timeout_s
    )
    for event in seen:
        for one in event["object"].status.container_statuses or []:
            if one.name == "base" and one.state.terminated:
                return int(one.state.terminated.exit_code), str(one.state.terminated.reason)
    raise AssertionError(f"no pod of {dag} ended within {timeout_s} s")


def _code(pod: Any, container: str) -> int | None:
    for one in pod.status.container_statuses or []:
        if one.name == container and one.state.terminated:
            return int(one.state.terminated.exit_code)
    return None


def _task_process(p: Platform, ti: dict[str, Any]) -> Any:
    family = p.airflow.children(recursive=True)
    return next((one for one in family if any(ti["id"] in word for word in _words(one))), None)


def _words(process: Any) -> list[str]:
    try:
        return list(process.cmdline())
    except Exception:  # noqa: BLE001  # it ended meanwhile
        return []


def _logs(p: Platform, dag: str, run: str) -> str:
    """What every try of every shard said."""
    tasks = [task for task in p.tasks(dag, run) if task["task_id"] == "embed"]
    return "\n".join(
        p.log(dag, run, "embed", number, task["map_index"]) for task in tasks for number in range(1, task["try_number"] + 1)
    )


def _said(
    p: Platform, dag: str, run: str, task: str, words: str, tries: int = 1, map_index: int | None = None, timeout_s: float = 180
) -> str:
    """A line of the task's log, as soon as it is there."""
    indices = range(SHARDS) if map_index is None else [map_index]

    def look() -> str | None:
        found = [re.search(words, p.log(dag, run, task, tries, index)) for index in indices]
        return next((one[0] for one in found if one), None)

    return str(until(look, timeout_s, f"line {words!r} in the log"))


def _found(log: str, words: str) -> str:
    found = re.search(words, log)
    assert found, f"nothing like {words!r} in the log:\n{log[-3000:]}"
    return found[0].strip()


def _whole(
    p: Platform, dag: str, run: str, message: str, *, documents: int | None = None,
    facts: dict[str, Any] | None = None,
) -> Outcome:  # fmt: skip
    """Whether each document has exactly one vector in what the run committed."""
    result = p.result(dag, run, "commit_embeddings")
    ids = [row.id for row in rows(load(p.store, "embeddings", result["embeddings"]))]
    one_shard = dag == "shards_deferred"
    expected = documents or (DOCUMENTS // SHARDS if one_shard else DOCUMENTS)
    return Outcome(message, abs(expected - len(ids)) + len(ids) - len(set(ids)), facts or {})
