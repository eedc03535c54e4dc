"""How well raters agree who graded the same pairs, where nobody says which grade is whose."""

import math
from collections.abc import Mapping

import numpy as np


def same_share(counts: Mapping[tuple[int, int], int]) -> float:
    """The share of ratings of the same pair that have the same grade; NaN: there are none.

    >>> same_share({(0, 0): 3, (0, 1): 1})
    0.75
    """
    total = sum(counts.values())
    return sum(count for (one, other), count in counts.items() if one == other) / total if total else math.nan


def weighted_kappa(counts: Mapping[tuple[int, int], int]) -> float:
    """Cohen's kappa with quadratic weights: 1 is perfect, 0 is what chance gives; NaN: all grades are equal, or there are none.

    Raters that are not told apart share their margins, so that the expected squared distance of two grades is twice the
    variance of all (J. Cohen, "Weighted kappa", Psychological Bulletin 70, 1968; W. A. Scott, "Reliability of content
    analysis", Public Opinion Quarterly 19, 1955).

    Args:
        counts: how often two grades were given to the same pair.

    >>> weighted_kappa({(0, 0): 5, (1, 1): 5}), weighted_kappa({(0, 1): 4})
    (1.0, -1.0)
    >>> round(weighted_kappa({(0, 0): 45, (1, 1): 45, (0, 1): 10}), 2)
    0.8
    """
    pairs, weights = np.array(list(counts), float).reshape(-1, 2), np.array(list(counts.values()), float)
    if not weights.sum():
        return math.nan
    mean = float(weights @ pairs.mean(1) / weights.sum())
    expected = 2 * float(weights @ ((pairs - mean) ** 2).mean(1) / weights.sum())
    observed = float(weights @ (pairs[:, 0] - pairs[:, 1]) ** 2 / weights.sum())
    return 1 - observed / expected if expected else math.nan
