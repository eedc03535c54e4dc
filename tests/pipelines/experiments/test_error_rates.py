"""The proof of the error rates with few runs: each simulation within its Monte Carlo bound, and a planted fault beyond it."""

import numpy as np
import pytest

from proofs import experiments as proof
from proofs.experiments import tolerance

RUNS, SIZE, SEED = 300, 2000, 11


@pytest.mark.parametrize("kind", ["proportion", "ratio", "cuped"])
def test_intervals_hold_the_truth(kind):
    found = proof.coverage(kind, RUNS, SIZE, SEED)
    for scale in ("absolute", "relative"):
        assert found[f"{scale}_fixed"] == pytest.approx(0.95, abs=tolerance(0.95, RUNS))
        assert found[f"{scale}_sequential"] >= 0.95 - tolerance(0.95, RUNS)
    assert found["width_ratio"] < 1.7


def test_an_experiment_without_an_effect_is_seldom_called_different(monkeypatch):
    assert proof.ever_significant("proportion", RUNS, SIZE, SEED) <= 0.05 + tolerance(0.05, RUNS)
    monkeypatch.setattr(proof, "mixture_pvalue", lambda statistic, units, rho: proof.fixed_pvalue(statistic, 1e9))
    peeked = proof.ever_significant("proportion", RUNS, SIZE, SEED)
    assert peeked > 0.15, "a fixed test at every look errs far more often, so this simulation can tell"


def test_trust_checks_fail_seldom_and_find_what_is_lost():
    assert proof.trust_family(RUNS, SEED) <= 0.01 + tolerance(0.01, RUNS)
    assert proof.sample_ratio_caught(20) >= 17


def test_power_and_cuped_are_as_planned():
    assert abs(proof.power_error(2000, SEED)) <= 0.02 + tolerance(0.8, 2000)
    assert proof.cuped_error(200, SEED) <= 0.02


def test_two_groups_add_up_around_one_centre():
    first, second = (proof.by_day({"x": np.random.default_rng(seed).normal(seed, 1, (2, 280))}, 280) for seed in (3, 7))
    moved = proof.recentred(second, first.centre)
    assert moved.mean == pytest.approx(second.mean)
    assert moved.covariance == pytest.approx(second.covariance)


def test_a_figure_beyond_its_bound_is_named():
    good = {
        "aa_runs": 10_000, "aa_ever_significant_low": 0.04, "coverage_fixed_min": 0.945, "coverage_fixed_max": 0.955,
        "coverage_sequential_min": 0.98, "sequential_width_ratio": 1.55, "trust_false_invalid_low": 0.0, "srm_caught": 192,
        "srm_planted": 200, "cuped_variance_ratio_error": 0.001, "power_error": 0.0,
        "quantile_coverage": 0.95, "quantile_logs": 1000,
    }  # fmt: skip
    assert proof.beyond(good) == []
    for name, bad in (
        ("aa_ever_significant_low", 0.06),
        ("sequential_width_ratio", 2),
        ("srm_caught", 150),
        ("power_error", 0.1),
    ):
        assert proof.beyond({**good, name: bad}) == [f"{name} {bad}"]
