"""Always-valid inference: intervals and p-values that hold at every look, however often and for whatever reason one looks.

Means, ratios and regression-adjusted means: asymptotic confidence sequences by the Gaussian mixture (I. Waudby-Smith, D.
Arbour, R. Sinha, E. H. Kennedy and A. Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals
of Statistics 52, 2024, theorem 2.2). For units t = 1, 2, … with a standard deviation σ of an estimate's influence,

    estimate ± σ · √( 2 (tρ² + 1) / (t²ρ²) · log( √(tρ² + 1) / α ) ).

Counts and sample ratios: the multinomial test with a Dirichlet prior (M. Lindon and A. Malek, "Anytime-valid inference for
multinomial count data", NeurIPS 2022), exact for every number of counts, none included. Quantiles of independent units: the
same test, of the share of units below a value. Pure numpy; every function works elementwise on arrays of looks or of runs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PRIOR = 100.0
"""Counts that the Dirichlet prior is worth where a ratio of units is tested: it is near to the weights that were declared."""
VAGUE = 2.0
"""The same where counts of events are compared, whose ratio is not known beforehand."""
STEPS = 60
"""Halvings of an interval in which a bound is looked for: its error is below 1e-17."""
RATIOS: Floats = np.exp(0.03 * 1.45 ** np.arange(14))
"""Ratios of rates, beyond what is tolerated, that the evidence of strata is mixed of: from 1.03 to 43."""


def tuned_rho(units: float, alpha: float = 0.05) -> float:
    """The ρ by which a confidence sequence is narrowest after `units` units (the paper's appendix B.2, its closed form).

    >>> round(tuned_rho(5000), 6)
    0.03984
    """
    log = -2 * math.log(alpha)
    return math.sqrt((log + math.log(log + 1)) / units)


def mixture_radius(units: Any, rho: float, alpha: float = 0.05) -> Any:
    """Half the width of a confidence sequence, in standard deviations of one unit's influence.

    Args:
        units: how many units were seen, shape (…), 1 or more.
        rho: as `tuned_rho` gives it; it is fixed before the first look.
        alpha: the probability that the truth is ever outside.

    >>> round(float(mixture_radius(10_000, tuned_rho(10_000))), 6)
    0.030352
    """
    scaled = np.asarray(units, float) * rho**2
    return np.sqrt(2 * (scaled + 1) / (np.asarray(units, float) * scaled) * np.log(np.sqrt(scaled + 1) / alpha))


def critical_value(units: Any, rho: float, alpha: float = 0.05) -> Any:
    """Half the width in standard errors of the estimate: what 1.96 is for a fixed interval of 95 %."""
    return mixture_radius(units, rho, alpha) * np.sqrt(np.asarray(units, float))


def mixture_pvalue(statistic: Any, units: Any, rho: float) -> Any:
    """The always-valid p-value of an estimate of 0: the inverse of the Gaussian mixture's likelihood ratio, at most 1.

    Args:
        statistic: the estimate divided by its standard error, shape (…).
        units: how many units were seen, shape (…).
        rho: as `tuned_rho` gives it.

    >>> rho = tuned_rho(10_000)
    >>> round(float(mixture_pvalue(critical_value(10_000, rho), 10_000, rho)), 9)
    0.05
    """
    scaled = np.asarray(units, float) * rho**2
    exponent = np.asarray(statistic, float) ** 2 * scaled / (2 * (scaled + 1))
    return np.exp(np.minimum(0.0, 0.5 * np.log1p(scaled) - exponent))


def multinomial_log_evidence(counts: Any, weights: Any, prior: float = PRIOR) -> Any:
    """The logarithm of the Bayes factor against the declared shares; a martingale from 1 while they are true.

    Args:
        counts: shape (…, groups), 0 or more.
        weights: the declared share of each group, above 0, of the same last axis; they are divided by their sum.
        prior: how many counts the Dirichlet prior around the weights is worth.

    >>> float(multinomial_log_evidence([0, 0], [0.5, 0.5]))
    0.0
    """
    from scipy.special import gammaln

    counts = np.asarray(counts, float)
    shares = np.asarray(weights, float) / np.sum(weights, axis=-1, keepdims=True)
    start = prior * shares
    total = counts.sum(-1)
    marginal = gammaln(prior) - gammaln(prior + total) + (gammaln(start + counts) - gammaln(start)).sum(-1)
    return marginal - (counts * np.log(shares)).sum(-1)


def multinomial_pvalue(counts: Any, weights: Any, prior: float = PRIOR) -> Any:
    """The always-valid p-value of the declared shares.

    >>> bool(multinomial_pvalue([5000, 5000], [1, 1]) == 1), bool(multinomial_pvalue([5300, 4700], [1, 1]) < 1e-4)
    (True, True)
    """
    return np.exp(np.minimum(0.0, -multinomial_log_evidence(counts, weights, prior)))


def share_bounds(
    successes: Any, trials: Any, alpha: float = 0.05, centre: float = 0.5, prior: float = VAGUE
) -> tuple[Any, Any]:
    """An exact confidence sequence of a share: the values that the multinomial test has not yet refused.

    Args:
        successes: shape (…), 0 or more.
        trials: shape (…); with none the sequence is from 0 to 1.
        alpha: the probability that the truth is ever outside.
        centre: the mean of the prior, fixed beforehand.
        prior: how many trials it is worth.

    Returns:
        Lower and upper bounds, shape (…).

    >>> [round(float(bound), 3) for bound in share_bounds(0, 40)]
    [0.0, 0.154]
    """
    from scipy.special import betaln

    hits, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    missed = count - hits
    a, b = prior * centre, prior * (1 - centre)
    limit = betaln(a + hits, b + missed) - betaln(a, b) + math.log(alpha)

    def kept(share: Floats) -> Any:
        from scipy.special import xlog1py, xlogy

        return xlogy(hits, share) + xlog1py(missed, -share) >= limit

    middle = np.where(count > 0, hits / np.maximum(count, 1), 0.5)
    low = _bisected(kept, np.zeros_like(middle), middle)
    high = _bisected(kept, np.ones_like(middle), middle)
    return low, high


def _bisected(kept: Any, outside: Floats, inside: Floats) -> Floats:
    """The border between what may be refused and what is kept; `outside` itself where it is kept."""
    outer, inner = outside.copy(), inside.copy()
    with np.errstate(divide="ignore"):
        whole = kept(outside)
        for _ in range(STEPS):
            half = (outer + inner) / 2
            good = kept(half)
            inner, outer = np.where(good, half, inner), np.where(good, outer, half)
    return np.where(whole, outside, inner)


def rate_ratio_bounds(control: Any, treatment: Any, weights: Sequence[float], alpha: float = 0.05) -> tuple[Any, Any]:
    """A confidence sequence of the ratio of two rates, treatment / control, of which only the events are seen.

    Each event falls to the treatment with a probability that follows from the ratio and the weights with which units are
    assigned (Lindon and Malek, section 4). Exact for events of independently assigned units, however rare they are.

    Args:
        control, treatment: events so far, shape (…).
        weights: of control and treatment in the assignment.
        alpha: the probability that the truth is ever outside.

    Returns:
        Lower and upper bounds, shape (…), from 0 to infinity where nothing was seen.

    >>> [float(bound) for bound in rate_ratio_bounds(0, 0, (0.5, 0.5))]
    [0.0, inf]
    """
    share = weights[1] / (weights[0] + weights[1])
    events = np.asarray(control, float) + np.asarray(treatment, float)
    low, high = share_bounds(treatment, events, alpha, share)
    odds = weights[0] / weights[1]
    with np.errstate(divide="ignore"):
        return odds * low / (1 - low), odds * high / (1 - high)


def quantile_ranks(units: int, probability: float, alpha: float = 0.05) -> tuple[int, int]:
    """Between which order statistics a quantile lies at every look; for independent units only.

    A value is kept while the count of units below it has not refused `probability`; requests of one user are not independent,
    so that a quantile over requests has no such sequence.

    Args:
        units: how many values were seen.
        probability: of the quantile.
        alpha: the probability that the truth is ever outside.

    Returns:
        Ranks from 1 to `units`; 0 for minus infinity and `units` + 1 for infinity.

    >>> quantile_ranks(1000, 0.5)
    (445, 556)
    """
    from scipy.special import betaln

    below = np.arange(units + 1, dtype=float)
    a, b = VAGUE * probability, VAGUE * (1 - probability)
    evidence = betaln(a + below, b + units - below) - betaln(a, b)
    evidence -= below * math.log(probability) + (units - below) * math.log1p(-probability)
    kept = np.flatnonzero(evidence < -math.log(alpha))
    return int(kept[0]), int(kept[-1]) + 1


def stratified_log_evidence(treatment: Any, control: Any, share: Any, tolerated: float = 1.0) -> Any:
    """The logarithm of the evidence, so far, that the treatment's rate is above `tolerated` times control's: an e-process.

    In each stratum, such as a minute, units fall to the treatment with a share that is known, and so do events, where the rates
    are equal; how many events a stratum has, and how that changes with time or with the share, cancels out. The likelihood
    ratios of RATIOS, mixed in equal parts, are a supermartingale from 1 or below while no stratum's ratio of rates is above
    `tolerated`: the product of Bernoulli likelihoods of Lindon and Malek, section 4, with a share of its own in each stratum.
    The count of events of units without replacement varies less than the binomial one taken here (W. Hoeffding, JASA 58, 1963,
    theorem 4), so that common events are judged with more caution than needed, and rare ones exactly.

    Args:
        treatment, control: events of each stratum, shape (…, strata), oldest first.
        share: of the stratum's units that the treatment has, 0 to 1, the same shape.
        tolerated: the largest ratio of the rates that is no harm.

    Returns:
        Shape (…, strata): after each stratum. It passes log(1/α) with probability α at most while there is no harm.

    >>> evidence = stratified_log_evidence([0, 9, 9], [99, 1, 1], [0.01, 0.1, 0.1])
    >>> [round(float(after), 1) for after in evidence]
    [-0.6, 5.1, 17.2]
    """
    treatment, control = np.asarray(treatment, float), np.asarray(control, float)
    share = np.asarray(share, float)
    events, allowed = treatment + control, share * tolerated + 1 - share
    mixed: Any = -np.inf
    for ratio in RATIOS:
        expected = np.log((share * tolerated * ratio + 1 - share) / allowed)
        mixed = np.logaddexp(mixed, np.cumsum(treatment * math.log(ratio) - events * expected, axis=-1))
    return mixed - math.log(len(RATIOS))


def stratified_ratio(treatment: Any, control: Any, share: Any, alpha: float = 0.05) -> tuple[float, float, float]:
    """The ratio of two rates over strata, and the bounds that it is above and below of, each at every look with 1 − `alpha`.

    The estimate is that of Mantel and Haenszel (JNCI 22, 1959); the bounds are the ratios that `stratified_log_evidence` has
    refused to tolerate, of the treatment over control and the other way round.

    Args:
        treatment, control, share: shape (strata,), as there.
        alpha: the probability that the truth is ever beyond one bound.

    Returns:
        Ratio, lower and upper bound; nan, 0 and infinity where nothing was seen.

    >>> [round(number, 2) for number in stratified_ratio([40] * 9, [20] * 9, [0.5] * 9)]
    [2.0, 1.52, 2.66]
    """
    treatment, control, share = (np.asarray(values, float) for values in (treatment, control, share))
    ours, theirs = float((treatment * (1 - share)).sum()), float((control * share).sum())
    low = _least_tolerated(treatment, control, share, alpha)
    high = _least_tolerated(control, treatment, 1 - share, alpha)
    return ours / theirs if theirs else math.inf if ours else math.nan, low, 1 / high if high else math.inf


def _least_tolerated(treatment: Floats, control: Floats, share: Floats, alpha: float) -> float:
    """The ratio up to which all are refused; 0: none of 1e-3 and more is."""
    low, high = math.log(1e-3), math.log(1e3)

    def refused(log_ratio: float) -> bool:
        evidence = stratified_log_evidence(treatment, control, share, math.exp(log_ratio))
        return bool(evidence.size and evidence[-1] >= -math.log(alpha))

    if not refused(low):
        return 0.0
    for _ in range(STEPS):
        half = (low + high) / 2
        low, high = (half, high) if refused(half) else (low, half)
    return math.exp(low)


def design_effect(events: Any, units: Any) -> Any:
    """By how much events vary more than independent ones, since those of one user go together; 1 or more.

    Counts divided by it can be treated as independent (J. N. K. Rao and A. J. Scott, "A simple method for the analysis of
    clustered binary data", Biometrics 48, 1992). The users are in groups by a hash, and independent events would vary as a
    Poisson's do, which `stratified_log_evidence` takes.

    Args:
        events, units: of each group of users, shape (…, groups).

    Returns:
        Shape (…).

    >>> float(design_effect([10, 10, 10, 10], [100, 100, 100, 100])), float(design_effect([0, 40, 0, 0], [100] * 4))
    (1.0, 40.0)
    """
    events, units = np.asarray(events, float), np.asarray(units, float)
    groups, total = events.shape[-1], events.sum(-1)
    rate = total / np.maximum(units.sum(-1), 1)
    spread = ((events - rate[..., None] * units) ** 2).sum(-1) * groups / (groups - 1)
    return np.maximum(1.0, spread / np.maximum(total, 1))
