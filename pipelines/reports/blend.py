"""The report of `fit_blend`: what each term counts, and what the blend gains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.blend_fit import FittedBlend, FittedKind
from pipelines.evaluation.stage_choice import CONFIDENCE, FOLDS, LEAST_DEV
from pipelines.reports.frame import Report, ReportTable, write_report
from pipelines.retrieval.stages.blend import BlendCard
from pipelines.retrieval.stages.card import StageCard, named

RANKED: list[tuple[str, Any]] = [
    ("ranking", "text"), ("nDCG@10", "share"), ("interval", "interval"), ("the blend gains", "signed"),
    ("interval of that", "signed interval"),
]  # fmt: skip
WEIGHED: list[tuple[str, Any]] = [("term", "text"), ("weight", "signed")]
READ: list[tuple[str, Any]] = [
    ("feature", "text"), ("unit", "text"), ("default", "value"), ("mean", "value"), ("deviation", "value"),
]  # fmt: skip


def write_blend_report(folder: Path, fitted: FittedBlend, stages: Sequence[StageCard], inputs: Mapping[str, str]) -> None:
    """Write `report.html` and `report.json`.

    Args:
        folder: where to.
        fitted: the blend.
        stages: before it.
        inputs: ids of what it was made from.
    """
    tables = [table for one in fitted.kinds for table in _tables(one)]
    method = [
        "Score of a document: the sum of weight · term. The retriever's term is the score of the stages before the reranker; a "
        "feature's is its value in its unit, less its mean, divided by its deviation.",
        "Features are as of the last midnight before a query's time, so they hold neither what was chosen then nor anything "
        "later. Dev queries of text have no time and see what was before the test.",
        "Weights: the softmax over a query's candidates that is nearest to its judgments (ListNet's top one). Figures are "
        f"cross-fitted in {FOLDS} folds. A kind of query is blended if the gain is above 0 beyond chance (confidence "
        f"{100 * CONFIDENCE:g} %, Bonferroni over kinds), and only with {LEAST_DEV} dev queries or more.",
    ]
    verdict = f"{named(stages)}, blended" if fitted.queries else "not blended"
    report = Report(
        "blend", "blend of a release", verdict, fitted.sentence, [], [*tables, _features(fitted.card)], [], method, dict(inputs)
    )
    write_report(folder, report)


def _tables(one: FittedKind) -> list[ReportTable]:
    rows = [
        [row["name"], row["mean"], (row["low"], row["high"]), row["gain"], (row["gain_low"], row["gain_high"])]
        for row in one.rows
    ]
    note = f"Over {one.queries:,} dev queries."
    weights = [[name, weight] for name, weight in one.weights.items()]
    return [
        ReportTable(f"Queries of {one.kind}: with the blend and without", RANKED, rows, note),
        ReportTable(
            f"Queries of {one.kind}: weights", WEIGHED, weights, "" if one.taken else "Not used: no gain beyond chance."
        ),
    ]


def _features(card: BlendCard) -> ReportTable:
    rows = [[one.name, one.unit, one.default, one.mean, one.deviation] for one in card.features]
    return ReportTable("What is read", READ, rows, "The default stands in for a value that is missing, too old or late.")
