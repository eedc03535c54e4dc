"""The difference of two means whose samples share a part, such as the queries of two days, of which many are the same.

Of values that are all paired it is the paired t-test, of values of which none is, Welch's (B. Derrick, B. Russ, D. Toher and
P. White, "Test statistics for the comparison of means for two samples that include both paired and independent observations",
Journal of Modern Applied Statistical Methods 16, 2017: T_new2, for unequal variances).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Change(NamedTuple):
    """The mean now less the mean before, with its interval and the p-value of a loss beyond a margin."""

    difference: float
    low: float
    high: float
    pvalue: float
    """One-sided, of the hypothesis that the true mean fell by no more than the margin."""


def change_of_means(
    before: Sequence[float], now: Sequence[float], common: int, margin: float, confidence: float = 0.95
) -> Change:
    """How a mean changed between two samples, whose first `common` values are of the same units in the same order.

    Args:
        before: values, the paired ones first.
        now: values, the paired ones first, in the order of `before`.
        common: how many are paired.
        margin: the fall of the mean that counts as none.
        confidence: of the interval, two-sided.

    Raises:
        ValueError: a sample has fewer than two values.

    >>> [round(value, 3) for value in change_of_means([0.5, 0.7, 0.9], [0.4, 0.5, 0.8], 3, 0.0)]
    [-0.133, -0.277, 0.01, 0.029]
    """
    if min(len(before), len(now)) < 2:
        raise ValueError(f"two values or more, not {len(before)} and {len(now)}")
    first, second = np.asarray(before, float), np.asarray(now, float)
    parts = [float(sample.var(ddof=1)) / sample.size for sample in (first, second)]
    covariance = float(np.cov(first[:common], second[:common])[0, 1]) if common > 1 else 0.0
    spreads = [float(sample[:common].std(ddof=1)) if common > 1 else 0.0 for sample in (first, second)]
    if covariance and min(spreads) > 0:  # their correlation, at the spread of the whole samples
        covariance *= float(first.std(ddof=1) * second.std(ddof=1)) / (spreads[0] * spreads[1])
    variance = max(0.0, sum(parts) - 2 * covariance * common / (first.size * second.size))
    difference = float(second.mean() - first.mean())
    if variance <= 1e-18:
        return Change(difference, difference, difference, 0.0 if difference < -margin else 1.0)
    freedom = _freedom(parts, first.size, second.size, common)
    error = math.sqrt(variance)
    reach = _quantile((1 + confidence) / 2, freedom) * error
    return Change(difference, difference - reach, difference + reach, _below((difference + margin) / error, freedom))


def _freedom(parts: Sequence[float], first: int, second: int, common: int) -> float:
    """Degrees of freedom: between those of the paired test and Welch's, by the share of values that are not paired."""
    alone = first + second - 2 * common
    welch = sum(parts) ** 2 / sum(part**2 / (count - 1) for part, count in zip(parts, (first, second), strict=True))
    return common - 1 + (welch - common + 1) / (alone + 2 * common) * alone


def _quantile(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def _below(statistic: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(freedom, statistic))
