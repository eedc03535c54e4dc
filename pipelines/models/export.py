"""Export of an encoder's torch weights to ONNX, and the reference vectors that its variants are compared with."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import InputError
from pipelines.models.encoder import Fingerprint, Vectors, load_tokenizer
from pipelines.models.torch_encoder import sentence_encoder

PROBE_TEXTS = [
    "a",
    "house",
    "Digit Zero",
    "person walking with a cane",
    "café Zürich 東京",
    "USB-C to HDMI cable, 2 m",
    "The quick brown fox jumps over the lazy dog.",
    "word " * 120,
]
"""Texts on which every variant's deviation is measured: short and long, several scripts."""


def export_onnx(model: Path, pooling: str, target: Path) -> int:
    """Write the encoder with pooling and normalization as one ONNX file; returns the vectors' dimensions.

    Args:
        model: a folder with `config.json` and `model.safetensors`.
        pooling: "mean" or "cls".
        target: the file to write.

    Raises:
        InputError: the weights can't be loaded or exported.
    """
    import torch

    network = sentence_encoder(model, pooling)
    examples = tuple(torch.full((2, 8), value) for value in (7, 1, 0))  # three distinct tensors, else they become one input
    batch, length = torch.export.Dim("batch", min=1, max=65536), torch.export.Dim("length", min=2, max=512)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of a missing torchvision, which is not needed
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                network,
                examples,
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=["sentence_embedding"],
                dynamic_shapes=({0: batch, 1: length},) * 3,
            )
            program.save(str(target))
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InputError(
            f"{model}: {str(error)[:200]}", "an encoder that torch.onnx can export", "use a BERT-like model"
        ) from None
    return int(network.config.hidden_size)


def reference_vectors(model: Path, tokenizer: Path, fingerprint: Fingerprint, texts: Sequence[str]) -> Vectors:
    """The texts' vectors as documents by the original weights, one text at a time: float32, (texts, dimensions).

    Raises:
        InputError: weights or tokenizer can't be loaded.
    """
    import numpy as np
    import torch

    network = sentence_encoder(model, fingerprint.pooling)
    loaded_tokenizer = load_tokenizer(tokenizer, fingerprint.max_length)
    vectors = []
    for text in texts:
        ids = torch.tensor([loaded_tokenizer.encode(fingerprint.document_prefix + text).ids])
        with torch.inference_mode():
            vectors.append(network(ids, torch.ones_like(ids), torch.zeros_like(ids)).numpy()[0])
    return np.stack(vectors)
