"""Makes an encoder's variants: the files that each needs, and its measured deviation from the original weights."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.backends import FORMATS, INT8, INT8_WEIGHTS, WEIGHTS, Variant
from pipelines.models.encoder import Encoder, EncoderCard, Fingerprint, Vectors, load_tokenizer
from pipelines.models.export import PROBE_TEXTS, export_onnx, reference_vectors
from pipelines.models.quantization import quantize

EXACT = 1e-4
"""Largest absolute difference of a coordinate to the original that a variant in fp32 with fp32 weights may show."""


def make_encoder(
    model: Path, tokenizer: Path, fingerprint: Fingerprint, names: Sequence[str], texts: Sequence[str], folder: Path
) -> EncoderCard:
    """Write the files of an encoder's variants, and `encoder.json`.

    Args:
        model: folder with config.json and model.safetensors.
        tokenizer: its tokenizer.json, or another.
        fingerprint: everything that determines a text's vector.
        names: the variants to make, of FORMATS.
        texts: like those that will be encoded: int8 is calibrated on them, deviations are measured on them and PROBE_TEXTS.
        folder: where the files go.

    Raises:
        InputError: weights, tokenizer or a variant can't be used here, or a variant deviates too far from the weights.
    """
    vocabulary = int(json.loads((model / "config.json").read_text(encoding="utf-8")).get("vocab_size", 0))
    loaded_tokenizer = load_tokenizer(tokenizer, fingerprint.max_length, vocabulary)  # checked before the slow export
    dimensions = export_onnx(model, fingerprint.pooling, folder / FORMATS["onnx-fp32"].file)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    files = {FORMATS[name].file for name in names}
    if WEIGHTS in files:
        for name in (WEIGHTS, "config.json"):
            shutil.copyfile(model / name, folder / name)
    for name in sorted(files & {INT8, INT8_WEIGHTS}):
        calibration = [loaded_tokenizer.encode(fingerprint.document_prefix + text).ids for text in texts or PROBE_TEXTS]
        quantize(folder, name, calibration)
    probes = [*PROBE_TEXTS, *texts]
    reference = reference_vectors(model, tokenizer, fingerprint, probes)
    card = EncoderCard(fingerprint=fingerprint, dimensions=dimensions, vocabulary=vocabulary, variants={})
    variants = {name: _measured_variant(card, name, folder, probes, reference) for name in names}
    card = card.model_copy(update={"variants": variants})
    (folder / "encoder.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _measured_variant(card: EncoderCard, name: str, folder: Path, probes: Sequence[str], reference: Vectors) -> Variant:
    variant = Variant(**FORMATS[name].model_dump(), deviation=0)
    encoder = Encoder(card.model_copy(update={"variants": {name: variant}}), name, folder.__truediv__)
    deviation = float(np.abs(encoder.encode(probes, "document") - reference).max())
    exact = variant.precision == "fp32" and variant.file not in (INT8, INT8_WEIGHTS)
    bound = EXACT if exact else 1.0
    log().info("variant", variant=name, deviation=round(deviation, 7), probes=len(probes))
    if not deviation <= bound:
        raise InputError(
            f"variant {name}, which differs from its weights by {deviation:.3g}",
            f"at most {bound:g}",
            "check that the model is a BERT encoder and that its weights are finite",
        )
    return variant.model_copy(update={"deviation": deviation})
