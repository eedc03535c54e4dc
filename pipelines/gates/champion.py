"""The rule `comparison: champion`: not worse than the release that serves, by more than the margin."""

from pipelines.evaluation.comparison import baseline_warnings, check_comparable, paired
from pipelines.evaluation.record import Evaluation
from pipelines.gates.comparable import JUDGE_POOL, side_of, why_not_comparable
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import SPLIT_QUERIES, NonInferiority, decide, estimated, figures_of, sentence_of, why_not_run
from pipelines.gates.verdict import RuleVerdict
from pipelines.statistics.intervals import interval


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Whether the release is worse than the champion; the first release passes, the champion itself is not judged.

    Raises:
        InputError: the evaluations can't be paired, or the margin is too small for their queries.
    """
    evaluation = evidence.evaluation
    if evaluation.release == evidence.serving:
        return verdict_of(rule, "not run", f"release {evidence.serving[:8]} is the champion already")
    if evidence.champion is not None:
        check_comparable(evaluation, evidence.champion)
    if reason := why_not_run(evaluation, rule.measure):
        return verdict_of(rule, "not run", reason, n=len(evaluation.rows))
    if evidence.champion is None:
        reasons = [measured_alone(evaluation, rule), *baseline_warnings(evaluation.summary, rule.measure)]
        reason = "; ".join(["no champion yet", *reasons]).rstrip(".")
        return verdict_of(rule, "passed", reason, n=len(evaluation.rows))
    return judge_difference(rule, evidence, evidence.champion, name_of(evidence.champion, evidence.serving))


def judge_difference(rule: Rule, evidence: Evidence, other: Evaluation, against: str) -> RuleVerdict:
    """The verdict by the paired difference to another evaluation of the same queries.

    Raises:
        InputError: the margin is too small for their queries.
    """
    test = NonInferiority(measure=rule.measure, margin=rule.margin, confidence=rule.level, power=evidence.power)
    differences, ours = paired(evidence.evaluation, other, rule.measure), evidence.evaluation
    sides = side_of(ours, "the challenger"), side_of(other, against)
    if ours.graded and (biased := why_not_comparable(*sides, rule)):
        difference = interval(differences, rule.level)
        reason = f"{estimated(difference, rule.measure, against, ours.split)}; {biased}"
        return verdict_of(rule, "not comparable", reason, margin=rule.margin, next=JUDGE_POOL, **figures_of(difference))
    outcome, difference, missing = decide(differences, test)
    sentence = sentence_of(outcome, difference, missing, test, against, evidence.evaluation.split)
    reason = sentence.removeprefix(f"{outcome}: ")
    return verdict_of(rule, outcome, reason, margin=rule.margin, still_needed=missing, **figures_of(difference))


def name_of(evaluation: Evaluation, serving: str) -> str:
    """How a sentence names what a release is compared with."""
    return f"{'champion' if evaluation.release == serving else 'release'} {evaluation.release[:8]}"


def measured_alone(evaluation: Evaluation, rule: Rule) -> str:
    """The mean of a measure with its interval, in words."""
    mean = interval(evaluation.values(rule.measure), rule.level, least=0)
    bounds = f" [{mean.low:.3f}, {mean.high:.3f}]" if mean.bounded else ""
    return f"{rule.measure} {mean.mean:.3f}{bounds} over {mean.n:,} {SPLIT_QUERIES[evaluation.split]}"
