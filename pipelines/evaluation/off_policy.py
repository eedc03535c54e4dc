"""What a release would have earned under logged traffic: from a log with propensities to a stored estimate, read again.

The log tells, of each action that was shown, the probability with which it was shown and the one with which the release would
have shown it. Where both overlap too little, a few rows decide and no interval holds, so nothing is said (A. Owen, "Monte Carlo
theory, methods and examples", chapter 9, 2013, for the effective sample size).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.errors import InputError
from pipelines.evaluation.measurement import Measurement
from pipelines.statistics.off_policy import Lift, lift_of, off_policy_value
from pipelines.statistics.uplift import Floats, moments_of
from pipelines.wording import counted, value

FEWEST_EFFECTIVE = 200.0
"""Rows of equal weight that would tell as much as the log, at least."""
FEWEST_REWARDED = 20.0
"""The same of rows with a reward: of fewer, the interval of the weighted mean does not hold."""
LEAST_SHARE = 0.01
"""Of the rows, that the effective ones are at least."""
ERRORS = 3.5
"""Standard errors that the mean weight may be off 1: beyond, propensities are wrong or actions are missing from the log."""
MEASURES = ("SNIPS", "IPS")


@dataclass(frozen=True)
class OffPolicy(Measurement):
    """A stored estimate, of the release whose probabilities the log has as those of the target policy."""

    SUMMARY = "off_policy.json"
    """See `estimate`."""

    @property
    def too_thin(self) -> str:
        """Why the policies overlap too little for a verdict; empty: they overlap enough."""
        return str(self.summary["too_thin"])

    def lift(self, measure: str) -> Lift:
        """The relative gain of one of MEASURES over what was earned, with its standard error."""
        return Lift(**self.summary["lift"][measure])


def estimate(rewards: Floats, propensities: Floats, target: Floats, units: Floats | None = None) -> dict[str, Any]:
    """The content of `off_policy.json`.

    Args:
        rewards: of each row, shape (rows,).
        propensities: with which its action was shown, above 0.
        target: with which the other policy would have shown it.
        units: a number for each row that is equal for rows of one unit; none: each row is its own.

    Returns:
        `observed`, `ips`, `snips` with their errors, `lift` by measure, `rows`, `units`, `effective_rows`,
        `effective_rewarded`, `largest_share`, `mean_weight` with its error, and `too_thin`.

    Raises:
        InputError: nothing was earned, the other policy takes no action of the log, or all rows belong to one unit.
    """
    weights = target / propensities
    if not (rewards.sum() > 0 and weights.sum() > 0):
        given = "nothing was earned" if weights.sum() > 0 else "the other policy takes no action of it"
        raise InputError(f"a log of {weights.size:,} rows in which {given}", "rewards, and actions of both", "log more")
    rows = np.stack([weights * rewards, np.ones_like(weights), weights, rewards], -1)
    if units is not None:
        _, place = np.unique(units, return_inverse=True)
        rows = np.stack([np.bincount(place, column) for column in rows.T], -1)
    if len(rows) < 2:
        given = f"a log of {counted(weights.size, 'row')} by one unit"
        raise InputError(given, "two units or more", "log more, or name another column of users or sessions")
    moments = moments_of(rows)
    total = float(weights.sum())
    found: dict[str, Any] = {
        **asdict(off_policy_value(moments, float(rewards.mean()))),
        "lift": {measure: lift_of(moments, normalized=measure == "SNIPS")._asdict() for measure in MEASURES},
        "rows": int(weights.size),
        "units": len(rows),
        "effective_rows": effective(weights),
        "effective_rewarded": effective(weights * np.abs(rewards)),
        "largest_share": float(weights.max()) / total if total else 1.0,
        "mean_weight_error": float(np.sqrt(moments.covariance[2, 2] / len(rows)) / moments.mean[1]),
    }
    return {**found, "too_thin": too_thin(found)}


def effective(weights: Floats) -> float:
    """How many equal weights tell as much: the square of the sum, divided by the sum of squares.

    >>> effective(np.array([1.0, 1.0, 1.0, 1.0])), effective(np.array([1.0, 0.0])), effective(np.zeros(2))
    (4.0, 1.0, 0.0)
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def too_thin(found: dict[str, Any]) -> str:
    """Why two policies overlap too little; empty: they overlap enough."""
    off = abs(found["mean_weight"] - 1)
    if found["effective_rows"] < max(FEWEST_EFFECTIVE, LEAST_SHARE * found["rows"]):
        least = max(FEWEST_EFFECTIVE, LEAST_SHARE * found["rows"])
        return f"{found['rows']:,} rows tell as much as {found['effective_rows']:,.0f} of equal weight, {least:,.0f} at least"
    if found["effective_rewarded"] < FEWEST_REWARDED:
        rewarded = f"{found['effective_rewarded']:.1f} of equal weight, {FEWEST_REWARDED:g} at least"
        return f"rows with a reward tell as much as {rewarded}"
    if off > ERRORS * found["mean_weight_error"]:
        return (
            f"the mean weight is {value(found['mean_weight'])} and not 1: propensities are wrong, or the log lacks actions that"
            " the other policy takes"
        )
    return ""
