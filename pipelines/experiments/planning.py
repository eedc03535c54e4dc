"""How long an experiment must run: units for the test at its end, and for the sequence that may stop it earlier."""

import math
from dataclasses import dataclass

from pipelines.experiments.design import Design
from pipelines.statistics.sequential import critical_value, tuned_rho
from pipelines.statistics.uplift import detectable_difference, units_needed

FORTNIGHT = 14


@dataclass(frozen=True)
class Plan:
    """What an experiment needs."""

    units: int
    days: int
    sequential_units: int
    detectable: float
    power: float


def plan(
    baseline: float,
    sd: float,
    effect: float,
    correlation: float,
    design: Design | None,
    alpha: float,
    power: float,
    daily: float,
) -> Plan:
    """Units of all variants and days.

    Args:
        baseline: control's value.
        sd: of a unit's value; 0: the value is a share.
        effect: the least relative change that matters.
        correlation: with a covariate, which cuts the variance by its square.
        design: weights, error, power and looks; none: two equal variants, looked at once.
        alpha: the error where there is no design.
        power: likewise.
        daily: units that enter each day; 0: no days.

    >>> plan(0.1, 0.0, 0.05, 0.0, None, 0.05, 0.8, 10_000).units
    115520
    """
    raised = min(baseline * (1 + effect), 1.0)
    of_shares = (baseline * (1 - baseline) + raised * (1 - raised)) / 2
    variance = (sd**2 or of_shares) * (1 - correlation**2)
    weights = list(design.variants.values()) if design else [1.0, 1.0]
    allowed, power = (design.final_alpha, design.power) if design else (alpha, power)
    level, whole = allowed / (len(weights) - 1), design.alpha if design else alpha
    control = design.variants[design.baseline] if design else 1.0
    pair = (control, min(weights))
    share = sum(pair) / sum(weights)
    units = math.ceil(units_needed(variance, effect * baseline, level, power, pair) / share)
    days = math.ceil(units / daily) if daily else 0
    detectable = detectable_difference(variance, FORTNIGHT * daily * share, level, power, pair) / baseline if daily else 0.0
    sequential = _sequential_units(variance, effect * baseline, whole / (len(weights) - 1), power, pair) / share
    return Plan(units, days, math.ceil(sequential), detectable, power)


def _sequential_units(variance: float, difference: float, alpha: float, power: float, pair: tuple[float, float]) -> float:
    """Units after which a sequence that is tuned to them has left 0 with probability `power`."""
    from scipy.special import ndtri

    spread = variance * (sum(pair) / pair[0] + sum(pair) / pair[1])
    units = float(units_needed(variance, difference, alpha, power, pair))
    for _ in range(50):
        reach = float(critical_value(units, tuned_rho(units, alpha), alpha)) + float(ndtri(power))
        units = reach**2 * spread / difference**2
    return units
