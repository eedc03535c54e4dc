"""Makes a reranker's variants: the files that each needs, and its measured deviation from the original weights."""

import json
import shutil
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.backends import FORMATS, LOSSY, NNCF_INT8, WEIGHTS, Forward, Tokens, Variant
from pipelines.models.encoder import load_tokenizer
from pipelines.models.export import export_onnx
from pipelines.models.quantization import quantize, quantize_by_nncf
from pipelines.models.reranker import CARD, Probe, Reranker, VariantsCard, largest_difference, size_of
from pipelines.models.reranker_card import RerankerCard
from pipelines.models.torch_reranker import library_scores, pair_scorer
from pipelines.models.variants import EXACT, with_deviation

Pair = tuple[str, str]
"""A query and a document's text."""


@dataclass(frozen=True)
class Calibration:
    """The pairs that quantization sees, and how its result is compared with fp32."""

    pairs: list[Pair]
    agreement: Callable[[Reranker, Reranker], float]
    """How well the order by a second reranker agrees with that by the first, on other queries than those of `pairs`."""
    least: float
    """Agreement that is enough."""


def check_model(model: Path, trained: RerankerCard) -> int:
    """Check folder and tokenizer before the slow export; returns the size of the vocabulary.

    Raises:
        InputError: `config.json` is unreadable or has several labels, or the tokenizer is none or another model's.
    """
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{model}/config.json: {error}", "JSON", "train the reranker again") from None
    labels = int(config.get("num_labels") or len(config.get("id2label") or (0, 1)))
    if labels != 1:
        raise InputError(
            f"a reranker with {labels} labels", "one label: the score of a pair", "train it with one label (num_labels=1)"
        )
    vocabulary = int(config.get("vocab_size", 0))
    load_tokenizer(model / "tokenizer.json", trained.max_length, vocabulary)
    return vocabulary


def make_variants(
    model: Path, trained: RerankerCard, names: Sequence[str], calibration: Calibration, probes: Sequence[Pair], folder: Path
) -> tuple[VariantsCard, bool]:
    """Write the files of a reranker's variants, and its card.

    Args:
        model: the trained model in Hugging Face's layout.
        trained: what training says of it.
        names: the variants to make, of FORMATS.
        calibration: the pairs that int8 is calibrated with.
        probes: pairs on which deviations are measured, and by which a server checks what it loads.
        folder: where the files go.

    Returns:
        The card, and whether NNCF's accuracy control was needed.

    Raises:
        InputError: model, tokenizer or a variant can't be used here, a score is NaN, or a variant deviates too far.
    """
    vocabulary = check_model(model, trained)
    expected = library_scores(model, trained.max_length, probes)
    if not np.isfinite(expected).all():
        raise InputError(
            f"a reranker with scores that are NaN or infinite for {int((~np.isfinite(expected)).sum())} of {len(probes)} pairs",
            "finite scores",
            "train it again with a lower learning rate",
        )
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")
    export_onnx(pair_scorer(model), model, folder / FORMATS["onnx-fp32"].file, "score")
    files = {FORMATS[name].file for name in names}
    if WEIGHTS in files:
        for name in (WEIGHTS, "config.json"):
            shutil.copyfile(model / name, folder / name)
    scored = zip(probes, expected.tolist(), strict=True)
    stored = [Probe(query=query, document=text, score=score) for (query, text), score in scored]
    card = VariantsCard(trained=trained, vocabulary=vocabulary, probes=stored, variants={})
    exact = _measured(card, "onnx-fp32", folder)
    controlled = _quantize(exact, sorted(files & set(LOSSY)), calibration, folder)
    variants = {name: _measured(card, name, folder).card.variants[name] for name in names}
    card = card.model_copy(update={"variants": variants})
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    return card, controlled


def _quantize(exact: Reranker, files: Sequence[str], calibration: Calibration, folder: Path) -> bool:
    """Write the quantized files; returns whether accuracy control was needed."""
    controlled = False
    tokens: list[Tokens] = exact.tokens_of_pairs(calibration.pairs)

    def agreement(forward: Forward) -> float:
        other = copy(exact)
        other.forward = forward
        return calibration.agreement(exact, other)

    for name in files:
        if name == NNCF_INT8:
            controlled = quantize_by_nncf(folder, tokens, agreement, calibration.least)
            log().info("quantized by NNCF", pairs=len(tokens), accuracy_control=controlled)
        else:
            quantize(folder, name, tokens)
    return controlled


def _measured(card: VariantsCard, name: str, folder: Path) -> Reranker:
    """The variant loaded, with its deviation over the probes on its card.

    Raises:
        InputError: it deviates further than it may: by rounding errors where it is exact, else by the spread of the scores.
    """
    variant = Variant(**FORMATS[name].model_dump(), deviation=0)
    reranker = Reranker(card.model_copy(update={"variants": {name: variant}}), name, folder.__truediv__)
    expected = np.array([probe.score for probe in card.probes])
    scores = reranker.score(reranker.tokens_of_pairs([(probe.query, probe.document) for probe in card.probes]))
    bound = EXACT * size_of(expected) if variant.exact else max(float(np.ptp(expected)), EXACT)
    variant = with_deviation(name, variant, largest_difference(scores, expected), len(card.probes), bound)
    reranker.card = card.model_copy(update={"variants": {name: variant}})
    return reranker
