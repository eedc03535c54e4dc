"""tune_encoder: a sentence encoder learns from the train queries of a corpus, and becomes an encoder like any other."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import Artifact, load, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe, digest_file
from pipelines.store.releases import champion_release

if TYPE_CHECKING:
    from pipelines.evaluation.encoder_tuning import TuningOptions
    from pipelines.models.folder import ModelFolder

VERSION = 1
CALIBRATION = 200
"""Texts that calibrate and measure variants."""


class TuneEncoderParams(Params):
    corpus: str = Field("", description="Corpus whose train queries are learned from; empty: the champion's")
    model: str = Field(MINILM, description="Encoder to start from: folder, installed package, hub id (org/name) or MLflow URI")
    max_length: int = Field(256, ge=8, le=512, description="Tokens kept of a text; not given: as the folder says, else 256")
    variants: list[str] = Field(
        ["onnx-fp32"], description="Backends and number formats to make, onnx-fp32 in any case; native: this machine's fastest"
    )
    epochs: int = Field(3, ge=1, le=100, description="Passes over the training queries, at most")
    batch_size: int = Field(64, ge=2, le=4096, description="Pairs of one step; the others of a batch are negatives, too")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Of the optimizer, AdamW")
    scale: float = Field(20.0, gt=0, le=1000, description="What cosines are multiplied by before the softmax")
    depth: int = Field(50, ge=2, le=1000, description="Nearest documents of a query from which its hard negatives are drawn")
    documents: int = Field(20_000, ge=2, description="Documents that are searched meanwhile, at most: the judged and others")
    dev_queries: int = Field(1000, ge=2, le=100_000, description="Dev queries that are asked after each epoch, at most")
    patience: int = Field(1, ge=1, le=100, description="Epochs without a gain on dev queries after which training ends")
    seed: int = Field(0, ge=0, description="Of everything that is drawn")


class TuneEncoderTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads of torch; 0: one for each core")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where this machine computes it natively")


class TuneEncoderResult(Result):
    encoder: str
    corpus: str
    variants: list[str]
    dimensions: int
    deviation: float
    base_ndcg10: float
    """Of the base, over the dev queries, by exact search."""
    ndcg10: float
    """Of the best epoch, which is kept."""
    gain: float
    low: float | None
    high: float | None
    pairs: int
    training_queries: int
    dev_queries: int
    sentence: str
    no_gain: bool
    """Whether the best epoch is not better than the base on the dev queries: nothing to release."""
    note: str
    """What becomes the dag run's note."""
    found: bool


def tune_encoder(params: TuneEncoderParams, tuning: TuneEncoderTuning) -> TuneEncoderResult:
    """Fine-tune an encoder on judged train queries; dev queries choose the epoch, judgments of test queries are never read."""
    from pipelines.evaluation.encoder_tuning import make_tuned_encoder
    from pipelines.models.folder import read_folder
    from pipelines.models.sources import check_tokenizer, licence_of, model_folder
    from pipelines.models.training.checkpoints import TrainingCheckpoints
    from pipelines.models.training.trainer import check_installed
    from pipelines.projections.mlflow_training import show_training

    check_installed()
    read = read_folder(model_folder(params.model))
    check_tokenizer(read.model, params.model)
    store = open_store()
    corpus = _corpus(store, params.corpus)
    options = _options(params, tuning, read)
    recipe = _recipe(params, options, read, corpus.id)
    checkpoints = TrainingCheckpoints(store, recipe.id)

    def build(folder: Path) -> dict[str, Any]:
        return make_tuned_encoder(read, corpus, options, checkpoints, folder)

    encoder = produce(store, recipe, build, tuning.model_dump())
    checkpoints.remove()
    show_training(encoder, encoder.facts["curve"], licence_of(read.model))
    facts = {name: value for name, value in encoder.facts.items() if name in TuneEncoderResult.model_fields}
    log().info("tuned", sentence=facts["sentence"])
    given = {"no_gain": facts["ndcg10"] <= facts["base_ndcg10"], "note": facts["sentence"]}
    return TuneEncoderResult(encoder=encoder.id, corpus=corpus.id, found=encoder.found, **facts, **given)


def _recipe(params: TuneEncoderParams, options: "TuningOptions", read: "ModelFolder", corpus: str) -> Recipe:
    """All that the encoder depends on: the params, the corpus, and whatever the folder of the base says."""
    from pipelines.models.folder import layers_digest

    names = {"weights": "model.safetensors", "tokenizer": "tokenizer.json", "config": "config.json"}
    inputs = {"corpus": corpus} | {name: digest_file(read.model / file) for name, file in names.items()}
    semantic = params.recipe_params({"corpus", "model"})
    semantic |= {"variants": list(options.variants), "max_length": options.max_length, "layers": layers_digest(read.layers)}
    semantic |= {name: getattr(read, name) for name in ("pooling", "query_prefix", "document_prefix", "lower_case")}
    return Recipe(kind="encoder", step="tune_encoder", version=VERSION, inputs=inputs, params=semantic)


def _corpus(store: Store, corpus: str) -> Artifact:
    """The corpus that is named, else the champion's."""
    if corpus:
        return load(store, "corpus", corpus)
    champion = champion_release(Journal(store))
    if champion is None:
        raise InputError("no corpus and no champion", "a corpus to learn from", "pass --corpus, or deploy a release")
    return load_exactly(store, "corpus", champion.inputs["corpus"])


def _options(params: TuneEncoderParams, tuning: TuneEncoderTuning, read: "ModelFolder") -> "TuningOptions":
    from pipelines.evaluation.encoder_tuning import TuningOptions
    from pipelines.models.backends import with_reference
    from pipelines.models.folder import positions
    from pipelines.models.training.trainer import Schedule

    own = read.max_length if "max_length" not in params.model_fields_set else None
    fields = ("epochs", "batch_size", "learning_rate", "patience", "seed")
    return TuningOptions(
        schedule=Schedule(**{name: getattr(params, name) for name in fields}, **tuning.model_dump()),
        max_length=min(own or params.max_length, positions(read.model)),
        scale=params.scale,
        depth=params.depth,
        documents=params.documents,
        dev_queries=params.dev_queries,
        variants=with_reference(params.variants),
        calibration=CALIBRATION,
    )
