"""`make bench-serve`: what the server adds to its release, and what it answers beside a plain one.

Writes build/bench/serving.json.

- One client: searches in turns with the bare calls of the release's encoder and FAISS, one thread each. The same of a release
  that reranks 20 candidates by a model of MiniLM's size, whose weights are random: they decide the order, not the time. And
  what the server takes without ranking: of searches whose rankings are in its cache, and of paths that it does not have.
- 64 clients by wrk, each query another, no cache: the server, by the fastest variant of the encoder here and by fp32, and
  `benches/plain_server.py`, which is FastAPI and sentence-transformers on the same model and documents.
- Swaps and rollbacks without load, a start from a process's begin to its readiness, memory, and that of a million documents:
  random unit vectors in an exact index, texts of about 500 characters.

`OPTIONS='--searches 100 --seconds 3 --swaps 2 --documents 20000'` is a short run.
"""

import argparse
import heapq
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from benches.spine import ratio, searched, timed
from pipelines.corpus.documents import Document, documents, queries
from pipelines.embeddings import layout
from pipelines.embeddings.layout import EmbeddedRow
from pipelines.models.encoder import PROBES, load_encoder
from pipelines.retrieval.release import Release, load_release
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import PROJECT, call, embedded_release
from tests.figures import write_figures
from tests.images.serve.conftest import route
from tests.images.serve.server import RunningServer, running_server
from tests.rerankers import tiny_reranker
from tests.sharing import free_ports

SEED, WARM = 23, 20
CLIENTS = 64
FP32 = "onnx-fp32"
LONG = 500
"""Characters of a text of the million documents, about: from half to one and a half times as many."""
SIZE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
"""MiniLM's."""
GOALS = {
    "p50_ratio": "≤ 1.15", "p99_ratio": "≤ 1.5", "throughput_ratio": "≥ 8", "throughput_p99_ms": "≤ 250",
    "throughput_not_200": "≤ 0", "swap_s": "≤ 1", "rollback_s": "≤ 1", "rss_1m_over_index_mb": "≤ 1000",
}  # fmt: skip
WRK = """
local threads = 0
function setup(thread) thread:set("first", threads); threads = threads + 1 end
function init(arguments)
  queries = {}
  for line in io.lines(arguments[1]) do queries[#queries + 1] = line end
  wrk.headers["Authorization"] = "Bearer " .. arguments[2]
  number = first
end
function request()
  number = number + 2
  return wrk.format("GET", "/v1/search?k=10&q=" .. queries[number % #queries + 1])
end
function done(summary, latency, requests)
  io.write(string.format('{"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "not_200": %d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""
"""Two threads, which take every other query."""
Figures = dict[str, Any]


def latencies(home: Path, release_id: str, texts: list[str]) -> tuple[float, float, float, float]:
    """p50 and p99 of the server's latency over that of the bare encode and FAISS calls, in turns; the p50s of both in ms."""
    from images.serve.__main__ import THREADS_PER_SEARCH

    route(release_id)
    release = load_release(open_store(), release_id, THREADS_PER_SEARCH)
    bare, served = [], []
    with running_server(home, RATCHET_RERANK_MS="0") as server:
        server.wait(lambda status: status["ready"], 120)
        connection = HTTPConnection(urlsplit(server.url).netloc)
        for text in texts[:WARM] + texts:
            bare.append(timed(lambda text=text: nearest(release, text)))
            served.append(timed(lambda text=text: searched(connection, server.key, text)))
    bare, served = bare[WARM:], served[WARM:]
    return ratio(served, bare, 50), ratio(served, bare, 99), 1000 * statistics.median(served), 1000 * statistics.median(bare)


def without_ranking(home: Path, release_id: str, texts: list[str]) -> Figures:
    """What the server itself takes: p50 in ms of searches whose rankings are in its cache, and of unknown paths."""
    route(release_id)
    with running_server(home, RATCHET_CACHE=str(len(texts))) as server:
        server.wait(lambda status: status["ready"], 120)
        connection = HTTPConnection(urlsplit(server.url).netloc)

        def refused() -> None:
            connection.request("GET", "/nothing", headers={"Authorization": f"Bearer {server.key}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 404, answer.status

        for text in texts:
            searched(connection, server.key, text)
        cached = [timed(lambda text=text: searched(connection, server.key, text)) for text in texts]
        unknown = [timed(refused) for _ in texts]
    return {"cached_p50_ms": 1000 * statistics.median(cached), "refused_p50_ms": 1000 * statistics.median(unknown)}


def nearest(release: Release, text: str) -> Any:
    return release.index.faiss_index.search(release.encoder.encode([text], "query"), 10)


def under_load(url: str, key: str, asked: Path, seconds: int) -> Figures:
    """What 64 clients get within so many seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK)
        script.flush()
        command = [
            "wrk",
            "-t2",
            f"-c{CLIENTS}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "-s",
            script.name,
            url,
            "--",
            str(asked),
            key,
        ]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seen = json.loads(printed.splitlines()[-1])
    return {**seen, "per_s": seen["requests"] / (seen["us"] / 1e6)}


def throughput(home: Path, releases: dict[str, str], rows: list[Document], words: list[str], seconds: int) -> Figures:
    """Requests a second of the server by each variant, over those of the plain one, which is measured between them."""
    draw, seen = random.Random(SEED), {}
    with tempfile.TemporaryDirectory() as folder:
        asked, texts = Path(folder) / "queries", Path(folder) / "documents.jsonl"
        drawn = {"%20".join(draw.sample(words, 2)) for _ in range(seconds * 4000)}
        asked.write_text("\n".join(sorted(drawn, key=lambda _: draw.random())))
        texts.write_text("".join(json.dumps({"id": row.id, "text": row.text}) + "\n" for row in rows))
        for variant in [*releases, "plain"]:
            if variant == "plain":
                with plain_server(texts) as url:
                    seen[variant] = under_load(url, "none", asked, seconds)
            else:
                route(releases[variant])
                with running_server(home) as server:
                    server.wait(lambda status: status["ready"])
                    seen[variant] = under_load(server.url, server.key, asked, seconds)
    fastest = next(iter(releases))
    return {
        "throughput_ratio": seen[fastest]["per_s"] / seen["plain"]["per_s"],
        "throughput_variant": fastest,
        "throughput_ratio_fp32": seen[FP32]["per_s"] / seen["plain"]["per_s"],
        "throughput_per_s": seen[fastest]["per_s"],
        "throughput_fp32_per_s": seen[FP32]["per_s"],
        "plain_per_s": seen["plain"]["per_s"],
        "throughput_p50_ms": seen[fastest]["p50_us"] / 1000,
        "throughput_p99_ms": seen[fastest]["p99_us"] / 1000,
        "throughput_fp32_p99_ms": seen[FP32]["p99_us"] / 1000,
        "plain_p99_ms": seen["plain"]["p99_us"] / 1000,
        "throughput_not_200": sum(figures["not_200"] for figures in seen.values()),
    }


@contextmanager
def plain_server(texts: Path) -> Iterator[str]:
    """The server that is compared with, until the block ends."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "benches.plain_server", str(texts), str(port)]
    process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 300
    try:
        while True:
            try:
                httpx.get(f"{url}/v1/search?q=moon", timeout=30).raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, "the plain server ended"
                assert time.monotonic() < until, "the plain server does not answer"
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def swaps(home: Path, first: str, second: str, times: int) -> Figures:
    """The longest seconds from an entry until the server serves by it, and from a process's begin to its readiness."""
    took, back = [], []
    route(first)
    began = time.monotonic()
    with running_server(home, RATCHET_POLL_S="0.5") as server:
        server.wait(lambda status: status["ready"])
        cold = time.monotonic() - began
        for _ in range(times):
            route(first, second, "promote")
            server.wait(lambda status: second in status["warm"])
            took.append(followed(server, route(second)))
            back.append(followed(server, route(first, action="rollback")))
        for _ in range(WARM):
            server.search("moon")
        resident = rss_mb(server)
    return {"swaps": times, "swap_s": max(took), "rollback_s": max(back), "cold_start_s": cold, "rss_mb": resident}


def followed(server: RunningServer, entry: int) -> float:
    began = time.monotonic()
    server.wait(lambda status: status["ready"] and status["entry"] == entry)
    return time.monotonic() - began


def rss_mb(server: RunningServer) -> float:
    """The server's memory in megabytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6


def million(home: Path, encoder: str, words: list[str], count: int) -> Figures:
    """The memory of a server of so many documents, and that of their index alone."""
    release, index = synthetic(encoder, words, count)
    index_mb = load_exactly(open_store(), "index", index).manifest.files["index.faiss"].bytes / 1e6
    route(release)
    with running_server(home) as server:
        server.wait(lambda status: status["ready"], 900)
        for word in words[:WARM]:
            server.search(word).raise_for_status()
        resident = rss_mb(server)
    return {
        "rss_1m_mb": resident, "index_1m_mb": index_mb, "rss_1m_over_index_mb": resident - index_mb, "documents_1m": count,
    }  # fmt: skip


def synthetic(encoder: str, words: list[str], count: int) -> tuple[str, str]:
    """The ids of a release of random texts with random unit vectors, and of its index; only what a server checks is encoded."""
    store, draw = open_store(), random.Random(SEED)
    probes: list[tuple[str, int, str]] = []

    def corpus_files(folder: Path) -> Figures:
        with (folder / "documents.jsonl").open("w", encoding="utf-8") as file, (folder / "rows.jsonl").open("w") as rows:
            for number in range(count):
                text = " ".join(draw.choices(words, k=draw.randint(LONG // 20, 3 * LONG // 20)))
                row = Document(id=f"d{number:07}", text=text)
                file.write(row.model_dump_json(exclude_defaults=True) + "\n")
                rows.write(EmbeddedRow(id=row.id, content=row.content).model_dump_json() + "\n")
                heapq.heappush(probes, (row.content, number, text))
                if len(probes) > 2 * PROBES:
                    probes[:] = heapq.nsmallest(PROBES, probes)
        for name in ("queries.jsonl", "qrels.txt"):
            (folder / name).write_text("")
        return {"documents": count, "queries": 0, "judgments": 0}

    corpus = produce(
        store, Recipe(kind="corpus", step="ingest", version=1, inputs={}, params={"synthetic": count}), corpus_files
    )

    def vector_files(folder: Path) -> Figures:
        loaded, normal = load_encoder(load_exactly(store, "encoder", encoder), FP32, 1), np.random.default_rng(SEED)
        shape = (count, loaded.card.dimensions)
        vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, shape)
        for start in range(0, count, layout.CHUNK):
            part = normal.standard_normal((min(layout.CHUNK, count - start), shape[1]), np.float32)
            vectors[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        vectors[[number for _, number, _ in probes]] = loaded.encode([text for *_, text in probes], "document")
        vectors.flush()
        shutil.copy(corpus.path("rows.jsonl"), folder / "rows.jsonl")
        return {"documents": count, "dimensions": shape[1]}

    embedded = produce(store, layout.recipe_of(corpus.id, encoder, FP32, 1), vector_files)
    index = call("index", embeddings=embedded.id, algorithm="flat").index
    return call("assemble", index=index).release, index


def figures(home: Path, options: argparse.Namespace) -> Figures:
    corpus = call("ingest").corpus
    exported = call("export_encoder", variants=["native"])
    encoder = exported.encoder
    dense = embedded_release(home, corpus, encoder)
    fast = [variant for variant in exported.variants if variant.startswith("openvino")]
    releases = {name: call("assemble", index=dense.index, query_variant=name).release for name in fast} | {FP32: dense.release}
    made = call(
        "quantize_reranker", reranker=tiny_reranker(size=SIZE), index=dense.index, queries=10, fidelity=0.1, variants=[FP32]
    )
    chosen = {"reranker_variants": made.reranker_variants, "index": dense.index, "take": FP32}
    report = call("choose_reranker", queries=10, latency_s=0, threads=1, **chosen).report
    reranked = call("assemble", index=dense.index, reranker=report).release
    stored = load_exactly(open_store(), "corpus", corpus)
    rows, words = (
        list(documents(stored)),
        sorted({word for row in documents(stored) for word in row.text.split() if word.isalpha()}),
    )
    texts = [query.text for query in queries(stored, "test")][: options.searches]

    def alone() -> Figures:
        p50, p99, dense_ms, bare_ms = latencies(home, dense.release, texts)
        rerank_p50, rerank_p99, rerank_ms, _ = latencies(home, reranked, texts[: max(100, options.searches // 4)])
        return {
            "p50_ratio": p50, "p99_ratio": p99, "search_p50_ms": dense_ms, "bare_p50_ms": bare_ms,
            "reranked_p50_ratio": rerank_p50, "reranked_p99_ratio": rerank_p99, "reranked_p50_ms": rerank_ms,
            **without_ranking(home, dense.release, texts),
        }  # fmt: skip

    parts: list[Callable[[], Figures]] = [alone]
    parts += [lambda: throughput(home, releases, rows, words, options.seconds)] if options.seconds else []
    parts += [lambda: swaps(home, dense.release, reranked, options.swaps)]
    parts += [lambda: million(home, encoder, words, options.documents)] if options.documents else []
    measured: Figures = {}
    for part in parts:
        began = time.monotonic()
        measured |= (made := part())
        print(f"{time.monotonic() - began:.0f} s: {made}", file=sys.stderr, flush=True)
    return measured | {"load_average": round(os.getloadavg()[0], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.serving", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--searches", type=int, default=1000, help="searches of one client (%(default)s)")
    parser.add_argument("--seconds", type=int, default=20, help="of 64 clients at each server; 0: none (%(default)s)")
    parser.add_argument("--swaps", type=int, default=10, help="swaps and rollbacks (%(default)s)")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the large release; 0: none (%(default)s)")
    options = parser.parse_args()
    if options.seconds and not shutil.which("wrk"):
        sys.exit("given no wrk; expected Debian's package; next: run `apt-get install wrk`, or pass --seconds 0")
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as scratch:
        home = Path(os.environ.setdefault("RATCHET_HOME", str(Path(scratch) / "home")))
        os.environ["PYTHONPATH"] = str(PROJECT)
        measured = figures(home, options)
    goals = {name: goal for name, goal in GOALS.items() if name in measured}
    write_figures("bench/serving", measured, seed=SEED, runs=options.searches, goals=goals)


if __name__ == "__main__":
    main()
