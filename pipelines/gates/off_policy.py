"""The rule `comparison: logs`: what the release would have earned under logged traffic, beside what was earned.

Only where a log has the propensities of both policies, the one that acted and the release's. Where they overlap too little the
rule is not comparable, whatever its interval says.
"""

from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.wording import signed


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Rejected: the whole interval of the relative gain is below 0. Passed: it is above −margin. Else undecided."""
    from scipy.special import ndtri

    release, logs = evidence.evaluation.release, evidence.off_policy
    command = f"python -m pipelines weigh_log LOG --release {release}, then pass --off-policy to gate"
    if release == evidence.serving:
        return verdict_of(rule, "not run", f"release {release[:8]} is the champion already")
    if logs is None:
        return verdict_of(rule, "not run", "no log with propensities was weighed", next=command)
    if logs.release != release:
        reason = f"estimate {logs.id[:8]} is of the policy of release {logs.release[:8]}"
        return verdict_of(rule, "not run", reason, next=command)
    rows = logs.summary["rows"]
    if logs.too_thin:
        reason = f"the log overlaps too little with the release: {logs.too_thin}"
        return verdict_of(rule, "not comparable", reason, n=rows, next="log more, or let the champion explore more")
    lift, error = logs.lift(rule.measure)
    reach = float(ndtri((1 + rule.level) / 2)) * error
    low, high = lift - reach, lift + reach
    outcome: Outcome = "rejected" if high < 0 else "passed" if low > -rule.margin else "undecided"
    reason = (
        f"{rule.measure} of the reward {signed(lift)} [{signed(low)}, {signed(high)}] relative to what was earned, margin"
        f" {rule.margin:g}, over {rows:,} rows that tell as much as {logs.summary['effective_rows']:,.0f}"
    )
    return verdict_of(rule, outcome, reason, difference=lift, low=low, high=high, margin=rule.margin, n=rows)
