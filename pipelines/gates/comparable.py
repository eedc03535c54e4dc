"""Whether the judgments can compare two rankings at all.

Documents that nobody judged count as not relevant. A ranking that finds documents outside the pool, relevant ones too, then
scores too low (J. Zobel, SIGIR 1998), and its loss is one of the judgments rather than of the ranking. Two signs show it: one
side has many more judged documents among its first ten, or the verdict turns where unjudged documents are left out of both
rankings (condensed lists: T. Sakai, "Alternatives to bpref", SIGIR 2007).

Judging more can only help the side that ranks the unjudged documents. Where that side is better beyond chance anyway, the
verdict holds.

Both signs need documents that were judged not relevant. Where every judged document is relevant, as with curated terms, clicks
or known items, condensed lists hold nothing but relevant documents and Judged@10 is P@10, so they say nothing of the judgments.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from pipelines.evaluation.comparison import JUDGED_DIFFERENCE
from pipelines.evaluation.record import Evaluation
from pipelines.gates.gate_file import Rule
from pipelines.statistics.intervals import Interval, interval

JUDGE_POOL = (
    "judge the pool of this verdict: `python -m pipelines pool --file FILE --verdict VERDICT`, then ingest it as --qrels"
)


class Side(NamedTuple):
    """One of two rankings: the values of a measure of each query, the share of its first ten that nobody judged, its name."""

    values: Callable[[str], Sequence[float]]
    unjudged: Callable[[], float]
    name: str


def side_of(evaluation: Evaluation, name: str, baseline: str = "") -> Side:
    """A release, or one of the baselines that were measured beside it."""
    side = baseline or "release"
    return Side(partial(evaluation.values, side=side), partial(evaluation.unjudged, side), name)


def why_not_comparable(ours: Side, theirs: Side, rule: Rule) -> str:
    """Why a difference may be one of the judgments; empty: nothing speaks against it.

    Some document must have been judged not relevant, see above.

    Args:
        ours: of the release.
        theirs: of what it is compared with.
        rule: whose measure, margin and level decide.
    """
    unjudged = [side.unjudged() for side in (ours, theirs)]
    gap, found = unjudged[0] - unjudged[1], _difference(ours, theirs, rule.measure, rule)
    wins_anyway = (found.low or 0) > 0 if gap > 0 else (found.high or 0) < 0
    if abs(gap) > JUDGED_DIFFERENCE and not wins_anyway:
        sides = " and ".join(f"{share:.0%} of {side.name}" for share, side in zip(unjudged, (ours, theirs), strict=True))
        return f"nobody judged {sides} among the first ten, so judgments decide rather than rankings"
    condensed = condensed_name(rule.measure)
    leanings = [_leaning(ours, theirs, measure, rule) for measure in (rule.measure, condensed)] if condensed else []
    if set(leanings) == {"worse", "not worse"}:
        return f"over judged documents alone it is {leanings[1]}, with all others as not relevant {leanings[0]}"
    return ""


def _leaning(ours: Side, theirs: Side, measure: str, rule: Rule) -> str:
    found = _difference(ours, theirs, measure, rule)
    if found.low is None or found.high is None:
        return "unknown"
    return "worse" if found.high < 0 else "not worse" if found.low > -rule.margin else "unknown"


def _difference(ours: Side, theirs: Side, measure: str, rule: Rule) -> Interval:
    return interval([a - b for a, b in zip(ours.values(measure), theirs.values(measure), strict=True)], rule.level)


def condensed_name(measure: str) -> str:
    """The measure over judged documents alone; empty: it has parameters of its own, or none of that kind.

    >>> condensed_name("nDCG@10"), condensed_name("AP"), condensed_name("P(rel=2)@5"), condensed_name("Bpref")
    ('nDCG(judged_only=True)@10', 'AP(judged_only=True)', '', '')
    """
    parts = re.fullmatch(r"(nDCG|R|P|AP|Success)(@\d+)?", measure)
    return f"{parts[1]}(judged_only=True){parts[2] or ''}" if parts else ""
