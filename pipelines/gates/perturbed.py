"""The rule `comparison: perturbed`: typos and the like cost the release no more than the champion, and no more than stated.

Each perturbation of the rule is judged by the difference in differences of each query. Passing all of them needs no correction
of the level; naming some as worse does (Holm), since one of many looks worse by chance. A release that ranks the copies better
than the champion does, beyond chance, passes whatever they cost: it had more to lose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.evaluation.robustness import Robustness, differences_after, differences_in_change
from pipelines.gates.champion import name_of
from pipelines.gates.evidence import Evidence, verdict_of
from pipelines.gates.gate_file import Rule
from pipelines.gates.rules import NonInferiority, check_margin, queries_missing, why_not_run
from pipelines.gates.verdict import WORST_FIRST, Outcome, RuleVerdict
from pipelines.statistics.intervals import Interval, interval
from pipelines.wording import signed


@dataclass(frozen=True)
class Judged:
    """One perturbation, judged by the champion's loss or by the stated one."""

    perturbation: str
    outcome: Outcome
    estimate: Interval
    reason: str
    missing: int = 0


def judge(rule: Rule, evidence: Evidence) -> RuleVerdict:
    """The verdict of the perturbation with the worst outcome.

    Raises:
        InputError: the margin is too small for the queries.
    """
    if reason := why_not_run(evidence.evaluation, rule.measure) or _missing(rule, evidence):
        return verdict_of(rule, "not run", reason, next=_next(evidence))
    assert evidence.robustness is not None
    judged = [_alone(name, rule, evidence.robustness) for name in rule.perturbations] if rule.most_drop else []
    if evidence.champion_robustness is not None:
        judged += _beside(rule, evidence, evidence.robustness, evidence.champion_robustness)
    if not judged:
        changes = [_change(name, rule, evidence.robustness) for name in rule.perturbations]
        return verdict_of(rule, "passed", f"no champion yet; {'; '.join(changes)}")
    worst = min(judged, key=lambda one: (WORST_FIRST.index(one.outcome), one.estimate.low or 0))
    figures = {"difference": worst.estimate.mean, "low": worst.estimate.low, "high": worst.estimate.high}
    return verdict_of(
        rule, worst.outcome, worst.reason, margin=rule.margin, n=worst.estimate.n, still_needed=worst.missing, **figures
    )


def _missing(rule: Rule, evidence: Evidence) -> str:
    """Why nothing can be judged; empty: all that the rule needs was measured."""
    robustness = evidence.robustness
    if robustness is None or (evidence.champion is not None and evidence.champion_robustness is None):
        return f"{'the release' if robustness is None else 'the champion'} was not measured on perturbed queries"
    for name in rule.perturbations:
        status = robustness.status.get(name, {"status": "not run", "reason": "it was not asked for"})
        if status["status"] != "made":
            return f"{_words(name)}: {status['reason']}"
        if status["queries"] < 2:
            return f"{_words(name)}: it changes one query, which has no interval"
    return ""


def _next(evidence: Evidence) -> str:
    if not evidence.evaluation.rows:
        return "judge queries"
    baseline = f" --baseline {evidence.champion.id}" if evidence.champion else ""
    return (
        f"run `python -m pipelines perturb --evaluation {evidence.evaluation.id}`, then `measure_robustness --evaluation"
        f" {evidence.evaluation.id}{baseline}` with its id"
    )


def _words(perturbation: str) -> str:
    return perturbation.replace("_", " ")


def _bounds(estimate: Interval) -> str:
    return f"{signed(estimate.mean)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def _change(name: str, rule: Rule, robustness: Robustness) -> str:
    change = interval(list(robustness.changes(name, rule.measure).values()), rule.level)
    return f"{_words(name)} changes {rule.measure} by {_bounds(change)} over {change.n:,} queries"


def _alone(name: str, rule: Rule, robustness: Robustness) -> Judged:
    """By the stated loss: passed if the whole interval is above it, rejected if it is below."""
    assert rule.most_drop is not None
    change = interval(list(robustness.changes(name, rule.measure).values()), rule.level)
    assert change.low is not None
    assert change.high is not None
    within = change.low >= -rule.most_drop
    outcome: Outcome = "passed" if within else "rejected" if change.high < -rule.most_drop else "undecided"
    return Judged(name, outcome, change, f"{_change(name, rule, robustness)}, −{rule.most_drop:g} is the most")


def _beside(rule: Rule, evidence: Evidence, ours: Robustness, theirs: Robustness) -> list[Judged]:
    """By the champion's loss on the same copies."""
    differences = {name: differences_in_change(ours, theirs, name, rule.measure) for name in rule.perturbations}
    worse = named_worse(differences, rule.level)
    power = 1 - (1 - evidence.power) / len(differences)
    test = NonInferiority(measure=rule.measure, margin=rule.margin, confidence=rule.level, power=power)
    assert evidence.champion is not None
    against = name_of(evidence.champion, evidence.serving)
    judged = []
    for name, values in differences.items():
        estimate = interval(values, rule.level, least=-2, most=2)
        assert estimate.low is not None
        outcome: Outcome = "rejected" if name in worse else "passed"
        copies = interval(differences_after(ours, theirs, name, rule.measure), rule.level)
        assert copies.low is not None
        better = copies.low > 0
        if better:
            outcome = "passed"
        elif name not in worse and estimate.low <= 0:
            check_margin(values, test)
            outcome = "passed" if estimate.low > -rule.margin else "undecided"
        costs = (sum(one.changes(name, rule.measure).values()) / len(values) for one in (ours, theirs))
        reason = (
            f"{_words(name)} costs {rule.measure} {' where it costs '.join(signed(cost) for cost in costs)} in {against},"
            f" a difference of {_bounds(estimate)} over {estimate.n:,} queries"
            f"{f'; the copies themselves rank better by {_bounds(copies)}' if better else ''}"
        )
        missing = queries_missing(estimate, test) if outcome == "undecided" else 0
        judged.append(Judged(name, outcome, estimate, reason, missing))
    return judged


def named_worse(differences: Mapping[str, Sequence[float]], level: float) -> set[str]:
    """The perturbations whose mean difference is below 0: with `level` none is named falsely, by Holm's steps.

    >>> sorted(named_worse({"typo": [-0.5, -0.4, -0.6] * 9, "casing": [0.1, -0.1] * 9}, 0.95))
    ['typo']
    """
    open_: set[str] = set(differences)
    while open_:
        each = 1 - (1 - level) / len(open_)
        found = {name for name in open_ if (high := interval(differences[name], each, -2, 2).high) is not None and high < 0}
        if not found:
            break
        open_ -= found
    return set(differences) - open_
