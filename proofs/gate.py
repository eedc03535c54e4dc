"""`make proof-gate`: the gate's error rates, simulated with a known truth. Writes build/proof/gate.json; exit 1 beyond bounds.

The difference of a query is 0, a gain or a loss, as between two releases: 0 for most queries, bounded and skewed for the rest.
"balanced" has the share of zeros (53 %) and the standard deviation (0.28) measured between two texts of the icons.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.statistics.intervals import bounds, student
from pipelines.statistics.power import detectable

Floats = NDArray[np.float64]
Bounds = tuple[Floats, Floats]
CONFIDENCE, POWER = 0.95, 0.8
SIZES = (50, 116, 1300)
STANDARD_ERRORS = 3.0
"""How far a simulated share may be off, in its standard errors."""


@dataclass(frozen=True)
class Case:
    """A distribution of differences: the share of zeros, and the beta distributions of gains and losses."""

    zeros: float
    gains: tuple[float, float]
    losses: tuple[float, float]

    def draw(self, random: np.random.Generator, size: tuple[int, int], mean: float) -> Floats:
        """Differences with a true mean of `mean`, which sets the share of losses among those that are not 0."""
        average = {side: a / (a + b) for side, (a, b) in (("gains", self.gains), ("losses", self.losses))}
        gaining = (mean / (1 - self.zeros) + average["losses"]) / (average["gains"] + average["losses"])
        assert 0 <= gaining <= 1, "no share of losses gives this mean"
        changed = np.where(random.random(size) < gaining, random.beta(*self.gains, size), -random.beta(*self.losses, size))
        return np.where(random.random(size) < self.zeros, 0.0, changed)


CASES = {
    "balanced": Case(0.53, (0.9, 1.8), (0.9, 1.8)),
    "few_large_losses": Case(0.5, (0.8, 4.0), (0.9, 1.5)),
    "few_large_gains": Case(0.5, (0.9, 1.5), (0.8, 3.0)),
    "many_zeros": Case(0.7, (0.9, 1.8), (0.9, 1.8)),
}


def tolerance(share: float, runs: int) -> float:
    """How far a simulated share may lie from the true one."""
    return STANDARD_ERRORS * float(np.sqrt(share * (1 - share) / runs))


def simulate(case: Case, size: int, runs: int, seed: int, method: Callable[[Floats], Bounds]) -> dict[str, float]:
    """Shares of runs: interval covers the truth, an equal challenger is rejected or passes, a harmful one passes.

    The margin of an equal challenger is the least that its own differences can detect; the harmful one is worse by the median
    of these margins.
    """
    random = np.random.default_rng(seed)
    equal = case.draw(random, (runs, size), 0.0)
    low, high = method(equal)
    margins = detectable(equal, CONFIDENCE, POWER) + bounds(equal, CONFIDENCE)[0] - low  # with this method's lower bound
    margin = float(np.median(margins))
    harmful = case.draw(random, (runs, size), -margin)
    return {
        "coverage": float(np.mean((low <= 0) & (high >= 0))),
        "false_reject": float(np.mean(high < 0)),
        "power": float(np.mean(low > -margins)),
        "false_pass": float(np.mean(method(harmful)[0] > -margin)),
        "margin": margin,
    }


def gate_interval(values: Floats) -> Bounds:
    """The gate's interval: the wider of Student's t and Hall's transformed t on each side."""
    return bounds(values, CONFIDENCE)


def student_t(values: Floats) -> Bounds:
    """Student's t alone."""
    reach = student((1 + CONFIDENCE) / 2, values.shape[-1]) * values.std(-1, ddof=1) / np.sqrt(values.shape[-1])
    return values.mean(-1) - reach, values.mean(-1) + reach


def percentile(values: Floats) -> Bounds:
    """The percentile bootstrap, 2,000 samples."""
    low, high = np.quantile(_resampled(values), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=-1)
    return low, high


def bca(values: Floats) -> Bounds:
    """The bias-corrected and accelerated bootstrap (Efron 1987), 2,000 samples."""
    from scipy.special import ndtr, ndtri

    sampled = np.sort(_resampled(values), axis=-1)
    count = sampled.shape[-1]
    mean = values.mean(-1, keepdims=True)
    below = (np.mean(sampled < mean, axis=-1) + np.mean(sampled <= mean, axis=-1)) / 2
    bias = ndtri(np.clip(below, 1 / count, 1 - 1 / count))
    apart = values - mean
    acceleration = (apart**3).sum(-1) / (6 * np.maximum((apart**2).sum(-1), 1e-12) ** 1.5)

    def at(probability: float) -> Floats:
        shifted = bias + ndtri(probability)
        quantile = ndtr(bias + shifted / (1 - acceleration * shifted))
        bound: Floats = np.take_along_axis(sampled, np.rint(quantile * (count - 1)).astype(int)[:, None], -1)[:, 0]
        return bound

    return at((1 - CONFIDENCE) / 2), at((1 + CONFIDENCE) / 2)


def _resampled(values: Floats, samples: int = 2000) -> Floats:
    size = values.shape[-1]
    weights = np.random.default_rng(7).multinomial(size, np.full(size, 1 / size), samples) / size
    return (weights.astype(np.float32) @ values.T.astype(np.float32)).T.astype(float)


METHODS = {"ours": gate_interval, "student_t": student_t, "percentile": percentile, "bca": bca}
"""By the word that names of figures begin with; committed figures have "ours" for the gate's interval."""


def proof(runs: int, seed: int) -> dict[str, Any]:
    """Flat figures of every case, size and method, and the worst of the gate's interval."""
    figures: dict[str, Any] = {}
    for name, case in CASES.items():
        for size in SIZES:
            for prefix, method in METHODS.items():
                shares = simulate(case, size, runs, seed, method)
                figures |= {f"{prefix}_{name}_{size}_{key}": round(share, 4) for key, share in shares.items()}
    for key, worst in (("coverage", min), ("power", min), ("false_reject", max), ("false_pass", max)):
        figures[f"worst_{key}"] = worst(
            figure for name, figure in figures.items() if name.startswith("ours_") and name.endswith(key)
        )
    return figures


def main() -> int:
    from tests.figures import write_figures

    runs, seed, started = 4000, 0, time.monotonic()
    figures = proof(runs, seed)
    figures["seconds"] = round(time.monotonic() - started, 1)
    write_figures("proof/gate", figures, seed=seed, runs=runs)
    return 0 if not beyond(figures, runs) else 1


def beyond(figures: dict[str, Any], runs: int) -> list[str]:
    """The figures of the gate's interval that are worse than stated by more than chance."""
    error = (1 - CONFIDENCE) / 2
    most, least = error + tolerance(error, runs), POWER - tolerance(POWER, runs)
    covered = CONFIDENCE - tolerance(CONFIDENCE, runs)
    return [
        f"{name} {figure}"
        for name, figure in figures.items()
        if name.startswith("ours_")
        and (
            (name.endswith("false_pass") and figure > most)
            or (name.endswith("power") and figure < least)
            or (name.endswith("coverage") and figure < covered)
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
