"""Makes an encoder's variants: the files that each needs, and its measured deviation from the original weights."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.backends import FORMATS, LAYERS, LOSSY, WEIGHTS, Tokens, Variant
from pipelines.models.encoder import Encoder, EncoderCard, Fingerprint, Role, Vectors, load_tokenizer
from pipelines.models.export import CUT_TEXT, PROBE_TEXTS, export_onnx, library_vectors, load_library, reference_vectors
from pipelines.models.folder import ModelFolder
from pipelines.models.quantization import quantize
from pipelines.models.torch_encoder import sentence_encoder, write_layers

EXACT = 1e-4
"""Largest absolute difference of a coordinate to the original that a variant in fp32 with fp32 weights may show."""


def make_encoder(
    read: ModelFolder, tokenizer: Path, fingerprint: Fingerprint, names: Sequence[str], texts: Sequence[str], folder: Path
) -> EncoderCard:
    """Write the files of an encoder's variants, and `encoder.json`.

    Args:
        read: the model's folder, as it says of itself.
        tokenizer: its tokenizer.json, or another.
        fingerprint: everything that determines a text's vector.
        names: the variants to make, of FORMATS.
        texts: like those that will be encoded: int8 is calibrated on them, deviations are measured on them and PROBE_TEXTS.
        folder: where the files go.

    Raises:
        InputError: weights, tokenizer or a variant can't be used here, or a variant deviates too far from the weights.
    """
    vocabulary = int(json.loads((read.model / "config.json").read_text(encoding="utf-8")).get("vocab_size", 0))
    load_tokenizer(tokenizer, fingerprint.max_length, vocabulary)  # checked before the slow export
    _write_tokenizer(tokenizer, fingerprint.lower_case, folder / "tokenizer.json")
    loaded_tokenizer = load_tokenizer(folder / "tokenizer.json", fingerprint.max_length)
    if fingerprint.layers:
        write_layers(read.layers, folder / LAYERS)
    network = sentence_encoder(read.model, fingerprint.pooling, folder / LAYERS if fingerprint.layers else None)
    dimensions = export_onnx(network, read.model, folder / FORMATS["onnx-fp32"].file)
    files = {FORMATS[name].file for name in names}
    if WEIGHTS in files:
        for name in (WEIGHTS, "config.json"):
            shutil.copyfile(read.model / name, folder / name)
    for name in sorted(files & set(LOSSY)):
        encodings = [loaded_tokenizer.encode(fingerprint.document_prefix + text) for text in texts or PROBE_TEXTS]
        quantize(folder, name, [Tokens(encoding.ids, encoding.type_ids) for encoding in encodings])
    probes = [*PROBE_TEXTS, CUT_TEXT, *texts]
    reference = _reference(read, network, tokenizer, folder / "tokenizer.json", fingerprint)
    card = EncoderCard(fingerprint=fingerprint, dimensions=dimensions, vocabulary=vocabulary, variants={})
    roles: tuple[Role, ...] = (
        ("document", "query") if fingerprint.query_prefix != fingerprint.document_prefix else ("document",)
    )
    try:
        expected = {role: reference(probes, role) for role in roles}
    except (ValueError, RuntimeError, LookupError, TypeError) as error:  # what torch and a tokenizer raise at a text
        raise InputError(
            f"{read.folder}: {str(error)[:200]}",
            "a vector of each text by the folder's own weights",
            "check the tokenizer's special tokens and the longest text, or choose another model",
        ) from None
    variants = {name: _measured_variant(card, name, folder, probes, expected) for name in names}
    card = card.model_copy(update={"variants": variants})
    (folder / "encoder.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _write_tokenizer(tokenizer: Path, lower_case: bool, target: Path) -> None:
    """Copy the tokenizer, with lowering as its first step where the model's folder asks for it."""
    shutil.copyfile(tokenizer, target)
    if lower_case:
        described = json.loads(tokenizer.read_text(encoding="utf-8"))
        rest = described.get("normalizer")
        before = rest.get("normalizers", [rest]) if rest else []
        described["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *before]}
        target.write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")


def _reference(
    read: ModelFolder, network: Any, given: Path, written: Path, fingerprint: Fingerprint
) -> Callable[[Sequence[str], Role], Vectors]:
    """What gives a text's vector by the original weights: the folder's own library, where the folder has one.

    With another tokenizer than the folder's own the library has no say.
    """
    if read.own and given == read.model / "tokenizer.json":
        library = load_library(read.folder, fingerprint.max_length)
        return lambda texts, role: library_vectors(library, fingerprint, texts, role)
    return lambda texts, role: reference_vectors(network, written, fingerprint, texts, role)


def _measured_variant(
    card: EncoderCard, name: str, folder: Path, probes: Sequence[str], expected: Mapping[Role, Vectors]
) -> Variant:
    variant = Variant(**FORMATS[name].model_dump(), deviation=0)
    encoder = Encoder(card.model_copy(update={"variants": {name: variant}}), name, folder.__truediv__)
    differences = [np.abs(encoder.encode(probes, role) - vectors).max() for role, vectors in expected.items()]
    deviation = float(np.max(differences))
    return with_deviation(name, variant, deviation, len(probes), EXACT if variant.exact else 1.0)


def with_deviation(name: str, variant: Variant, deviation: float, probes: int, bound: float) -> Variant:
    """The variant with its measured deviation.

    Raises:
        InputError: the deviation is beyond the bound, or NaN.
    """
    log().info("variant", variant=name, deviation=round(deviation, 7), probes=probes)
    if not deviation <= bound:
        raise InputError(
            f"variant {name}, which differs from its weights by {deviation:.3g}",
            f"at most {bound:.3g}",
            "check that the model is BERT-like and that its weights are finite",
        )
    return variant.model_copy(update={"deviation": deviation})
