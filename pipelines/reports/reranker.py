"""The report of `choose_reranker`: the measurements of each variant, which was taken and why the others were not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.evaluation.reranker_choice import PairSample
    from pipelines.evaluation.variant_rule import Rule, VariantMeasurement
    from pipelines.store.artifacts import Artifact

COLUMNS: list[tuple[str, Any]] = [
    ("variant", "text"), ("pairs a second", "text"), ("50 pairs of 64 tokens, ms", "text"), ("fidelity", "text"),
    ("at least", "text"), ("same top ten", "text"), ("nDCG@10 kept, 95 % interval", "text"), ("change by the batch", "text"),
    ("", "text"),
]  # fmt: skip
LATENCIES: list[tuple[str, Any]] = [
    ("pairs of 64 tokens", "count"), ("p50, ms", "text"), ("p95, ms", "text"), ("p99, ms", "text"), ("measured", "count"),
]  # fmt: skip


@dataclass(frozen=True)
class RerankerChoice:
    """What was taken, and what was measured."""

    best: "VariantMeasurement"
    speedup: float
    """Over fp32."""
    forced: str
    """Why fp32 is taken although it may not be; mostly empty."""
    table: Sequence["VariantMeasurement"]
    latency_ms: Mapping[str, float]
    percentiles: Sequence[Mapping[str, float]]


def write_reranker_report(
    folder: Path, variants: "Artifact", corpus: "Artifact", choice: RerankerChoice, sample: "PairSample", rule: "Rule"
) -> str:
    """Write `report.html` and `report.json`; returns the choice in one sentence."""
    measured = [row for row in choice.table if row.docs_per_s]
    points = [(row.variant, row.docs_per_s, row.fidelity_low) for row in measured]
    axes = ("pairs a second", "fidelity, lower bound")
    caption = (
        f"Further right is faster, higher is nearer to fp32's order. Below the dashed line, {rule.fidelity:g}, none is taken."
    )
    picture = Picture(
        "Speed against fidelity", caption, charts.tradeoff(points, choice.best.variant, rule.fidelity, axes), points
    )
    sentence = _sentence(choice, sample)
    judged = sum(any(asked.grades.values()) for asked in sample.queries)
    method = [
        f"Each variant scored the same pairs, in turns: {sample.size}, nearest by the index. The queries are judged train "
        "queries, then titles cut to their median length; no test query is asked.",
        "Fidelity is nDCG@10 with fp32's own ranking of the candidates as relevance, both ranked by the joint score of first "
        "stage and reranker, as they will be served. A variant may be taken if the lower bound of its 95 % interval is at "
        f"least {rule.fidelity:g}, if a score does not depend on the other pairs of a batch, and if the nDCG@10 that it keeps "
        f"is not significantly below {rule.retention:g} of fp32's. The fastest of them is taken.",
        f"nDCG@10 kept: over {judged:,} judged train queries; its interval is by a paired bootstrap of the queries."
        if judged
        else "nDCG@10 kept was not measured: no train query is judged.",
    ]
    report = Report(
        "reranker",
        f"variants of reranker {variants.inputs.get('reranker', variants.id)}",
        "chosen",
        sentence,
        [picture],
        [
            ReportTable("Variants, fastest first", COLUMNS, [_cells(row, choice) for row in choice.table]),
            ReportTable(f"Latency of {choice.best.variant}", LATENCIES, [_latency(row) for row in choice.percentiles]),
        ],
        method=method,
        provenance={"reranker_variants": variants.id, "corpus": corpus.id},
    )
    write_report(folder, report)
    return sentence


def _sentence(choice: RerankerChoice, sample: "PairSample") -> str:
    best = choice.best
    if choice.forced:
        return f"{best.variant} is taken: {choice.forced}."
    return (
        f"{best.variant} ranks as fp32 does (fidelity {best.fidelity:.4f}, at least {best.fidelity_low:.4f}, over "
        f"{sample.size}) and scores {best.docs_per_s:,.0f} pairs a second, {choice.speedup:.2f} times as many as onnx-fp32."
    )


def _cells(row: "VariantMeasurement", choice: RerankerChoice) -> list[Any]:
    if not row.docs_per_s:
        return [row.variant, *["–"] * 7, row.reason]
    retained = "–" if row.retention is None else f"{_percent(row.retention)}, {_percent(row.low)} to {_percent(row.high)}"
    return [
        row.variant, f"{row.docs_per_s:,.0f}", f"{choice.latency_ms[row.variant]:.1f}", f"{row.fidelity:.4f}",
        f"{row.fidelity_low:.4f}", _percent(row.overlap_at_10), retained, f"{row.mates:.1e}",
        f"chosen; {row.reason}".removesuffix("; ") if row is choice.best else row.reason,
    ]  # fmt: skip


def _latency(row: Mapping[str, float]) -> list[Any]:
    return [int(row["pairs"]), *(f"{row[name]:.1f}" for name in ("p50", "p95", "p99")), int(row["repetitions"])]


def _percent(part: float | None) -> str:
    return f"{100 * (part or 0):.2f} %"
