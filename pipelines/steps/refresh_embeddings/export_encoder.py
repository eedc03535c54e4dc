"""export_encoder: a sentence encoder's weights become an encoder artifact that runs without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

if TYPE_CHECKING:
    from pipelines.models.encoder import Fingerprint
    from pipelines.models.folder import ModelFolder

VERSION = 2
CALIBRATION = 200
"""Texts that calibrate and measure."""


class ExportEncoderParams(Params):
    model: str = Field(MINILM, description="Encoder: folder, installed package, hub id (org/name) or MLflow URI")
    tokenizer: str = Field("", description="Folder with another tokenizer.json; empty: the model's own")
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="How token vectors become one; not given: as the folder says, else mean"
    )
    max_length: int = Field(256, ge=8, le=512, description="Tokens kept of a text; not given: as the folder says, else 256")
    query_prefix: str = Field("", description="Put before each query; not given: the folder's prompt")
    document_prefix: str = Field("", description="Put before each document; not given: the folder's prompt")
    variants: list[str] = Field(
        ["onnx-fp32"],
        description="Backends and number formats to make, onnx-fp32 in any case; native: what this machine computes fastest",
    )
    calibration: str = Field("", description="Corpus whose texts set the ranges of int8 and measure deviations")


class ExportEncoderResult(Result):
    encoder: str
    variants: list[str]
    dimensions: int
    deviation: float
    found: bool


def export_encoder(params: ExportEncoderParams) -> ExportEncoderResult:
    """Export a sentence encoder in some variants and measure how far each is from the original weights."""
    from pipelines.models.folder import read_folder
    from pipelines.models.sources import check_weights, model_folder
    from pipelines.retrieval.champion_variants import champions_encoder

    read = read_folder(model_folder(params.model))
    check_weights(read.model, params.model)
    tokenizer = (Path(params.tokenizer) if params.tokenizer else read.model) / "tokenizer.json"
    if not tokenizer.is_file():
        raise InputError(f"{tokenizer}, which does not exist", "a tokenizer.json", "give a folder that has one")
    store = open_store()
    calibration = load(store, "corpus", params.calibration) if params.calibration else None
    recipe = _recipe(params, read, tokenizer, calibration)
    if "native" in params.variants and (kept := champions_encoder(Journal(store), recipe)):
        return ExportEncoderResult(encoder=kept.id, found=True, **kept.facts)
    encoder = produce(store, recipe, lambda folder: _export(read, tokenizer, recipe, _texts(calibration), folder))
    return ExportEncoderResult(encoder=encoder.id, found=encoder.found, **encoder.facts)


def _recipe(params: ExportEncoderParams, read: "ModelFolder", tokenizer: Path, calibration: Artifact | None) -> Recipe:
    """All that the encoder depends on: the params, its files, and whatever its folder says."""
    from pipelines.models.backends import with_reference
    from pipelines.models.folder import layers_digest

    inputs = {"weights": digest_file(read.model / "model.safetensors"), "tokenizer": digest_file(tokenizer)}
    inputs |= {"config": digest_file(read.model / "config.json")} | ({"calibration": calibration.id} if calibration else {})
    semantic = params.recipe_params({"model", "tokenizer", "calibration"}) | {"variants": with_reference(params.variants)}
    semantic |= _own_values(params, read)
    semantic |= {"lower_case": True} if read.lower_case else {}
    semantic |= {"layers": layers_digest(read.layers)} if read.layers else {}
    return Recipe(kind="encoder", step="export_encoder", version=VERSION, inputs=inputs, params=semantic)


def _own_values(params: ExportEncoderParams, read: "ModelFolder") -> dict[str, Any]:
    """What a folder says of itself, where the user does not: pooling, prompts and the longest text."""
    from pipelines.models.folder import LONGEST, positions

    given, most = params.model_fields_set, positions(read.model)
    if "max_length" in given and params.max_length > most:
        raise InputError(
            f"--max-length {params.max_length} for {read.folder}", f"at most {most}, its positions", "leave it out"
        )
    if not read.own:
        return {"max_length": most} if params.max_length > most else {}
    if "pooling" in given and params.pooling != read.pooling:
        raise InputError(
            f"--pooling {params.pooling} for {read.folder}, which pools by {read.pooling}",
            "the folder's own, with which its weights were trained",
            "leave --pooling out",
        )
    if not read.normalized:
        log().info("vectors normalized", folder=str(read.folder))
    if "max_length" not in given and (read.max_length or 0) > LONGEST:
        log().warning("texts cut", tokens=LONGEST, folder_tokens=read.max_length)
    own = {
        "max_length": min(read.max_length or params.max_length, LONGEST),
        "query_prefix": read.query_prefix,
        "document_prefix": read.document_prefix,
    }
    return {"pooling": read.pooling} | {name: value for name, value in own.items() if name not in given}


def _fingerprint(recipe: Recipe) -> "Fingerprint":
    from pipelines.models.encoder import Fingerprint

    kept = {name: value for name, value in recipe.params.items() if name != "variants"}
    return Fingerprint(weights=recipe.inputs["weights"], tokenizer=recipe.inputs["tokenizer"], **kept)


def _texts(corpus: Artifact | None) -> list[str]:
    """Texts to calibrate with, spread over the corpus by content and the same in every run; none without one."""
    from pipelines.corpus.documents import documents

    spread = sorted(documents(corpus) if corpus else [], key=lambda document: (document.content, document.id))
    return [document.text for document in spread[:CALIBRATION]]


def _export(read: "ModelFolder", tokenizer: Path, recipe: Recipe, texts: list[str], folder: Path) -> dict[str, Any]:
    from pipelines.models.variants import make_encoder

    card = make_encoder(read, tokenizer, _fingerprint(recipe), recipe.params["variants"], texts, folder)
    deviation = card.variants["onnx-fp32"].deviation
    return {"variants": list(card.variants), "dimensions": card.dimensions, "deviation": deviation}
