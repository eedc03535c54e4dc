"""The report of `choose_encoder`: the measurements of each variant, which was chosen and why the others were not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports import charts
from pipelines.reports.frame import Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.evaluation.automatic_variant import Measured
    from pipelines.evaluation.variant_choice import Sample
    from pipelines.evaluation.variant_rule import Rule, VariantMeasurement
    from pipelines.store.artifacts import Artifact

COLUMNS: list[tuple[str, Any]] = [
    ("variant", "text"), ("documents a second", "text"), ("fidelity", "text"), ("at least", "text"), ("same top ten", "text"),
    ("nDCG@10 kept, 95 % interval", "text"), ("change by the batch", "text"), ("peak memory, MB", "text"), ("", "text"),
]  # fmt: skip


def speed_against_fidelity(facts: Mapping[str, Any], least: float, unit: str) -> str:
    """The measured variants of a choice as SVG: further right is faster, higher is nearer to fp32's order.

    Args:
        facts: of the report of `choose_encoder` or `choose_reranker`.
        least: fidelity that a variant must reach at its lower bound.
        unit: what is encoded or scored, in the plural.
    """
    points = [(row["variant"], row["docs_per_s"], row["fidelity_low"]) for row in facts["table"] if row["docs_per_s"]]
    return charts.tradeoff(points, facts["chosen"]["variant"], least, (f"{unit} a second", "fidelity, lower bound"))


def choice_sentence(best: "VariantMeasurement", size: str, speedup: float) -> str:
    """The choice in one sentence."""
    return (
        f"{best.variant} ranks as fp32 does (fidelity {best.fidelity:.4f}, at least {best.fidelity_low:.4f}, over {size}) "
        f"and encodes {best.docs_per_s:,.0f} documents a second here, {speedup:.2f} times as many as onnx-fp32."
    )


def write_automatic_report(
    folder: Path, encoder: str, corpus: "Artifact", measured: "Measured | str", query_variant: str
) -> None:
    """Write the report of a choice that a plan made by itself; a sentence alone says why nothing was measured."""
    if isinstance(measured, str):
        provenance = {"encoder": encoder, "corpus": corpus.id}
        report = Report("choice", f"variants of encoder {encoder}", "not measured", measured, provenance=provenance)
        write_report(folder, report)
        return
    write_choice_report(
        folder, encoder, corpus, measured.sentence, measured.table, measured.sample, query_variant, measured.rule
    )


def write_choice_report(
    folder: Path,
    encoder: str,
    corpus: "Artifact",
    sentence: str,
    table: Sequence["VariantMeasurement"],
    sample: "Sample",
    query_variant: str,
    rule: "Rule",
) -> None:
    """Write `report.html` and `report.json`: the whole table, in its order."""
    judged = len(sample.topics.queries)
    method = [
        f"Documents were encoded by each variant, which took turns in one run, and queries by {query_variant}: {sample.size}. "
        "The queries are judged train queries, then titles cut to their median length; no test query is asked. Rankings are by "
        "exact search.",
        "Fidelity is nDCG@10 with fp32's own ranking as relevance: 1 where the first ten agree. A variant may be taken if the "
        f"lower bound of its 95 % interval is at least {rule.fidelity:g}, if its vectors do not depend on the other texts of a "
        "batch, and if the nDCG@10 that it keeps is not significantly "
        f"below {rule.retention:g} of fp32's. The fastest of them is chosen.",
        f"nDCG@10 kept: over {judged:,} judged train queries; its interval is by a paired bootstrap of the queries."
        if judged
        else "nDCG@10 kept was not measured: no train query is judged.",
    ]
    report = Report(
        "choice",
        f"variants of encoder {encoder}",
        "chosen",
        sentence,
        tables=[ReportTable("Variants, fastest first", COLUMNS, [_cells(row) for row in table])],
        method=method,
        provenance={"encoder": encoder, "corpus": corpus.id},
    )
    write_report(folder, report)


def _cells(row: "VariantMeasurement") -> list[Any]:
    if not row.docs_per_s:
        return [row.variant, *["–"] * 7, row.reason]
    retained = "–" if row.retention is None else f"{_percent(row.retention)}, {_percent(row.low)} to {_percent(row.high)}"
    return [
        row.variant, f"{row.docs_per_s:,.0f}", f"{row.fidelity:.4f}", f"{row.fidelity_low:.4f}", _percent(row.overlap_at_10),
        retained, f"{row.mates:.1e}", f"{row.memory_mb:,.0f}" if row.memory_mb else "–", row.reason or "chosen",
    ]  # fmt: skip


def _percent(part: float | None) -> str:
    return f"{100 * (part or 0):.2f} %"
