"""A static encoder for tests: the mean of random token vectors. It is fast, and its rankings mean nothing.

It is a complete encoder artifact with a real tokenizer and runs in ONNX Runtime; only its table of vectors is random.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.steps.refresh_embeddings.export_encoder import MINILM
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

DIMENSIONS = 64
MAX_LENGTH = 256


def static_encoder(dimensions: int = DIMENSIONS) -> str:
    """Make the encoder in the store that the environment names; returns its id."""
    tokenizer = Path(str(importlib.util.find_spec(MINILM).origin)).parent / "model" / "tokenizer.json"  # type: ignore[union-attr]
    semantic = {"dimensions": dimensions, "max_length": MAX_LENGTH}
    recipe = Recipe(
        kind="encoder", step="static_encoder", version=1, inputs={"tokenizer": digest_file(tokenizer)}, params=semantic
    )
    return produce(open_store(), recipe, lambda folder: _write(folder, tokenizer, dimensions)).id


def _write(folder: Path, tokenizer: Path, dimensions: int) -> dict[str, Any]:
    import onnx

    words = len(json.loads(tokenizer.read_text())["model"]["vocab"])
    onnx.save(_model(words, dimensions), str(folder / "model.onnx"))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    fingerprint = {
        "weights": digest_file(folder / "model.onnx"),
        "tokenizer": digest_file(tokenizer),
        "pooling": "mean",
        "max_length": MAX_LENGTH,
        "query_prefix": "",
        "document_prefix": "",
    }
    variants = {"onnx-fp32": {"file": "model.onnx", "deviation": 0}}
    card = {"fingerprint": fingerprint, "dimensions": dimensions, "variants": variants}
    (folder / "encoder.json").write_text(json.dumps(card))
    return {"variants": list(variants), "dimensions": dimensions, "deviation": 0}


def _model(words: int, dimensions: int) -> Any:
    """Token ids and mask to unit vectors: the mean of the rows of a table, divided by its length."""
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).normal(size=(words, dimensions)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["tokens", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["vectors"], axis=-1, p=2),
    ]
    shape = ["batch", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", dimensions])
    constants = {"table": table, "last": np.array([2], np.int64), "middle": np.array([1], np.int64)}
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "static", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
