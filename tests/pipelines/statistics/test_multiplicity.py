"""Several tests at once: adjusted p-values by hand, and simultaneous intervals by simulation with a known truth."""

import numpy as np
import pytest

from pipelines.statistics.intervals import interval
from pipelines.statistics.multiplicity import (
    benjamini_hochberg,
    holm,
    means_below_zero,
    simultaneous_confidence,
    simultaneous_intervals,
)
from proofs.gate import tolerance
from proofs.segments import missed, simultaneous_figures


def test_holm_levels_agree_with_its_pvalues():
    random = np.random.default_rng(2)
    for pvalues in random.beta(0.3, 2, (500, 4)):
        adjusted, levels = holm(pvalues, 0.05)
        assert [p < level for p, level in zip(pvalues, levels, strict=True)] == [p < 0.05 for p in adjusted]


def test_benjamini_hochberg_is_no_stricter_than_holm_and_keeps_the_order():
    random = np.random.default_rng(3)
    for pvalues in random.beta(0.3, 2, (200, 6)).tolist():
        ours, strict = benjamini_hochberg(pvalues), holm(pvalues, 0.05)[0]
        assert all(p - 1e-12 <= q <= s + 1e-12 for p, q, s in zip(pvalues, ours, strict, strict=True))
        assert [ours[place] for place in np.argsort(pvalues)] == sorted(ours)


def segments(random, units, sizes):
    """Memberships of segments of these sizes, drawn without order, so that they overlap."""
    members = np.zeros((units, len(sizes)), bool)
    for column, size in enumerate(sizes):
        members[random.choice(units, size, replace=False), column] = True
    return members


def test_one_mean_and_equal_means_need_no_correction():
    random = np.random.default_rng(0)
    values, members = random.normal(size=200), np.ones((200, 1), bool)
    assert simultaneous_confidence(values, members, 0.95) == 0.95
    alike = simultaneous_confidence(values, np.repeat(members, 30, 1), 0.95)
    assert alike == pytest.approx(0.95, abs=tolerance(0.95, 4000))


def test_means_of_different_units_are_corrected_as_sidak_says():
    """Independent means: the confidence of each is the tenth root of that of all."""
    random = np.random.default_rng(0)
    members = np.kron(np.eye(10), np.ones((50, 1))).astype(bool)
    each = simultaneous_confidence(random.normal(size=500), members, 0.95)
    assert each == pytest.approx(0.95 ** (1 / 10), abs=tolerance(0.95, 4000) / 10)


def test_intervals_hold_at_once_and_the_uncorrected_do_not():
    random, runs = np.random.default_rng(1), 100  # `make proof-segments` has the full simulation
    members = segments(random, 120, [30, 30, 40, 40, 60, 60, 30, 40])
    at_once = alone = 0
    for run in range(runs):
        values = random.normal(0.0, 0.3, 120)
        at_once += all(mean.low <= 0 <= mean.high for mean in simultaneous_intervals(values, members, 0.95, run))
        alone += all(mean.low <= 0 <= mean.high for mean in map(interval, (values[inside] for inside in members.T)))
    assert at_once / runs >= 0.95 - tolerance(0.95, runs)
    assert alone / runs < 0.95 - tolerance(0.95, runs)


def test_a_broken_segment_is_named_and_no_other():
    random = np.random.default_rng(2)
    members = np.kron(np.eye(8), np.ones((60, 1))).astype(bool)
    values = random.normal(0.0, 0.2, 480)
    values[members[:, 5]] -= 0.3
    assert means_below_zero(values, members, 0.95) == [5]


def test_stepping_down_names_what_one_step_misses():
    """Once many are named, the last is corrected for few."""
    values = np.tile([0.5, -0.5], 240)
    members = np.kron(np.eye(8), np.ones((60, 1))).astype(bool)
    shift = np.where(members[:, 7], -0.155, -2.0)
    one_step = [mean.high < 0 for mean in simultaneous_intervals(values + shift, members, 0.95)]
    assert one_step == [True] * 7 + [False]
    assert means_below_zero(values + shift, members, 0.95) == list(range(8))


def test_constant_segments_have_no_say():
    values = np.zeros(100)
    members = np.kron(np.eye(2), np.ones((50, 1))).astype(bool)
    assert [(mean.low, mean.high) for mean in simultaneous_intervals(values, members, 0.95)] == [(0, 0), (0, 0)]
    assert means_below_zero(values, members, 0.95) == []


def test_the_proof_sees_what_uncorrected_intervals_miss_and_names_the_limit():
    random = np.random.default_rng(4)
    members = segments(random, 120, [30, 30, 40, 40, 60, 60, 30, 40])
    found = simultaneous_figures(random.normal(0, 0.3, 120), members, 40)
    assert found["segments_coverage"] > found["segments_coverage_uncorrected"]
    good = {"typo_blind_tokenizer_refused": 1.0, "one_segment_broken_refused": 0.9, "segments_coverage": 0.96}
    good["segments_named_falsely"] = 0.03
    assert missed(good) == []
    assert missed({**good, "one_segment_broken_refused": 0.85}) == ["planted"]
    assert missed({**good, "segments_coverage": 0.9, "segments_named_falsely": 0.1}) == ["coverage", "named falsely"]
