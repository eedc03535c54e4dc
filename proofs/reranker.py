"""`make proof-reranker`: what training from judgments is worth on the icons, and that spoilt trainings are refused.

The best untrained release (encoder, index, known queries and words, chosen by dev queries) is the champion. An encoder is tuned
on the train queries, its release is chosen and assembled alike, and the gate compares both on test queries, which no training
and no choice has read. A reranker is trained over the champion; its gain on dev queries is cross-fitted. Then four harms are
planted, of which each must be refused. Takes about ten minutes of one core; EPOCHS=3 trains longer. With RATCHET_HOME set,
what is there already is found. Writes build/proof/reranker.json.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from demo.harms import swapped_tokenizer
from pipelines.corpus.documents import Qrel, qrels, write_qrels
from pipelines.models.backends import INT8_WEIGHTS
from pipelines.models.sources import MINILM, model_folder
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe, digest_file
from proofs.rankers import bounds, call, indexed
from tests.figures import write_figures
from tests.images.serve.conftest import replaced

EPOCHS = int(os.environ.get("EPOCHS", "1"))
TUNED = {"epochs": EPOCHS, "learning_rate": 1e-4, "threads": 1}
GOALS = {"icons_gain_lower_bound": "≥ 0.000001", "planted": "≥ 4", "planted_unrefused": "≤ 0"}
CLIPPED = 0.03
"""Largest absolute weight of the clipped encoder."""
FEW = {"documents": 500, "queries": 400}


def release_of(corpus: str, encoder: str, lexical: str) -> tuple[str, str]:
    """The best release by dev queries of an encoder, and its stages in words."""
    planned = call("plan", corpus=corpus, encoder=encoder)
    parts = {"corpus": corpus, "encoder": encoder, "variant": planned.variant, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    index = call("index", embeddings=call("commit_embeddings", **parts, shards=shards).embeddings).index
    known = call("index_known_queries", index=index).known_queries
    chosen = call("choose_stages", index=index, lexical=lexical, known_queries=known)
    return call("assemble", index=index, stages=chosen.stages).release, chosen.names


def judged(store: Store, release: str) -> tuple[Any, dict[str, Any]]:
    """The gate's result for a release against the champion, and its gain in nDCG@10 with its interval."""
    evaluated = call("evaluate", release=release)
    values = []
    for evaluation in (evaluated.evaluation, evaluated.baseline):
        lines = load(store, "evaluation", evaluation).text("per_query.jsonl").splitlines()
        values.append(np.array([float(json.loads(line)["release"]["nDCG@10"]) for line in lines]))
    mean, low, high = bounds(values[0] - values[1])
    found = {"ndcg10": round(float(values[0].mean()), 4), "gain": mean, "low": low, "high": high, "queries": len(values[0])}
    return call("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline), found


def untrained(store: Store) -> tuple[str, str, dict[str, Any]]:
    """Make the best untrained release the champion: ids of its corpus and lexical index, and its figures."""
    corpus, index, retrievers = indexed()
    chosen = call("choose_stages", index=index, take="best", **retrievers)
    release = call("assemble", index=index, stages=chosen.stages).release
    journal = Journal(store)
    if journal.routing.champion != release:
        journal.append("deploy", release, "proof", Routing(champion=release))
    figures = {"icons_untrained_ndcg10": round(call("evaluate", release=release, baseline="none").ndcg_at_10, 4)}
    return corpus, retrievers["lexical"], figures | {"icons_untrained_stages": chosen.names}


def tuned(store: Store, corpus: str, lexical: str) -> dict[str, Any]:
    """Figures of the tuned encoder's release against the champion."""
    made = call("tune_encoder", corpus=corpus, **TUNED)
    release, stages = release_of(corpus, made.encoder, lexical)
    verdict, found = judged(store, release)
    return {
        "icons_gain_ndcg10": found["gain"],
        "icons_gain_lower_bound": found["low"],
        "icons_gain_upper_bound": found["high"],
        "icons_tuned_ndcg10": found["ndcg10"],
        "icons_queries": found["queries"],
        "icons_tuned_stages": stages,
        "icons_outcome": verdict.outcome,
        "icons_sentence": verdict.sentence,
        "icons_tuned_dev_gain": [round(value, 4) for value in (made.gain, made.low, made.high)],
        "icons_pairs": made.pairs,
        "icons_tuning_cpu_s": load(store, "encoder", made.encoder).manifest.cost["cpu_s"],
        "epochs": EPOCHS,
    }


def reranked(store: Store) -> dict[str, Any]:
    """Figures of a reranker over the champion, on dev queries."""
    made = call("train_reranker", epochs=1, threads=1)
    return {
        "icons_reranker_dev_gain": [round(value, 4) for value in (made.gain, made.low, made.high)],
        "icons_reranker_lists": made.lists,
        "icons_reranker_missed": made.missed,
        "icons_reranker_cpu_s": load(store, "reranker", made.reranker).manifest.cost["cpu_s"],
        "icons_reranker_sentence": made.sentence,
    }


def shuffled_labels(store: Store, corpus: str, lexical: str, scratch: Path) -> str:
    """Tune on judgments that stand beside other train queries than their own; the gate's sentence, empty if it passes."""
    original = load(store, "corpus", corpus)
    judgments = qrels(original)
    random = np.random.default_rng(0)
    train = [row["id"] for row in map(json.loads, original.text("queries.jsonl").splitlines()) if row["split"] == "train"]
    train = sorted(set(train) & judgments.keys())
    others = dict(zip(train, (train[place] for place in random.permutation(len(train))), strict=True))
    rows = [
        Qrel(query=query, document=document, grade=grade)
        for query in sorted(judgments)
        for document, grade in sorted(judgments[others.get(query, query)].items())
    ]
    write_qrels(scratch / "qrels.txt", rows)
    inputs = {"corpus": corpus, "qrels": digest_file(scratch / "qrels.txt")}

    def build(folder: Path) -> dict[str, Any]:
        for name in original.manifest.files:
            (folder / name).write_bytes(original.path(name).read_bytes())
        (folder / "qrels.txt").write_bytes((scratch / "qrels.txt").read_bytes())
        return original.facts

    shuffled = produce(store, Recipe(kind="corpus", step="shuffled", version=1, inputs=inputs, params={}), build).id
    encoder = call("tune_encoder", corpus=shuffled, **TUNED).encoder
    return refused(judged(store, release_of(corpus, encoder, lexical)[0])[0])


def clipped_weights(store: Store, corpus: str, lexical: str, scratch: Path) -> str:
    """Export an encoder whose weights were clipped; the gate's sentence, empty if it passes."""
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(model_folder(MINILM), scratch / "clipped")
    path = scratch / "clipped" / "model.safetensors"
    save_file({name: clipped(value) for name, value in load_file(path).items()}, path, {"format": "pt"})
    encoder = call("export_encoder", model=str(scratch / "clipped")).encoder
    return refused(judged(store, release_of(corpus, encoder, lexical)[0])[0])


def clipped(weights: Any) -> Any:
    return np.clip(weights, -CLIPPED, CLIPPED) if weights.dtype == np.float32 else weights


def refused(verdict: Any) -> str:
    """The sentence of a verdict that did not pass."""
    return "" if verdict.passed else str(verdict.sentence)


def batch_dependent(store: Store, corpus: str, scratch: Path) -> str:
    """A variant whose scales are computed from its batch; why `choose_encoder` does not take it, empty if it does."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    encoder = load(store, "encoder", call("export_encoder", variants=["onnx-int8-weights"]).encoder)
    network = onnx.load(str(encoder.path("model.onnx")))
    del network.graph.value_info[:]
    quantize_dynamic(network, scratch / "dynamic.onnx", weight_type=QuantType.QInt8)
    harmed = replaced("encoder", encoder.id, INT8_WEIGHTS, (scratch / "dynamic.onnx").read_bytes())
    chosen = call("choose_encoder", encoder=harmed, corpus=corpus, **FEW)
    table = load(store, "report", chosen.report).facts["table"]
    return (
        ""
        if "onnx-int8-weights" in chosen.eligible
        else next(row["reason"] for row in table if row["variant"] == "onnx-int8-weights")
    )


def planted(store: Store, corpus: str, lexical: str) -> dict[str, Any]:
    """Each harm with the reason for which it was refused; empty: it was not."""
    harms: dict[str, Callable[[Path], str]] = {
        "wrong tokenizer": lambda scratch: swapped_tokenizer(store, scratch),
        "clipped weights": lambda scratch: clipped_weights(store, corpus, lexical, scratch),
        "batch-dependent scores": lambda scratch: batch_dependent(store, corpus, scratch),
        "shuffled labels": lambda scratch: shuffled_labels(store, corpus, lexical, scratch),
    }
    reasons = {}
    for name, harm in harms.items():
        with tempfile.TemporaryDirectory(prefix="ratchet-planted-") as scratch:
            reasons[name] = harm(Path(scratch))
        print(f"{name}: {reasons[name] or 'NOT refused'}", flush=True)
    count = sum(map(bool, reasons.values()))
    return {"planted": len(reasons), "planted_refused": count, "planted_unrefused": len(reasons) - count, "reasons": reasons}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ratchet-reranker-") as folder:
        os.environ.setdefault("RATCHET_HOME", folder)
        store = open_store()
        corpus, lexical, figures = untrained(store)
        figures |= tuned(store, corpus, lexical)
        print(figures["icons_sentence"], flush=True)
        figures |= planted(store, corpus, lexical)
        figures |= reranked(store)
    write_figures("proof/reranker", figures, seed=0, runs=1, goals=GOALS)
    return 0 if figures["icons_gain_lower_bound"] > 0 and not figures["planted_unrefused"] else 1


if __name__ == "__main__":
    sys.exit(main())
