"""The report of two releases side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.measures import label
from pipelines.reports.frame import Report, ReportTable, write_report
from pipelines.wording import clipped, signed, value

TEXT = 80
"""Characters of a query in the step's result."""


def write_comparison_report(
    folder: Path,
    releases: tuple[str, str],
    parts: Sequence[tuple[str, str, str]],
    measures: Sequence[dict[str, Any]],
    queries: Sequence[dict[str, Any]],
    counts: tuple[int, int],
) -> dict[str, Any]:
    """Write `report.html` and `report.json`; returns the same in words.

    Args:
        folder: where to.
        releases: the ids of both.
        parts: name and both ids of each part that differs.
        measures: rows of `measure_table`, with the first release as champion; empty: no queries were asked of both.
        queries: rows of `query_differences` whose first results differ.
        counts: how many queries differ, and how many were asked.
    """
    a, b = (release[:8] for release in releases)
    differing, asked = counts
    named = ", ".join(name for name, _, _ in parts) or "no part"
    told = f"{differing:,} of {asked:,} queries have other first results" if asked else "no evaluation asked both alike"
    sentence = f"{a} and {b} differ in {named}; {told}"
    tables = [ReportTable("Parts that differ", [("part", "text"), (a, "text"), (b, "text")], [list(part) for part in parts])]
    if measures:
        columns: list[tuple[str, Any]] = [
            ("measure", "text"), (a, "value"), (b, "value"), (f"{b} − {a}", "signed"), ("95 % interval", "signed interval"),
        ]  # fmt: skip
        rows = [
            [label(row["measure"]), row["champion"], row["challenger"], row["difference"], (row["low"], row["high"])]
            for row in measures
        ]
        tables.append(ReportTable("Measures on the same queries", columns, rows))
    if queries:
        columns = [("query", "text"), (a, "results"), (b, "results"), ("nDCG@10", "signed")]
        rows = [[row["text"], row["champion_top"], row["challenger_top"], row["difference"]] for row in queries]
        tables.append(ReportTable("First queries that differ, by their ids", columns, rows))
    provenance = {"a": releases[0], "b": releases[1]}
    method = ["Measures: the newest evaluations of both on the same judged queries. Interval: of the paired difference."]
    write_report(folder, Report("report", f"releases {a} and {b}", "compared", sentence, [], tables, [], method, provenance))
    return {
        "sentence": sentence,
        "parts": [f"{name}: {before or 'none'} and {after or 'none'}" for name, before, after in parts],
        "measures": [
            f"{label(row['measure'])}: {value(row['champion'])} and {value(row['challenger'])}, {signed(row['difference'])}"
            for row in measures
        ],
        "queries": [f"{clipped(row['text'], TEXT)} {signed(row['difference'])}" for row in queries],
    }
