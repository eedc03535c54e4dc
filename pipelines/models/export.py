"""From torch weights to ONNX: the one place of ranking that needs torch. Serving never imports it."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import InputError
from pipelines.models.encoder import Fingerprint, Vectors, load_tokenizer
from pipelines.models.torch_encoder import sentence_encoder

PROBE_TEXTS = [
    "a", "house", "Digit Zero", "person walking with a cane", "café Zürich 東京", "USB-C to HDMI cable, 2 m",
    "The quick brown fox jumps over the lazy dog.", "word " * 120,
]  # fmt: skip


def export_onnx(model: Path, pooling: str, target: Path) -> int:
    """Write the encoder with pooling and normalization as one ONNX file; returns the vectors' size.

    Raises:
        InputError: the weights can't be loaded or exported.
    """
    import torch

    network = sentence_encoder(model, pooling)
    examples = tuple(torch.full((2, 8), value) for value in (7, 1, 0))  # one tensor thrice would become one input
    batch, length = torch.export.Dim("batch", min=1, max=65536), torch.export.Dim("length", min=2, max=512)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of torchvision, which nobody needs
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                network, examples, dynamo=True, verbose=False, input_names=names, output_names=["sentence_embedding"],
                dynamic_shapes=({0: batch, 1: length},) * 3,
            )  # fmt: skip
            program.save(str(target))
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InputError(
            f"{model}: {str(error)[:200]}", "an encoder that torch.onnx can export", "use a BERT-like model"
        ) from None
    return int(network.config.hidden_size)


def reference_vectors(model: Path, tokenizer: Path, fingerprint: Fingerprint, texts: Sequence[str]) -> Vectors:
    """What the original weights give for the texts as documents, one text at a time, in fp32."""
    import numpy as np
    import torch

    network = sentence_encoder(model, fingerprint.pooling)
    cutter = load_tokenizer(tokenizer, fingerprint.max_length)
    found = []
    for text in texts:
        ids = torch.tensor([cutter.encode(fingerprint.document_prefix + text).ids])
        with torch.inference_mode():
            found.append(network(ids, torch.ones_like(ids), torch.zeros_like(ids)).numpy()[0])
    return np.stack(found)
