"""Alarms: how unlikely a day's signals are among quiet days, at a stated rate of false alarms for all of them together.

**Sudden.** The value of today against those of the baseline's days, by the prediction interval of one more day (Student's t).

**Gradual.** The mean of the last days against the baseline's, over windows of several lengths: the window-limited CUSUM for an
unknown size of change (T. L. Lai, "Sequential changepoint detection in quality control and dynamical systems", JRSS B 57,
1995). Days in a row are alike: the variance of a mean is taken for the autocorrelation of the first order that the baseline's
days show, and at least for LEAST_CORRELATION.

Holm's correction over all of a day's tests is made where they are judged. There is no budget over days that would be used up:
each day has the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.drift.rows import Floats
from pipelines.drift.signals import Mask, Signal

LEAST_DAYS = 14
"""Past days without which there is no null between days."""
RECENT = 14
"""The last days, today among them, that are looked at for gradual drift and are no baseline, once there are twice as many."""
WINDOWS = (3, 5, 7, 10, 14)
"""Lengths in days over which gradual drift is looked for."""
LEAST_CORRELATION = 0.3


@dataclass(frozen=True)
class Finding:
    """What one test of a signal found."""

    signal: Signal
    kind: Literal["sudden", "gradual"]
    pvalue: float
    effect: float
    days: int
    """Over which the change was looked for: 1, or the window in which it is clearest."""


def baseline_of(days: int, most: int) -> Mask:
    """Which of the days are the baseline, (days,), the last of which is today.

    >>> baseline_of(15, 60).sum(), baseline_of(30, 60).sum(), baseline_of(100, 60).sum()
    (np.int64(14), np.int64(16), np.int64(60))
    """
    mask = np.zeros(days, bool)
    last = days - RECENT if days - RECENT >= LEAST_DAYS else days - 1
    mask[max(0, last - most) : last] = True
    return mask


def findings_of(found: Sequence[Signal], baseline: Mask, quiet_since: int = 0) -> list[Finding]:
    """The tests of today, the last day.

    Args:
        found: the signals.
        baseline: as `baseline_of` gives it.
        quiet_since: the first day that counts for gradual drift, since an earlier alarm was about the days before.
    """
    tests = [sudden(signal, baseline) for signal in found]
    if not baseline[-2]:
        tests += [test for signal in found if (test := gradual(signal, baseline, quiet_since))]
    return tests


def sudden(signal: Signal, baseline: Mask) -> Finding:
    """Today against one more day of the baseline."""
    usual = signal.values[baseline]
    spread = max(_spread(usual), signal.floor)
    statistic = (signal.values[-1] - usual.mean()) / (spread * math.sqrt(1 + 1 / len(usual)))
    pvalue = max(tail(statistic, len(usual) - 1, signal.two_sided), signal.least_pvalue)
    return Finding(signal, "sudden", pvalue, signal.effect(slice(-1, None), baseline), 1)


def gradual(signal: Signal, baseline: Mask, since: int = 0) -> Finding | None:
    """The last days together, in the window in which they are furthest off; none before there are three."""
    usual = signal.values[baseline]
    spread, count = max(_spread(usual), signal.floor), len(usual)
    correlation = max(LEAST_CORRELATION, min(0.8, first_correlation(usual)))
    inflation = (1 + correlation) / (1 - correlation)
    first = max(since, int(np.flatnonzero(baseline)[-1]) + 1)
    fitting = [days for days in WINDOWS if days <= len(signal.values) - first]
    best = None
    for days in fitting:
        apart = signal.values[-days:].mean() - usual.mean()
        error = spread * math.sqrt(inflation * (1 / days + 1 / count))
        pvalue = min(1.0, len(WINDOWS) * tail(apart / error, count - 1, signal.two_sided))
        if best is None or pvalue < best.pvalue:
            best = Finding(signal, "gradual", pvalue, signal.effect(slice(-days, None), baseline), days)
    return best


def _spread(values: Floats) -> float:
    return float(values.std(ddof=1))


def first_correlation(values: Floats) -> float:
    """The autocorrelation of neighbouring days; 0 where all are equal.

    >>> round(first_correlation(np.array([1.0, 2.0, 1.0, 2.0])), 2)
    -0.75
    """
    apart = values - values.mean()
    total = float((apart**2).sum())
    return float((apart[1:] * apart[:-1]).sum()) / total if total else 0.0


def tail(statistic: float, freedom: int, two_sided: bool) -> float:
    """The p-value of Student's t.

    >>> round(tail(2.0, 13, True), 4), round(tail(2.0, 13, False), 4)
    (0.0668, 0.0334)
    """
    from scipy.special import stdtr

    pvalue = float(2 * stdtr(freedom, -abs(statistic)) if two_sided else stdtr(freedom, -statistic))
    return max(pvalue, 1e-99)
