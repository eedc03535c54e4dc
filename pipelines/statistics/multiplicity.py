"""Several tests or intervals at once: the worst of many is too bad by chance.

Holm's adjustment bounds the probability of any false claim, Benjamini and Hochberg's the share of false claims among those
made, whatever the tests have to do with each other (the latter: where they depend positively). The max-t method bounds all
intervals at once and knows how they depend, so that overlapping segments are not corrected as if each were a new question.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.statistics.intervals import Floats, Interval, interval

RESAMPLES = 4000
BLOCK = 500
"""Resamples that are computed together: bounds the memory to BLOCK × units numbers."""
Members = NDArray[np.bool_]


def holm(pvalues: Any, alpha: float) -> tuple[list[float], list[float]]:
    """Holm's adjusted p-values, and for each the level at which its own test was made (S. Holm, 1979).

    An interval at this level excludes 0 exactly where the adjusted p-value is below `alpha`.

    >>> holm([0.01, 0.04, 0.03], 0.05)
    ([0.03, 0.06, 0.06], [0.016666666666666666, 0.025, 0.025])
    """
    given = [float(pvalue) for pvalue in pvalues]
    order = sorted(range(len(given)), key=given.__getitem__)
    adjusted, levels = [1.0] * len(given), [alpha] * len(given)
    highest, open_tests = 0.0, len(given)
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, given[index] * (len(given) - rank)))
        adjusted[index] = highest
        levels[index] = alpha / open_tests
        if given[index] < alpha / open_tests and open_tests == len(given) - rank:
            open_tests = max(1, open_tests - 1)
    return adjusted, levels


def benjamini_hochberg(pvalues: Sequence[float]) -> list[float]:
    """Adjusted p-values: those below q are claims of which a share of at most q is false (Y. Benjamini, Y. Hochberg, 1995).

    >>> [round(pvalue, 4) for pvalue in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
    [0.04, 0.0533, 0.0533, 0.5]
    """
    from scipy.stats import false_discovery_control

    return [float(pvalue) for pvalue in false_discovery_control(pvalues)] if pvalues else []


def simultaneous_confidence(values: Floats, members: Members, confidence: float, seed: int = 0) -> float:
    """The confidence that the interval of each mean needs, so that all of them hold at once with `confidence`.

    The largest studentized mean is drawn by the multiplier bootstrap: the values' deviations times standard normal numbers, the
    same number for a unit in each mean that it is part of (V. Chernozhukov, D. Chetverikov, K. Kato, "Gaussian approximations
    and multiplier bootstrap for maxima of sums of high-dimensional random vectors", Annals of Statistics 41, 2013). Its
    quantile is the critical value of all (max-t), and is given back as a confidence, so that each interval can correct for its
    own size and skewness.

    Args:
        values: one for each unit, shape (units,).
        members: which units each mean is over, shape (units, means); a unit may be in several.
        confidence: of all intervals together.
        seed: of the multipliers.

    Returns:
        From `confidence` (one mean, or means of the same units) to less than 1.
    """
    from scipy.special import ndtr

    counts = members.sum(0)
    means = (values @ members) / np.maximum(counts, 1)
    deviations = np.where(members, values[:, None] - means, 0.0)
    spread = np.sqrt((deviations**2).sum(0))
    directions = (deviations[:, spread > 0] / spread[spread > 0]).astype(np.float32)
    if directions.shape[1] < 2:
        return confidence
    random = np.random.default_rng(seed)
    largest = np.concatenate([
        np.abs(random.standard_normal((BLOCK, len(values)), np.float32) @ directions).max(1) for _ in range(RESAMPLES // BLOCK)
    ])  # fmt: skip
    return max(confidence, float(2 * ndtr(np.quantile(largest, confidence)) - 1))


def simultaneous_intervals(values: Floats, members: Members, confidence: float, seed: int = 0) -> list[Interval]:
    """The interval of each mean, all of which hold at once with `confidence`; arguments as `simultaneous_confidence`."""
    each = simultaneous_confidence(values, members, confidence, seed)
    return [interval(values[inside], each) for inside in members.T]


def means_below_zero(values: Floats, members: Members, confidence: float, seed: int = 0) -> list[int]:
    """Which means are below 0: with `confidence` none of them is named falsely.

    Steps down: once some are named, the others are corrected for fewer (J. P. Romano, M. Wolf, "Exact and approximate stepdown
    methods for multiple hypothesis testing", JASA 100, 2005).

    Returns:
        The columns of `members`, sorted.
    """
    named: list[int] = []
    while len(named) < members.shape[1]:
        others = [column for column in range(members.shape[1]) if column not in named]
        found = simultaneous_intervals(values, members[:, others], confidence, seed)
        new = [column for column, mean in zip(others, found, strict=True) if mean.high is not None and mean.high < 0]
        if not new:
            break
        named += new
    return sorted(named)
