"""The rule `comparison: absolute`: the mean of a measure reaches a stated value."""

from pipelines.gates.champion import measured_alone
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import why_not_run
from pipelines.gates.verdict import RuleVerdict
from pipelines.statistics.intervals import interval


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Passed: the whole interval is at or above `least`. Rejected: it is below. Else undecided."""
    evaluation = evidence.evaluation
    assert rule.least is not None
    if reason := why_not_run(evaluation, rule.measure):
        return verdict_of(rule, "not run", reason)
    mean = interval(evaluation.values(rule.measure), rule.level, least=0)
    if mean.low is None or mean.high is None:
        return verdict_of(rule, "not run", "one query, which has no interval", n=mean.n, next="judge more queries")
    outcome = "passed" if mean.low >= rule.least else "rejected" if mean.high < rule.least else "undecided"
    reason = f"{measured_alone(evaluation, rule)}, {rule.least:g} is the least"
    return verdict_of(rule, outcome, reason, low=mean.low, high=mean.high, n=mean.n)  # type: ignore[arg-type]
