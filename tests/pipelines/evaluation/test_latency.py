"""Latency beside the champion: real servers, the ratios' intervals, and what can't be measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import InputError, NothingToDo, TryAgain
from pipelines.evaluation import latency
from pipelines.evaluation.served_release import ServedRelease, wait_until_ready
from pipelines.reports.latency import latency_section
from pipelines.statistics.ratios import Ratio, paired_ratio, quantile_ratio
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.images.serve.conftest import route
from tests.releases import _releases_once, releases  # noqa: F401  # fixtures

GATE_FILE = """
name: speed
description: For a test.
rules:
  - {name: quality, comparison: champion}
  - {name: p99, comparison: latency, measure: p99, margin: 0.99}
"""


def drawn(random, blocks=30, scale=1.0):
    """Latencies as a server's: skewed, with blocks that are slower as a whole."""
    slow = random.lognormal(0, 0.15, (blocks, 1))
    return scale * slow * random.lognormal(1.5, 0.4, (blocks, 100))


def test_the_interval_of_a_quantiles_ratio_covers_the_truth():
    """95 % stated, with three standard errors of 100 draws. Resampling single requests would cover 60 %."""
    random = np.random.default_rng(0)
    found = [quantile_ratio(drawn(random, scale=1.2)[:, :20], drawn(random)[:, :20], 0.9) for _ in range(100)]
    covered = np.mean([ratio.low <= 1.2 <= ratio.high for ratio in found])
    assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / 100) <= covered < 1


def test_a_quantile_of_the_blocks_is_that_of_numpy():
    values, reference = drawn(np.random.default_rng(2)), drawn(np.random.default_rng(3))
    expected = np.quantile(values, 0.95, method="inverted_cdf") / np.quantile(reference, 0.95, method="inverted_cdf")
    assert quantile_ratio(values, reference, 0.95).ratio == expected


def test_blocks_that_are_slow_together_widen_the_interval():
    random = np.random.default_rng(1)
    slow = random.lognormal(0, 0.3, (30, 1))
    values, reference = (random.lognormal(1, 0.1, (30, 100)) for _ in range(2))
    alike, apart = quantile_ratio(values * slow, reference * slow, 0.5), quantile_ratio(values * slow, reference, 0.5)
    assert alike.high - alike.low < (apart.high - apart.low) / 3  # what slows both at once is no difference


def test_ratios_of_starts():
    assert paired_ratio([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]) == Ratio(2.0, 2.0, 2.0, 3)
    ratio = paired_ratio([1.0, 1.2, 0.9], [1.0, 1.0, 1.0])
    assert ratio.low < 1 < ratio.high
    for values, reference in (([1.0], [1.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ValueError, match="two pairs"):
            paired_ratio(values, reference)
    with pytest.raises(ValueError, match="two blocks"):
        quantile_ratio(np.ones((1, 100)), np.ones((1, 100)), 0.5)


def test_two_releases_are_measured_at_once_and_judged(releases, tmp_path):  # noqa: F811
    releases.deployed(releases.a)
    entries = len(Journal(open_store()).entries)
    result = call("measure_latency", release=releases.b, requests=200, starts=2)
    assert (result.release, result.champion, result.found) == (releases.b, releases.a, False)
    assert 0.3 < result.p50 < 3  # two releases of the same size
    assert 0.5 < result.rss < 2
    assert len(Journal(open_store()).entries) == entries, "it is served without being routed"
    stored = latency.Latency(load_exactly(open_store(), "latency", result.latency))
    assert {side: blocks.shape for side, blocks in stored.blocks.items()} == {"release": (2, 100), "champion": (2, 100)}
    assert stored.ratio("p50", 0.95).ratio == pytest.approx(result.p50, abs=1e-3)
    assert 0.1 < stored.summary["release"]["p50"] < 1000
    wide, narrow = (stored.ratio("startup", level) for level in (0.99, 0.8))
    assert wide.high > narrow.high > 0
    page = json.loads(stored.artifact.text("report.json"))
    assert page["sentence"] == result.sentence
    assert [row[0] for row in page["tables"][0]["rows"]] == ["p50", "p95", "p99", "memory", "start-up"]
    assert call("measure_latency", release=releases.b, requests=200, starts=2).found
    ruled = tmp_path / "speed.yaml"
    ruled.write_text(GATE_FILE)
    evaluated = call("evaluate", release=releases.b)
    judged = {"evaluation": evaluated.evaluation, "baseline": evaluated.baseline, "gate_file": str(ruled)}
    rows = {}
    for given in ("", result.latency):
        verdict = load_exactly(open_store(), "verdict", call("gate", **judged, margin=0.9, latency=given).verdict)
        rows[given] = verdict.json("verdict.json")["rules"][1]
    assert (rows[""]["outcome"], rows[result.latency]["outcome"]) == ("not run", "passed")
    assert "Latency and size, beside the champion" in verdict.text("report.html")
    assert f"p99 × {rows[result.latency]['difference'] + 1:.3f}" in verdict.text("verdict.md")
    assert not list(Path(open_store().uri.removeprefix("file://")).parent.glob("events/*")), (
        "measured requests are no exposures"
    )


def test_a_system_that_tells_no_memory_has_no_ratio_of_it(tmp_path):
    side = {"id": "a", "p50": 1.0, "p95": 2.0, "p99": 3.0, "memory_mb": [None, None], "startup_s": [1.0, 1.1]}
    summary = {
        "release": side, "champion": side, "requests": 200, "block": 100, "starts": 2, "queries": 3, "machine": "m",
    }  # fmt: skip
    blocks = {name: np.random.default_rng(0).lognormal(0, 1, (2, 100)) for name in latency.SIDES}
    assert latency.ratio_of(summary, blocks, "rss", 0.95) is None
    (table,) = latency_section(summary, blocks).tables
    assert {row[0]: row[-1] for row in table.rows}["memory"] == "–"


def test_a_gate_file_says_whether_to_measure(releases, tmp_path):  # noqa: F811
    ruled = tmp_path / "speed.yaml"
    ruled.write_text(GATE_FILE)
    reasons = {}
    for champion in ("", releases.a):
        if champion:
            route(champion)
        for file in ("default", str(ruled)):
            result = call("measure_latency", release=releases.a, gate_file=file)
            assert (result.latency, result.p99) == ("", None)
            reasons[champion, file] = result.sentence.removeprefix("not measured: ")
    assert reasons == {
        ("", "default"): "gate file default has no rule on latency", ("", str(ruled)): "there is no champion yet",
        (releases.a, "default"): "gate file default has no rule on latency",
        (releases.a, str(ruled)): "the release is the champion",
    }  # fmt: skip
    with pytest.raises(InputError, match="expected one of default"):
        call("measure_latency", release=releases.a, gate_file="nothing")


def test_what_can_not_be_measured(releases, monkeypatch):  # noqa: F811
    with pytest.raises(NothingToDo, match="no champion yet"):
        call("measure_latency", release=releases.a)
    route(releases.a)
    with pytest.raises(InputError, match=r"--starts 5 for --requests 200; expected a hundred"):
        call("measure_latency", release=releases.b, requests=200)
    with pytest.raises(InputError, match="a multiple of 100"):
        call("measure_latency", release=releases.b, requests=250)
    with pytest.raises(InputError, match="release 'nobody'"):
        call("measure_latency", release="nobody")
    monkeypatch.setattr("pipelines.evaluation.served_release.missing_packages", lambda extra: ["fastapi"])
    with pytest.raises(InputError, match="without fastapi"):
        call("measure_latency", release=releases.b)
    assert open_store().names("latency/") == []


def test_a_release_that_no_server_can_load_is_told(releases, tmp_path):  # noqa: F811
    broken = ServedRelease("0123456789abcdef0123", tmp_path / "broken")
    try:
        with pytest.raises(InputError, match=r"release 0123456789abcdef0123, .*is not in"):
            wait_until_ready([broken], 60)
    finally:
        broken.stop()
    slow = ServedRelease(releases.a, tmp_path / "slow")
    try:
        with pytest.raises(TryAgain, match="still loads after 0 s"):
            wait_until_ready([slow], 0)
    finally:
        slow.stop()
