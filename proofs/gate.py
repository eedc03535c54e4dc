"""`make proof-gate`: how often the gate errs, simulated with a known truth; writes build/proof/gate.json, exit 1 beyond bounds.

A query's difference is 0, a gain or a loss, as when one release is compared with another: most queries are equal, the rest is
bounded and skewed. "balanced" has the zeros (53 %) and the spread (0.28) seen between two texts of the icons.
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
ERRORS = 3.0
"""Standard errors of a simulated share that it may be off."""


@dataclass(frozen=True)
class Case:
    """Share of zeros, and the beta distributions of gains and losses."""

    zeros: float
    gains: tuple[float, float]
    losses: tuple[float, float]

    def draw(self, seed: np.random.Generator, size: tuple[int, int], mean: float) -> Floats:
        """Differences whose true mean is `mean`, by the share of losses among what changed."""
        average = {side: a / (a + b) for side, (a, b) in (("gains", self.gains), ("losses", self.losses))}
        gaining = (mean / (1 - self.zeros) + average["losses"]) / (average["gains"] + average["losses"])
        assert 0 <= gaining <= 1, "no share of losses gives this mean"
        changed = np.where(seed.random(size) < gaining, seed.beta(*self.gains, size), -seed.beta(*self.losses, size))
        return np.where(seed.random(size) < self.zeros, 0.0, changed)


CASES = {
    "balanced": Case(0.53, (0.9, 1.8), (0.9, 1.8)),
    "few_large_losses": Case(0.5, (0.8, 4.0), (0.9, 1.5)),
    "few_large_gains": Case(0.5, (0.9, 1.5), (0.8, 3.0)),
    "many_zeros": Case(0.7, (0.9, 1.8), (0.9, 1.8)),
}


def tolerance(share: float, runs: int) -> float:
    """How far a simulated share may lie from the true one."""
    return ERRORS * float(np.sqrt(share * (1 - share) / runs))


def simulate(case: Case, size: int, runs: int, seed: int, method: Callable[[Floats], Bounds]) -> dict[str, float]:
    """Shares of runs: interval holds the truth, an equal challenger is rejected or passes, a harmful one passes.

    The equal challenger meets the margin that its own differences arm; the harmful one is worse by the median of these margins.
    """
    source = np.random.default_rng(seed)
    equal = case.draw(source, (runs, size), 0.0)
    low, high = method(equal)
    armed = detectable(equal, CONFIDENCE, POWER) + bounds(equal, CONFIDENCE)[0] - low  # of this method's lower bound
    margin = float(np.median(armed))
    harmful = case.draw(source, (runs, size), -margin)
    return {
        "coverage": float(np.mean((low <= 0) & (high >= 0))),
        "false_reject": float(np.mean(high < 0)),
        "power": float(np.mean(low > -armed)),
        "false_pass": float(np.mean(method(harmful)[0] > -margin)),
        "margin": margin,
    }


def ours(values: Floats) -> Bounds:
    """The gate's interval."""
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
        chosen: Floats = np.take_along_axis(sampled, np.rint(quantile * (count - 1)).astype(int)[:, None], -1)[:, 0]
        return chosen

    return at((1 - CONFIDENCE) / 2), at((1 + CONFIDENCE) / 2)


def _resampled(values: Floats, samples: int = 2000) -> Floats:
    size = values.shape[-1]
    weights = np.random.default_rng(7).multinomial(size, np.full(size, 1 / size), samples) / size
    return (weights.astype(np.float32) @ values.T.astype(np.float32)).T.astype(float)


def proof(runs: int, seed: int) -> dict[str, Any]:
    """Flat figures of every case, size and method, and the worst of the gate's own."""
    figures: dict[str, Any] = {}
    for name, case in CASES.items():
        for size in SIZES:
            for method in (ours, student_t, percentile, bca):
                found = simulate(case, size, runs, seed, method)
                figures |= {f"{method.__name__}_{name}_{size}_{key}": round(share, 4) for key, share in found.items()}
    for key, worst in (("coverage", min), ("power", min), ("false_reject", max), ("false_pass", max)):
        figures[f"worst_{key}"] = worst(
            given for name, given in figures.items() if name.startswith("ours_") and name.endswith(key)
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
    """The figures of the gate that are worse than stated."""
    error = (1 - CONFIDENCE) / 2
    most, least = error + tolerance(error, runs), POWER - tolerance(POWER, runs)
    covered = CONFIDENCE - tolerance(CONFIDENCE, runs)
    return [
        f"{name} {given}"
        for name, given in figures.items()
        if name.startswith("ours_")
        and (
            (name.endswith("false_pass") and given > most)
            or (name.endswith("power") and given < least)
            or (name.endswith("coverage") and given < covered)
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
