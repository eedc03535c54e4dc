"""`make proof-parity`: runs the chain once as processes and once as pods on the same collection, and compares the stores.

Writes build/proof/parity.json. The collection is electronics where ../shared/data/chorus is, else icons.
"""

import signal
import sys
import time
from typing import Any

import numpy as np
import obstore

from cluster.local import Cluster, NoCluster, cluster
from cluster.platform import SEED, Platform, platform
from demo.airflow_api import AirflowApi
from pipelines.corpus.documents import queries
from pipelines.embeddings.layout import vectors
from pipelines.index.vector_index import load_index
from pipelines.models.encoder import load_encoder
from pipelines.store.artifacts import Artifact, find, load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import Store
from tests.conftest import PROJECT
from tests.figures import write_figures

CHORUS = PROJECT.parent / "shared" / "data" / "chorus"
KINDS = ("corpus", "encoder", "shard", "embeddings", "index", "release", "evaluation", "verdict")
TIES = 1e-5
SHARED = {"RATCHET_PENDING_TIMEOUT_S": "600"}
GOALS = {
    "artifacts_of_one_side": "≤ 0",
    "vectors_max_abs_difference": "≤ 1e-5",
    "top10_equal_ratio": "≥ 1",
    "verdict_equal": "≥ 1",
    "champion_equal": "≥ 1",
    "shards_cluster": "≥ 4",
}


def chain(p: Platform, source: str, last: str = "deploy_release") -> float:
    """From a file of rows to the end of the `last` DAG; how many seconds it took."""
    return follow(p.api, {"source": source} if source else {}, last)


def follow(api: AirflowApi, conf: dict[str, Any], last: str = "deploy_release") -> float:
    """Start `ingest_corpus` and wait for the whole chain, which must reach the `last` DAG; how many seconds it took."""
    started = time.monotonic()
    ended = api.follow("ingest_corpus", api.trigger("ingest_corpus", conf), lambda task: _tell(task, started))
    states = {run["dag_id"]: run["state"] for run in ended}
    assert set(states.values()) == {"success"}, states
    assert last in states, f"the chain ended early: {states}"
    return time.monotonic() - started


def _tell(task: dict[str, Any], started: float) -> None:
    if "progress" not in task:
        index = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
        print(f"  {time.monotonic() - started:5.0f} s  {task['dag_id']}.{task['task_id']}{index} {task['state']}", flush=True)


def artifacts(store: Store) -> dict[tuple[str, str], Artifact]:
    """Every artifact of the chain by kind and id."""
    by_key: dict[tuple[str, str], Artifact] = {}
    for kind in KINDS:
        for name in store.names(f"{kind}/"):
            artifact = find(store, kind, name)
            if artifact is not None:
                by_key[kind, name] = artifact
    return by_key


def compared(a: Store, b: Store) -> dict[str, Any]:
    """How far two stores that the same chain filled are the same. Shards are the same work, cut differently."""
    first, second = artifacts(a), artifacts(b)
    ids = {key for key in first if key[0] != "shard"}, {key for key in second if key[0] != "shard"}
    both = sorted(ids[0] & ids[1])
    files = [(key, name) for key in both for name in first[key].manifest.files]
    equal = [pair for pair in files if _same(first[pair[0]], second[pair[0]], pair[1])]
    release = [Journal(store).routing.champion for store in (a, b)]
    embedded = [load_exactly(store, "embeddings", _only(by_key, "embeddings")) for store, by_key in ((a, first), (b, second))]
    return {
        "artifacts": len(ids[0]),
        "artifacts_of_one_side": len(ids[0] ^ ids[1]),
        "files": len(files),
        "files_equal": len(equal),
        "files_differ": ", ".join(sorted({name for key, name in files if (key, name) not in equal})),
        "vectors_max_abs_difference": _max_abs_difference(*map(vectors, embedded)),
        "top10_equal_ratio": _top10(first, second, a, b),
        "verdict_equal": int(_verdicts(first) == _verdicts(second)),
        "champion_equal": int(release[0] == release[1] and release[0] is not None),
        "shards_process": sum(kind == "shard" for kind, _ in first),
        "shards_cluster": sum(kind == "shard" for kind, _ in second),
    }


def _same(artifact: Artifact, other: Artifact, name: str) -> bool:
    return artifact.manifest.files[name].sha256 == other.manifest.files[name].sha256


def _only(by_key: dict[tuple[str, str], Artifact], kind: str) -> str:
    (name,) = [name for known, name in by_key if known == kind]
    return name


def _max_abs_difference(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def _verdicts(by_key: dict[tuple[str, str], Artifact]) -> list[Any]:
    return [by_key[key].facts["sentence"] for key in sorted(by_key) if key[0] == "verdict"]


def _top10(first: dict[Any, Artifact], second: dict[Any, Artifact], a: Store, b: Store) -> float:
    """The share of queries for which both indexes give the same top 10; scores that differ by at most 1e-5 are ties."""
    corpus, encoder = first["corpus", _only(first, "corpus")], first["encoder", _only(first, "encoder")]
    texts = [query.text for query in queries(corpus)]
    query_vectors = load_encoder(encoder, "onnx-fp32").encode(texts, "query")
    ranked = [
        load_index(load_exactly(store, "index", _only(by_key, "index"))).search(query_vectors, 20)
        for store, by_key in ((a, first), (b, second))
    ]
    return sum(_tied(ranking, other) for ranking, other in zip(*ranked, strict=True)) / len(texts)


def _tied(ranking: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    """Whether each document of the top 10 is among the other's, or ties with the other's tenth."""
    last = other[min(9, len(other) - 1)][1]
    scores = dict(other)
    return all(scores.get(document, -1.0) >= last - TIES for document, _ in ranking[:10])


def main() -> int:
    """Run both chains and compare what they left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with cluster() as started:
            figures = _run_both(started)
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster; next: set KUBECONFIG", file=sys.stderr)
        return 2
    write_figures("proof/parity", figures, seed=SEED, runs=1, goals=GOALS)
    return 0


def _run_both(cluster: Cluster) -> dict[str, Any]:
    """The chain as processes, then as pods with the same encoder; both stores stay until they are compared."""
    with platform(cluster, runtime="process", **SHARED) as processes:
        seconds = {"process_s": round(chain(processes, _source(processes)))}
        encoder = load_exactly(processes.store, "encoder", processes.encoder)
        with platform(cluster, encoder, **SHARED) as pods:
            seconds["cluster_s"] = round(chain(pods, _source(pods)))
            return {**compared(processes.store, pods.store), **seconds}


def _source(p: Platform) -> str:
    """The address of the collection in the platform's own S3, where a pod can read it; empty: icons."""
    if not CHORUS.is_dir():
        return ""
    bucket = p.store.uri.removesuffix("/store")
    store = Store(bucket, p.store.endpoint)
    for path in sorted(file for file in CHORUS.rglob("*") if file.is_file()):
        obstore.put(store.backend, f"electronics/{path.relative_to(CHORUS)}", path)
    return f"{bucket}/electronics"


if __name__ == "__main__":
    sys.exit(main())
