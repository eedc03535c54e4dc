"""Power: the margin that a number of queries can detect, and the number of queries that a difference needs. Closed forms.

The margin follows from the spread of the paired differences and not from their mean, so looking at it favours neither side
(blinded sample size re-estimation: A. L. Gould and W. J. Shih, Communications in Statistics 21, 1992; for topics in information
retrieval: T. Sakai, "Topic set size design", Information Retrieval Journal 19, 2016, and J. Urbano, the same volume).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.statistics.intervals import Floats, bounds


def margin_that_holds(values: Sequence[float], confidence: float, power: float) -> float | None:
    """The smallest margin at which an equal challenger passes with probability `power`; None below two queries.

    It is the sum of two distances: from the mean to its lower bound, and from 0 to how far an equal challenger's mean may fall
    below it with probability `power`.

    Args:
        values: the difference of each query, challenger − champion.
        confidence: of the interval whose lower bound must exceed −margin.
        power: 0.5 or above.

    >>> margin_that_holds([0.0, 0.0, 0.0], 0.95, 0.8)
    0.0
    """
    differences = np.asarray(values, float)
    return None if differences.size < 2 else float(detectable(differences, confidence, power))


def detectable(values: Floats, confidence: float, power: float) -> Any:
    """`margin_that_holds` over the last axis, which has two values or more: shape (…, queries) to shape (…)."""
    low, _ = bounds(values, confidence)
    _, high = bounds(values, 2 * power - 1)
    return high - low


def queries_needed(distance: float, sd: float, confidence: float, power: float) -> int:
    """How many queries it takes for the interval of a mean to exclude a value `distance` away, with probability `power`.

    The normal approximation: n = ((z₁ + z₂) · sd / distance)², with z₁ for the two-sided confidence and z₂ for the power.

    >>> queries_needed(0.02, 0.2877, 0.95, 0.8)
    1625
    """
    from scipy.special import ndtri

    spread = float(ndtri((1 + confidence) / 2) + ndtri(power)) * sd
    return math.ceil((spread / distance) ** 2)
