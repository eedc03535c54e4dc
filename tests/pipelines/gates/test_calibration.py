"""The program that proves the gate's error rates, with few draws: it sees a gate that errs, and none that does not."""

import numpy as np
import pytest

from pipelines.statistics.bootstrap import resampled_means
from proofs import gates
from proofs.gate import CASES


@pytest.fixture(scope="module")
def differences():
    return CASES["balanced"].draw(np.random.default_rng(0), (1, 150), 0.0)[0]


def test_error_rates_are_as_stated(differences):
    found = gates.rates([differences])
    assert found["false_pass_low"] <= 0.05
    assert found["false_rejection_low"] <= 0.05
    assert found["not_passed_rate_high"] >= 0.95
    assert found["detection_rate_high"] >= 0.8
    assert found["equal_release_passes_high"] >= 0.8


def test_a_gate_that_passes_too_easily_is_seen(differences, monkeypatch):
    monkeypatch.setattr(gates, "LEVEL", 0.5)
    found = gates.rates([differences])
    assert found["false_pass_low"] > 0.05
    assert found["false_rejection_low"] > 0.05


@pytest.mark.parametrize("fresh", [False, True])
def test_nothing_creeps_with_the_anchor_and_much_does_without(differences, fresh, monkeypatch):
    assert gates.creep(differences, 1.5, fresh, runs=60) <= 1
    monkeypatch.setattr(gates, "_passes_anchor", lambda values, margin, same: True)
    assert gates.creep(differences, 1.5, fresh, runs=20) > 2


def test_means_of_resamples_are_about_the_mean_with_its_standard_error():
    values = np.random.default_rng(1).random(400)
    means = resampled_means(values, 4000)
    error = values.std() / 20
    assert abs(means.mean() - values.mean()) < 4 * error / np.sqrt(4000)
    assert means.std() == pytest.approx(error, rel=0.05)
    assert np.array_equal(means, resampled_means(values, 4000)), "equal seeds give equal means"
    assert not np.array_equal(means, resampled_means(values, 4000, seed=1))
