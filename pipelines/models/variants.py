"""Makes an encoder's variants: the files that each needs, and how far its vectors are from the original weights'."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.backends import FORMATS, INT8, INT8_WEIGHTS, WEIGHTS, Format, Variant
from pipelines.models.encoder import Encoder, EncoderCard, Fingerprint, Vectors, load_tokenizer
from pipelines.models.export import PROBE_TEXTS, export_onnx, reference_vectors
from pipelines.models.quantization import quantize

EXACT = 1e-4
"""Largest difference to the original's coordinates that fp32 arithmetic with fp32 weights may show."""


def make_encoder(
    model: Path, tokenizer: Path, fingerprint: Fingerprint, names: Sequence[str], texts: Sequence[str], folder: Path
) -> EncoderCard:
    """Write the files of the variants `names` of the encoder in folder `model`, and `encoder.json`.

    Args:
        model: folder with config.json and model.safetensors.
        tokenizer: its tokenizer.json, or another.
        fingerprint: everything that decides what vector a text gets.
        names: of FORMATS.
        texts: of the kind that will be encoded: they calibrate int8, and deviations are measured on them and PROBE_TEXTS.
        folder: where the files go.

    Raises:
        InputError: weights, tokenizer or a variant can't be used here, or a variant's vectors are not those of the weights.
    """
    vocabulary = int(json.loads((model / "config.json").read_text(encoding="utf-8")).get("vocab_size", 0))
    cutter = load_tokenizer(tokenizer, fingerprint.max_length, vocabulary)  # a bad one is told before the minute of export
    dimensions = export_onnx(model, fingerprint.pooling, folder / FORMATS["onnx-fp32"].file)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    files = {FORMATS[name].file for name in names}
    if WEIGHTS in files:
        for name in (WEIGHTS, "config.json"):
            shutil.copyfile(model / name, folder / name)
    for name in sorted(files & {INT8, INT8_WEIGHTS}):
        quantize(folder, name, [cutter.encode(fingerprint.document_prefix + text).ids for text in texts or PROBE_TEXTS])
    probes = [*PROBE_TEXTS, *texts]
    reference = reference_vectors(model, tokenizer, fingerprint, probes)
    card = EncoderCard(fingerprint=fingerprint, dimensions=dimensions, vocabulary=vocabulary, variants={})
    variants = {name: _measured(card, name, FORMATS[name], folder, probes, reference) for name in names}
    card = card.model_copy(update={"variants": variants})
    (folder / "encoder.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card


def _measured(card: EncoderCard, name: str, form: Format, folder: Path, probes: Sequence[str], reference: Vectors) -> Variant:
    """The variant with its deviation."""
    unmeasured = Variant(**form.model_dump(), deviation=0)
    loaded = Encoder(card.model_copy(update={"variants": {name: unmeasured}}), name, folder.__truediv__)
    deviation = float(np.abs(loaded.encode(probes, "document") - reference).max())
    exact = form.precision == "fp32" and form.file not in (INT8, INT8_WEIGHTS)
    bound = EXACT if exact else 1.0
    log().info("variant", variant=name, deviation=round(deviation, 7), probes=len(probes))
    if not deviation <= bound:
        raise InputError(
            f"variant {name}, which differs from its weights by {deviation:.3g}", f"at most {bound:g}",
            "check that the model is a BERT encoder with sound weights",
        )  # fmt: skip
    return unmeasured.model_copy(update={"deviation": deviation})
