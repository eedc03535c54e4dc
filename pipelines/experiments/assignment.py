"""Assignment: which variant a unit sees, by a hash of the experiment's salt and the unit's id alone."""

import hashlib
from collections.abc import Mapping

SCALE = float(1 << 64)


def assign(unit: str, salt: str, weights: Mapping[str, float]) -> str:
    """The variant of a unit: always the same for the same salt, with a probability that is proportional to its weight.

    >>> assign("ann", "blue-button", {"control": 1, "treatment": 1})
    'treatment'
    >>> drawn = [assign(str(unit), "s", {"a": 1, "b": 3}) for unit in range(1000)]
    >>> drawn.count("a")
    248
    """
    point = int.from_bytes(hashlib.sha256(f"{salt}\0{unit}".encode()).digest()[:8]) / SCALE * sum(weights.values())
    for variant, weight in weights.items():
        point -= weight
        if point < 0:
            return variant
    return variant
