"""The rule `comparison: anchor`: not below the last champion that was better than its predecessor beyond chance.

Challengers that are each worse by less than the margin may pass one after the other, and the quality that is lost adds up: each
is compared with a champion that is worse than the one before. The anchor moves only by a pass with a lower bound above 0, so a
release that is worse than it by more than the margin does not pass, however slowly it came about. `level` should be higher than
that of the champion's rule, since the same queries judge many challengers against the same anchor (A. Blum and M. Hardt, "The
Ladder: a reliable leaderboard for machine learning competitions", ICML 2015).
"""

from pipelines.evaluation.comparison import check_comparable, paired
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import NonInferiority, check_margin, estimated, figures_of, queries_missing, why_not_run
from pipelines.gates.verdict import RuleVerdict
from pipelines.statistics.intervals import interval


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Whether the release is worse than the anchor by more than the margin.

    Raises:
        InputError: the evaluations can't be paired, or the margin is too small for their queries.
    """
    if outcome := _without_comparison(rule, evidence):
        return outcome
    evaluation, anchor = evidence.evaluation, evidence.anchor
    if anchor is None:
        reason = f"anchor {evidence.anchor_release[:8]} was not measured on these queries"
        command = f"run `python -m pipelines evaluate --release {evaluation.release}` and pass all ids it gives"
        return verdict_of(rule, "not run", reason, next=command)
    check_comparable(evaluation, anchor)
    return _judge_difference(rule, evidence, paired(evaluation, anchor, rule.measure))


def _without_comparison(rule: Rule, evidence: Evidence) -> RuleVerdict | None:
    """The verdict where there is nothing to compare, or the rule on the champion says as much."""
    release = evidence.evaluation.release
    if release == evidence.serving:
        return verdict_of(rule, "not run", f"release {release[:8]} is the champion already")
    if reason := why_not_run(evidence.evaluation, rule.measure):
        return verdict_of(rule, "not run", reason)
    if not evidence.anchor_release:
        return verdict_of(rule, "passed", "no anchor yet")
    if evidence.champion and evidence.champion.release == evidence.anchor_release:
        return verdict_of(rule, "passed", "the champion is the anchor, so the rule on the champion decides")
    return verdict_of(rule, "passed", "the release is the anchor itself") if release == evidence.anchor_release else None


def _judge_difference(rule: Rule, evidence: Evidence, differences: list[float]) -> RuleVerdict:
    """Better beyond chance, or not worse by the margin: passed, as the rule on the champion; worse within it passes, too."""
    test = NonInferiority(measure=rule.measure, margin=rule.margin, confidence=rule.level, power=evidence.power)
    difference = interval(differences, rule.level)
    against = f"anchor {evidence.anchor_release[:8]}"
    reason = f"{estimated(difference, rule.measure, against, evidence.evaluation.split)}, margin {rule.margin:g}"
    figures = {**figures_of(difference), "margin": rule.margin}
    if difference.low is not None and difference.low > 0:
        return verdict_of(rule, "passed", reason, **figures)
    if difference.high is not None and difference.high < 0 and (difference.low or 0) <= -rule.margin:
        return verdict_of(rule, "rejected", reason, **figures)
    check_margin(differences, test)
    assert difference.low is not None  # two queries at least, or no margin would hold
    if difference.low > -rule.margin:
        return verdict_of(rule, "passed", reason, **figures)
    missing = queries_missing(difference, test)
    reason += f"; about {missing:,} more queries would decide"
    return verdict_of(rule, "undecided", reason, still_needed=missing, **figures)
