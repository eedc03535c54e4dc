"""Differences of means and ratios between two groups of units, from sums alone, so that days and segments can be added up.

Ratios by the delta method (A. Deng, U. Knoblich and J. Lu, "Applying the delta method in metric analytics", KDD 2018);
regression adjustment by what was measured before the start (CUPED: A. Deng, Y. Xu, R. Kohavi and T. Walker, WSDM 2013).
Relative effects are of the logarithm of the ratio. The last axes of `Moments` are the variables of one metric, in the order
of `VARIABLES`; the axes before them are looks, segments or simulated runs. Pure numpy.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
VARIABLES = ("x", "y", "c", "d")
"""Of a metric: numerator, denominator (1 for a mean), and both before the start (0 and 1 where there is no covariate)."""


@dataclass(frozen=True)
class Moments:
    """Sums over units: how many, of each variable, and of each product of two.

    Args:
        count: shape (…).
        sums: of the variables less `centre`, shape (…, 4).
        products: of the variables less `centre`, shape (…, 4, 4).
        centre: near the mean, so that no digits are lost, shape (4,).
    """

    count: Floats
    sums: Floats
    products: Floats
    centre: Floats

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.sums + other.sums, self.products + other.products, self.centre)

    def accumulated(self) -> "Moments":
        """The sums of each entry of the first axis and all before it."""
        return Moments(self.count.cumsum(0), self.sums.cumsum(0), self.products.cumsum(0), self.centre)

    def total(self) -> "Moments":
        """The sums over the first axis."""
        return Moments(self.count.sum(0), self.sums.sum(0), self.products.sum(0), self.centre)

    def at(self, index: Any) -> "Moments":
        """A part of the leading axes."""
        return Moments(self.count[index], self.sums[index], self.products[index], self.centre)

    @property
    def mean(self) -> Floats:
        """Shape (…, 4)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Floats = self.centre + self.sums / self.count[..., None]
        return means

    @property
    def covariance(self) -> Floats:
        """Shape (…, 4, 4), with n − 1."""
        outer = self.sums[..., :, None] * self.sums[..., None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            spread: Floats = (self.products - outer / self.count[..., None, None]) / (self.count[..., None, None] - 1)
        return spread


def moments_of(values: Floats) -> Moments:
    """The moments of units, shape (…, units, 4).

    >>> m = moments_of(np.array([[1.0, 1, 0, 1], [3.0, 1, 0, 1]]))
    >>> float(m.count), m.mean.tolist(), float(m.covariance[0, 0])
    (2.0, [2.0, 1.0, 0.0, 1.0], 2.0)
    """
    centre = values.reshape(-1, 4).mean(0)
    apart = values - centre
    count = np.full(values.shape[:-2], float(values.shape[-2]))
    return Moments(count, apart.sum(-2), np.einsum("...ui,...uj->...ij", apart, apart), centre)


@dataclass(frozen=True)
class Uplift:
    """What two groups differ by, and how sure that is; every field has the leading shape (…)."""

    control: Floats
    treatment: Floats
    """The means or ratios, adjusted by the covariate."""
    difference: Floats
    error: Floats
    """Standard error of the difference."""
    log_ratio: Floats
    """NaN where a mean is not above 0."""
    log_error: Floats
    units: Floats
    """Of both groups."""
    freedom: Floats
    """Welch's degrees of freedom."""
    cut: Floats
    """The part of the variance that the covariate takes away."""


def uplift(control: Moments, treatment: Moments) -> Uplift:
    """Compare two groups; their leading shapes are equal.

    >>> sample = np.random.default_rng(0).normal(10, 1, (2, 500))
    >>> groups = [moments_of(np.stack([x, x * 0 + 1, x * 0, x * 0 + 1], -1)) for x in sample]
    >>> effect = uplift(*groups)
    >>> round(float(effect.error), 3)
    0.062
    """
    pooled = control + treatment
    slope, cut = _adjustment(pooled)
    base = _ratio(pooled.mean[..., 2:])
    means, variances = [], []
    for group in (control, treatment):
        value, before = _ratio(group.mean[..., :2]), _ratio(group.mean[..., 2:])
        means.append(value - slope * (before - base))
        variances.append(_variance(group, slope))
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [variance / group.count for variance, group in zip(variances, (control, treatment), strict=True)]
        relative = [part / mean**2 for part, mean in zip(parts, means, strict=True)]
        positive = (means[0] > 0) & (means[1] > 0)
        freedom = (parts[0] + parts[1]) ** 2 / (parts[0] ** 2 / (control.count - 1) + parts[1] ** 2 / (treatment.count - 1))
        return Uplift(
            means[0],
            means[1],
            means[1] - means[0],
            np.sqrt(parts[0] + parts[1]),
            np.where(positive, np.log(np.where(positive, means[1] / means[0], 1.0)), np.nan),
            np.where(positive, np.sqrt(relative[0] + relative[1]), np.nan),
            pooled.count,
            freedom,
            cut,
        )


def _ratio(pair: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = pair[..., 0] / pair[..., 1]
    return ratio


def _value_and_gradient(pair: Floats) -> tuple[Floats, Floats]:
    """A ratio of two means, and its derivative by each."""
    ratio = _ratio(pair)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ratio, np.stack([1 / pair[..., 1], -ratio / pair[..., 1]], -1)


def _spread(group: Moments) -> tuple[Floats, Floats, Floats]:
    """Variance of the metric, its covariance with the covariate, and the covariate's variance, of one unit."""
    _, outcome = _value_and_gradient(group.mean[..., :2])
    _, before = _value_and_gradient(group.mean[..., 2:])
    matrix = group.covariance
    variance = np.einsum("...i,...ij,...j->...", outcome, matrix[..., :2, :2], outcome)
    shared = np.einsum("...i,...ij,...j->...", outcome, matrix[..., :2, 2:], before)
    covariate = np.einsum("...i,...ij,...j->...", before, matrix[..., 2:, 2:], before)
    return variance, shared, covariate


def _adjustment(pooled: Moments) -> tuple[Floats, Floats]:
    """The regression's slope over both groups, and the part of the variance that it takes away: ρ²."""
    variance, shared, covariate = _spread(pooled)
    with np.errstate(invalid="ignore", divide="ignore"):
        useful = covariate > 0
        slope = np.where(useful, shared / np.where(useful, covariate, 1.0), 0.0)
        cut = np.where(useful & (variance > 0), slope * shared / np.where(variance > 0, variance, 1.0), 0.0)
    return slope, cut


def _variance(group: Moments, slope: Floats) -> Floats:
    variance, shared, covariate = _spread(group)
    adjusted: Floats = np.maximum(variance + slope**2 * covariate - 2 * slope * shared, 0.0)
    return adjusted


def fixed_pvalue(statistic: Any, freedom: Any) -> Any:
    """The two-sided p-value of Student's t at one look, elementwise.

    >>> round(float(fixed_pvalue(1.96, 1e9)), 4)
    0.05
    """
    from scipy.special import stdtr

    return 2 * stdtr(freedom, -np.abs(statistic))


def units_needed(variance: float, difference: float, alpha: float, power: float, weights: tuple[float, float] = (1, 1)) -> int:
    """Units of both groups until a difference is seen with probability `power`: the normal approximation.

    >>> units_needed(0.1 * 0.9, 0.005, 0.05, 0.8)
    113024
    """
    from scipy.special import ndtri

    control, treatment = weights[0] / sum(weights), weights[1] / sum(weights)
    reach = float(ndtri(1 - alpha / 2) + ndtri(power))
    return math.ceil((reach / difference) ** 2 * variance * (1 / control + 1 / treatment))


def detectable_difference(
    variance: float, units: float, alpha: float, power: float, weights: tuple[float, float] = (1, 1)
) -> float:
    """The difference that `units` units of both groups show with probability `power`: the inverse of `units_needed`.

    >>> round(detectable_difference(0.09, 113024, 0.05, 0.8), 4)
    0.005
    """
    from scipy.special import ndtri

    control, treatment = weights[0] / sum(weights), weights[1] / sum(weights)
    return float(ndtri(1 - alpha / 2) + ndtri(power)) * math.sqrt(variance * (1 / control + 1 / treatment) / units)
