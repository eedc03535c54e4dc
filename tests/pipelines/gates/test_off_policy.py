"""The rule `comparison: logs`: IPS and SNIPS with a known truth, refused where the policies overlap too little."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.evaluation.off_policy import OffPolicy, estimate
from pipelines.gates.evidence import Evidence
from pipelines.gates.gate_file import Rule
from pipelines.gates.off_policy import judge
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.releases import _releases_once, releases  # noqa: F401  # fixtures

ACTIONS = 20
RULE = Rule(name="logs", comparison="logs", measure="SNIPS", margin=0.05)


def policies(seed):
    """Probabilities of another policy, and the reward rates of the actions; the one that logs chooses evenly."""
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(ACTIONS, 2.0)), random.beta(3, 10, ACTIONS)


def drawn(random, target, rates, rows=5000):
    actions = random.integers(0, ACTIONS, rows)
    rewards = (random.random(rows) < rates[actions]).astype(float)
    return rewards, np.full(rows, 1 / ACTIONS), target[actions]


@pytest.mark.parametrize("measure", ["SNIPS", "IPS"])
def test_the_interval_of_the_gain_covers_the_truth(measure):
    target, rates = policies(0)
    truth = float(target @ rates / rates.mean()) - 1
    random, runs = np.random.default_rng(1), 400
    found = [estimate(*drawn(random, target, rates))["lift"][measure] for _ in range(runs)]
    covered = np.mean([abs(lift["lift"] - truth) <= 1.959964 * lift["error"] for lift in found])
    assert abs(covered - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / runs)


def test_rows_of_one_unit_count_once():
    random = np.random.default_rng(2)
    target, rates = policies(2)
    rows = drawn(random, target, rates, 1000)
    thrice = [np.repeat(column, 3) for column in rows]
    alone, together = estimate(*thrice), estimate(*thrice, units=np.repeat(np.arange(1000), 3))
    once = estimate(*rows)
    assert together["lift"]["SNIPS"]["error"] == pytest.approx(once["lift"]["SNIPS"]["error"], rel=1e-9)
    assert alone["lift"]["SNIPS"]["error"] == pytest.approx(once["lift"]["SNIPS"]["error"] / np.sqrt(3), rel=0.01)


def ones(count, value=1.0):
    return np.full(count, value)


@pytest.mark.parametrize(
    ("rewards", "shown", "target", "reason"),
    [
        (ones(100), ones(100), ones(100), "100 rows tell as much as 100 of equal weight, 200 at least"),
        (np.arange(5000.0) < 10, ones(5000), ones(5000), "rows with a reward tell as much as 10.0"),
        (ones(5000), ones(5000, 0.5), ones(5000, 1.0), "the mean weight is 2.000 and not 1"),
    ],
)
def test_too_little_overlap_is_said(rewards, shown, target, reason):
    assert reason in estimate(rewards.astype(float), shown, target)["too_thin"]


@pytest.mark.parametrize(("rewards", "target"), [(np.zeros(9), ones(9)), (ones(9), np.zeros(9))])
def test_a_log_that_tells_nothing(rewards, target):
    with pytest.raises(InputError, match="a log of 9 rows in which"):
        estimate(rewards, ones(9), target)


@pytest.fixture
def written(tmp_path):
    def write(rows, name="log.csv"):
        path = tmp_path / name
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return str(path)

    return write


def rows_of(seed, target, rates, count=5000):
    columns = drawn(np.random.default_rng(seed), target, rates, count)
    names = ("click", "propensity", "target_propensity")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def test_a_log_becomes_evidence_and_a_verdict(releases, written):  # noqa: F811
    _, rates = policies(0)
    better = np.exp(8 * rates) / np.exp(8 * rates).sum()
    file = written(rows_of(3, better, rates))
    weighed = call("weigh_log", log=file, release=releases.b)
    assert weighed.low > 0
    assert (weighed.too_thin, weighed.found) == ("", False)
    assert call("weigh_log", log=file, release=releases.b).found
    stored = OffPolicy(load_exactly(open_store(), "off_policy", weighed.off_policy))
    page = json.loads(stored.artifact.text("report.json"))
    assert (page["verdict"], page["sentence"]) == ("measured", weighed.sentence)
    evaluated, serving = SimpleNamespace(release=releases.b), releases.a
    verdict = judge(RULE, Evidence(evaluated, serving, off_policy=stored))
    assert (verdict.outcome, verdict.difference) == ("passed", weighed.snips)
    strict = judge(RULE, Evidence(SimpleNamespace(release=releases.c), serving, off_policy=stored))
    assert (strict.outcome, strict.n) == ("not run", 0)
    assert judge(RULE, Evidence(evaluated, serving)).outcome == "not run"
    assert judge(RULE, Evidence(evaluated, releases.b)).outcome == "not run"


def test_a_log_of_a_worse_policy_is_rejected_and_a_thin_one_not_comparable(releases, written):  # noqa: F811
    _, rates = policies(0)
    worse = np.exp(-8 * rates) / np.exp(-8 * rates).sum()

    def verdict(count):
        weighed = call("weigh_log", log=written(rows_of(4, worse, rates, count)), release=releases.b)
        stored = OffPolicy(load_exactly(open_store(), "off_policy", weighed.off_policy))
        return judge(RULE, Evidence(SimpleNamespace(release=releases.b), releases.a, off_policy=stored))

    assert verdict(5000).outcome == "rejected"
    thin = verdict(60)
    assert (thin.outcome, thin.difference) == ("not comparable", None)
    assert "overlaps too little with the release" in thin.sentence


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"propensity": "pscore"}, "column pscore for propensities; expected its columns click, propensity"),
        ({"propensity": 0}, {}, r"propensities from 0 to 0.*above 0 to 1"),
        ({"propensity": 1.5}, {}, "propensities from 1.5"),
        ({"target_propensity": -0.1}, {}, "of the release from -0.1"),
        ({"click": -1}, {}, "rewards from -1"),
        ({"click": "yes"}, {}, "300 of 300 rows without a number in click"),
        ({"click": "nan"}, {}, "300 of 300 rows without a number"),
        ({"click": 0}, {}, "nothing was earned"),
        ({}, {"unit": "user"}, "column user for unit"),
        ({"user": "ann"}, {"unit": "user"}, "a log of 300 rows by one unit; expected two units or more"),
    ],
)
def test_a_log_that_can_not_be_weighed(releases, written, change, options, message):  # noqa: F811
    row = {"click": 1, "propensity": 0.5, "target_propensity": 0.5, **change}
    with pytest.raises(InputError, match=message):
        call("weigh_log", log=written([row] * 300), release=releases.b, **options)
    assert open_store().names("off_policy/") == []
