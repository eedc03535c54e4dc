"""What another policy would have earned, by a log with propensities: inverse propensity scoring, plain and normalized.

A row's reward is weighted by the probability of its action under the other policy, divided by the one under the policy that
logged it. IPS is the mean of weighted rewards (D. G. Horvitz and D. J. Thompson, JASA 47, 1952); SNIPS divides by the mean
weight (A. Swaminathan and T. Joachims, "The self-normalized estimator for counterfactual learning", NIPS 2015). Both are
ratios of sums over units, so that their errors are clustered by unit by the delta method.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.statistics.uplift import Floats, Moments, moments_of


@dataclass(frozen=True)
class OffPolicyValue:
    """The value of a policy that did not act."""

    observed: float
    """The mean reward of the policy that logged."""
    ips: float
    ips_error: float
    """Standard error."""
    snips: float
    snips_error: float
    mean_weight: float
    """Near 1 where propensities are right; far from it they are not, or the policies choose from different actions."""


def off_policy_value(group: Moments, observed: float) -> OffPolicyValue:
    """The estimates from moments over units, whose variables are: sum of weighted rewards, rows, sum of weights, and 1.

    Args:
        group: of all units, without leading axes.
        observed: the mean reward of a row.
    """
    mean, spread = group.mean, group.covariance

    def ratio(below: int) -> tuple[float, float]:
        value = float(mean[0] / mean[below])
        variance = spread[0, 0] - 2 * value * spread[0, below] + value**2 * spread[below, below]
        return value, math.sqrt(max(float(variance), 0.0) / float(group.count)) / abs(float(mean[below]))

    (ips, ips_error), (snips, snips_error) = ratio(1), ratio(2)
    return OffPolicyValue(observed, ips, ips_error, snips, snips_error, float(mean[2] / mean[1]))


class Lift(NamedTuple):
    """The relative gain over what was earned, and its standard error."""

    lift: float
    error: float


def lift_of(group: Moments, normalized: bool = True) -> Lift:
    """How much more than the logging policy the other would have earned, relative to what was earned.

    Both are of the same rows, so the error is of their ratio, by the delta method.

    Args:
        group: moments over units, whose variables are: sum of weighted rewards, rows, sum of weights, and sum of rewards.
        normalized: SNIPS, else IPS.

    Raises:
        ValueError: nothing was earned.
    """
    import numpy as np

    x, y, c, r = (float(mean) for mean in group.mean)
    below = c if normalized else y
    if r <= 0 or below <= 0:
        raise ValueError("a log with a reward, and an action that the other policy takes")
    ratio = (x / below) / (r / y)
    gradient = np.zeros(4)  # of the logarithm of the ratio
    gradient[0] = 1 / x if x else 0.0
    gradient[1] = 1 / y if normalized else 0.0
    gradient[2] = -1 / c if normalized else 0.0
    gradient[3] = -1 / r
    variance = float(gradient @ group.covariance @ gradient) / float(group.count)
    return Lift(ratio - 1, ratio * math.sqrt(max(variance, 0.0)))


def off_policy_rows(rewards: Floats, propensities: Floats, target: Floats) -> OffPolicyValue:
    """The same from rows that are units of their own; all of shape (rows,).

    >>> import numpy as np
    >>> rewards, half = np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, 0.5)
    >>> value = off_policy_rows(rewards, half, np.array([0.8, 0.2, 0.8, 0.2]))
    >>> round(value.ips, 9), round(value.snips, 9), value.mean_weight
    (0.8, 0.8, 1.0)
    """
    import numpy as np

    weights = target / propensities
    ones = np.ones_like(weights)
    return off_policy_value(moments_of(np.stack([weights * rewards, ones, weights, ones], -1)), float(rewards.mean()))
