"""The cost of an index beside bare FAISS, its recall, and the throughput of batch scoring.

The vectors are random mixtures of pairs of the icons' vectors with noise, because encoding 100,000 texts would take half an
hour. The queries are the icons' real terms.
"""

import itertools
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.documents import Document, queries, write_rows
from pipelines.embeddings import layout as embeddings
from pipelines.embeddings.layout import EmbeddedRow
from pipelines.index.algorithms import build, set_effort
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.objects import open_store
from tests.conftest import Trained, call, embedded_release
from tests.corpora import write_corpus

SEED = 0
DOCUMENTS = 100_000
QUERIES = 100_000
BLUR = 0.02
GOALS = {"index_build_ratio": "≤ 1.1", "recall_at_10": "≥ 0.99"}


def icons(home: Path) -> Trained:
    """A release of the icons in the store of `home`, which the environment names from now on."""
    os.environ["RATCHET_HOME"] = str(home)
    return embedded_release(home, call("ingest").corpus, call("export_encoder").encoder)


def mixed(trained: Trained, documents: int) -> str:
    """The id of embeddings of synthetic documents between the icons, whose corpus has the icons' queries."""
    store, draw = open_store(), np.random.default_rng(SEED)
    real = np.asarray(embeddings.vectors(load_exactly(store, "embeddings", trained.embeddings)))
    pairs, share = draw.integers(len(real), size=(2, documents)), draw.random((documents, 1), np.float32)
    vectors = share * real[pairs[0]] + (1 - share) * real[pairs[1]]
    vectors += BLUR * draw.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    synthetic = [Document(id=f"d{number:07}", text=f"document {number}") for number in range(documents)]
    corpus = write_corpus(synthetic, queries(load_exactly(store, "corpus", trained.corpus)))

    def files(folder: Path) -> dict[str, int]:
        np.save(folder / "vectors.npy", vectors)
        write_rows(folder / "rows.jsonl", [EmbeddedRow(id=each.id, content=each.content) for each in synthetic])
        return {"documents": documents, "dimensions": vectors.shape[1]}

    recipe = embeddings.recipe_of(corpus, trained.encoder, "onnx-fp32", 1)
    return produce(store, recipe, files).id


def index_figures(documents: int = DOCUMENTS) -> dict[str, Any]:
    """The step `index` beside a bare FAISS build of the algorithm that it selects, on the same vectors, one after the other."""
    import faiss

    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        embedded = mixed(icons(Path(folder) / "home"), documents)
        selected = load_exactly(open_store(), "index", call("index", embeddings=embedded, flat_below=0).index).facts
        algorithm = selected["algorithm"]
        started, used = time.perf_counter(), time.process_time()
        call("index", embeddings=embedded, flat_below=0, algorithm=algorithm)
        step_s, step_cpu_s = time.perf_counter() - started, time.process_time() - used
        vectors = np.array(embeddings.vectors(load_exactly(open_store(), "embeddings", embedded)))
        started, used = time.perf_counter(), time.process_time()
        bare = build(algorithm, vectors)[0]
        set_effort(bare, selected["effort"])
        faiss.write_index(bare, str(Path(folder) / "bare.faiss"))
        bare_s, bare_cpu_s = time.perf_counter() - started, time.process_time() - used
    table = selected["table"]
    return {
        "index_documents": documents,
        "index_algorithm": algorithm,
        "index_effort": selected["effort"],
        "index_build_s": step_s,
        "index_build_ratio": step_s / bare_s,
        "index_build_cpu_ratio": step_cpu_s / bare_cpu_s,
        "index_latency_ratio": table[0]["latency_ratio"],
        "recall_at_10": selected["recall_at_10"],
        **{f"recall_at_10_{row['algorithm']}": row["recall_at_10"] for row in table},
        **{f"latency_ratio_{row['algorithm']}": row["latency_ratio"] for row in table},
        **{f"index_mb_{row['algorithm']}": row["bytes"] / 1e6 for row in table},
    }


def batch_figures(count: int = QUERIES) -> dict[str, Any]:
    """Queries per second through plan_scores, score_shard for each shard and commit_scores, in one process, with MiniLM."""
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        trained = icons(Path(folder) / "home")
        terms = [query.text for query in queries(load_exactly(open_store(), "corpus", trained.corpus))]
        source = Path(folder) / "queries.jsonl"
        draw = random.Random(SEED)
        with source.open("w", encoding="utf-8") as file:
            for number in range(count):
                file.write(json.dumps({"id": f"q{number}", "query": " ".join(draw.sample(terms, 2))}) + "\n")
        times = [time.perf_counter()]
        planned = call("plan_scores", source=str(source), release=trained.release)
        times.append(time.perf_counter())
        parts = {"queries": planned.queries, "release": planned.release}
        shards = [call("score_shard", **parts, shard=shard).shard for shard in planned.shards]
        times.append(time.perf_counter())
        scores = call("commit_scores", **parts, shards=shards)
        times.append(time.perf_counter())
        size = sum(entry.bytes for entry in load_exactly(open_store(), "scores", scores.scores).manifest.files.values())
    plan_s, score_s, commit_s = (later - earlier for earlier, later in itertools.pairwise(times))
    return {
        "batch_queries": count,
        "batch_queries_per_s": count / (times[-1] - times[0]),
        "batch_plan_s": plan_s,
        "batch_score_s": score_s,
        "batch_commit_s": commit_s,
        "batch_mb": size / 1e6,
    }
