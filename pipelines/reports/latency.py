"""A measurement of latency as its own report, and as a section of a verdict's report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.evaluation.latency import MEASURES, OF_STARTS, QUANTILES, SIDES, WARM_UP, ratio_of
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, Section, write_report
from pipelines.statistics.intervals import Floats
from pipelines.statistics.ratios import Ratio
from pipelines.wording import value

CONFIDENCE = 0.95
SHOWN = np.linspace(0.005, 0.995, 199)
"""The quantiles that the chart draws."""
UNITS = {"p50": "ms", "p95": "ms", "p99": "ms", "rss": "MiB", "startup": "s"}
LABELS = {"p50": "p50", "p95": "p95", "p99": "p99", "rss": "memory", "startup": "start-up"}
SERVED = {"release": "challenger", "champion": "champion"}

Summary = Mapping[str, Any]
Blocks = Mapping[str, Floats]


def write_latency_report(folder: Path, summary: Summary, blocks: Blocks) -> str:
    """Write `report.html` and `report.json`; returns the sentence.

    Args:
        folder: where to.
        summary: as `latency.json` has it.
        blocks: by side, milliseconds of shape (blocks, requests).
    """
    sentence = sentence_of(summary, blocks)
    title = f"latency of release {summary['release']['id'][:8]}"
    section = latency_section(summary, blocks)
    provenance = {"release": summary["release"]["id"], "champion": summary["champion"]["id"], "machine": summary["machine"]}
    write_report(
        folder, Report("latency", title, "measured", sentence, section.pictures, section.tables, [], section.method, provenance)
    )
    return sentence


def sentence_of(summary: Summary, blocks: Blocks) -> str:
    """The measurement in one sentence."""
    ratio = ratio_of(summary, blocks, "p99", CONFIDENCE)
    assert ratio is not None
    ours, theirs = (summary[side]["p99"] for side in SIDES)
    return (
        f"p99 {ours:.1f} ms, the champion's {theirs:.1f} ms: × {times(ratio)}, over {summary['requests']:,} alternating"
        " requests each"
    )


def times(ratio: Ratio) -> str:
    """A ratio with its interval.

    >>> times(Ratio(1.1, 1.0, 1.2, 30))
    '1.100 [1.000, 1.200]'
    """
    return f"{ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def latency_section(summary: Summary, blocks: Blocks) -> Section:
    """The chart of both distributions, and the table of all measures with their ratios."""
    series = [np.quantile(blocks[side], SHOWN).tolist() for side in SIDES]
    names = [SERVED[side] for side in SIDES]
    caption = (
        f"The share of requests that took longer, of {summary['requests']:,} to each of two servers that ran at once on"
        " this machine and got the same queries in turn. Further left is faster."
    )
    picture = Picture(
        "Latency", caption, charts.curves(series, SHOWN.tolist(), names, "milliseconds"), dict(zip(names, series, strict=True))
    )
    rows = []
    for measure in MEASURES:
        ratio = ratio_of(summary, blocks, measure, CONFIDENCE)
        rows.append(
            [
                LABELS[measure],
                *(f"{value(level(summary, side, measure))} {UNITS[measure]}" for side in reversed(SIDES)),
                times(ratio) if ratio else "–",
            ]
        )
    columns: list[tuple[str, Any]] = [
        ("measure", "text"), ("champion", "number"), ("challenger", "number"), ("ratio, with its interval", "number"),
    ]  # fmt: skip
    note = "A ratio above 1: the challenger takes longer, or more memory."
    return Section([picture], [ReportTable("Latency and size, beside the champion", columns, rows, note)], method(summary))


def level(summary: Summary, side: str, measure: str) -> float | None:
    """A side's value of a measure: the quantile, or the mean over the starts; None where the system does not tell it."""
    if measure in QUANTILES:
        return float(summary[side][measure])
    of_starts = summary[side][OF_STARTS[measure]]
    return None if None in of_starts else sum(of_starts) / len(of_starts)


def method(summary: Summary) -> list[str]:
    """How it was measured."""
    return [
        f"Both releases were served at once by the real search server, started anew {summary['starts']} times on"
        f" {summary['machine']}. {summary['requests']:,} requests to each, one at a time, of {summary['queries']:,} queries; of"
        f" each pair the first is drawn. The first {WARM_UP} after a start do not count.",
        f"Intervals {100 * CONFIDENCE:g} %: of quantiles by the bootstrap over blocks of {summary['block']} requests, both"
        " sides drawn together; of memory and start-up by Student's t on the logarithms of the ratios of the starts.",
        "Only ratios are judged: milliseconds are this machine's, on which other work may have run.",
    ]
