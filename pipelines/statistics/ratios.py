"""Ratios of two series that were measured side by side, such as the latencies of two servers, with their intervals.

Requests near each other in time share what disturbs them, so blocks of them are resampled and not single requests (H. Künsch,
"The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17, 1989), and a block of both
series is drawn together. What was measured only a few times, such as a start, is compared by Student's t on the logarithms of
its ratios (T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.statistics.intervals import Floats, student

Counts = NDArray[np.int64]
RESAMPLES = 2000
CHUNK = 1_000_000
"""Numbers of resamples that are in memory at once."""


class Ratio(NamedTuple):
    """A ratio with its interval, from `n` blocks or pairs."""

    ratio: float
    low: float
    high: float
    n: int


def quantile_ratio(values: Floats, reference: Floats, probability: float, confidence: float = 0.95, seed: int = 0) -> Ratio:
    """A quantile of `values` divided by that of `reference`, with its percentile bootstrap over blocks.

    Args:
        values: shape (blocks, requests), above 0.
        reference: measured at the same time, of the same shape.
        probability: of the quantile, such as 0.99.
        confidence: of the interval, two-sided.
        seed: of the resamples.

    Raises:
        ValueError: the shapes differ, or there are fewer than two blocks.

    >>> blocks = np.arange(1.0, 401.0).reshape(4, 100)
    >>> [round(bound, 9) for bound in quantile_ratio(1.3 * blocks, blocks, 0.99)]
    [1.3, 1.3, 1.3, 4]
    """
    if values.shape != reference.shape or len(values) < 2:
        raise ValueError(f"two blocks or more of equal shape, not {values.shape} and {reference.shape}")
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES)
    ratios = _quantiles(values, drawn, probability) / _quantiles(reference, drawn, probability)
    tail = round((1 - confidence) / 2, 12)  # 1 - 0.95 is not quite 0.05
    low, high = np.quantile(ratios, [tail, 1 - tail])
    whole = np.ones((1, len(values)), int)
    ratio = _quantiles(values, whole, probability) / _quantiles(reference, whole, probability)
    return Ratio(float(ratio[0]), float(low), float(high), len(values))


def _quantiles(values: Floats, drawn: Counts, probability: float) -> Floats:
    """The quantile of each resample, a value that was measured (the inverse of the distribution function).

    Args:
        values: shape (blocks, requests).
        drawn: how often each block is in each resample, shape (resamples, blocks).
        probability: of the quantile.

    Returns:
        Shape (resamples,).
    """
    flat = values.ravel()
    order = flat.argsort()
    block_of, needed = order // values.shape[1], math.ceil(probability * flat.size)
    found = np.empty(len(drawn))
    for start in range(0, len(drawn), step := max(1, CHUNK // flat.size)):
        below = drawn[start : start + step, block_of].cumsum(1)
        found[start : start + step] = flat[order[(below >= needed).argmax(1)]]
    return found


def paired_ratio(values: Sequence[float], reference: Sequence[float], confidence: float = 0.95) -> Ratio:
    """The geometric mean of the ratios of pairs, with its interval by Student's t on their logarithms.

    Args:
        values: above 0.
        reference: of the same pairs, in the same order.
        confidence: of the interval, two-sided.

    Raises:
        ValueError: there are fewer than two pairs, or their numbers differ.

    >>> paired_ratio([3.0, 3.0], [2.0, 2.0])
    Ratio(ratio=1.5, low=1.5, high=1.5, n=2)
    """
    if len(values) != len(reference) or len(values) < 2:
        raise ValueError(f"two pairs or more, not {len(values)} values and {len(reference)}")
    logs = np.log(np.asarray(values, float) / np.asarray(reference, float))
    reach = student((1 + confidence) / 2, logs.size) * float(logs.std(ddof=1)) / math.sqrt(logs.size)
    mean = float(logs.mean())
    ratio, low, high = (round(math.exp(bound), 9) for bound in (mean, mean - reach, mean + reach))
    return Ratio(ratio, low, high, logs.size)
