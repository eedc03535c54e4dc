"""A reranker from a release and its corpus: lists from the first stage, training, and weights fitted on dev queries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.evaluation.reranker_fit import Candidates, FittedFusion, first_stage, fit_fusion, known_queries_alone
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
from pipelines.store.journal import Journal
from pipelines.store.releases import champion_release, is_tuned, last_untuned, resolve
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


def first_stages(journal: Journal, named: str, candidates_from: str) -> tuple[Artifact, Artifact]:
    """The release that is reranked, and the one that finds what is learned from, which has not seen the train queries.

    Args:
        journal: with the champions.
        named: the release to rerank; empty: the champion.
        candidates_from: the other one; empty: the same, or, where its encoder was tuned, the last champion whose was not.

    Raises:
        InputError: there is no such release, or the other one's encoder was tuned, too.
    """
    release = resolve(journal, named) if named else champion_release(journal)
    if release is None:
        raise InputError("no release and no champion", "a release to rerank", "pass --release, or deploy one")
    if candidates_from:
        unseen: Artifact | None = resolve(journal, candidates_from)
    else:
        unseen = last_untuned(journal) if is_tuned(release) else release
    if unseen is None or is_tuned(unseen):
        raise InputError(
            f"release {(unseen or release).id}, whose encoder was tuned on the train queries",
            "one that has not seen them to find what is learned from: this one finds nearly all that is relevant for them, and "
            "little for new queries",
            "pass --candidates-from with a release of the encoder that tuning began from",
        )
    if unseen.id != release.id:
        log().info("candidates of training queries", by=unseen.id, of=release.id)
    return release, unseen


def make_reranker(
    release: Artifact, unseen: Artifact, options: TrainingOptions, checkpoints: TrainingCheckpoints, folder: Path
) -> tuple[RerankerCard, dict[str, Any]]:
    """Train a cross-encoder and write its files; gives its card and the facts of its manifest.

    Args:
        release: whose ranking is the first stage; dev queries are asked of it.
        unseen: the same, or, where its encoder was tuned on the training queries, another that finds their candidates.
        options: of the training.
        checkpoints: of this training.
        folder: where the model's files go, in a folder of their own.

    Raises:
        InputError: the corpus has no judgments to learn from, or the first stage finds no relevant document or no other.
    """
    corpus = load_exactly(release.store, "corpus", release.inputs["corpus"])
    data = training_data(corpus, most_dev=options.dev_queries)
    loaded = load_release(release.store, release.id, options.threads)
    by = loaded if unseen.id == release.id else load_release(unseen.store, unseen.id, options.threads)
    found = first_stage(by, {query.id: query.text for query in data.training}, options.candidates)
    lists = _lists(data, _within(data.texts, found), options)
    candidates = Candidates(data, first_stage(loaded, {query.id: query.text for query in data.dev}, options.candidates))
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
    known = known_queries_alone(loaded.encoder, data)
    fitted = fit_fusion(candidates, candidates.scored(model), options.scale, known)
    model.save(folder / MODEL)
    return _card(options, curve, fitted), _facts(data, lists, curve, fitted)


def _within(texts: Collection[str], found: Mapping[str, Ranking]) -> dict[str, Ranking]:
    """The rankings without documents that the corpus does not have, which another release of another day may find."""
    return {name: [row for row in ranking if row[0] in texts] for name, ranking in found.items()}


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
    gain, over = fitted.gain, fitted.over_known
    better = "better than" if (gain.low or 0) > 0 else "not better beyond chance than"
    sentence = (
        f"On {len(data.dev):,} dev queries {better} the first stage alone: nDCG@10 {signed(gain.mean)} "
        f"[{signed(gain.low)}, {signed(gain.high)}] over {value(fitted.first_stage)}; {signed(over.mean)} "
        f"[{signed(over.low)}, {signed(over.high)}] over the known queries alone. Dev queries chose the epoch, so test queries "
        "decide."
    )
    return {
        "first_stage_ndcg10": round(fitted.first_stage, 6),
        "ndcg10": round(curve.best, 6),
        "gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "over_known": over.mean,
        "over_known_low": over.low,
        "over_known_high": over.high,
        "lists": len(lists),
        "missed": sum(len(query.relevant) for query in data.training) - len(lists),
        "training_queries": len(data.training),
        "dev_queries": len(data.dev),
        "sentence": sentence,
        "loss": curve.loss,
    }
