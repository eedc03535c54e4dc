"""Two evaluations side by side: the same queries, judged by the same rule, paired."""

from collections.abc import Mapping
from typing import Any

from pipelines.errors import InputError
from pipelines.evaluation.measures import CONDENSED, MEASURES
from pipelines.evaluation.record import Evaluation, baseline_names
from pipelines.statistics.intervals import interval

JUDGED = "Judged@10"
JUDGED_APART = 0.1
"""Beyond this difference in Judged@10 the side that ranks more unjudged documents may be better than it looks."""


def check_comparable(challenger: Evaluation, champion: Evaluation) -> None:
    """Refuse evaluations that can't be paired.

    Raises:
        InputError: they asked other queries, judgments, split or rule, or ranked to another depth.
    """
    for name in ("split", "no_relevant", "depth", "queries_digest"):
        ours, theirs = challenger.summary[name], champion.summary[name]
        if name == "no_relevant":
            ours, theirs = ours["rule"], theirs["rule"]
        if ours != theirs:
            raise InputError(
                f"evaluation {challenger.id} with {name} {ours} and baseline {champion.id} with {theirs}",
                "two evaluations of the same judged queries",
                f"run `python -m pipelines evaluate --release {challenger.release} --baseline {champion.release}`",
            )


def paired(challenger: Evaluation, champion: Evaluation, measure: str) -> list[float]:
    """Challenger − champion for each query, in the order of query ids."""
    return [ours - theirs for ours, theirs in zip(challenger.values(measure), champion.values(measure), strict=True)]


def measure_table(challenger: Evaluation, champion: Evaluation, confidence: float) -> list[dict[str, Any]]:
    """A row for each measure: both means and the paired difference with its interval."""
    table = []
    for measure in (*MEASURES, CONDENSED):
        difference = interval(paired(challenger, champion, measure), confidence)
        means = {
            side: one.summary["measures"][measure]["release"]["mean"]
            for side, one in (("champion", champion), ("challenger", challenger))
        }
        bounds = {"difference": difference.mean, "low": difference.low, "high": difference.high}
        table.append({"measure": measure, **means, **bounds})
    return table


def judged_warnings(table: list[dict[str, Any]], measure: str) -> list[str]:
    """What unjudged documents may hide: they count as not relevant, on whichever side they are."""
    rows = {row["measure"]: row for row in table}
    gap = rows[JUDGED]["difference"]
    if gap is None or abs(gap) <= JUDGED_APART:
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
    name, sides = baseline_names(summary)[0], summary["measures"][measure]
    if sides["difference"]["high"] is None or sides["difference"]["high"] >= 0:
        return []
    theirs, ours = sides[name.lower()]["mean"], sides["release"]["mean"]
    return [f"{name} alone ranks better than this release: {measure} {theirs:.3f}, the release {ours:.3f}, beyond chance."]


def query_differences(challenger: Evaluation, champion: Evaluation, measure: str) -> list[dict[str, Any]]:
    """Each query with both values, both first results and the difference; worst first."""
    rows = [
        {
            "query": ours["query"],
            "text": ours["text"],
            "difference": round(ours["release"][measure] - theirs["release"][measure], 9),
            "champion": theirs["release"][measure],
            "challenger": ours["release"][measure],
            "champion_top": theirs["top"],
            "challenger_top": ours["top"],
            "relevant": ours["relevant"],
        }
        for ours, theirs in zip(challenger.rows, champion.rows, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["difference"], row["text"], row["query"]))
