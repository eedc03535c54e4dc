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
    semantic = params.recipe_params({"encoder", "corpus"})
    recipe = Recipe(kind="report", step="choose_encoder", version=VERSION, inputs=inputs, params=semantic)
    report = produce(store, recipe, lambda folder: _choose(encoder, corpus, params, tuning.memory, folder), tuning.model_dump())
    return ChooseEncoderResult(encoder=encoder.id, report=report.id, found=report.found, **report.facts["chosen"])


def _machine() -> str:
    """A digest of architecture, cores and CPU features, which decide how fast a variant is and so which is chosen."""
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
    judged = {document for grades in topics.qrels.values() for document in grades}
    texts = choice.sample_documents(documents(corpus), judged, params.documents)
    loaded, unable = choice.loadable(encoder, list(card_of(encoder).variants), params.threads)
    measured = choice.measure(loaded, texts, topics, params.batch_tokens, params.retention)
    if memory:
        sample = [document.text for document in texts[:256]]
        measured = [
            replace(row, memory_mb=choice.peak_memory_mb(encoder, row.variant, sample, params.batch_tokens)) for row in measured
        ]
    eligible = sorted((row for row in measured if not row.reason), key=lambda row: -row.docs_per_s)
    if not eligible:
        raise InputError(f"encoder {encoder.id}, no variant of which may be taken: {measured[0].reason}", "one", "export again")
    best = eligible[0]
    table = [row if row.reason or row is best else replace(row, reason="slower") for row in [*measured, *unable]]
    for row in table:
        event = f"not taken: {row.reason}" if row.reason else "chosen"
        log().info(event, variant=row.variant, docs_per_s=round(row.docs_per_s, 1), retention=round(row.retention, 5))
    exact = next(row for row in measured if row.variant == choice.REFERENCE)
    names = [row.variant for row in eligible]
    chosen = {"variant": best.variant, "docs_per_s": best.docs_per_s, "speedup": best.docs_per_s / exact.docs_per_s}
    chosen |= {"retention": best.retention, "low": best.low, "high": best.high, "eligible": names}
    write_choice_report(folder, encoder.id, corpus, table, len(topics.queries), len(texts))
    rows = [{key: value for key, value in asdict(row).items() if key != "scores"} for row in table]
    return {"chosen": chosen, "queries": len(topics.queries), "documents": len(texts), "table": rows}
