"""`python -m benches.encode_profile`: what one encode of 2,000 texts spends its time on, and how near it is to the limit.

One thread, and seconds of CPU, so that other work on the machine hardly counts. The parts: tokenizing, making the arrays of a
batch, the forward pass (in which the graph also pools and normalizes), putting vectors in the texts' order. Within the forward
pass the runtime's profile gives the share of each kind of operation. The limit: the matrix products of the texts at the rate
of one large product in the same numeric format on one core. Writes build/bench/encode-profile.json.
"""

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benches.embeddings import operations
from pipelines.corpus.documents import documents
from pipelines.models.backends import FORMATS, Ids, model_inputs, native_variants
from pipelines.models.encoder import Encoder, batch_by_tokens, load_encoder
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.corpora import CHORUS
from tests.figures import write_figures

SEED, TEXTS, BATCH_TOKENS = 0, 2000, 2048
KINDS = {
    "matrix products": ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "FullyConnected"),
    "attention": ("Attention", "MultiHeadAttention", "ScaledDotProductAttention", "MHA", "Softmax"),
    "normalization": ("LayerNormalization", "SkipLayerNormalization", "MVN", "LpNormalization", "NormalizeL2"),
    "activation": ("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Erf"),
    "pooling": ("ReduceMean", "ReduceSum", "ReduceL2"),
    "copies": ("Transpose", "Reshape", "Concat", "Gather", "Reorder", "Convert", "Cast", "Split", "Slice", "Expand"),
}
"""Kinds of operations, by their names in ONNX Runtime and OpenVINO; what is in none of them is `other`."""


def shares(seconds: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The part of the time of each kind of operation.

    >>> shares([("MatMul", 3.0), ("Gelu", 0.5), ("Sin", 0.5)])
    {'matrix products': 0.75, 'activation': 0.125, 'other': 0.125}
    """
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    totals: Counter[str] = Counter()
    for name, duration in seconds:
        totals[kind_of.get(name, "other")] += duration
    whole = sum(totals.values())
    return {kind: totals[kind] / whole for kind in (*KINDS, "other") if totals[kind]}


def parts(loaded: Encoder, texts: list[str]) -> dict[str, float]:
    """Seconds of CPU by part of `Encoder.encode`, one after another."""
    spent: Counter[str] = Counter()

    def timed(name: str, action: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = action()
        spent[name] += time.process_time() - started
        return result

    loaded.encode(texts[:64], "document")
    tokens = timed("tokenizing", lambda: loaded.tokens(texts, "document"))
    batches = timed("batches", lambda: batch_by_tokens([len(ids) for ids in tokens], BATCH_TOKENS))
    vectors = np.zeros((len(texts), loaded.card.dimensions), np.float32)
    for rows in batches:
        ids = timed("batches", lambda rows=rows: np.array([tokens[row] for row in rows], np.int64))
        encoded = timed("forward", lambda ids=ids: loaded.forward(ids))
        timed("placing", lambda rows=rows, encoded=encoded: vectors.__setitem__(rows, encoded))
    return dict(spent)


def arrays(loaded: Encoder, texts: list[str]) -> Iterator[Ids]:
    """The batches of the texts as the forward pass gets them."""
    tokens = loaded.tokens(texts, "document")
    for rows in batch_by_tokens([len(ids) for ids in tokens], BATCH_TOKENS):
        yield np.array([tokens[row] for row in rows], np.int64)


def by_onnxruntime(model: Path, batches: Iterable[Ids]) -> dict[str, float]:
    """The shares of operations by ONNX Runtime's profile."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling, options.log_severity_level = 1, True, 3
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = {tensor.name for tensor in session.get_inputs()}
        for ids in batches:
            session.run(None, model_inputs(ids, names))
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = (event for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {}))
    return shares((event["args"]["op_name"], event["dur"]) for event in nodes)


def by_openvino(model: Path, precision: str, batches: Iterable[Ids]) -> dict[str, float]:
    """The shares of operations by OpenVINO's counters."""
    import openvino

    core = openvino.Core()
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": 1,
        "PERF_COUNT": True,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(str(model)), "CPU", hints)
    names = {tensor.get_any_name() for tensor in compiled.inputs}
    request = compiled.create_infer_request()
    seconds: list[tuple[str, float]] = []
    for ids in batches:
        request.infer(model_inputs(ids, names))
        seconds += [(node.node_type, node.real_time.total_seconds()) for node in request.profiling_info]
    return shares(seconds)


def peak(precision: str) -> float:
    """Operations in a second of CPU of one large matrix product on one core, by oneDNN in torch; best of five."""
    import torch

    torch.set_num_threads(1)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    left, right = torch.randn(2048, 1024, dtype=dtype), torch.randn(1024, 2048, dtype=dtype)
    seconds = []
    for _ in range(6):
        started = time.process_time()
        left @ right
        seconds.append(time.process_time() - started)
    return 2 * 2048 * 1024 * 2048 / min(seconds[1:])


def profile(encoder: Artifact, variant: str, texts: list[str]) -> dict[str, Any]:
    """The profile of one variant."""
    loaded, form = load_encoder(encoder, variant, 1), FORMATS[variant]
    spent = parts(loaded, texts)
    whole = sum(spent.values())
    model, batches = encoder.path(form.file), arrays(loaded, texts)
    kinds = by_onnxruntime(model, batches) if form.backend == "onnxruntime" else by_openvino(model, form.precision, batches)
    limit = operations(loaded, texts) / peak(form.precision)
    return {
        "variant": variant,
        "texts_per_cpu_s": round(len(texts) / whole, 1),
        "parts": {name: round(seconds / whole, 4) for name, seconds in spent.items()},
        "operations": {kind: round(share, 4) for kind, share in kinds.items()},
        "limit_texts_per_cpu_s": round(len(texts) / limit, 1),
        "share_of_limit": round(limit / whole, 3),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as home:
        os.environ |= {"RATCHET_HOME": str(Path(home) / "home"), "PYTHONPATH": str(PROJECT), "TOKENIZERS_PARALLELISM": "false"}
        corpus = call("ingest", source=str(CHORUS)).corpus if CHORUS.exists() else call("ingest").corpus
        encoder = load_exactly(open_store(), "encoder", call("export_encoder", variants=["native", "openvino-fp32"]).encoder)
        texts = [document.text for document in documents(load_exactly(open_store(), "corpus", corpus))]
        texts = random.Random(SEED).sample(texts, min(TEXTS, len(texts)))
        native = [name for name in native_variants() if FORMATS[name].backend == "openvino"]
        figures = {
            "collection": "electronics" if CHORUS.exists() else "icons",
            "texts": len(texts),
            "variants": [profile(encoder, name, texts) for name in dict.fromkeys(["onnx-fp32", "openvino-fp32", *native])],
        }
    write_figures("bench/encode-profile", figures, seed=SEED, runs=1)


if __name__ == "__main__":
    main()
