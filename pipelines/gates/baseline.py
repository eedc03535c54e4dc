"""The rule `comparison: baseline`: a release that BM25 or popularity beats beyond chance does not pass unseen.

It is rejected where a better one was at hand: the champion, or one of the release's own stages alone, which that baseline does
not beat. Else a person decides, since the only other choice may be to serve nothing.
"""

from pipelines.evaluation.comparison import beaten
from pipelines.evaluation.record import Evaluation, baseline_names
from pipelines.gates.comparable import JUDGE_POOL, side_of, why_not_comparable
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import estimated, figures_of, why_not_run
from pipelines.gates.verdict import RuleVerdict
from pipelines.statistics.intervals import Interval, interval
from pipelines.wording import value


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Whether no baseline beats the release beyond chance."""
    evaluation = evidence.evaluation
    if reason := why_not_run(evaluation, rule.measure):
        return verdict_of(rule, "not run", reason)
    differences = {name: _difference(evaluation, name, rule) for name in baseline_names(evaluation.summary)}
    name, worst = min(differences.items(), key=lambda pair: (_upper(pair[1]), pair[0]))
    reason, figures = estimated(worst, rule.measure, name, evaluation.split), figures_of(worst)
    if (worst.mean or 0) >= 0 or (worst.high is not None and worst.high >= 0):
        return verdict_of(rule, "passed", reason, **figures)
    if worst.high is None:
        return verdict_of(rule, "not run", f"{reason}: one query has no interval", next="judge more queries", **figures)
    sides = side_of(evaluation, "the release"), side_of(evaluation, name, name)
    if evaluation.graded and (biased := why_not_comparable(*sides, rule)):
        return verdict_of(rule, "not comparable", f"{reason}; {biased}", next=JUDGE_POOL, **figures)
    if better := _better_at_hand(rule, evidence, name):
        return verdict_of(rule, "rejected", f"{reason}; {better} is not beaten by it", **figures)
    means = [interval(evaluation.values(rule.measure, side)).mean or 0.0 for side in (name, "release")]
    return verdict_of(
        rule, "undecided", f"{reason}; {beaten(name, rule.measure, *means)}", next="let a person decide", **figures
    )


def _difference(evaluation: Evaluation, name: str, rule: Rule) -> Interval:
    pairs = zip(evaluation.values(rule.measure), evaluation.values(rule.measure, name), strict=True)
    return interval([ours - theirs for ours, theirs in pairs], rule.level)


def _upper(difference: Interval) -> float:
    """By it the baseline that beats the release most surely is found, which the one with the best mean need not be."""
    return (difference.mean or 0.0) if difference.high is None else difference.high


def _better_at_hand(rule: Rule, evidence: Evidence, name: str) -> str:
    """What could serve instead and is not beaten by the baseline; empty: nothing."""
    if evidence.champion is not None and evidence.champion.release != evidence.evaluation.release:
        high = _difference(evidence.champion, name, rule).high
        if high is not None and high >= 0:
            return f"champion {evidence.champion.release[:8]}"
    stages = evidence.evaluation.summary.get("stages", [])
    alone = evidence.evaluation.summary["measures"]["nDCG@10"][name.lower()]["mean"]
    for stage in stages:
        mean = stage["measures"]["nDCG@10"]["mean"]
        if stage["weight"] is not None and mean is not None and mean >= alone:
            return f"stage {stage['stage']} alone (nDCG@10 {value(mean)})"
    return ""
