"""choose_reranker: the fastest variant of a reranker that ranks as fp32 does and is batch-invariant."""

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.retrieval.release import Parts

VERSION = 2


class ChooseRerankerParams(Params):
    reranker_variants: str = Field(description="Id of the variants to choose from, as quantize_reranker prints it")
    index: str = Field(description="Index id: its nearest documents to train queries and titles are scored")
    take: str = Field("", description="Variant to take by name, if it may be taken; empty: the fastest that may be")
    fidelity: float = Field(0.995, gt=0, le=1, description="Least agreement with fp32's top ten, at its lower bound")
    retention: float = Field(0.99, gt=0, le=1, description="Part of fp32's nDCG@10 that it must not be significantly below")
    queries: int = Field(2000, ge=2, description="Queries at most: judged train queries, then titles")
    query_variant: str = Field(
        "", description="Encoder variant of queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )
    threads: int = Field(0, ge=0, le=256, description="Threads of the reranker; 0: one for each core")


class ChooseRerankerTuning(Tuning):
    latency_s: float = Field(15, ge=0, le=600, description="Seconds that each latency is measured, about; three times at least")


class ChooseRerankerResult(Result):
    reranker_variants: str
    variant: str
    report: str
    """Pass it to assemble as --reranker."""
    pairs_per_s: float
    speedup: float
    """Over onnx-fp32, in the same run."""
    fidelity: float
    fidelity_low: float
    overlap_at_10: float
    retention: float | None
    """None, as its bounds `low` and `high`, where no train query is judged."""
    low: float | None
    high: float | None
    latency_ms: float
    """The median of 50 pairs of 64 tokens."""
    queries: int
    choosing_s: float
    """Seconds that the choice took when it was made."""
    eligible: list[str]
    sentence: str
    found: bool


def choose_reranker(params: ChooseRerankerParams, tuning: ChooseRerankerTuning) -> ChooseRerankerResult:
    """Measure every variant of a reranker that can run here and choose the fastest that ranks as fp32 does."""
    from pipelines.evaluation.variant_rule import machine
    from pipelines.models.reranker import KIND
    from pipelines.projections.mlflow_training import show_choice
    from pipelines.reports.choice import speed_against_fidelity
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import parts_of_index

    store = open_store()
    variants, parts = load(store, KIND, params.reranker_variants), parts_of_index(store, params.index)
    query_variant = params.query_variant or default_variants(Journal(store), parts.encoder.id).query
    inputs = {KIND: variants.id, "index": parts.index.id, "machine": machine()}
    semantic = params.recipe_params({"reranker_variants", "index"}) | {"query_variant": query_variant}
    recipe = Recipe(kind="report", step="choose_reranker", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        return _choose(variants, parts, params, query_variant, tuning.latency_s, folder)

    report = produce(store, recipe, build, tuning.model_dump())
    show_choice(report, lambda: speed_against_fidelity(report.facts, params.fidelity, "pairs"))
    return ChooseRerankerResult(reranker_variants=variants.id, report=report.id, found=report.found, **report.facts["chosen"])


def _choose(
    variants: Artifact, parts: "Parts", params: ChooseRerankerParams, query_variant: str, latency_s: float, folder: Path
) -> dict[str, Any]:
    from pipelines.evaluation import reranker_choice as choice
    from pipelines.evaluation.variant_rule import REFERENCE, Rule, loadable
    from pipelines.models.reranker import card_of, check_probes, load_reranker
    from pipelines.reports.reranker import RerankerChoice, write_reranker_report

    started, card = time.monotonic(), card_of(variants)
    rule = Rule(params.fidelity, params.retention)
    loaded, unable = loadable(list(card.variants), partial(load_reranker, variants, threads=params.threads))
    for reranker in loaded.values():
        check_probes(f"reranker {variants.id}", reranker)
    sample = choice.draw_pairs(parts, query_variant, params.queries, card.trained.candidates)
    measured = choice.measure(loaded, sample, card.trained.fusion.telling_apart, rule, latency_s)
    best, table, forced = choice.taken(measured.rows, params.take)
    table = [*table, *unable]
    for row in table:
        event = "chosen" if row is best else f"not taken: {row.reason}"
        log().info(event, variant=row.variant, docs_per_s=round(row.docs_per_s, 1), fidelity=round(row.fidelity, 5))
    exact = next(row for row in measured.rows if row.variant == REFERENCE)
    percentiles = choice.percentiles(loaded[best.variant], sample, latency_s)
    chosen = RerankerChoice(best, best.docs_per_s / exact.docs_per_s, forced, table, measured.latency_ms, percentiles)
    sentence = write_reranker_report(folder, variants, parts.corpus, chosen, sample, rule)
    keys = ("variant", "fidelity", "fidelity_low", "overlap_at_10", "retention", "low", "high")
    facts = {
        **{key: getattr(best, key) for key in keys},
        "pairs_per_s": best.docs_per_s,
        "speedup": chosen.speedup,
        "latency_ms": measured.latency_ms[best.variant],
        "queries": len(sample.queries),
        "choosing_s": round(time.monotonic() - started, 2),
        "eligible": [row.variant for row in table if row.reason in ("", "slower", choice.NOT_NAMED, choice.UNSERVED)],
        "sentence": sentence,
    }
    return {
        "chosen": facts,
        "table": [asdict(row) for row in table],
        "latency_ms": dict(measured.latency_ms),
        "percentiles_ms": percentiles,
    }
