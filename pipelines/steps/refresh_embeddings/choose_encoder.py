"""choose_encoder: the fastest variant of an encoder that ranks as well as the original and is batch-invariant."""

import os
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, canonical, digest

VERSION = 3


class ChooseEncoderParams(Params):
    encoder: str = Field(description="Encoder id, exported with the variants to choose from")
    corpus: str = Field(description="Corpus whose documents are encoded and whose judged queries are asked, all of them")
    retention: float = Field(0.995, gt=0, le=1, description="Least part of the nDCG@10 of onnx-fp32 that must be kept")
    no_relevant: Literal["exclude", "zero"] = Field(
        "exclude", description="A judged query without a relevant document: leave it out, or count it with 0"
    )
    documents: int = Field(10_000, ge=0, description="Documents at most: the judged, and others drawn by seed; 0: all")
    threads: int = Field(0, ge=0, le=256, description="Threads of the encoder; 0: one for each core")
    batch_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens in one batch")


class ChooseEncoderTuning(Tuning):
    memory: bool = Field(True, description="Measure each variant's memory, in a process of its own")


class ChooseEncoderResult(Result):
    encoder: str
    variant: str
    """The fastest variant that may be taken: pass it to plan as --variant."""
    report: str
    docs_per_s: float
    speedup: float
    """Over onnx-fp32, in the same run."""
    retention: float
    low: float
    high: float
    eligible: list[str]
    found: bool


def choose_encoder(params: ChooseEncoderParams, tuning: ChooseEncoderTuning) -> ChooseEncoderResult:
    """Measure every variant that can run here and choose the fastest that ranks as well as the original."""
    store = open_store()
    encoder, corpus = load(store, "encoder", params.encoder), load(store, "corpus", params.corpus)
    inputs = {"encoder": encoder.id, "corpus": corpus.id, "machine": _machine()}
    asked = params.recipe_params({"encoder", "corpus"})
    recipe = Recipe(kind="report", step="choose_encoder", version=VERSION, inputs=inputs, params=asked)
    report = produce(store, recipe, lambda folder: _choose(encoder, corpus, params, tuning.memory, folder), tuning.model_dump())
    return ChooseEncoderResult(encoder=encoder.id, report=report.id, found=report.found, **report.facts["chosen"])


def _machine() -> str:
    """What decides how fast a variant is here: another machine makes its own choice."""
    from pipelines.models.backends import cpu_features

    return digest(canonical([platform.machine(), os.cpu_count(), sorted(cpu_features())]))[:12]


def _choose(encoder: Artifact, corpus: Artifact, params: ChooseEncoderParams, memory: bool, folder: Path) -> dict[str, Any]:
    from pipelines.corpus.documents import documents
    from pipelines.evaluation import variant_choice as choice
    from pipelines.evaluation.qrels import judged_topics
    from pipelines.models.encoder import card_of
    from pipelines.reports.choice import write_choice_report

    topics = judged_topics(corpus, "all", params.no_relevant)
    if not topics.queries:
        raise InputError(f"corpus {corpus.id} without judged queries", "judgments to rank by", "ingest it with --qrels")
    judged = {one for grades in topics.qrels.values() for one in grades}
    texts = choice.sample_documents(documents(corpus), judged, params.documents)
    loaded, unable = choice.loadable(encoder, list(card_of(encoder).variants), params.threads)
    found = choice.measure(loaded, texts, topics, params.batch_tokens, params.retention)
    if memory:
        some = [one.text for one in texts[:256]]
        found = [
            replace(one, memory_mb=choice.peak_memory_mb(encoder, one.variant, some, params.batch_tokens)) for one in found
        ]
    eligible = sorted((one for one in found if not one.reason), key=lambda one: -one.docs_per_s)
    if not eligible:
        raise InputError(f"encoder {encoder.id}, no variant of which may be taken: {found[0].reason}", "one", "export again")
    best = eligible[0]
    table = [one if one.reason or one is best else replace(one, reason="slower") for one in [*found, *unable]]
    for one in table:
        said = f"not taken: {one.reason}" if one.reason else "chosen"
        log().info(said, variant=one.variant, docs_per_s=round(one.docs_per_s, 1), retention=round(one.retention, 5))
    exact = next(one for one in found if one.variant == choice.REFERENCE)
    names = [one.variant for one in eligible]
    chosen = {"variant": best.variant, "docs_per_s": best.docs_per_s, "speedup": best.docs_per_s / exact.docs_per_s}
    chosen |= {"retention": best.retention, "low": best.low, "high": best.high, "eligible": names}
    write_choice_report(folder, encoder.id, corpus, table, len(topics.queries), len(texts))
    rows = [{key: value for key, value in asdict(one).items() if key != "scores"} for one in table]
    return {"chosen": chosen, "queries": len(topics.queries), "documents": len(texts), "table": rows}
