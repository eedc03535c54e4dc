"""Confidence intervals of means over queries, in closed form, so that no seed is needed.

Per-query differences are bounded and skewed, and many are 0. By Student's t alone a harmful challenger then passes up to twice
as often as stated. So each bound is the wider of Student's t and Hall's transformed t, which corrects for skewness (P. Hall,
"On the removal of skewness by transformation", JRSS B 54, 1992). `docs/evaluation.md` has the simulation by which this was
chosen over either alone and over the bootstrap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` queries with its confidence interval: no bounds below two queries, no mean below one."""

    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether there are bounds."""
        return self.low is not None


def interval(values: Sequence[float], confidence: float = 0.95, least: float = -1.0, most: float = 1.0) -> Interval:
    """The mean of per-query values with its interval, clipped to the range from `least` to `most`.

    >>> interval([0.5, 0.0, 1.0, 0.5], least=0.0)
    Interval(n=4, mean=0.5, low=0.0, high=1.0, sd=0.408248)
    """
    sample = np.asarray(values, float)
    if sample.size == 0:
        return Interval(0)
    mean = float(sample.mean())
    if sample.size == 1:
        return Interval(1, round(mean, 9))
    low, high = bounds(sample, confidence)
    low, high = max(least, float(low)), min(most, float(high))
    return Interval(sample.size, round(mean, 9), round(low, 9), round(high, 9), round(float(sample.std(ddof=1)), 6))


def bounds(values: Floats, confidence: float) -> tuple[Any, Any]:
    """Bounds of the mean over the last axis, which has two values or more: on each side the wider of t and Hall's t.

    Args:
        values: shape (…, queries).
        confidence: of the interval, two-sided.

    Returns:
        Lower and upper bounds, each of shape (…).
    """
    count = values.shape[-1]
    mean, sd = values.mean(-1), values.std(-1, ddof=1)
    quantile = student((1 + confidence) / 2, count) / math.sqrt(count)
    skewness = ((values - mean[..., None]) ** 3).mean(-1) / np.maximum(sd, 1e-12) ** 3
    down = np.maximum(quantile, _hall_inverse(quantile, skewness, count))
    up = np.maximum(quantile, -_hall_inverse(-quantile, skewness, count))
    return mean - sd * down, mean + sd * up


def _hall_inverse(quantile: float, skewness: Any, count: int) -> Any:
    """The inverse of Hall's transformation: the skewed studentized mean for a symmetric one, both divided by √n."""
    symmetric = np.abs(skewness) < 1e-6
    slope = np.where(symmetric, 1, skewness)
    return np.where(symmetric, quantile, 3 / slope * (np.cbrt(1 + slope * (quantile - slope / (6 * count))) - 1))


def student(probability: float, count: int) -> float:
    """The quantile of Student's t with `count` − 1 degrees of freedom.

    >>> round(student(0.975, 1386), 3)
    1.962
    """
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, probability))
