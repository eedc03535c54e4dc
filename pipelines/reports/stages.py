"""The report of `choose_stages`: which stages were taken, and every candidate that was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.evaluation.stage_choice import CONFIDENCE, DEFAULT_WEIGHTS, FOLDS, LEAST_DEV, Choice
from pipelines.reports import charts
from pipelines.reports.frame import Picture, Report, ReportTable, write_report
from pipelines.retrieval.stages.card import named

RERANKED: list[tuple[str, Any]] = [
    ("stages", "text"), ("nDCG@10", "share"), ("interval", "interval"), ("reranking gains", "signed"),
    ("interval of that", "signed interval"),
]  # fmt: skip
COLUMNS: list[tuple[str, Any]] = [
    ("stages", "text"), ("nDCG@10", "share"), ("interval", "interval"), ("against the default", "signed"),
    ("interval of that", "signed interval"), ("", "text"),
]  # fmt: skip


def write_stages_report(folder: Path, choice: Choice, corpus: str, artifacts: Mapping[str, str]) -> None:
    """Write `report.html` and `report.json`.

    Args:
        folder: where to.
        choice: the stages, the reason and the candidates, best first.
        corpus: whose dev queries were asked.
        artifacts: ids of what could be taken beside the dense retriever, by the retrievers' names.
    """
    tables = [_table("Candidates, best first", choice)] if choice.rows else []
    if choice.histories and choice.histories.rows:
        tables.append(_table("Candidates for histories, best first", choice.histories))
    if choice.reranked:
        tables.append(_reranked(choice))
    report = Report(
        "stages",
        "stages of a release",
        named(choice.stages) or "dense",
        choice.sentence,
        [_picture(choice)] if choice.rows else [],
        tables,
        method=_method(choice),
        provenance={"corpus": corpus, **artifacts},
    )
    write_report(folder, report)


def _table(title: str, choice: Choice) -> ReportTable:
    rows = [
        [
            row["name"], row["mean"], (row["low"], row["high"]), row["difference"],
            (row["difference_low"], row["difference_high"]), row["reason"] or "taken",
        ]
        for row in choice.rows
    ]  # fmt: skip
    note = f"The interval against the default allows for {len(rows) - 1} candidates (Bonferroni)."
    return ReportTable(title, COLUMNS, rows, note)


def _reranked(choice: Choice) -> ReportTable:
    keys = ("gain", "gain_low", "gain_high")
    rows = [
        [row["name"], row["mean"], (row["low"], row["high"]), row["gain"], tuple(row[key] for key in keys[1:])]
        for row in choice.reranked
    ]
    note = "Cross-fitted. The reranker is taken if each of its gains is above 0 beyond chance (Bonferroni)."
    return ReportTable("The reranker, and what it must beat", RERANKED, rows, note)


def _picture(choice: Choice) -> Picture:
    estimates = [charts.Estimate(row["name"], row["mean"], row["low"], row["high"]) for row in choice.rows]
    caption = f"nDCG@10 over {choice.dev_queries:,} dev queries with 95 % interval. Further right is better."
    return Picture("Candidates", caption, charts.intervals([("dev queries", estimates)]), [vars(one) for one in estimates])


def _method(choice: Choice) -> list[str]:
    default = " + ".join(f"{name} {weight:g}" for name, weight in DEFAULT_WEIGHTS["text"].items())
    lines = [
        f"The default is {default}: of the fusions that were tried on judged collections, the one with the smallest worst loss "
        "(docs/rankers.md). It needs no queries."
    ]
    if choice.how == "measured":
        lines += [
            "Dev queries are one of five judged train queries, by a hash of their text, or those of a file that is named dev. "
            "A dev query does not find itself among the known queries. No test query was asked.",
            "A candidate is taken in place of the default only if the interval of its paired difference lies above 0. Of those "
            f"that the best does not beat beyond chance (confidence {100 * CONFIDENCE:g} %), the one with the fewest stages is "
            "taken. What a candidate finds nothing for, dense ranks.",
            "Weights: a grid of steps of 0.1. The value of a query comes from weights that were fitted without its fold "
            f"({FOLDS} folds); the weights that are taken are those of all dev queries.",
            "rrf: reciprocal rank fusion. Weighted: the sum of cosines, and of BM25 scores divided by the query's best.",
        ]
    if choice.how == "default":
        lines.append(f"With fewer than {LEAST_DEV} dev queries nothing is chosen by measuring.")
    if choice.histories:
        default = " + ".join(f"{name} {weight:g}" for name, weight in DEFAULT_WEIGHTS["history"].items())
        lines.append(
            f"For histories the default is {default} (docs/recommendation.md). Their dev queries are what users chose next "
            "after several times before the test began, each user once, ranked by models of what was before that time."
        )
    return lines
