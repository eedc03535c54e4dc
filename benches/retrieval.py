"""What an index costs beside bare FAISS, what it finds, and how many queries a second are scored in batches.

The vectors are real ones of the icons' labels, mixed two by two and blurred by a seed up to the size asked for: 100,000 texts
that nobody wrote would take this encoder half an hour. The queries are the icons' real terms.
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
    """A release of the icons in a home of its own, which the environment names from now on."""
    os.environ["RATCHET_HOME"] = str(home)
    return embedded_release(home, call("ingest").corpus, call("export_encoder").encoder)


def mixed(trained: Trained, documents: int) -> str:
    """Embeddings of made-up documents between the icons, with the icons' queries; their id."""
    store, draw = open_store(), np.random.default_rng(SEED)
    real = np.asarray(embeddings.vectors(load_exactly(store, "embeddings", trained.embeddings)))
    pairs, share = draw.integers(len(real), size=(2, documents)), draw.random((documents, 1), np.float32)
    vectors = share * real[pairs[0]] + (1 - share) * real[pairs[1]]
    vectors += BLUR * draw.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = [Document(id=f"d{number:07}", text=f"document {number}") for number in range(documents)]
    corpus = write_corpus(given, queries(load_exactly(store, "corpus", trained.corpus)))

    def files(folder: Path) -> dict[str, int]:
        np.save(folder / "vectors.npy", vectors)
        write_rows(folder / "rows.jsonl", [EmbeddedRow(id=one.id, content=one.content) for one in given])
        return {"documents": documents, "dimensions": vectors.shape[1]}

    recipe = embeddings.recipe_of(corpus, trained.encoder, "onnx-fp32", 1)
    return produce(store, recipe, files).id


def index_figures(documents: int = DOCUMENTS) -> dict[str, Any]:
    """The step `index` over a bare build of the algorithm that it chose: same vectors, one after the other."""
    import faiss

    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        embedded = mixed(icons(Path(folder) / "home"), documents)
        chosen = load_exactly(open_store(), "index", call("index", embeddings=embedded, flat_below=0).index).facts
        algorithm = chosen["algorithm"]
        started, used = time.perf_counter(), time.process_time()
        call("index", embeddings=embedded, flat_below=0, algorithm=algorithm)
        ours, our_cpu = time.perf_counter() - started, time.process_time() - used
        vectors = np.array(embeddings.vectors(load_exactly(open_store(), "embeddings", embedded)))
        started, used = time.perf_counter(), time.process_time()
        bare = build(algorithm, vectors)[0]
        set_effort(bare, chosen["effort"])
        faiss.write_index(bare, str(Path(folder) / "bare.faiss"))
        theirs, their_cpu = time.perf_counter() - started, time.process_time() - used
    return {
        "index_documents": documents,
        "index_algorithm": algorithm,
        "index_effort": chosen["effort"],
        "index_build_s": ours,
        "index_build_ratio": ours / theirs,
        "index_build_cpu_ratio": our_cpu / their_cpu,
        "index_latency_ratio": chosen["table"][0]["latency_ratio"],
        "recall_at_10": chosen["recall_at_10"],
        **{f"recall_at_10_{one['algorithm']}": one["recall_at_10"] for one in chosen["table"]},
        **{f"latency_ratio_{one['algorithm']}": one["latency_ratio"] for one in chosen["table"]},
        **{f"index_mb_{one['algorithm']}": one["bytes"] / 1e6 for one in chosen["table"]},
    }


def batch_figures(count: int = QUERIES) -> dict[str, Any]:
    """Queries a second through plan, one shard after the other and commit, in one process, with the real encoder."""
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        trained = icons(Path(folder) / "home")
        words = [query.text for query in queries(load_exactly(open_store(), "corpus", trained.corpus))]
        source = Path(folder) / "queries.jsonl"
        draw = random.Random(SEED)
        with source.open("w", encoding="utf-8") as file:
            for number in range(count):
                file.write(json.dumps({"id": f"q{number}", "query": " ".join(draw.sample(words, 2))}) + "\n")
        moments = [time.perf_counter()]
        planned = call("plan_scores", source=str(source), release=trained.release)
        moments.append(time.perf_counter())
        parts = {"queries": planned.queries, "release": planned.release}
        shards = [call("score_shard", **parts, shard=shard).shard for shard in planned.shards]
        moments.append(time.perf_counter())
        scores = call("commit_scores", **parts, shards=shards)
        moments.append(time.perf_counter())
        found = load_exactly(open_store(), "scores", scores.scores).manifest.files.values()
        size = sum(file.bytes for file in found)
    plan_s, score_s, commit_s = (later - earlier for earlier, later in itertools.pairwise(moments))
    return {
        "batch_queries": count,
        "batch_queries_per_s": count / (moments[-1] - moments[0]),
        "batch_plan_s": plan_s,
        "batch_score_s": score_s,
        "batch_commit_s": commit_s,
        "batch_mb": size / 1e6,
    }
