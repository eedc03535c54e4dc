"""Bootstrap intervals for statistics without a closed form. Seeded, so that equal values give equal intervals.

The percentile bootstrap resamples the queries with replacement many times and takes quantiles of the statistic as bounds (B.
Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979). Paired values of a query are drawn
together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.statistics.intervals import Floats

RESAMPLES = 2000
CHUNK = 64
"""Samples that are drawn at once."""


def paired_ratio_of_means(
    values: Sequence[float], reference: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of `values` divided by the mean of `reference`, with its paired percentile bootstrap interval.

    Args:
        values: one for each query, 0 or above.
        reference: of the same queries in the same order, 0 or above.
        confidence: of the interval.
        seed: of the resamples.

    Returns:
        The ratio, its lower and its upper bound; three zeros where the reference is 0 throughout.

    >>> paired_ratio_of_means([0.5, 0.5], [0.5, 0.5])
    (1.0, 1.0, 1.0)
    >>> [round(bound, 3) for bound in paired_ratio_of_means([0.4, 0.9, 0.0, 0.7], [0.5, 0.9, 0.1, 0.7])]
    [0.909, 0.667, 1.0]
    """
    pairs = np.array([values, reference])
    if not pairs[1].sum():
        return 0.0, 0.0, 0.0
    drawn = np.random.default_rng(seed).integers(0, pairs.shape[1], (RESAMPLES, pairs.shape[1]))
    above, below = pairs[0][drawn].sum(1), pairs[1][drawn].sum(1)
    tail = round((1 - confidence) / 2, 12)  # 1 - 0.95 is not quite 0.05
    low, high = np.quantile(above[below > 0] / below[below > 0], [tail, 1 - tail])
    return float(pairs[0].sum() / pairs[1].sum()), float(low), float(high)


def resampled_means(values: Floats, resamples: int = 10_000, seed: int = 0) -> Floats:
    """The mean of each of many samples, drawn with replacement.

    Args:
        values: one for each query, float64, shape (n,) with n of at least 1.
        resamples: how many samples.
        seed: of the draws.

    Returns:
        float64, shape (resamples,).

    >>> means = resampled_means(np.array([0.0, 1.0, 1.0, 0.0]))
    >>> means.shape, round(float(means.mean()), 2), round(float(means.std()), 2)
    ((10000,), 0.5, 0.25)
    """
    random, count = np.random.default_rng(seed), len(values)
    index: type[np.unsignedinteger[Any]] = np.uint16 if count <= 2**16 else np.uint32
    means = np.empty(resamples)
    for start in range(0, resamples, CHUNK):  # so that the draws fit into a processor's cache
        drawn = random.integers(0, count, (min(CHUNK, resamples - start), count), dtype=index)
        means[start : start + CHUNK] = values[drawn].mean(1)
    return means
