"""The report of `choose_encoder`: the measurements of each variant, which was chosen and why the others were not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports.frame import Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.evaluation.variant_choice import VariantMeasurement
    from pipelines.store.artifacts import Artifact

COLUMNS: list[tuple[str, Any]] = [
    ("variant", "text"), ("documents a second", "text"), ("nDCG@10 kept", "text"), ("95 % interval", "text"),
    ("largest change by the batch", "text"), ("least cosine to onnx-fp32", "value"), ("peak memory, MB", "text"),
    ("", "text"),
]  # fmt: skip


def write_choice_report(
    folder: Path, encoder: str, corpus: "Artifact", table: Sequence["VariantMeasurement"], queries: int, documents: int
) -> None:
    """Write `report.html` and `report.json`: the whole table, fastest first."""
    best = next(row for row in table if not row.reason)
    fastest_first = sorted(table, key=lambda row: -row.docs_per_s)
    sentence = (
        f"{best.variant} keeps {_percent(best.retention)} of the nDCG@10 of onnx-fp32 over {queries:,} queries "
        f"and encodes {best.docs_per_s:,.0f} documents a second here."
    )
    method = [
        f"{documents:,} of {corpus.facts['documents']:,} documents, all that are judged among them, and all {queries:,} judged "
        "queries were encoded by each variant, which took turns in one run. nDCG@10 is by exact search. The interval is of the "
        "ratio of the means, by a paired bootstrap of the queries.",
        "A variant is eligible if it is batch-invariant and keeps enough nDCG@10. Its cosine does not matter.",
    ]
    report = Report(
        "choice",
        f"variants of encoder {encoder}",
        "chosen",
        sentence,
        tables=[ReportTable("Variants", COLUMNS, [_cells(row) for row in fastest_first])],
        method=method,
        provenance={"encoder": encoder, "corpus": corpus.id},
    )
    write_report(folder, report)


def _cells(row: "VariantMeasurement") -> list[Any]:
    if not row.docs_per_s:
        return [row.variant, "–", "–", "–", "–", None, "–", row.reason]
    return [
        row.variant, f"{row.docs_per_s:,.0f}", _percent(row.retention), f"{_percent(row.low)} to {_percent(row.high)}",
        f"{row.mates:.1e}", row.cosine, f"{row.memory_mb:,.0f}" if row.memory_mb else "–", row.reason or "chosen",
    ]  # fmt: skip


def _percent(part: float) -> str:
    return f"{100 * part:.2f} %"
