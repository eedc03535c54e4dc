"""`make proof-parity`: the whole chain once as processes and once as pods, on the same collection; are they one?

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
    states = {one["dag_id"]: one["state"] for one in ended}
    assert set(states.values()) == {"success"}, states
    assert last in states, f"the chain ended early: {states}"
    return time.monotonic() - started


def _tell(task: dict[str, Any], started: float) -> None:
    if "progress" not in task:
        index = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
        print(f"  {time.monotonic() - started:5.0f} s  {task['dag_id']}.{task['task_id']}{index} {task['state']}", flush=True)


def artifacts(store: Store) -> dict[tuple[str, str], Artifact]:
    """Every artifact of the chain by kind and id."""
    found: dict[tuple[str, str], Artifact] = {}
    for kind in KINDS:
        for name in store.names(f"{kind}/"):
            one = find(store, kind, name)
            if one is not None:
                found[kind, name] = one
    return found


def compared(a: Store, b: Store) -> dict[str, Any]:
    """How far two stores that the same chain filled are the same. Shards are the same work, cut differently."""
    first, second = artifacts(a), artifacts(b)
    ids = {key for key in first if key[0] != "shard"}, {key for key in second if key[0] != "shard"}
    both = sorted(ids[0] & ids[1])
    files = [(key, name) for key in both for name in first[key].manifest.files]
    equal = [pair for pair in files if _same(first[pair[0]], second[pair[0]], pair[1])]
    release = [Journal(store).routing.champion for store in (a, b)]
    embedded = [load_exactly(store, "embeddings", _only(found, "embeddings")) for store, found in ((a, first), (b, second))]
    return {
        "artifacts": len(ids[0]),
        "artifacts_of_one_side": len(ids[0] ^ ids[1]),
        "files": len(files),
        "files_equal": len(equal),
        "files_differ": ", ".join(sorted({name for key, name in files if (key, name) not in equal})),
        "vectors_max_abs_difference": _largest(*map(vectors, embedded)),
        "top10_equal_ratio": _top10(first, second, a, b),
        "verdict_equal": int(_verdicts(first) == _verdicts(second)),
        "champion_equal": int(release[0] == release[1] and release[0] is not None),
        "shards_process": sum(kind == "shard" for kind, _ in first),
        "shards_cluster": sum(kind == "shard" for kind, _ in second),
    }


def _same(one: Artifact, other: Artifact, name: str) -> bool:
    return one.manifest.files[name].sha256 == other.manifest.files[name].sha256


def _only(found: dict[tuple[str, str], Artifact], kind: str) -> str:
    (name,) = [name for one, name in found if one == kind]
    return name


def _largest(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def _verdicts(found: dict[tuple[str, str], Artifact]) -> list[Any]:
    return [one.facts["sentence"] for (kind, _), one in sorted(found.items(), key=lambda pair: pair[0]) if kind == "verdict"]


def _top10(first: dict[Any, Artifact], second: dict[Any, Artifact], a: Store, b: Store) -> float:
    """Of how many queries both indexes give the same ten documents, where scores that differ by 1e-5 or less are ties."""
    corpus, encoder = first["corpus", _only(first, "corpus")], first["encoder", _only(first, "encoder")]
    texts = [query.text for query in queries(corpus)]
    asked = load_encoder(encoder, "onnx-fp32").encode(texts, "query")
    ranked = [
        load_index(load_exactly(store, "index", _only(found, "index"))).search(asked, 20)
        for store, found in ((a, first), (b, second))
    ]
    return sum(_tied(one, other) for one, other in zip(*ranked, strict=True)) / len(texts)


def _tied(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    """Whether each document of the one's ten is among the other's, or scores as much as the other's tenth."""
    last = other[min(9, len(other) - 1)][1]
    scores = dict(other)
    return all(scores.get(document, -1.0) >= last - TIES for document, _ in one[:10])


def main() -> int:
    """Run both chains and compare what they left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with cluster() as found:
            figures = _both(found)
    except NoCluster as reason:
        print(f"error: given {reason}; expected a cluster; next: set KUBECONFIG", file=sys.stderr)
        return 2
    write_figures("proof/parity", figures, seed=SEED, runs=1, goals=GOALS)
    return 0


def _both(found: Cluster) -> dict[str, Any]:
    """The chain as processes, then as pods with the same encoder; both stores stay until they are compared."""
    with platform(found, runtime="process", **SHARED) as one:
        seconds = {"process_s": round(chain(one, _source(one)))}
        encoder = load_exactly(one.store, "encoder", one.encoder)
        with platform(found, encoder, **SHARED) as other:
            seconds["cluster_s"] = round(chain(other, _source(other)))
            return {**compared(one.store, other.store), **seconds}


def _source(p: Platform) -> str:
    """The address of the collection in the platform's own S3, where a pod can read it; empty: icons."""
    if not CHORUS.is_dir():
        return ""
    bucket = p.store.uri.removesuffix("/store")
    store = Store(bucket, p.store.endpoint)
    for path in sorted(one for one in CHORUS.rglob("*") if one.is_file()):
        obstore.put(store.backend, f"electronics/{path.relative_to(CHORUS)}", path)
    return f"{bucket}/electronics"


if __name__ == "__main__":
    sys.exit(main())
