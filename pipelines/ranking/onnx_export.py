"""From torch weights to ONNX: the one place of ranking that needs torch. Serving never imports it."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.ranking.encoder import Fingerprint, Vectors, load_tokenizer

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


def sentence_encoder(model: Path, pooling: str) -> Any:
    """The torch module of the folder `model`: token ids, mask and types to unit vectors, in fp32.

    Raises:
        InputError: the weights can't be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        body = AutoModel.from_pretrained(model, local_files_only=True).eval().float()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{model}: {str(error)[:200]}", "weights that transformers can load", "check the folder") from None

    class SentenceEncoder(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
        """Token vectors, pooled to one and scaled to length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.config = body, body.config

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            hidden = self.body(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state.float()  # pooled in fp32, whatever the layers compute in
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=1)

    return SentenceEncoder().eval()
