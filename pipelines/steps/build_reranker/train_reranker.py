"""train_reranker: a cross-encoder learns from train queries to correct the order of a release."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.logs import log
from pipelines.models.sources import MINILM
from pipelines.store.artifacts import Artifact, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

VERSION = 1
INPUTS = {"release", "candidates_from", "base"}
"""Params that enter the recipe by what they name."""


class TrainRerankerParams(Params):
    release: str = Field("", description="Release whose ranking is the first stage; empty: the champion")
    candidates_from: str = Field(
        "",
        description="Release that finds the documents to learn from; empty: the same, or, where its encoder was tuned on train "
        "queries, the last champion whose was not",
    )
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
    over_known: float | None = None
    """The same over the known queries alone: training queries that are like the dev query, and what is relevant for them."""
    over_known_low: float | None = None
    over_known_high: float | None = None
    lists: int
    """Relevant documents that the first stage found for training queries, each with its negatives."""
    missed: int
    """Relevant documents that it did not find."""
    training_queries: int
    dev_queries: int
    sentence: str
    no_gain: bool
    """Nothing to release: the weights that rank the dev queries best leave the reranker out, or the known queries alone rank
    them better beyond chance."""
    note: str
    """What becomes the dag run's note."""
    found: bool


def train_reranker(params: TrainRerankerParams, tuning: TrainRerankerTuning) -> TrainRerankerResult:
    """Train on what the release's first stage finds for train queries; the epoch and the weights are chosen by dev queries."""
    from pipelines.evaluation.reranker_training import first_stages
    from pipelines.models.folder import read_folder
    from pipelines.models.reranker_card import card_of
    from pipelines.models.sources import model_folder
    from pipelines.models.training.checkpoints import TrainingCheckpoints
    from pipelines.models.training.cross_encoder import check_base
    from pipelines.models.training.trainer import check_installed
    from pipelines.projections.mlflow_training import show_training

    check_installed()
    base = read_folder(model_folder(params.base)).model
    check_base(base, params.base)
    store = open_store()
    release, unseen = first_stages(Journal(store), params.release, params.candidates_from)
    recipe = _recipe(params, release, unseen, base)
    checkpoints = TrainingCheckpoints(store, recipe.id)
    reranker = produce(
        store, recipe, lambda folder: _train(release, unseen, base, params, tuning, checkpoints, folder), tuning.model_dump()
    )
    checkpoints.remove()
    card = card_of(reranker)
    show_training(reranker, card.scores, card.licence)
    facts = {name: value for name, value in reranker.facts.items() if name in TrainRerankerResult.model_fields}
    log().info("reranker", sentence=facts["sentence"])
    over_known = facts.get("over_known_high")  # none of rerankers that were trained before it was measured
    no_gain = card.fusion.reranker_weight == 0 or (over_known is not None and over_known < 0)
    given = {"release": release.id, "index": release.inputs["index"], "no_gain": no_gain, "note": facts["sentence"]}
    return TrainRerankerResult(reranker=reranker.id, found=reranker.found, **given, **facts)


def _recipe(params: TrainRerankerParams, release: Artifact, unseen: Artifact, base: Path) -> Recipe:
    """All that the reranker depends on: the params, both releases, and the files of its base."""
    inputs = {"release": release.id, "corpus": release.inputs["corpus"]}
    inputs |= {"candidates_from": unseen.id} if unseen.id != release.id else {}
    names = {"weights": "model.safetensors", "tokenizer": "tokenizer.json", "config": "config.json"}
    inputs |= {name: digest_file(base / file) for name, file in names.items()}
    semantic = params.recipe_params(INPUTS)
    return Recipe(kind="reranker", step="train_reranker", version=VERSION, inputs=inputs, params=semantic)


def _train(
    release: Artifact,
    unseen: Artifact,
    base: Path,
    params: TrainRerankerParams,
    tuning: TrainRerankerTuning,
    checkpoints: Any,
    folder: Path,
) -> dict[str, Any]:
    from pipelines.evaluation.reranker_training import TrainingOptions, make_reranker
    from pipelines.models.reranker_card import CARD

    options = TrainingOptions(
        **params.model_dump(exclude={"release", "candidates_from", "base"}),
        **tuning.model_dump(),
        base=params.base,
        folder=base,
    )
    card, facts = make_reranker(release, unseen, options, checkpoints, folder)
    (folder / CARD).write_text(json.dumps(card.model_dump(), indent=1), encoding="utf-8")
    return facts
