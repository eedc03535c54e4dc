"""How unequally an amount is shared."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def gini(amounts: Floats) -> Floats:
    """The Gini coefficient over the last axis, of amounts of 0 or more; 0 where all are 0.

    >>> [round(float(gini(np.array(amounts))), 3) for amounts in ([1.0, 1.0, 1.0], [0.0, 0.0, 1.0])]
    [0.0, 0.667]
    """
    ordered = np.sort(amounts, axis=-1)
    count, total = ordered.shape[-1], ordered.sum(-1)
    weighted = ordered @ (2.0 * np.arange(1, count + 1) - count - 1)
    return np.asarray(weighted / (count * np.where(total > 0, total, 1)))
