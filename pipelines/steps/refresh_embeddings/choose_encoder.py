"""choose_encoder: the fastest variant of an encoder that ranks as fp32 does and is batch-invariant."""

import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 4


class ChooseEncoderParams(Params):
    encoder: str = Field(description="Encoder id, exported with the variants to choose from")
    corpus: str = Field(description="Corpus whose documents are encoded; its train queries and titles are asked")
    fidelity: float = Field(0.995, gt=0, le=1, description="Least agreement with fp32's top ten, at its lower bound")
    retention: float = Field(0.99, gt=0, le=1, description="Part of fp32's nDCG@10 that it must not be significantly below")
    no_relevant: Literal["exclude", "zero"] = Field(
        "exclude", description="A judged query without a relevant document: leave it out, or count it with 0"
    )
    documents: int = Field(10_000, ge=0, description="Documents at most: the judged, and others drawn by seed; 0: all")
    queries: int = Field(2000, ge=2, description="Queries at most: judged train queries, then titles")
    query_variant: str = Field(
        "", description="Variant that will encode queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )
    threads: int = Field(0, ge=0, le=256, description="Threads of the encoder; 0: OMP_NUM_THREADS, else one for each core")
    batch_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens in one batch")


class ChooseEncoderTuning(Tuning):
    memory: bool = Field(True, description="Measure each variant's memory, in a process of its own")


class ChooseEncoderResult(Result):
    encoder: str
    variant: str
    """The fastest variant that may be taken: pass it to plan as --variant."""
    query_variant: str
    """The variant of the queries that it was measured with: pass it to index and assemble as --query-variant."""
    report: str
    docs_per_s: float
    speedup: float
    """Over onnx-fp32, in the same run."""
    fidelity: float
    fidelity_low: float
    overlap_at_10: float
    retention: float | None
    """None, as its bounds `low` and `high`, where no train query is judged."""
    low: float | None
    high: float | None
    queries: int
    documents: int
    """How many were encoded; the index will hold all of the corpus."""
    choosing_s: float
    """Seconds that the choice took when it was made."""
    eligible: list[str]
    sentence: str
    found: bool


def choose_encoder(params: ChooseEncoderParams, tuning: ChooseEncoderTuning) -> ChooseEncoderResult:
    """Measure every variant that can run here and choose the fastest that ranks as fp32 does."""
    from pipelines.evaluation.variant_rule import machine
    from pipelines.projections.mlflow_training import show_choice
    from pipelines.reports.choice import speed_against_fidelity
    from pipelines.retrieval.champion_variants import default_variants

    store = open_store()
    encoder, corpus = load(store, "encoder", params.encoder), load(store, "corpus", params.corpus)
    query_variant = params.query_variant or default_variants(Journal(store), encoder.id).query
    inputs = {"encoder": encoder.id, "corpus": corpus.id, "machine": machine()}
    semantic = params.recipe_params({"encoder", "corpus"}) | {"query_variant": query_variant}
    recipe = Recipe(kind="report", step="choose_encoder", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        return _choose(encoder, corpus, params, query_variant, tuning.memory, folder)

    report = produce(store, recipe, build, tuning.model_dump())
    show_choice(report, lambda: speed_against_fidelity(report.facts, params.fidelity, "documents"))
    return ChooseEncoderResult(encoder=encoder.id, report=report.id, found=report.found, **report.facts["chosen"])


def _choose(
    encoder: Artifact, corpus: Artifact, params: ChooseEncoderParams, query_variant: str, memory: bool, folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation import variant_choice as choice
    from pipelines.evaluation.variant_rule import REFERENCE, Rule, fastest, loadable
    from pipelines.models.encoder import card_of, load_encoder
    from pipelines.reports.choice import choice_sentence, write_choice_report

    started, batch = time.monotonic(), params.batch_tokens
    rule = Rule(params.fidelity, params.retention)
    sample = choice.draw_sample(corpus, params.documents, params.queries, params.no_relevant)
    loaded, unable = loadable(list(card_of(encoder).variants), partial(load_encoder, encoder, threads=params.threads))
    if query_variant not in loaded:
        load_encoder(encoder, query_variant)  # says why it can't run here
    measured = choice.measure(loaded, sample, query_variant, batch, rule)
    if memory:
        texts = [document.text for document in sample.documents[:256]]
        measured = [replace(row, memory_mb=choice.peak_memory_mb(encoder, row.variant, texts, batch)) for row in measured]
    best, table = fastest(measured)
    exact = next(row for row in measured if row.variant == REFERENCE)
    speedup = best.docs_per_s / exact.docs_per_s
    table = [*table, *unable]
    for row in table:
        event = f"not taken: {row.reason}" if row.reason else "chosen"
        log().info(event, variant=row.variant, docs_per_s=round(row.docs_per_s, 1), fidelity=round(row.fidelity, 5))
    sentence = choice_sentence(best, sample.size, speedup)
    write_choice_report(folder, encoder.id, corpus, sentence, table, sample, query_variant, rule)
    keys = ("variant", "docs_per_s", "fidelity", "fidelity_low", "overlap_at_10", "retention", "low", "high")
    chosen = {
        **{key: getattr(best, key) for key in keys},
        "query_variant": query_variant,
        "speedup": speedup,
        "queries": len(sample.queries),
        "documents": len(sample.documents),
        "choosing_s": round(time.monotonic() - started, 2),
        "eligible": [row.variant for row in table if row.reason in ("", "slower")],
        "sentence": sentence,
    }
    return {"chosen": chosen, "judged": len(sample.topics.queries), "table": [asdict(row) for row in table]}
