"""Export of a model's torch weights to ONNX, and the reference vectors that an encoder's variants are compared with."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError
from pipelines.models.encoder import Fingerprint, Role, Vectors, load_tokenizer

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
CUT_TEXT = " ".join(map(str, range(600)))
"""Another, longer than any encoder reads: it shows whether the same part of it is kept."""


def export_onnx(network: Any, model: Path, target: Path, output: str = "sentence_embedding") -> int:
    """Write an encoder with pooling, layers and normalization, or a reranker, as one ONNX file; returns the outputs of a text.

    Args:
        network: what `sentence_encoder` or `pair_scorer` made of the folder.
        model: the folder, for messages.
        target: the file to write.
        output: the name of what it computes.

    Raises:
        InputError: the network can't be exported.
    """
    import torch

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
                output_names=[output],
                dynamic_shapes=({0: batch, 1: length},) * 3,
            )
            program.save(str(target))
        with torch.inference_mode():
            return int(network(*examples).shape[1])
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise InputError(
            f"{model}: {str(error)[:200]}", "a model that torch.onnx can export", "use a BERT-like model"
        ) from None


def reference_vectors(network: Any, tokenizer: Path, fingerprint: Fingerprint, texts: Sequence[str], role: Role) -> Vectors:
    """The texts' unit vectors by the original weights, one text at a time: float32, (texts, dimensions).

    This is the reference of a folder that does not say how texts become vectors; see `library_vectors` for the others.

    Raises:
        InputError: the tokenizer can't be loaded.
    """
    import numpy as np
    import torch

    loaded = load_tokenizer(tokenizer, fingerprint.max_length)
    prefix = fingerprint.query_prefix if role == "query" else fingerprint.document_prefix
    vectors = []
    for text in texts:
        ids = torch.tensor([loaded.encode(prefix + text).ids])
        with torch.inference_mode():
            vectors.append(network(ids, torch.ones_like(ids), torch.zeros_like(ids)).numpy()[0])
    return np.stack(vectors)


def load_library(folder: Path, max_length: int) -> Any:
    """The folder as sentence-transformers loads it, on the CPU: what its vectors are by definition.

    Raises:
        InputError: the library is not installed, or does not load the folder.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise InputError(
            f"{folder}, a folder of sentence-transformers, without the module {error.name}",
            "the library that says what its vectors are",
            "install sentence-transformers",
        ) from None
    try:
        library = SentenceTransformer(str(folder.absolute()), device="cpu", local_files_only=True)
    except Exception as error:  # noqa: BLE001  # whatever a stranger's folder makes the library raise
        raise InputError(
            f"{folder}: {str(error)[:200]}", "a folder that sentence-transformers loads", "download the model again"
        ) from None
    library.max_seq_length = max_length
    return library


def library_vectors(library: Any, fingerprint: Fingerprint, texts: Sequence[str], role: Role) -> Vectors:
    """The texts' unit vectors by the folder's own library, one text at a time: float32, (texts, dimensions)."""
    import numpy as np

    prefix = fingerprint.query_prefix if role == "query" else fingerprint.document_prefix
    return np.asarray(
        library.encode(list(texts), prompt=prefix, batch_size=1, show_progress_bar=False, normalize_embeddings=True), np.float32
    )
