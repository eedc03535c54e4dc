"""Steps as pods of a real cluster: one alone, one evicted. `make test-k8s` makes all twelve faults."""

import json
import threading
from urllib.parse import quote

import pytest
from kubernetes.client import ApiClient

from cluster.faults import Fault, drained
from cluster.local import NoCluster, cluster, until
from cluster.make_faults import check
from cluster.platform import platform
from cluster.witness import log_entries, redone
from pipelines.store.artifacts import load
from pipelines.store.objects import Store


@pytest.fixture(scope="module")
def p(_trained_once):
    store = Store(f"file://{_trained_once.home}/store")
    try:
        with cluster(build=False) as found, platform(found, load(store, "encoder", _trained_once.encoder)) as made:
            yield made
    except NoCluster as reason:
        pytest.skip(str(reason))


@pytest.fixture
def seen(p):
    """Everything that the cluster's API told of pods and events while the test ran."""
    told, over = set(), threading.Event()

    def watch():
        client = ApiClient()
        while not over.wait(0.3):
            events = p.cluster.api.list_namespaced_event(p.cluster.namespace).items
            told.update(json.dumps(client.sanitize_for_serialization(one)) for one in [*p.cluster.pods(), *events])

    watching = threading.Thread(target=watch)
    watching.start()
    yield told
    over.set()
    watching.join()


def test_one_pod(p, seen):
    run = p.start("one_pod")
    assert p.over("one_pod", run) == "success", p.log("one_pod", run, "ingest")
    result = p.result("one_pod", run, "ingest")
    manifest = json.loads(p.store.read(f"corpus/{result['corpus']}/manifest.json"))
    told = manifest["provenance"]
    assert told["pod"].startswith("ingest-")
    assert told["node"]
    assert told["image"].startswith(p.cluster.image.partition(":")[0]) or "sha256:" in told["image"]
    assert told["queued_at"] <= told["started_at"] <= told["at"]
    assert {"wall_s", "cpu_s", "gpu_s", "peak_memory_mb"} == set(manifest["cost"])
    labels = {name: json.loads(one)["metadata"]["labels"] for one in seen if '"containers"' in one for name in ["pod"]}
    assert labels["pod"]["dag_id"] == "one_pod"
    assert labels["pod"]["app.kubernetes.io/component"] == "ingest"
    until(lambda: p.cluster.pods() == [], 60, "end of the finished pod, which the API still lists while it goes")
    assert lineage_parents(p, result["corpus"]) == {p.task("one_pod", run, "ingest")["id"]}

    def told_log():
        text = p.log("one_pod", run, "ingest")  # empty where Airflow's API gives none, as it once did
        return text if "committed kind=corpus" in text else ""

    log = until(told_log, 60, "commit in the log of the task")
    nowhere(p, seen, log, run)


def lineage_parents(p, artifact):
    names = [name for name in p.store.names("lineage/") if artifact in name]
    events = [json.loads(p.store.read(f"lineage/{name}")) for name in names]
    return {event["run"]["facets"]["parent"]["run"]["runId"] for event in events}


def nowhere(p, seen, log, run):
    """The store's credentials stand in no pod, event, log, XCom, rendered field or object of the store."""
    path = f"/dags/one_pod/dagRuns/{quote(run, safe='')}/taskInstances/ingest"
    entries = p.api._get(f"{path}/xcomEntries")["xcom_entries"]
    values = [p.api.client.get(f"{path}/xcomEntries/{one['key']}").text for one in entries]
    assert {"result", "return_value", "pod_name"} <= {one["key"] for one in entries}
    stored = [
        p.store.read(f"{folder}/{name}").decode()
        for folder in ("lineage", "results/one_pod")
        for name in p.store.names(f"{folder}/")
        if name.endswith(".json")
    ]
    manifests = [p.store.read(f"corpus/{name}/manifest.json").decode() for name in p.store.names("corpus/")]
    everything = [*seen, log, p.api.client.get(path).text, *values, *stored, *manifests]
    assert any("secretRef" in one for one in everything), "no pod was seen"
    for secret in (p.s3.secret_key, p.s3.access_key):
        assert [one[:200] for one in everything if secret in one] == []


def test_evicted_in_the_middle_of_a_shard(p):
    check(Fault(1, "airflow#39096", "drained", drained), p)


def test_a_shard_encoded_again_is_seen(tmp_path):
    store = Store(f"file://{tmp_path}")
    store.create("shard/a/manifest.json", b'{"provenance": {"at": "2026-11-25T10:00:00Z"}}')
    line = '{"event": "encoding", "shard": "%s", "texts": %d, "timestamp": "2026-11-25T10:00:%02d.5Z"}'
    log = "\n".join(["Traceback", "{", "3", line % ("a", 5, 0), line % ("a", 0, 9), line % ("b", 5, 9), line % ("a", 5, 3)])
    assert redone(store, log_entries(log)) == ["a"]
