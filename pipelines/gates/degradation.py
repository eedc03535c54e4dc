"""Whether the champion still does what it did when it was promoted, by the queries and judgments of today.

A release ranks the same documents by the same model for ever. What changes are the queries that people judge, their judgments,
and documents that it does not have. So its evaluation of today is compared with the one that its promotion named: paired over
the queries that both have, and, for the queries of today as a whole, by a test for samples that share a part.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.errors import InputError
from pipelines.evaluation.record import Evaluation
from pipelines.gates.policy import REPAIRS, DegradationRule, Policy, Repair
from pipelines.statistics.multiplicity import holm
from pipelines.statistics.overlap import Change, change_of_means
from pipelines.wording import signed

Outcome = Literal["degraded", "held", "undecided", "not run"]
WORST_FIRST: tuple[Outcome, ...] = ("degraded", "not run", "undecided", "held")


class RuleChange(BaseModel):
    """How a measure changed since the promotion, and what its rule says of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    measure: str
    queries: Literal["common", "all"]
    outcome: Outcome
    sentence: str
    margin: float
    before: float | None = None
    """The mean at the promotion; `now`: today. Both over the queries that the rule takes."""
    now: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    pvalue: float | None = None
    """Of the hypothesis that the mean fell by no more than the margin; corrected for the number of rules."""
    n: int = 0
    """Queries of today that were compared."""
    repairs: tuple[Repair, ...] = ()
    """What the rule starts; empty unless it is degraded."""


class Degradation(BaseModel):
    """`degradation.json`: whether the champion has degraded since its promotion, by which rules, and what is to start."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    outcome: Outcome
    sentence: str
    release: str
    corpus: str
    """Whose queries and judgments were asked today."""
    evaluation: str
    promotion: str
    """The evaluation that the promotion's verdict named."""
    common: int
    """Queries that both evaluations have."""
    gone: int
    added: int
    rules: tuple[RuleChange, ...]
    repairs: tuple[Repair, ...]


def judge_degradation(promotion: Evaluation, today: Evaluation, policy: Policy) -> Degradation:
    """Hold a champion to its promotion.

    Args:
        promotion: its evaluation that the promotion's verdict named.
        today: its evaluation on the corpus of today.
        policy: the rules.

    Raises:
        InputError: the evaluations are of different releases, splits, rules or depths, or lack a measure.
    """
    _check_comparable(promotion, today)
    before, now = _by_query(promotion), _by_query(today)
    common = [key for key in before if key in now]
    changes = [_change(rule, before, now, common, policy.level) for rule in policy.rules]
    adjusted, _ = holm([change.pvalue if change else 1.0 for change, _ in changes], policy.level)
    rules = tuple(
        _ruled(rule, change, figures, pvalue, policy.level)
        for rule, (change, figures), pvalue in zip(policy.rules, changes, adjusted, strict=True)
    )
    worst = min(rules, key=lambda rule: WORST_FIRST.index(rule.outcome))
    called = {repair for rule in rules for repair in rule.repairs}
    counts = f"{len(common):,} queries in common, {len(before) - len(common):,} gone, {len(now) - len(common):,} new"
    return Degradation(
        outcome=worst.outcome,
        sentence=f"{worst.sentence}; {counts}",
        release=today.release,
        corpus=today.summary["corpus"],
        evaluation=today.id,
        promotion=promotion.id,
        common=len(common),
        gone=len(before) - len(common),
        added=len(now) - len(common),
        rules=rules,
        repairs=tuple(repair for repair in REPAIRS if repair in called),
    )


Queries = dict[tuple[str, str], dict[str, float]]
"""The measures of each query, by its id and its text."""


def _by_query(evaluation: Evaluation) -> Queries:
    rows = [] if evaluation.summary["synthetic"] else evaluation.rows  # nobody judged what a rule made
    return {(row["query"], row["text"]): row["release"] for row in rows}


def _check_comparable(promotion: Evaluation, today: Evaluation) -> None:
    given = {
        name: (
            {"release": one.release, "split": one.split, "no_relevant": one.summary["no_relevant"]["rule"]}
            | {"depth": one.summary["depth"]}
        )
        for name, one in (("promotion", promotion), ("today", today))
    }
    for name, value in given["today"].items():
        if value != given["promotion"][name]:
            raise InputError(
                f"evaluation {today.id} with {name} {value} and the promotion's {promotion.id} with {given['promotion'][name]}",
                "two evaluations of one release by one rule",
                "run `python -m pipelines find_champion`, and evaluate with what it gives",
            )


def _change(
    rule: DegradationRule, before: Queries, now: Queries, common: list[tuple[str, str]], level: float
) -> tuple[Change | None, dict[str, Any]]:
    """The change of a rule's measure, none below two queries; and its figures."""
    sides, paired = [], set(common)
    for queries in (before, now):
        alone = [key for key in queries if key not in paired] if rule.queries == "all" else []
        lacking = next((key for key in (*common, *alone) if rule.measure not in queries[key]), None)
        if lacking:
            raise InputError(
                f"rule {rule.name} on {rule.measure}, which an evaluation does not have",
                f"one of {', '.join(queries[lacking])}",
                "correct the measure in the policy",
            )
        sides.append([queries[key][rule.measure] for key in (*common, *alone)])
    if min(map(len, sides)) < 2:
        return None, {"n": len(sides[1])}
    change = change_of_means(sides[0], sides[1], len(common), rule.margin, 1 - 2 * level)
    means = [round(sum(side) / len(side), 9) for side in sides]
    return change, {
        "n": len(sides[1]),
        "before": means[0],
        "now": means[1],
        **{name: round(getattr(change, name), 9) for name in ("difference", "low", "high")},
    }


def _ruled(rule: DegradationRule, change: Change | None, figures: dict[str, Any], pvalue: float, level: float) -> RuleChange:
    """Degraded: the loss is beyond the margin, beyond chance. Held: the whole interval is above −margin. Else undecided."""
    outcome: Outcome = "not run"
    over = "the queries that both have" if rule.queries == "common" else "all queries of today, against all of then"
    if change is None:
        said = f"{figures['n']} queries to compare {rule.measure} over {over}"
    else:
        outcome = "degraded" if pvalue <= level else "held" if change.low > -rule.margin else "undecided"
        bounds = f"[{signed(change.low)}, {signed(change.high)}]"
        said = f"{rule.measure} {signed(change.difference)} {bounds} since its promotion, over {over}, margin {rule.margin:g}"
    return RuleChange(
        outcome=outcome,
        sentence=f"{outcome}: {said}",
        pvalue=None if change is None else round(pvalue, 9),
        repairs=rule.repairs if outcome == "degraded" else (),
        **rule.model_dump(exclude={"repairs"}),
        **figures,
    )
