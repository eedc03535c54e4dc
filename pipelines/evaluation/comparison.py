"""The paired comparison of two evaluations: same queries, same judgments, same rule."""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import InputError
from pipelines.evaluation.measures import CONDENSED, MEASURES
from pipelines.evaluation.record import Evaluation, baseline_names
from pipelines.statistics.intervals import interval

JUDGED = "Judged@10"
JUDGED_DIFFERENCE = 0.1
"""Difference in Judged@10 beyond which a verdict warns: unjudged documents count as not relevant, wherever they are ranked."""


def check_comparable(challenger: Evaluation, champion: Evaluation) -> None:
    """Refuse evaluations that can't be paired.

    Raises:
        InputError: their queries, judgments, split, rule or depth differ.
    """
    for name in ("split", "no_relevant", "depth", "queries_digest"):
        value, other = challenger.summary[name], champion.summary[name]
        if name == "no_relevant":
            value, other = value["rule"], other["rule"]
        if value != other:
            raise InputError(
                f"evaluation {challenger.id} with {name} {value} and baseline {champion.id} with {other}",
                "two evaluations of the same judged queries",
                f"run `python -m pipelines evaluate --release {challenger.release} --baseline {champion.release}`",
            )


def paired(challenger: Evaluation, champion: Evaluation, measure: str) -> list[float]:
    """The measure's difference for each query, challenger − champion, in the order of query ids."""
    return [new - current for new, current in zip(challenger.values(measure), champion.values(measure), strict=True)]


def measure_table(challenger: Evaluation, champion: Evaluation, confidence: float) -> list[dict[str, Any]]:
    """A row for each measure: the means, and the paired difference with its interval from `low` to `high`."""
    table = []
    for measure in (*MEASURES, CONDENSED):
        difference = interval(paired(challenger, champion, measure), confidence)
        means = {
            side: evaluation.summary["measures"][measure]["release"]["mean"]
            for side, evaluation in (("champion", champion), ("challenger", challenger))
        }
        bounds = {"difference": difference.mean, "low": difference.low, "high": difference.high}
        table.append({"measure": measure, **means, **bounds})
    return table


def judged_warnings(table: list[dict[str, Any]], measure: str) -> list[str]:
    """A warning if one side ranks many more unjudged documents than the other, so that `measure` may undervalue it."""
    rows = {row["measure"]: row for row in table}
    gap = rows[JUDGED]["difference"]
    if gap is None or abs(gap) <= JUDGED_DIFFERENCE:
        return []
    side = "challenger" if gap < 0 else "champion"
    means = f"{rows[JUDGED]['champion']:.3f} for the champion, {rows[JUDGED]['challenger']:.3f} for the challenger"
    condensed = rows[CONDENSED]["difference"]
    return [
        f"Judged@10 is {means}: the {side} ranks more documents that nobody judged and that count as not relevant,"
        f" so {measure} may undervalue it. Over judged documents only, nDCG@10 differs by {condensed:+.3f}.".replace("-", "−")
    ]


def baseline_warnings(summary: Mapping[str, Any], measure: str) -> list[str]:
    """A warning if the first baseline ranks better than the release and the interval of the difference excludes 0."""
    if measure not in summary["measures"]:
        return []
    baseline, sides = baseline_names(summary)[0], summary["measures"][measure]
    if sides["difference"]["high"] is None or sides["difference"]["high"] >= 0:
        return []
    return [f"{beaten(baseline, measure, sides[baseline.lower()]['mean'], sides['release']['mean'])}."]


def beaten(baseline: str, measure: str, better: float, mean: float) -> str:
    """That a baseline ranks better than a release, in words.

    >>> beaten("BM25", "nDCG@10", 0.4, 0.3)
    'BM25 alone ranks better than this release: nDCG@10 0.400, the release 0.300, beyond chance'
    """
    return f"{baseline} alone ranks better than this release: {measure} {better:.3f}, the release {mean:.3f}, beyond chance"


def query_differences(challenger: Evaluation, champion: Evaluation, measure: str) -> list[dict[str, Any]]:
    """A row for each query: the measure of both sides, their first results and the difference; worst first."""
    values = zip(challenger.values(measure), champion.values(measure), strict=True)
    rows = [
        {
            "query": new["query"],
            "text": new["text"],
            "difference": round(ours - theirs, 9),
            "champion": theirs,
            "challenger": ours,
            "champion_top": current["top"],
            "challenger_top": new["top"],
            "relevant": new["relevant"],
        }
        for new, current, (ours, theirs) in zip(challenger.rows, champion.rows, values, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["difference"], row["text"], row["query"]))
