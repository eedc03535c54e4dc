"""quantize_reranker: a trained reranker becomes variants that run without torch, each with its measured deviation."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.models.reranker_card import RerankerCard
    from pipelines.retrieval.release import Parts

VERSION = 2
PROBES, CALIBRATING = 32, 300
"""Pairs by which a server checks what it loads, and pairs that set the ranges of int8; at most."""


class QuantizeRerankerParams(Params):
    reranker: str = Field(description="Reranker id, as train_reranker prints it")
    index: str = Field(description="Index id, whose nearest documents to train queries calibrate int8")
    variants: list[str] = Field(
        ["all"], description="Backends and number formats to make, onnx-fp32 in any case; all: what this machine can run"
    )
    queries: int = Field(60, ge=0, description="Judged train queries that calibrate; as many again check the result")
    fidelity: float = Field(0.995, gt=0, le=1, description="Agreement with fp32 below which int8 gets accuracy control")
    query_variant: str = Field(
        "", description="Encoder variant of queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )


class QuantizeRerankerResult(Result):
    reranker_variants: str
    variants: list[str]
    deviation: float
    """Of onnx-fp32."""
    accuracy_control: bool
    """Whether openvino-int8-nncf keeps some operations in floating point, because plain int8 lost fidelity."""
    found: bool


def quantize_reranker(params: QuantizeRerankerParams) -> QuantizeRerankerResult:
    """Export a reranker in some variants and measure how far each is from the original weights."""
    from pipelines.models.backends import with_reference
    from pipelines.models.reranker import KIND, read_trained
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import parts_of_index

    store = open_store()
    reranker, parts = load(store, "reranker", params.reranker), parts_of_index(store, params.index)
    trained = read_trained(reranker)
    query_variant = params.query_variant or default_variants(Journal(store), parts.encoder.id).query
    semantic = params.recipe_params({"reranker", "index"})
    semantic |= {"query_variant": query_variant, "variants": with_reference(params.variants)}
    inputs = {"reranker": reranker.id, "index": parts.index.id}
    recipe = Recipe(kind=KIND, step="quantize_reranker", version=VERSION, inputs=inputs, params=semantic)
    made = produce(store, recipe, lambda folder: _quantize(reranker, trained, parts, recipe.params, folder))
    return QuantizeRerankerResult(reranker_variants=made.id, found=made.found, **made.facts)


def _quantize(
    reranker: Artifact, trained: "RerankerCard", parts: "Parts", params: dict[str, Any], folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation.reranker_choice import PairSample, agreement_on, draw_pairs
    from pipelines.models.reranker import files_within
    from pipelines.models.reranker_variants import Calibration, check_model, make_variants

    with tempfile.TemporaryDirectory(prefix="ratchet-reranker-") as scratch:
        model = files_within(reranker, Path(scratch))
        check_model(model, trained)
        if params["queries"] < 2:
            raise InputError(
                f"--queries {params['queries']}: an empty calibration set", "two queries or more", "leave it out, or raise it"
            )
        drawn = draw_pairs(parts, params["query_variant"], 2 * params["queries"], trained.candidates, judged_only=True)
        calibrating, checking = (PairSample(drawn.queries[start::2], drawn.texts) for start in (0, 1))
        agreement = agreement_on(checking, trained.fusion.telling_apart)
        calibration = Calibration(_spread(calibrating.pairs, CALIBRATING), agreement, params["fidelity"])
        probes = _spread(checking.pairs, PROBES)
        card, controlled = make_variants(model, trained, params["variants"], calibration, probes, folder)
    deviation = card.variants["onnx-fp32"].deviation
    return {"variants": list(card.variants), "deviation": deviation, "accuracy_control": controlled}


def _spread(pairs: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many of the pairs, spread over all of them."""
    return [pairs[row * len(pairs) // most] for row in range(most)] if len(pairs) > most else pairs
