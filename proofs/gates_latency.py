"""`make proof-latency`: how often a slower release is refused by its latency. Writes build/proof/latency.json.

One release of the icons is served twice at once by the real server and measured as any release is, so that the truth is known:
it is as fast as itself. From these real latencies DRAWS measurements are drawn by their blocks, as they are, and with the
slowest requests of the challenger slowed so that its p99 is 30 % higher. Then real servers are measured whose releases sleep
now and then, each with a seed of its own.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pipelines.evaluation import latency
from pipelines.evaluation.latency import BLOCK, QUANTILES, SIDES
from pipelines.evaluation.served_release import ServedRelease
from pipelines.statistics.intervals import Floats
from pipelines.statistics.ratios import quantile_ratio
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import Store, open_store

LEVEL, MARGIN, HARM = 0.95, 0.25, 1.3
"""The rule on p99 of `full.yaml`, and the harm: p99 is 30 % higher."""
REQUESTS, STARTS, DRAWS, SERVED_SEEDS, SERVED_REQUESTS = 3000, 5, 500, 3, 1500
SLEEPS_ONE_IN = 60
"""Of the requests; more than one in a hundred, so that p99 is one that slept."""
SLEEPING = """
import random, sys, time
from pipelines.retrieval.release import Release
draws, plain = random.Random({seed}), Release.rank_stages
def rank_stages(self, *given, **named):
    if draws.random() < 1 / {one_in}:
        time.sleep({seconds})
    return plain(self, *given, **named)
Release.rank_stages = rank_stages
from images.serve.__main__ import main
sys.exit(main([]))
"""


def measured(store: Store, release: str, requests: int, starts: int, sleeping: str = "") -> dict[str, Floats]:
    """Blocks of latencies of a release beside itself, by side; with `sleeping`, the challenger's server runs that program."""

    def server(of_release: str, scratch: Path) -> ServedRelease:
        if not (sleeping and scratch.name.startswith("release")):
            return ServedRelease(of_release, scratch)
        with patch.object(ServedRelease, "program", ("-c", sleeping)):
            return ServedRelease(of_release, scratch)

    corpus = load_exactly(store, "corpus", load_exactly(store, "release", release).inputs["corpus"])
    asked = latency.targets([corpus], corpus)
    with patch.object(latency, "ServedRelease", server):
        found = latency.measure(dict.fromkeys(SIDES, release), asked, requests, starts, 300)
    return {side: np.asarray(found[side]["blocks"]) for side in SIDES}


def slowed(blocks: Floats, factor: float) -> Floats:
    """The latencies with everything from p98 upwards `factor` times as long, so that p99 is."""
    return np.where(blocks >= np.quantile(blocks, 0.98), blocks * factor, blocks)


def passes(release: Floats, champion: Floats, probability: float, margin: float) -> bool:
    """Whether the rule passes the release."""
    return quantile_ratio(release, champion, probability, LEVEL).high <= 1 + margin


def drawn_rates(blocks: dict[str, Floats], seed: int = 0) -> dict[str, float]:
    """Shares of drawn measurements: an equal release passes, the one with the planted p99 is refused, the interval covers."""
    random, places = np.random.default_rng(seed), len(blocks["release"])
    found: dict[str, list[bool]] = {"equal_passes": [], "refused": [], **{f"{name}_covered": [] for name in QUANTILES}}
    truth = {name: quantile_ratio(*(blocks[side] for side in SIDES), level).ratio for name, level in QUANTILES.items()}
    for _ in range(DRAWS):
        taken = random.integers(0, places, places)
        ours, theirs = (blocks[side][taken] for side in SIDES)
        found["equal_passes"].append(passes(ours, theirs, 0.99, MARGIN))
        found["refused"].append(not passes(slowed(ours, HARM), theirs, 0.99, MARGIN))
        for name, level in QUANTILES.items():
            ratio = quantile_ratio(ours, theirs, level, LEVEL)
            found[f"{name}_covered"].append(ratio.low <= truth[name] <= ratio.high)
    return {name: float(np.mean(values)) for name, values in found.items()}


def figures(store: Store, release: str) -> dict[str, Any]:
    """All figures; takes minutes."""
    alike = measured(store, release, REQUESTS, STARTS)
    rates = drawn_rates(alike)
    ratios = {name: quantile_ratio(*(alike[side] for side in SIDES), level) for name, level in QUANTILES.items()}
    p50, p99 = (float(np.quantile(alike["champion"], level)) for level in (0.5, 0.99))
    refused = 0
    planted = []
    for seed in range(SERVED_SEEDS):
        seconds = max(HARM * p99 - p50, 0.001) / 1000
        program = SLEEPING.format(seed=seed, one_in=SLEEPS_ONE_IN, seconds=seconds)
        served = measured(store, release, SERVED_REQUESTS, STARTS, program)
        planted.append(quantile_ratio(*(served[side] for side in SIDES), 0.99).ratio)
        refused += not passes(served["release"], served["champion"], 0.99, MARGIN)
    return {
        "margin": MARGIN,
        "draws": DRAWS,
        "equal_passes": rates["equal_passes"],
        "planted_p99_refused": rates["refused"],
        **{f"{name}_coverage": rates[f"{name}_covered"] for name in QUANTILES},
        **{f"equal_{name}": round(ratio.ratio, 4) for name, ratio in ratios.items()},
        **{f"equal_{name}_{end}": round(getattr(ratio, end), 4) for name, ratio in ratios.items() for end in ("low", "high")},
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "requests": len(alike["release"]) * BLOCK,
        "starts": STARTS,
        "served_seeds": SERVED_SEEDS,
        "served_refused": refused,
        "served_p99_ratio_min": round(min(planted), 3),
        "served_p99_ratio_max": round(max(planted), 3),
    }


def beyond(found: dict[str, Any]) -> list[str]:
    """The figures that a 95 % Monte Carlo interval excludes from their bounds: 90 % of the planted refused."""
    error = 1.96 * np.sqrt(0.9 * 0.1 / found["draws"])
    return ["planted_p99_refused"] if found["planted_p99_refused"] < 0.9 - error else []


def main() -> int:
    from tests.conftest import call, embedded_release
    from tests.figures import write_figures

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ratchet-proof-latency-") as home, patch.dict("os.environ", RATCHET_HOME=home):
        made = embedded_release(Path(home), call("ingest").corpus, call("export_encoder").encoder)
        found = figures(open_store(), made.release)
    found["seconds"] = round(time.monotonic() - started, 1)
    write_figures("proof/latency", found, seed=0, runs=DRAWS)
    return len(beyond(found))


if __name__ == "__main__":
    sys.exit(main())
