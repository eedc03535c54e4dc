"""A tuned encoder from a base and a corpus: pairs with hard negatives, training, and the encoder's files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.evaluation.training_queries import DEPTH, TrainingData, dev_measure, dev_ndcg, dev_values, nearest, training_data
from pipelines.logs import log
from pipelines.models.encoder import Fingerprint
from pipelines.models.folder import ModelFolder, layers_digest, read_folder
from pipelines.models.training.bi_encoder import BiEncoder
from pipelines.models.training.checkpoints import TrainingCheckpoints
from pipelines.models.training.examples import pairs
from pipelines.models.training.trainer import Curve, Schedule
from pipelines.models.variants import make_encoder
from pipelines.statistics.intervals import Interval, interval
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest_file
from pipelines.wording import signed, value


@dataclass(frozen=True)
class TuningOptions:
    """What `tune_encoder` is told."""

    schedule: Schedule
    max_length: int
    scale: float
    depth: int
    """Of the documents nearest to a query by the base, those that a hard negative is drawn from."""
    documents: int
    dev_queries: int
    variants: Sequence[str]
    calibration: int
    """Texts on which variants are measured, and int8 is calibrated."""


def make_tuned_encoder(
    read: ModelFolder, corpus: Artifact, options: TuningOptions, checkpoints: TrainingCheckpoints, folder: Path
) -> dict[str, Any]:
    """Train, write the encoder's files, and give the facts of its manifest.

    Args:
        read: the base, as its folder says of itself.
        corpus: with judged train queries.
        options: of the training.
        checkpoints: of this training.
        folder: where the encoder's files go.

    Raises:
        InputError: no judgments to learn from, nothing to tell relevant documents from, or a base that can't be trained.
    """
    data = training_data(corpus, options.documents, options.dev_queries)
    model = BiEncoder(read, options.max_length)
    asked = {query.id: query.text for query in data.training} | {query.id: query.text for query in data.dev}
    found = nearest(model.encode, data.texts, asked, max(options.depth, DEPTH))
    negatives = {query.id: found[query.id][: options.depth] for query in data.training}
    examples = pairs(data.training, negatives, options.schedule.seed)
    if not examples:
        raise InputError(
            f"{len(data.training)} training queries, for which all of {len(data.texts)} documents are relevant",
            "documents of both kinds",
            "ingest more documents",
        )
    log().info("training", pairs=len(examples), queries=len(data.training), dev_queries=len(data.dev))
    before = dev_ndcg(data, {query.id: found[query.id][:DEPTH] for query in data.dev})
    curve = model.train(
        examples,
        data.texts,
        float(np.mean(before)),
        lambda: dev_measure(model.encode, data),
        options.schedule,
        options.scale,
        checkpoints,
    )
    gain = interval([after - base for after, base in zip(dev_values(model.encode, data), before, strict=True)])
    texts = list(data.texts.values())[: options.calibration]
    with TemporaryDirectory(prefix="ratchet-tuned-") as scratch:
        model.save(Path(scratch))
        tuned = read_folder(Path(scratch))
        fingerprint = Fingerprint(
            weights=digest_file(tuned.model / "model.safetensors"),
            tokenizer=digest_file(tuned.model / "tokenizer.json"),
            pooling=tuned.pooling,
            max_length=options.max_length,
            query_prefix=tuned.query_prefix,
            document_prefix=tuned.document_prefix,
            lower_case=tuned.lower_case,
            layers=layers_digest(tuned.layers),
        )
        card = make_encoder(tuned, tuned.model / "tokenizer.json", fingerprint, options.variants, texts, folder)
    described = {"variants": list(card.variants), "dimensions": card.dimensions}
    deviation = card.variants["onnx-fp32"].deviation
    return {**described, "deviation": deviation, **_facts(data, len(examples), curve, gain)}


def _facts(data: TrainingData, examples: int, curve: Curve, gain: Interval) -> dict[str, Any]:
    better = "better than" if (gain.low or 0) > 0 else "not better beyond chance than"
    base = curve.dev[0][1]
    return {
        "base_ndcg10": round(base, 6),
        "ndcg10": round(curve.best, 6),
        "gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "pairs": examples,
        "training_queries": len(data.training),
        "dev_queries": len(data.dev),
        "sentence": f"On {len(data.dev):,} dev queries {better} its base: nDCG@10 {value(curve.best)}, {signed(gain.mean)} "
        f"[{signed(gain.low)}, {signed(gain.high)}] over {value(base)}. Dev queries chose the epoch, so test queries decide.",
        "curve": curve.dev,
        "loss": curve.loss,
    }
