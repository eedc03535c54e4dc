"""The rule `comparison: latency`: measured ratios become outcomes, and what was not measured never passes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.evaluation.latency import BLOCK, Latency
from pipelines.gates.evidence import Evidence
from pipelines.gates.gate_file import Rule, parse_gate_file
from pipelines.gates.judging import evidence_with_power
from pipelines.gates.latency import judge
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

RELEASE, CHAMPION = "a" * 20, "b" * 20
RULE = Rule(name="speed", comparison="latency", measure="p99", margin=0.2)


def evaluation(release):
    return SimpleNamespace(release=release)


@pytest.fixture
def measured(home):
    """A stored measurement whose latencies are `factor` times the champion's."""

    def make(factor, blocks=30, release=RELEASE, champion=CHAMPION, memory=100.0):
        random = np.random.default_rng(blocks)
        drawn = {side: random.lognormal(1, 0.3, (blocks, BLOCK)) for side in ("release", "champion")}
        drawn["release"] *= factor
        side = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "startup_s": [1.0, 1.1, 0.9]}
        summary = {
            "release": side | {"memory_mb": [memory and memory * factor] * 3}, "champion": side | {"memory_mb": [memory] * 3},
            "requests": blocks * BLOCK, "block": BLOCK, "starts": 3, "queries": 9, "machine": "m",
        }  # fmt: skip

        def build(folder):
            (folder / "latency.json").write_text(json.dumps(summary))
            (folder / "requests.json").write_text(json.dumps({side: rows.tolist() for side, rows in drawn.items()}))
            return {}

        inputs = {"release": release, "champion": champion}
        params = {"factor": factor, "blocks": blocks, "memory": memory}
        recipe = Recipe(kind="latency", step="test", version=1, inputs=inputs, params=params)
        return Latency(produce(open_store(), recipe, build))

    return make


def judged(rule, latency, release=RELEASE, serving=CHAMPION):
    champion = evaluation(serving) if serving and serving != release else None
    return judge(rule, Evidence(evaluation(release), serving, champion, latency=latency, power=0.9))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "passed"), (0.5, "passed"), (1.6, "rejected"), (1.2, "undecided")])
def test_a_ratio_is_judged_by_its_margin(measured, factor, outcome):
    verdict = judged(RULE, measured(factor))
    assert verdict.outcome == outcome
    assert verdict.low < verdict.difference < verdict.high
    assert verdict.difference == pytest.approx(factor - 1, abs=0.15)
    assert (verdict.n, verdict.margin) == (30, 0.2)
    assert verdict.sentence.startswith(f"{outcome}: p99 × ")


def test_what_would_decide_decides(measured):
    """The advised number of requests lets a release with the same ratio pass."""
    rule = RULE.model_copy(update={"margin": 0.1})
    few = judged(rule, measured(0.98, blocks=4))
    assert few.outcome == "undecided"
    assert few.still_needed > 0
    requests = int(few.next.split("--requests ")[1].split()[0])
    assert requests == (few.still_needed + 4) * BLOCK
    assert judged(rule, measured(0.98, blocks=requests // BLOCK)).outcome == "passed"


def test_memory_is_judged_by_its_starts(measured):
    rule = RULE.model_copy(update={"measure": "rss", "margin": 0.1})
    assert judged(rule, measured(1.05)).outcome == "passed"
    assert judged(rule, measured(1.3)).outcome == "rejected"
    untold = judged(rule, measured(1.0, memory=None))
    assert (untold.outcome, untold.next) == ("not run", "measure it on Linux")


def test_what_was_not_measured_never_passes(measured):
    absent = judged(RULE, None)
    assert (absent.outcome, absent.next.startswith(f"python -m pipelines measure_latency {RELEASE}")) == ("not run", True)
    assert judged(RULE, measured(1.0, release="c" * 20)).outcome == "not run"
    assert judged(RULE, measured(1.0, champion="c" * 20)).outcome == "not run"
    assert judged(RULE, measured(1.0), release=CHAMPION).outcome == "not run"
    assert judged(RULE, None, serving="").outcome == "passed"  # a first release has nothing to be slower than


def test_a_latency_rule_is_armed_beside_the_quality():
    quality = Rule(name="quality", comparison="champion")
    file = parse_gate_file(b"{name: f, description: d, rules: [{name: quality, comparison: champion}]}", "f")
    alone, both = (
        evidence_with_power(file, rules, Evidence(evaluation(RELEASE), CHAMPION)) for rules in ([quality], [quality, RULE])
    )
    assert (alone.power, both.power) == (0.8, 0.9)


@pytest.mark.parametrize(("comparison", "measure"), [("latency", "nDCG@10"), ("champion", "p99"), ("logs", "p99")])
def test_a_comparison_has_its_own_measures(comparison, measure):
    text = f"""{{name: f, description: d, rules: [{{name: quality, comparison: champion}},
        {{name: other, comparison: {comparison}, measure: {measure}}}]}}"""
    with pytest.raises(InputError, match=rf"rule 2 \(other\).*expected a measure of .*; not {measure}"):
        parse_gate_file(text.encode(), "f")
