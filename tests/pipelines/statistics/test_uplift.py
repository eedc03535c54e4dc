"""Uplift and sequences against libraries that others wrote: tea-tasting, and figures of gbstats 0.8.0."""

import numpy as np
import pytest
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics.mean import Mean, RatioOfMeans

from pipelines.statistics.sequential import (
    critical_value,
    mixture_pvalue,
    multinomial_pvalue,
    rate_ratio_bounds,
    share_bounds,
    tuned_rho,
)
from pipelines.statistics.uplift import Moments, detectable_difference, fixed_pvalue, moments_of, units_needed, uplift


def sample(seed, ratio=False, covariate=False, count=4000):
    random = np.random.default_rng(seed)
    groups = []
    for effect in (0.0, 0.1):
        before = random.lognormal(0, 1, count)
        y = 1.0 + random.poisson(4, count) if ratio else np.ones(count)
        x = (random.lognormal(0, 1, count) + effect) * y + (before if covariate else 0)
        groups.append(np.stack([x, y, before if covariate else np.zeros(count), np.ones(count)], -1))
    return groups


def as_aggregates(values):
    names = ("x", "y", "c")
    spread = np.cov(values[:, :3].T)
    pairs = {(a, b): spread[i, j] for i, a in enumerate(names) for j, b in enumerate(names) if i < j}
    return Aggregates(
        len(values), dict(zip(names, values.mean(0)[:3], strict=True)), {n: spread[i, i] for i, n in enumerate(names)}, pairs
    )


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        (Mean("x"), {}),
        (RatioOfMeans("x", "y"), {"ratio": True}),
        (Mean("x", "c"), {"covariate": True}),
        (RatioOfMeans("x", "y", "c"), {"ratio": True, "covariate": True}),
    ],
)
def test_uplift_is_what_tea_tasting_computes(metric, options):
    groups = sample(3, **options)
    theirs = metric.analyze_aggregates(*map(as_aggregates, groups))
    whole = np.concatenate(groups).mean(0)
    ours = uplift(*[around(values, whole) for values in groups])
    assert float(ours.difference) == pytest.approx(theirs.effect_size, rel=1e-9)
    assert float(ours.difference / ours.error) == pytest.approx(theirs.statistic, rel=1e-9)
    assert float(fixed_pvalue(ours.difference / ours.error, ours.freedom)) == pytest.approx(theirs.pvalue, rel=1e-7)
    assert float(np.exp(ours.log_ratio)) - 1 == pytest.approx(theirs.rel_effect_size, rel=1e-9)


def around(values, centre):
    apart = values - centre
    return Moments(np.array(float(len(values))), apart.sum(0), apart.T @ apart, centre)


def test_days_add_up_to_the_whole():
    values = sample(5, ratio=True, covariate=True)[1]
    days = [around(part, values.mean(0)) for part in np.split(values, 8)]
    stacked = Moments(
        *[np.stack([getattr(day, name) for day in days]) for name in ("count", "sums", "products")], values.mean(0)
    )
    for whole in (stacked.total(), stacked.accumulated().at(-1)):
        assert whole.mean == pytest.approx(values.mean(0))
        assert whole.covariance == pytest.approx(np.cov(values.T))


def test_large_values_with_small_differences_lose_no_digits():
    values = np.ones((1000, 4)) * [1e9, 1, 0, 1]
    values[::2, 0] += 1
    assert float(moments_of(values).covariance[0, 0]) == pytest.approx(np.var(values[:, 0], ddof=1))


GBSTATS = [
    # n, mean and variance of control and treatment; tuned for; estimate, fixed interval, sequential interval, sequential p
    (
        (5000, 10.469, 120.02400480096021), (5100, 10.705882352941176, 127.47597568150617), 10_000,
        0.23688235294117632, (-0.1970265840224964, 0.670791289904849), (-0.43498085073258796, 0.9087455566149406), 1.0,
    ),
    (
        (10_000, 0.1, 0.09), (10_100, 0.11, 0.0979), 5000,
        0.01, (0.001525490294565798, 0.01847450970543419), (-0.0035226491211563862, 0.023522649121156376), 0.42882398660853915,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", GBSTATS)
def test_sequence_is_what_gbstats_computes(case):
    control, treatment, tuned, estimate, fixed, sequential, pvalue = case
    groups = [moments(*group) for group in (control, treatment)]
    ours = uplift(*groups)
    rho = tuned_rho(tuned)
    reach = float(critical_value(ours.units, rho) * ours.error)
    assert float(ours.difference) == pytest.approx(estimate)
    assert (estimate - reach, estimate + reach) == pytest.approx(sequential, rel=1e-4)
    assert float(mixture_pvalue(ours.difference / ours.error, ours.units, rho)) == pytest.approx(pvalue, rel=1e-3)
    from scipy.stats import t

    half = t.ppf(0.975, float(ours.freedom)) * float(ours.error)
    assert (estimate - half, estimate + half) == pytest.approx(fixed, rel=1e-4)


def moments(count, mean, variance):
    sums, products = np.zeros(4), np.zeros((4, 4))
    products[0, 0] = variance * (count - 1)
    return Moments(np.array(float(count)), sums, products, np.array([mean, 1.0, 0.0, 1.0]))


def test_sample_ratio_is_what_gbstats_computes():
    from scipy.stats import chisquare

    assert chisquare([10_000, 10_600]).pvalue == pytest.approx(2.909992111576433e-05)
    assert multinomial_pvalue([10_000, 10_600], [1, 1]) > chisquare([10_000, 10_600]).pvalue, (
        "looking at any time costs something"
    )


def test_a_sequence_is_a_martingales_inverse():
    """The expected likelihood ratio under the null is 1: the p-value is that of a bet that can't be won on average."""
    random = np.random.default_rng(1)
    counts = random.multinomial(500, [0.3, 0.7], 200_000)
    from pipelines.statistics.sequential import multinomial_log_evidence

    wealth = np.exp(multinomial_log_evidence(counts, [0.3, 0.7]))
    assert float(wealth.mean()) == pytest.approx(1, abs=4 * float(wealth.std()) / np.sqrt(len(wealth)))


def test_bounds_of_counts_hold_what_was_seen():
    low, high = share_bounds(np.array([0, 5, 40]), 40)
    assert list(low) == sorted(low)
    assert (low[0], high[2]) == (0.0, 1.0)
    assert rate_ratio_bounds(50, 0, (0.5, 0.5))[1] < 1 < rate_ratio_bounds(0, 50, (0.5, 0.5))[0]


def test_units_and_detectable_difference_are_inverse():
    needed = units_needed(2.0, 0.05, 0.04, 0.9, (1, 3))
    assert detectable_difference(2.0, needed, 0.04, 0.9, (1, 3)) == pytest.approx(0.05, rel=1e-4)
