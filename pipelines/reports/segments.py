"""Segments and exposure in reports: where a release is better or worse, and who is seen."""

from typing import Any

from pipelines.evaluation.exposure import CUTOFF, ExposureComparison
from pipelines.evaluation.segments import SegmentComparison, SegmentDifference
from pipelines.reports.frame import ReportTable, Section
from pipelines.wording import counted, signed, value

SHOWN = 30
PROVIDERS = 8
"""Providers that a table shows at each end."""


def segment_section(compared: SegmentComparison, measure: str, confidence: float, reference: str) -> Section:
    """A row for each judged segment, the lowest bound first."""
    columns: list[tuple[str, Any]] = [
        (compared.field, "text"), ("queries", "count"), (reference, "value"), ("release", "value"), ("difference", "signed"),
        ("interval", "signed interval"), ("worse beyond chance", "text"), ("q", "value"),
    ]  # fmt: skip
    rows = [_cells(row) for row in compared.judged[:SHOWN]]
    more = f"Of {len(compared.judged)} the {SHOWN} with the lowest bounds. " if len(compared.judged) > SHOWN else ""
    small = sum(compared.too_small.values())
    note = (
        f"{measure}; {more}Too small to judge: {counted(len(compared.too_small), 'segment')} with {small:,} queries; in no"
        f" segment: {compared.without:,} queries. q: the share of false names among all segments with this q or less."
    )
    method = (
        f"Segments by {compared.field}: all intervals hold at once with {100 * confidence:g} % (max-t by the multiplier"
        " bootstrap; on each side the wider of Student's t and Hall's); named as worse by Romano and Wolf's steps."
    )
    return Section(tables=[ReportTable(f"Segments by {compared.field}", columns, rows, note)], method=[method])


def _cells(row: SegmentDifference) -> list[Any]:
    difference = row.difference
    worse = "yes" if row.worse else "no"
    bounds = (difference.low, difference.high)
    return [row.segment, row.queries, row.reference, row.release, difference.mean, bounds, worse, row.qvalue]


def exposure_section(compared: ExposureComparison, reference: str) -> Section:
    """The providers that lost and gained most of the exposure."""
    columns: list[tuple[str, Any]] = [
        (compared.field, "text"), ("documents", "share"), (reference, "share"), ("release", "share"), ("change", "signed"),
    ]  # fmt: skip
    shares = compared.shares
    if len(shares) > 2 * PROVIDERS:
        shares = [*shares[:PROVIDERS], *shares[-PROVIDERS:]]
    rows = [[row.provider, row.documents, row.reference, row.release, row.release - row.reference] for row in shares]
    note = (
        f"Gini coefficient {value(compared.reference)} to {value(compared.release)}, {signed(compared.rise)}"
        f" [{signed(compared.low)}, {signed(compared.high)}], over {len(compared.shares):,} values of {compared.field};"
        " those that lost and gained most."
    )
    method = (
        f"Exposure: 1 / log2(rank + 1) over the first {CUTOFF} of each judged query; bounds of the Gini coefficient's rise by"
        " the paired percentile bootstrap over queries."
    )
    return Section(tables=[ReportTable(f"Exposure by {compared.field}", columns, rows, note)], method=[method])
