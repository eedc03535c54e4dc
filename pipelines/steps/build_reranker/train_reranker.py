"""train_reranker: a cross-encoder learns from train queries to correct the order of a release."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import Artifact, load_exactly, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe, digest_file
from pipelines.store.releases import champion_release, resolve

VERSION = 1


class TrainRerankerParams(Params):
    release: str = Field("", description="Release whose ranking is the first stage; empty: the champion")
    base: str = Field(MINILM, description="Model to start from: folder, installed package, hub id (org/name) or MLflow URI")
    max_length: int = Field(64, ge=8, le=512, description="Tokens kept of a query and a document together")
    candidates: int = Field(50, ge=2, le=1000, description="Documents of the first stage that are reranked")
    negatives: int = Field(4, ge=1, le=100, description="Documents that are not relevant, beside each relevant one")
    scale: float = Field(20.0, gt=0, le=1000, description="What the first stage's scores are multiplied by")
    epochs: int = Field(2, ge=1, le=100, description="Passes over the training queries, at most")
    batch_size: int = Field(13, ge=1, le=4096, description="Lists of one step of the optimizer")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Of the optimizer, AdamW")
    patience: int = Field(1, ge=1, le=100, description="Epochs without a gain on dev queries after which training ends")
    dev_queries: int = Field(300, ge=2, le=100_000, description="Dev queries that are asked after each epoch, at most")
    seed: int = Field(0, ge=0, description="Of everything that is drawn")


class TrainRerankerTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads of torch; 0: one for each core")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where this machine computes it natively")


class TrainRerankerResult(Result):
    reranker: str
    release: str
    index: str
    """Of the release."""
    first_stage_ndcg10: float
    """Of the release alone, over the dev queries."""
    ndcg10: float
    """Of both together, over the dev queries: the best epoch."""
    gain: float
    """On dev queries, by weights that were fitted on others."""
    low: float | None
    high: float | None
    lists: int
    """Relevant documents that the first stage found for training queries, each with its negatives."""
    missed: int
    """Relevant documents that it did not find."""
    training_queries: int
    dev_queries: int
    sentence: str
    no_gain: bool
    """Whether the weights that rank the dev queries best leave the reranker out: nothing to release."""
    note: str
    """What becomes the dag run's note."""
    found: bool


def train_reranker(params: TrainRerankerParams, tuning: TrainRerankerTuning) -> TrainRerankerResult:
    """Train on what the release's first stage finds for train queries; the epoch and the weights are chosen by dev queries."""
    from pipelines.models.folder import read_folder
    from pipelines.models.reranker_card import card_of
    from pipelines.models.sources import model_folder
    from pipelines.models.training.checkpoints import TrainingCheckpoints
    from pipelines.models.training.cross_encoder import check_base
    from pipelines.models.training.trainer import check_installed

    check_installed()
    base = read_folder(model_folder(params.base)).model
    check_base(base, params.base)
    store = open_store()
    release = _first_stage(store, params.release)
    inputs = {"release": release.id, "corpus": release.inputs["corpus"]}
    names = {"weights": "model.safetensors", "tokenizer": "tokenizer.json", "config": "config.json"}
    inputs |= {name: digest_file(base / file) for name, file in names.items()}
    recipe = Recipe(
        kind="reranker",
        step="train_reranker",
        version=VERSION,
        inputs=inputs,
        params=params.recipe_params({"release", "base"}),
    )
    checkpoints = TrainingCheckpoints(store, recipe.id)
    reranker = produce(
        store, recipe, lambda folder: _train(release, base, params, tuning, checkpoints, folder), tuning.model_dump()
    )
    checkpoints.remove()
    facts = {name: value for name, value in reranker.facts.items() if name in TrainRerankerResult.model_fields}
    log().info("reranker", sentence=facts["sentence"])
    unused = card_of(reranker).fusion.reranker_weight == 0
    given = {"release": release.id, "index": release.inputs["index"], "no_gain": unused, "note": facts["sentence"]}
    return TrainRerankerResult(reranker=reranker.id, found=reranker.found, **given, **facts)


def _first_stage(store: Store, release: str) -> Artifact:
    """The release that is reranked; its encoder must not have learned from the train queries."""
    journal = Journal(store)
    taken = resolve(journal, release) if release else champion_release(journal)
    if taken is None:
        raise InputError("no release and no champion", "a release to rerank", "pass --release, or deploy one")
    encoder = load_exactly(store, "encoder", taken.inputs["encoder"])
    if encoder.manifest.recipe.step == "tune_encoder":
        raise InputError(
            f"release {taken.id}, whose encoder was tuned on the train queries",
            "a first stage that has not seen them: it finds nearly all that is relevant for them, and little for new queries",
            "pass --release with a release of the encoder that tuning began from",
        )
    return taken


def _train(
    release: Artifact, base: Path, params: TrainRerankerParams, tuning: TrainRerankerTuning, checkpoints: Any, folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation.reranker_training import TrainingOptions, make_reranker
    from pipelines.models.reranker_card import CARD

    options = TrainingOptions(
        **params.model_dump(exclude={"release", "base"}), **tuning.model_dump(), base=params.base, folder=base
    )
    card, facts = make_reranker(release, options, checkpoints, folder)
    (folder / CARD).write_text(json.dumps(card.model_dump(), indent=1), encoding="utf-8")
    return facts
