"""A reranker from a release and its corpus: lists from the first stage, training, and weights fitted on dev queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.evaluation.reranker_fit import Candidates, FittedFusion, first_stage, fit_fusion
from pipelines.evaluation.training_queries import TrainingData, dev_ndcg, training_data
from pipelines.logs import log
from pipelines.models.folder import positions
from pipelines.models.reranker_card import MODEL, Fusion, RerankerCard
from pipelines.models.sources import licence_of
from pipelines.models.training.checkpoints import TrainingCheckpoints
from pipelines.models.training.cross_encoder import CrossEncoder
from pipelines.models.training.examples import RankedList, ranked_lists
from pipelines.models.training.trainer import Curve, Precision, Schedule
from pipelines.retrieval.release import load_release
from pipelines.retrieval.run import Ranking
from pipelines.store.artifacts import Artifact, load_exactly
from pipelines.wording import signed, value


@dataclass(frozen=True)
class TrainingOptions:
    """What `train_reranker` is told, and the folder of its base."""

    base: str
    folder: Path
    max_length: int
    candidates: int
    negatives: int
    scale: float
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    dev_queries: int
    seed: int
    threads: int
    precision: Precision

    @property
    def tokens(self) -> int:
        """Of a query and a document together: no more than the base has positions for."""
        return min(self.max_length, positions(self.folder))

    @property
    def schedule(self) -> Schedule:
        return Schedule(
            self.epochs, self.batch_size, self.learning_rate, self.patience, self.seed, self.threads, self.precision
        )


def make_reranker(
    release: Artifact, options: TrainingOptions, checkpoints: TrainingCheckpoints, folder: Path
) -> tuple[RerankerCard, dict[str, Any]]:
    """Train a cross-encoder and write its files; gives its card and the facts of its manifest.

    Args:
        release: whose ranking is the first stage.
        options: of the training.
        checkpoints: of this training.
        folder: where the model's files go, in a folder of their own.

    Raises:
        InputError: the corpus has no judgments to learn from, or the first stage finds no relevant document or no other.
    """
    corpus = load_exactly(release.store, "corpus", release.inputs["corpus"])
    data = training_data(corpus, most_dev=options.dev_queries)
    loaded = load_release(release.store, release.id, options.threads)
    asked = {query.id: query.text for query in data.training} | {query.id: query.text for query in data.dev}
    found = first_stage(loaded, asked, options.candidates)
    lists = _lists(data, found, options)
    candidates = Candidates(data, {query.id: found[query.id] for query in data.dev})
    model = CrossEncoder(options.folder, options.tokens)
    even = Fusion(first_stage_weight=0.5, reranker_weight=0.5, scale=options.scale)
    curve = model.train(
        lists,
        data.texts,
        float(np.mean(dev_ndcg(data, candidates.found))),
        lambda: float(candidates.ndcg(candidates.scored(model), even).mean()),
        options.schedule,
        options.scale,
        checkpoints,
    )
    fitted = fit_fusion(candidates, candidates.scored(model), options.scale)
    model.save(folder / MODEL)
    return _card(options, curve, fitted), _facts(data, lists, curve, fitted)


def _lists(data: TrainingData, found: Mapping[str, Ranking], options: TrainingOptions) -> list[RankedList]:
    lists = ranked_lists(data.training, found, options.negatives, options.seed)
    if not lists:
        raise InputError(
            f"{len(data.training)} training queries, for which the first {options.candidates} documents are all of one kind",
            "relevant documents among them, and others",
            "raise --candidates, or judge more",
        )
    log().info("training", lists=len(lists), queries=len(data.training), dev_queries=len(data.dev))
    return lists


def _card(options: TrainingOptions, curve: Curve, fitted: FittedFusion) -> RerankerCard:
    return RerankerCard(
        base=options.base,
        licence=licence_of(options.folder),
        max_length=options.tokens,
        fusion=fitted.fusion,
        candidates=options.candidates,
        scores=curve.dev,
        seed=options.seed,
    )


def _facts(data: TrainingData, lists: list[RankedList], curve: Curve, fitted: FittedFusion) -> dict[str, Any]:
    gain = fitted.gain
    better = "better than" if (gain.low or 0) > 0 else "not better beyond chance than"
    sentence = (
        f"On {len(data.dev):,} dev queries {better} the first stage alone: nDCG@10 {signed(gain.mean)} "
        f"[{signed(gain.low)}, {signed(gain.high)}] over {value(fitted.first_stage)}. Dev queries chose the epoch, so test "
        "queries decide."
    )
    return {
        "first_stage_ndcg10": round(fitted.first_stage, 6),
        "ndcg10": round(curve.best, 6),
        "gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "lists": len(lists),
        "missed": sum(len(query.relevant) for query in data.training) - len(lists),
        "training_queries": len(data.training),
        "dev_queries": len(data.dev),
        "sentence": sentence,
        "loss": curve.loss,
    }
