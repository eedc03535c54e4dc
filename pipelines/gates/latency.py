"""The rule `comparison: latency`: not slower, not larger and not longer to start than the champion, by more than the margin.

Being slower at all is no reason to refuse a release, so a ratio is judged by the margin alone: passed if its whole interval is
at or below 1 + margin, rejected if it is above.
"""

import math

from pipelines.evaluation.latency import BLOCK, QUANTILES, Latency
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.verdict import Outcome, RuleVerdict
from pipelines.statistics.ratios import Ratio


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """Whether the release is slower or larger than the champion; the first release passes, the champion is not judged."""
    release = evidence.evaluation.release
    if release == evidence.serving:
        return verdict_of(rule, "not run", f"release {release[:8]} is the champion already")
    if evidence.first:
        return verdict_of(rule, "passed", "no champion yet to be slower than")
    other = evidence.champion.release if evidence.champion else evidence.serving
    command = f"python -m pipelines measure_latency {release} --against {other}, then pass --latency to gate"
    latency = evidence.latency
    if latency is None:
        return verdict_of(rule, "not run", "latency was not measured", next=command)
    if (latency.release, latency.champion) != (release, other):
        reason = f"latency {latency.id[:8]} is of release {latency.release[:8]} beside {latency.champion[:8]}"
        return verdict_of(rule, "not run", reason, next=command)
    ratio = latency.ratio(rule.measure, rule.level)
    if ratio is None:
        return verdict_of(rule, "not run", f"the measuring machine does not tell {rule.measure}", next="measure it on Linux")
    return _judged(rule, evidence, latency, ratio)


def _judged(rule: Rule, evidence: Evidence, latency: Latency, ratio: Ratio) -> RuleVerdict:
    most = 1 + rule.margin
    outcome: Outcome = "passed" if ratio.high <= most else "rejected" if ratio.low > most else "undecided"
    blocks = ratio.n if outcome != "undecided" else blocks_needed(ratio, rule, evidence.power)
    of_requests = rule.measure in QUANTILES
    units = f"{latency.summary['requests']:,} requests each" if of_requests else f"{ratio.n} starts"
    next_action = ""
    if blocks > ratio.n:
        option = f"--requests {blocks * BLOCK}" if of_requests else f"--starts {blocks}"
        next_action = f"python -m pipelines measure_latency {latency.release} {option} would decide, if the ratio stays"
    reason = (
        f"{rule.measure} × {ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] of the champion's, {most:g} is the most,"
        f" over {units}"
    )
    return verdict_of(
        rule,
        outcome,
        reason,
        difference=ratio.ratio - 1,
        low=ratio.low - 1,
        high=ratio.high - 1,
        margin=rule.margin,
        n=ratio.n,
        still_needed=blocks - ratio.n,
        next=next_action,
    )


def blocks_needed(ratio: Ratio, rule: Rule, power: float) -> int:
    """How many blocks or starts, at least as many as there are, would decide with this power if the ratio stays as it is."""
    from scipy.special import ndtri

    quantile = float(ndtri((1 + rule.level) / 2))
    error = math.log(ratio.high / ratio.low) / (2 * quantile)
    distance = abs(math.log1p(rule.margin) - math.log(ratio.ratio))
    if distance < 1e-3:  # the ratio is the limit itself
        return ratio.n
    return max(ratio.n, math.ceil(ratio.n * ((quantile + float(ndtri(power))) * error / distance) ** 2))
