"""`python -m benches.padding`: batches of one length against batches of texts padded to the next multiple of 8 or 16.

A padded length follows from the text alone, so a vector does not depend on the other texts either way. They are measured in
turns, on short and long real texts, at several counts, by one thread's CPU seconds, so that other work hardly matters; writes
build/bench/padding.json.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.models.backends import Ids, Vectors, native_variants
from pipelines.models.encoder import batch_by_tokens, card_of, load_tokenizer
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call
from tests.corpora import CHORUS
from tests.figures import write_figures

SEED, BATCH_TOKENS = 0, 2048
MULTIPLES = (1, 8, 16)
"""1: batches of one length."""
COUNTS = (500, 2000, 20_000)
TURNS = 20
"""Parts of the batches, shortest texts first, after which the next multiple has its turn."""
Masked = Callable[[Ids, Ids], Vectors]
"""Token ids and mask, (texts, tokens), to vectors."""


def masked_forward(encoder: Artifact, variant: str) -> Masked:
    """The forward pass of onnx-fp32 or openvino-bf16 with a mask; the variants of an encoder have none."""
    path = str(encoder.path("model.onnx"))
    if variant == "onnx-fp32":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = {tensor.name for tensor in session.get_inputs()}
        return lambda ids, mask: np.asarray(session.run(None, _inputs(ids, mask, names))[0], np.float32)
    import openvino

    core = openvino.Core()
    model = core.compile_model(
        core.read_model(path),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1},
    )
    names = {tensor.get_any_name() for tensor in model.inputs}
    return lambda ids, mask: np.array(model(_inputs(ids, mask, names))[0], np.float32)


def _inputs(ids: Ids, mask: Ids, names: set[str]) -> dict[str, Ids]:
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: array for name, array in inputs.items() if name in names}


def encode(
    forward: Masked, tokens: Sequence[Sequence[int]], width: int, multiples: Sequence[int] = MULTIPLES
) -> dict[int, tuple[Vectors, int, float]]:
    """By multiple, the vectors in the order of the texts, the count of forward passes, and the CPU seconds that they took."""
    vectors = {multiple: np.zeros((len(tokens), width), np.float32) for multiple in multiples}
    lengths = {multiple: [-(-len(row) // multiple) * multiple for row in tokens] for multiple in multiples}
    batches = {multiple: list(batch_by_tokens(lengths[multiple], BATCH_TOKENS)) for multiple in multiples}
    seconds = dict.fromkeys(multiples, 0.0)
    for turn in range(TURNS):
        for multiple in multiples:
            first, last = (len(batches[multiple]) * part // TURNS for part in (turn, turn + 1))
            started = time.process_time()
            for batch in batches[multiple][first:last]:
                ids = np.zeros((len(batch), lengths[multiple][batch[0]]), np.int64)
                mask = np.zeros_like(ids)
                for place, row in enumerate(batch):
                    ids[place, : len(tokens[row])] = tokens[row]
                    mask[place, : len(tokens[row])] = 1
                vectors[multiple][batch] = forward(ids, mask)
            seconds[multiple] += time.process_time() - started
    return {multiple: (vectors[multiple], len(batches[multiple]), seconds[multiple]) for multiple in multiples}


def figures(most: int) -> dict[str, Any]:
    """Texts a second and passes by variant, texts, count and multiple; the difference that a batch makes."""
    corpus = load_exactly(open_store(), "corpus", call("ingest", **({"source": str(CHORUS)} if CHORUS.exists() else {})).corpus)
    encoder = load_exactly(open_store(), "encoder", call("export_encoder", variants=["native"]).encoder)
    card = card_of(encoder)
    tokenizer = load_tokenizer(encoder.path("tokenizer.json"), card.fingerprint.max_length)
    rows = list(documents(corpus))
    random.Random(SEED).shuffle(rows)
    texts = {"short": [row.title or row.text for row in rows], "long": [row.text for row in rows]}
    found: dict[str, Any] = {}
    for variant in ("onnx-fp32", *native_variants()[:1]):
        forward = masked_forward(encoder, variant)
        for kind, of_kind in texts.items():
            tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(of_kind)]
            encode(forward, tokens[:64], card.dimensions)
            for count in [count for count in COUNTS if count <= most]:
                for multiple, (vectors, passes, seconds) in encode(forward, tokens[:count], card.dimensions).items():
                    alone = max(
                        float(
                            np.abs(
                                encode(forward, [tokens[row]], card.dimensions, [multiple])[multiple][0] - vectors[row]
                            ).max()
                        )
                        for row in range(0, min(count, len(tokens)), max(1, count // 16))
                    )
                    key = f"{variant}_{kind}_{min(count, len(tokens))}_{multiple}"
                    found |= {f"{key}_per_s": round(len(vectors) / seconds, 1), f"{key}_passes": passes, f"{key}_batch": alone}
                    print(key, found[f"{key}_per_s"], passes, alone, flush=True)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as home:
        os.environ |= {"RATCHET_HOME": str(Path(home) / "home"), "PYTHONPATH": str(PROJECT)}
        write_figures("bench/padding", figures(int((sys.argv[1:] or [str(max(COUNTS))])[0])), seed=SEED, runs=1)
