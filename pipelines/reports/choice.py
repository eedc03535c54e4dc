"""The report on an encoder's variants: what each showed, which was taken and why the others were not."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.reports.frame import Report, ReportTable, write_report

if TYPE_CHECKING:
    from pipelines.evaluation.variant_choice import VariantMeasurement
    from pipelines.store.artifacts import Artifact

COLUMNS: list[tuple[str, Any]] = [
    ("variant", "text"), ("documents a second", "text"), ("nDCG@10 kept", "text"), ("95 % interval", "text"),
    ("largest change by batch-mates", "text"), ("least cosine to onnx-fp32", "value"), ("peak memory, MB", "text"),
    ("", "text"),
]  # fmt: skip


def write_choice_report(
    folder: Path, encoder: str, corpus: "Artifact", table: Sequence["VariantMeasurement"], queries: int, documents: int
) -> None:
    """Write `report.html` and `report.json`: the whole table, fastest first."""
    chosen = next(one for one in table if not one.reason)
    fastest_first = sorted(table, key=lambda one: -one.docs_per_s)
    sentence = (
        f"{chosen.variant} keeps {_percent(chosen.retention)} of the nDCG@10 of onnx-fp32 over {queries:,} queries "
        f"and encodes {chosen.docs_per_s:,.0f} documents a second here."
    )
    method = [
        f"{documents:,} of {corpus.facts['documents']:,} documents, all that are judged among them, and all {queries:,} judged "
        "queries were encoded by each variant, which took turns in one run. nDCG@10 is by exact search. The interval is of the "
        "ratio of the means, by a paired bootstrap of the queries.",
        "A variant may be taken if no score depends on batch-mates and it keeps enough nDCG@10. Cosine decides nothing.",
    ]
    report = Report(
        "choice", f"variants of encoder {encoder}", "chosen", sentence,
        tables=[ReportTable("Variants", COLUMNS, [_cells(one) for one in fastest_first])],
        method=method, provenance={"encoder": encoder, "corpus": corpus.id},
    )  # fmt: skip
    write_report(folder, report)


def _cells(one: "VariantMeasurement") -> list[Any]:
    if not one.docs_per_s:
        return [one.variant, "–", "–", "–", "–", None, "–", one.reason]
    return [
        one.variant, f"{one.docs_per_s:,.0f}", _percent(one.retention), f"{_percent(one.low)} to {_percent(one.high)}",
        f"{one.mates:.1e}", one.cosine, f"{one.memory_mb:,.0f}" if one.memory_mb else "–", one.reason or "chosen",
    ]  # fmt: skip


def _percent(part: float) -> str:
    return f"{100 * part:.2f} %"
