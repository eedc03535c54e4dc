"""A quantized reranker of MiniLM's size: its speed beside sentence-transformers, its fidelity, and what the server adds.

The reranker is trained on the icons' train queries, one epoch over the ranking of the encoder alone, so that what its variants
must agree on is an order that was learnt. Latencies are of pairs of 64 tokens: each document's text is repeated until it is cut
there. Most of the time goes by `--queries`: every variant scores 50 candidates of each. With RATCHET_HOME set, what is there
already is found.
"""

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.evaluation.variant_rule import REFERENCE
from pipelines.models.reranker import Reranker, files_within, load_reranker, read_trained
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import load, load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call, embedded_release
from tests.corpora import write_corpus
from tests.figures import write_figures
from tests.images.serve.server import running_server

SEED, PAIRS, RUNS = 0, 50, 15
SEARCHES, WARM = 40, 5
LONG = 400
"""Documents of 64 tokens, for latencies."""
GOALS = {
    "queries": "≥ 2000",
    "fidelity_low": "≥ 0.995",
    "retention_ndcg10": "≥ 0.99",
    "rerank_p95_ratio": "≤ 1.2",
}
Figures = dict[str, Any]


def release_of_long_texts(corpus: str, encoder: str, report: str) -> str:
    """A release of some icons whose texts are 64 tokens with any query, and reranked."""
    rows = list(documents(load_exactly(open_store(), "corpus", corpus)))[:LONG]
    long = [row.model_copy(update={"text": " ".join([row.text] * 60), "picture": ""}) for row in rows]
    index = embedded_release(Path(), write_corpus(long), encoder).index
    return str(call("assemble", index=index, reranker=report).release)


def median_s(function: Callable[[], Any], times: int) -> float:
    function()
    return float(np.median([timed(function) for _ in range(times)]))


def timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def beside_the_library(loaded: Reranker, model: Path, pairs: list[tuple[str, str]]) -> Figures:
    """The chosen variant and CrossEncoder.predict in fp32, at its best threads and batch, on the same pairs in turns."""
    import torch
    from sentence_transformers import CrossEncoder

    library = CrossEncoder(str(model), device="cpu", max_length=64, local_files_only=True)
    cores = os.cpu_count() or 1
    tried: dict[tuple[int, int], float] = {}
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        for batch in (16, 32, 64):
            tried[threads, batch] = median_s(
                lambda batch=batch: library.predict(pairs, batch_size=batch, show_progress_bar=False), 3
            )
    threads, batch = min(tried, key=lambda key: tried[key])
    torch.set_num_threads(threads)
    ours, theirs = [], []
    for _ in range(RUNS):
        theirs.append(timed(lambda: library.predict(pairs, batch_size=batch, show_progress_bar=False)))
        ours.append(timed(lambda: loaded.score(loaded.tokens_of_pairs(pairs))))
    return {
        "speedup_vs_torch_fp32": float(np.median(np.array(theirs) / np.array(ours))),
        "torch_fp32_ms": 1000 * float(np.median(theirs)),
        "torch_threads": threads,
        "torch_batch": batch,
        "chosen_ms": 1000 * float(np.median(ours)),
    }


@functools.cache
def loaded_alone(variants: str, variant: str) -> Reranker:
    return load_reranker(load(open_store(), "reranker_variants", variants), variant)


def bare_call_s(variants: str, variant: str, pairs: list[tuple[str, str]]) -> float:
    """The seconds of the model's bare call in this process, in which nothing else was computed before."""
    loaded = loaded_alone(variants, variant)
    return timed(lambda: loaded.score(loaded.tokens_of_pairs(pairs)))


def beside_the_bare_call(home: Path, release: str, variants: str, variant: str, pairs: list[tuple[str, str]]) -> Figures:
    """p95 of searches with all candidates reranked over p95 of the model's bare call on as many pairs, in turns.

    The bare call has a process of its own, as the server has: in this one, threads of the library that was measured before wait
    for work, and would slow it.
    """
    journal = Journal(open_store())
    if journal.routing.champion != release:
        journal.append("deploy", release, "bench", Routing(champion=release))
    searches, calls = [], []
    with (
        running_server(
            home, RATCHET_RERANK_MS="0", RATCHET_LIMIT_KEY="10000/second", RATCHET_LIMIT_ADDRESS="10000/second"
        ) as server,
        ProcessPoolExecutor(1, get_context("spawn")) as alone,
    ):
        server.wait(lambda status: status["ready"], 120)
        for _ in range(WARM + SEARCHES):
            searches.append(timed(lambda: server.search(pairs[0][0], k=10).raise_for_status()))
            calls.append(alone.submit(bare_call_s, variants, variant, pairs).result())
        searches, calls = searches[WARM:], calls[WARM:]
        scored = server.search(pairs[0][0], k=10).json()["reranked"]["scored"]
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
    return {
        "rerank_p95_ratio": float(np.quantile(searches, 0.95) / np.quantile(calls, 0.95)),
        "rerank_p50_ratio": float(np.median(searches) / np.median(calls)),
        "search_p95_ms": 1000 * float(np.quantile(searches, 0.95)),
        "server_scored": scored,
        "server_rss_mb": int(resident) / 1000,
    }


def figures(home: Path, base: str, queries: int) -> Figures:
    corpus, encoder = call("ingest").corpus, call("export_encoder").encoder
    ranked = embedded_release(home, corpus, encoder)
    trained = call("train_reranker", base=base, release=ranked.release, epochs=1, threads=1, seed=SEED)
    made = call("quantize_reranker", reranker=trained.reranker, index=ranked.index)
    choice = {"reranker_variants": made.reranker_variants, "index": ranked.index, "queries": queries}
    chosen = call("choose_reranker", **choice, latency_s=8)
    report = load(open_store(), "report", chosen.report)
    loaded = load_reranker(load(open_store(), "reranker_variants", made.reranker_variants), chosen.variant)
    release = release_of_long_texts(corpus, encoder, chosen.report)
    texts = [row.text for row in list(documents(load_exactly(open_store(), "corpus", corpus)))[:PAIRS]]
    pairs = [("person walking", " ".join([text] * 60)) for text in texts]
    reranker = load(open_store(), "reranker", trained.reranker)
    with tempfile.TemporaryDirectory() as scratch:
        speed = beside_the_library(loaded, files_within(reranker, Path(scratch)), pairs)
    table = {row["variant"]: row for row in report.facts["table"]}
    return {
        "chosen": chosen.variant,
        "base": base,
        "reranker_weight": read_trained(reranker).fusion.reranker_weight,
        "dev_gain": [round(value, 4) for value in (trained.gain, trained.low, trained.high)],
        **speed,
        "fidelity": chosen.fidelity,
        "fidelity_low": chosen.fidelity_low,
        "retention_ndcg10": chosen.retention,
        "retention_low": chosen.low,
        "queries": chosen.queries,
        "accuracy_control": made.accuracy_control,
        **beside_the_bare_call(home, release, made.reranker_variants, chosen.variant, pairs),
        **{
            f"p{part}_{row['pairs']}_pairs_ms": row[f"p{part}"]
            for row in report.facts["percentiles_ms"]
            for part in (50, 95, 99)
        },
        **{f"{name}_50_pairs_ms": value for name, value in report.facts["latency_ms"].items()},
        **{f"{name}_fidelity_low": row["fidelity_low"] for name, row in table.items() if row["docs_per_s"]},
        "speedup_over_onnx_fp32": table[chosen.variant]["docs_per_s"] / table[REFERENCE]["docs_per_s"],
        "load_average": round(os.getloadavg()[0], 1),
        "refused": "; ".join(f"{name}: {row['reason']}" for name, row in table.items() if row["reason"] not in ("", "slower")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.reranker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default=MINILM, help="model to train from (%(default)s)")
    parser.add_argument("--queries", type=int, default=2000, help="train queries and titles, for the fidelity (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as scratch:
        home = Path(os.environ.setdefault("RATCHET_HOME", str(Path(scratch) / "home")))
        os.environ["PYTHONPATH"] = str(PROJECT)
        write_figures("bench/reranker", figures(home, options.base, options.queries), seed=SEED, runs=RUNS, goals=GOALS)


if __name__ == "__main__":
    main()
