import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.errors import InputError
from pipelines.gates.rules import NonInferiority, decide, sentence_of
from pipelines.statistics.intervals import bounds, interval
from pipelines.statistics.power import margin_that_holds, queries_needed
from proofs.gate import CASES, SIZES, beyond, gate_interval, simulate, student_t, tolerance

RULE = NonInferiority(measure="nDCG@10", margin=0.02, confidence=0.95, power=0.8)
DIFFERENCES = arrays(float, st.integers(2, 60), elements=st.floats(-1, 1).map(lambda value: round(value, 3)))
RUNS = 1500


def spread(mean: float, sd: float, count: int) -> list[float]:
    """Differences with exactly this mean and standard deviation."""
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    return list(mean + signs * sd * np.sqrt((count - 1) / count))


@pytest.mark.parametrize(
    ("mean", "sd", "count", "margin", "outcome"),
    [
        (-0.10, 0.2, 1000, 0.02, "rejected"),
        (-0.01, 0.1, 1000, 0.02, "rejected"),  # worse within the margin is still worse
        (0.00, 0.1, 1000, 0.02, "passed"),
        (0.05, 0.1, 1000, 0.02, "passed"),
        (0.05, 0.3, 1000, 0.001, "passed"),  # better, at a margin that could not be detected
        (-0.005, 0.2, 1000, 0.02, "passed"),
        (-0.010, 0.2, 1000, 0.02, "undecided"),
        (-0.05, 0.3, 50, 0.2, "passed"),
        (-0.07, 0.4, 50, 0.2, "passed"),
        (-0.10, 0.4, 50, 0.2, "undecided"),
    ],
)
def test_outcomes(mean, sd, count, margin, outcome):
    found, seen, missing = decide(spread(mean, sd, count), RULE.model_copy(update={"margin": margin}))
    assert found == outcome
    assert seen.mean == pytest.approx(mean)
    assert (missing > 0) == (outcome == "undecided")


def test_the_queries_still_needed_would_decide():
    mean, sd, count = -0.010, 0.2, 1000
    _, _, missing = decide(spread(mean, sd, count), RULE)
    draws = np.random.default_rng(0).normal(mean, sd, (4000, count + missing))
    low, high = bounds(draws, RULE.confidence)
    decided = np.mean((low > -RULE.margin) | (high < 0))
    assert decided >= RULE.power - tolerance(RULE.power, 4000)


def test_a_margin_below_what_the_queries_detect_is_refused_and_the_printed_one_holds():
    differences = spread(0.0, 0.3, 54)
    with pytest.raises(
        InputError, match=r"given margin 0\.02 .* 54 queries.* which would hold; next: pass --margin"
    ) as refused:
        decide(differences, RULE)
    printed = float(refused.value.next_action.split()[2].rstrip(","))
    assert decide(differences, RULE.model_copy(update={"margin": printed}))[0] == "passed"
    with pytest.raises(InputError):
        decide(differences, RULE.model_copy(update={"margin": printed - 0.0002}))


def test_no_margin_holds_for_one_query():
    with pytest.raises(InputError, match="two judged queries"):
        decide([0.1], RULE)


@pytest.mark.parametrize("differences", [[0.9, -0.9], [1.0, -1.0, 0.5], spread(0.0, 0.5, 4)])
def test_a_margin_that_no_gate_takes_is_not_advised(differences):
    with pytest.raises(InputError, match=r"detect a margin below 1; next: judge more queries$"):
        decide(differences, RULE)


def test_identical_rankings_pass_any_margin():
    outcome, seen, _ = decide([0.0] * 10, RULE.model_copy(update={"margin": 1e-6}))
    assert (outcome, seen.mean, seen.low, seen.high) == ("passed", 0, 0, 0)
    assert "nDCG@10 0.000 [0.000, 0.000]" in sentence_of(outcome, seen, 0, RULE, "champion 12345678")


@given(DIFFERENCES)
def test_interval_holds_its_mean_and_mirrors(values):
    low, high = bounds(values, 0.95)
    assert low <= values.mean() + 1e-9
    assert high >= values.mean() - 1e-9
    mirrored = bounds(-values, 0.95)
    assert (-mirrored[1], -mirrored[0]) == pytest.approx((low, high), abs=1e-6)
    assert np.all(np.isfinite([low, high]))


@given(DIFFERENCES, st.floats(-0.5, 0.5))
def test_the_detectable_margin_depends_on_the_spread_alone(values, shift):
    assert margin_that_holds(values + shift, 0.95, 0.8) == pytest.approx(margin_that_holds(values, 0.95, 0.8), abs=1e-6)


@given(DIFFERENCES, st.floats(0.001, 0.9))
def test_a_lower_bound_above_0_passes_at_any_margin(values, margin):
    better = values + 1 + abs(values).max() * 20
    assert decide(list(better), RULE.model_copy(update={"margin": margin}))[0] == "passed"


@given(DIFFERENCES, st.floats(0.001, 0.9))
def test_never_passed_when_worse_nor_rejected_when_better(values, margin):
    rule = RULE.model_copy(update={"margin": margin})
    try:
        outcome, seen, missing = decide(list(values), rule)
    except InputError:
        return
    if outcome == "passed":
        assert seen.low > -margin
        assert seen.high >= 0
    if outcome == "rejected":
        assert seen.mean < 0
    assert (missing >= 1) == (outcome == "undecided")


def test_interval_of_none_and_of_one():
    assert interval([]).mean is None
    assert (interval([0.3]).mean, interval([0.3]).low) == (0.3, None)


def test_queries_needed_falls_with_distance():
    assert queries_needed(0.04, 0.3, 0.95, 0.8) < queries_needed(0.02, 0.3, 0.95, 0.8) / 3


@pytest.mark.parametrize("case", CASES)
def test_simulated_error_rates_are_as_stated(case):
    figures = {}
    for size in SIZES:
        shares = simulate(CASES[case], size, RUNS, 1, gate_interval)
        figures |= {f"ours_{case}_{size}_{key}": share for key, share in shares.items()}
    assert beyond(figures, RUNS) == []


def test_the_simulation_sees_that_student_t_alone_would_not_do():
    found = simulate(CASES["many_zeros"], 50, 4000, 1, student_t)
    assert found["false_pass"] > 0.025 + tolerance(0.025, 4000)
