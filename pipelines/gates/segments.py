"""The rule `comparison: segments`: no segment of queries is worse than under the champion, by more than the margin.

The intervals of all segments hold at once, so that the worst of many is not taken for worse by chance, and a release that is
worse in one segment passes no more often than the level allows. The first release passes unless the first baseline is better
in a segment beyond chance: there is nothing else that it could be worse than.
"""

from pipelines.errors import InputError
from pipelines.evaluation.record import baseline_names
from pipelines.evaluation.segments import SegmentComparison, SegmentDifference, compare_segments
from pipelines.gates.champion import name_of
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import rounded_up, why_not_run
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.wording import counted, signed, value


def reference_name(evidence: Evidence) -> str:
    """What the release is compared with, in words."""
    if evidence.champion is not None:
        return name_of(evidence.champion, evidence.serving)
    return baseline_names(evidence.evaluation.summary)[0]


def segment_comparison(rule: Rule, evidence: Evidence) -> SegmentComparison:
    """The release and its reference in each segment.

    Raises:
        InputError: queries and documents have no such field.
    """
    evaluation, champion = evidence.evaluation, evidence.champion
    side = baseline_names(evaluation.summary)[0]
    reference = champion.values(rule.measure) if champion is not None else evaluation.values(rule.measure, side)
    return compare_segments(evaluation, reference, rule.by, rule.measure, rule.level, evidence.power, rule.least_queries)


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Rejected: a segment is worse beyond chance. Passed: every lower bound is above −margin. Else undecided.

    Raises:
        InputError: there is no such field, or the margin is too small for the smallest segments.
    """
    if reason := why_not_run(evidence.evaluation, rule.measure):
        return verdict_of(rule, "not run", reason)
    compared = segment_comparison(rule, evidence)
    if not compared.judged:
        largest = max(compared.too_small.values(), default=0)
        reason = f"no segment by {rule.by} has {rule.least_queries:,} queries, the largest {largest:,}"
        return verdict_of(rule, "not run", reason, next="lower least_queries, or judge more queries")
    worse = [row for row in compared.judged if row.worse]
    first = evidence.champion is None
    outcome: Outcome
    if worse:
        outcome, shown = "rejected", min(worse, key=_upper)
    else:
        outcome, shown = ("passed", compared.worst) if first else _by_margin(rule, compared)
    beginning = "no champion yet; " if first and not worse else ""
    estimate = f"{_estimate(shown, rule)} against {reference_name(evidence)}"
    reason = f"{beginning}{estimate}; {_others(rule, compared, len(worse))}"
    difference = shown.difference
    figures = {"difference": difference.mean, "low": difference.low, "high": difference.high}
    return verdict_of(rule, outcome, reason, margin=rule.margin, n=len(evidence.evaluation.rows), **figures)


def _by_margin(rule: Rule, compared: SegmentComparison) -> tuple[Outcome, SegmentDifference]:
    """By the segments that can detect the margin; the others are only looked at for being worse beyond chance.

    Raises:
        InputError: no segment can detect it.
    """
    able = _able(rule, compared)
    if not able:
        needed = min(compared.judged, key=lambda row: row.holds)
        least = rounded_up(needed.holds)
        holds = needed.holds < 1  # no measure can fall by more than 1
        raise InputError(
            f"margin {rule.margin:g} on {rule.measure}, which none of {counted(len(compared.judged), 'segment')} by {rule.by}"
            " can detect",
            f"{least} or more, which {needed.segment} can" if holds else "segments that can detect a margin below 1",
            f"raise the margin to {least}, or judge more queries" if holds else "judge more queries",
        )
    worst = min(able, key=_lower)
    return ("passed" if _lower(worst) > -rule.margin else "undecided"), worst


def _able(rule: Rule, compared: SegmentComparison) -> list[SegmentDifference]:
    """The segments in which a release equal to its reference would pass the margin: by their spread, not by the difference."""
    return [row for row in compared.judged if row.holds <= rule.margin]


def _lower(row: SegmentDifference) -> float:
    return -1.0 if row.difference.low is None else row.difference.low


def _upper(row: SegmentDifference) -> float:
    return 0.0 if row.difference.high is None else row.difference.high


def _estimate(row: SegmentDifference, rule: Rule) -> str:
    difference = row.difference
    bounds = f"[{signed(difference.low)}, {signed(difference.high)}]"
    return f"worst segment {row.segment}, {rule.measure} {signed(difference.mean)} {bounds} over {row.queries:,} queries"


def _others(rule: Rule, compared: SegmentComparison, worse: int) -> str:
    gaps = f"gap {value(compared.gap('reference'))} to {value(compared.gap('release'))}"
    small = f", {len(compared.too_small):,} too small to judge" if compared.too_small else ""
    named = f"{worse:,} of {len(compared.judged):,} worse" if worse else f"{len(compared.judged):,} judged"
    noisy = len(compared.judged) - len(_able(rule, compared))
    if noisy and not worse:
        named += f", {noisy:,} of them too noisy for the margin"
    return f"by {rule.by} {named}{small}, {gaps}"
