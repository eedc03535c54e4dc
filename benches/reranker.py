"""A quantized reranker of MiniLM's size: its speed beside sentence-transformers, its fidelity, and what the server adds.

`python -m benches.reranker [FOLDER]`: FOLDER holds a reranker as `train_reranker` writes it (`model/`, `reranker.json`).
Without one the model is MiniLM with a random head: its speed is a trained one's, its order means nothing. Queries and documents
are the icons' real ones. Latencies are of pairs of 64 tokens: each document's text is repeated until it is cut there.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.evaluation.variant_rule import REFERENCE
from pipelines.models.reranker import Reranker, files_within, load_reranker
from pipelines.models.sources import MINILM, model_folder
from pipelines.store.artifacts import load, load_exactly, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file
from tests.conftest import PROJECT, call, embedded_release
from tests.corpora import write_corpus
from tests.figures import write_figures
from tests.images.serve.server import running_server

SEED, PAIRS, QUERIES, RUNS = 0, 50, 60, 15
SEARCHES = 40
LONG = 400
"""Documents of 64 tokens, for latencies."""
GOALS = {"fidelity_low": "≥ 0.995", "retention_ndcg10": "≥ 0.99", "rerank_p95_ratio": "≤ 1.2", "serve_mb": "≤ 500"}
CARD = {
    "base": MINILM, "licence": "apache-2.0", "max_length": 64, "document_text": "text", "candidates": PAIRS, "scores": [],
    "fusion": {"first_stage_weight": 0.5, "reranker_weight": 0.5, "scale": 20.0}, "seed": SEED,
}  # fmt: skip
Figures = dict[str, Any]


def reranker(folder: Path | None) -> str:
    """The id of the trained reranker in `folder`; without one, of MiniLM with a random head."""
    base = model_folder(MINILM) if folder is None else folder / "model"
    weights = digest_file(base / "model.safetensors")
    recipe = Recipe(
        kind="reranker", step="bench", version=1, inputs={"weights": weights}, params={"trained": folder is not None}
    )

    def build(target: Path) -> Figures:
        if folder is not None:
            shutil.copytree(folder, target, dirs_exist_ok=True)
            return {}
        import torch
        from transformers import AutoModelForSequenceClassification

        torch.manual_seed(SEED)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        model.classifier.weight.data *= 20  # else all scores are nearly one
        model.save_pretrained(target / "model")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if (base / name).is_file():
                shutil.copy(base / name, target / "model")
        (target / "reranker.json").write_text(json.dumps(CARD))
        return {}

    return produce(open_store(), recipe, build).id


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


def beside_the_bare_call(home: Path, release: str, loaded: Reranker, pairs: list[tuple[str, str]]) -> Figures:
    """p95 of searches with all candidates reranked over p95 of the model's bare call on as many pairs, in turns."""
    entry = Routing(champion=release)
    Journal(open_store()).append("deploy", release, "bench", entry)
    searches, calls = [], []
    with running_server(
        home, RATCHET_RERANK_MS="0", RATCHET_LIMIT_KEY="10000/second", RATCHET_LIMIT_ADDRESS="10000/second"
    ) as server:
        server.wait(lambda status: status["ready"], 120)
        for _ in range(SEARCHES):
            searches.append(timed(lambda: server.search(pairs[0][0], k=10).raise_for_status()))
            calls.append(timed(lambda: loaded.score(loaded.tokens_of_pairs(pairs))))
        scored = server.search(pairs[0][0], k=10).json()["reranked"]["scored"]
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
    return {
        "rerank_p95_ratio": float(np.quantile(searches, 0.95) / np.quantile(calls, 0.95)),
        "rerank_p50_ratio": float(np.median(searches) / np.median(calls)),
        "search_p95_ms": 1000 * float(np.quantile(searches, 0.95)),
        "server_scored": scored,
        "serve_mb": int(resident) / 1000,
    }


def figures(home: Path, folder: Path | None) -> Figures:
    corpus, encoder = call("ingest").corpus, call("export_encoder").encoder
    index = embedded_release(home, corpus, encoder).index
    trained = reranker(folder)
    made = call("quantize_reranker", reranker=trained, index=index, queries=20)
    chosen = call("choose_reranker", reranker_variants=made.reranker_variants, index=index, queries=QUERIES, latency_s=8)
    report = load(open_store(), "report", chosen.report)
    loaded = load_reranker(load(open_store(), "reranker_variants", made.reranker_variants), chosen.variant)
    release = release_of_long_texts(corpus, encoder, chosen.report)
    texts = [row.text for row in list(documents(load_exactly(open_store(), "corpus", corpus)))[:PAIRS]]
    pairs = [("person walking", " ".join([text] * 60)) for text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        model = files_within(load(open_store(), "reranker", trained), Path(scratch))
        speed = beside_the_library(loaded, model, pairs)
    table = {row["variant"]: row for row in report.facts["table"]}
    return {
        "chosen": chosen.variant,
        "trained": folder is not None,
        **speed,
        "fidelity": chosen.fidelity,
        "fidelity_low": chosen.fidelity_low,
        "retention_ndcg10": chosen.retention,
        "retention_low": chosen.low,
        "queries": chosen.queries,
        "accuracy_control": made.accuracy_control,
        **beside_the_bare_call(home, release, loaded, pairs),
        **{
            f"p{part}_{row['pairs']}_pairs_ms": row[f"p{part}"]
            for row in report.facts["percentiles_ms"]
            for part in (50, 95, 99)
        },
        **{f"{name}_50_pairs_ms": value for name, value in report.facts["latency_ms"].items()},
        **{f"{name}_fidelity_low": row["fidelity_low"] for name, row in table.items() if row["docs_per_s"]},
        "speedup_over_onnx_fp32": table[chosen.variant]["docs_per_s"] / table[REFERENCE]["docs_per_s"],
        "refused": "; ".join(f"{name}: {row['reason']}" for name, row in table.items() if row["reason"] not in ("", "slower")),
    }


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]).absolute() if arguments else None
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as scratch:
        home = Path(scratch) / "home"
        os.environ |= {"RATCHET_HOME": str(home), "PYTHONPATH": str(PROJECT)}
        write_figures("bench/reranker", figures(home, folder), seed=SEED, runs=RUNS, goals=GOALS)


if __name__ == "__main__":
    main(sys.argv[1:])
