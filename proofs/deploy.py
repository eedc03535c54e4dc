"""`make proof-deploy`: how often a deployment by evidence errs. Writes build/proof/deploy.json; exit 1 beyond a bound.

`--healthy 0 --people 0` leaves the simulations out, and writes what was seen on real servers to build/proof/deploy-served.json.

Whole deployments are simulated as counts by minute, and judged after each minute by the code that judges real ones. Minutes
differ: traffic, errors, clicks and latency have levels of their own, shared by both arms. So do users: each keeps its own
rates through all stages, and half of the deployments have few users who search often. Searches come at RATE a minute, so that
the stages' numbers of searches are reached in eight hours; that traffic is what the detection rates are stated for.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.deployment.guardrails import (
    ALPHA,
    BUCKETS,
    FIRST_MS,
    GROUPS,
    HOUR,
    LEAST_OVERLAP,
    MOST_RESTARTS,
    REFUSED,
    STEP,
    Counts,
    evidence,
)
from pipelines.deployment.stages import Plan, is_over
from pipelines.statistics.sequential import Floats
from proofs import deploy_harmed, deploy_people, deploy_replicas, deploy_served
from proofs.deploy_people import interval

SERVED = 20
"""Deployments on a real server of healthy releases, and of each harm: four minutes for one of each."""
PEOPLE = 1_000
"""Healthy deployments of which every person is simulated, without a monitor and with one."""
HEALTHY, PLANTED, BATCH, MINUTES, SEED = 5_000, 200, 25, 1_000, 5
PLAN = Plan()
RATE, SLICES, SERVERS = 600.0, 100, 2
LEVELS = {"errors": 0.002, "empty": 0.03, "clicks": 0.2}
BETWEEN_USERS = {"errors": 0.8, "empty": 0.8, "clicks": 0.5}
"""Standard deviation of the logarithm of a user's own rate."""
USERS = (50_000, 5_000)
MEDIAN_MS, SIGMA, BEND = 8.0, 0.6, 1.2816
"""Latency is log-normal; from BEND standard deviations on, the slowest tenth, a harmed release is slower."""
RESTARTS = 1 / (3 * 1440)
"""Restarts of a healthy server a minute."""
MEGABYTES, RESULTS, DOCUMENTS, PROBES = 600.0, 10, 1885, 20


@dataclass(frozen=True)
class Harm:
    """What is wrong with the challenger; the defaults: nothing."""

    errors: float = 0.0
    """Points added to the share of errors."""
    clicks: float = 1.0
    p99: float = 1.0
    crashes: float = 0.0
    """Probability that a search ends the server."""
    leak_mb: float = 0.0
    """Megabytes that stay of each search."""
    broken: bool = False
    """Whether it ranks documents at random."""


HARMS: Mapping[str, Harm] = {
    "p99": Harm(p99=1.3),
    "errors": Harm(errors=0.01),
    "broken_index": Harm(broken=True, clicks=0.3),
    "clicks": Harm(clicks=0.9),
    "crash_loop": Harm(crashes=0.05),
    "memory_leak": Harm(leak_mb=0.02),
}


@dataclass(frozen=True)
class Traffic:
    """Who searched when: searches of shape (runs, MINUTES, 2), the stage of each minute, -1 after the end."""

    searches: Floats
    stage: Any

    @property
    def so_far(self) -> Floats:
        """Searches of the challenger up to each minute."""
        return self.searches[..., 1].cumsum(-1)


def traffic(random: np.random.Generator, runs: int) -> Traffic:
    """Minutes of a day, one after another: each stage ends by the rule that ends real ones."""
    phase = random.random((runs, 1)) * 2 * np.pi
    level = 1 + 0.4 * np.sin(2 * np.pi * np.arange(MINUTES) / 1440 + phase)
    total = random.poisson(RATE * level * random.gamma(20, 1 / 20, (runs, MINUTES)))
    searches, stages = np.zeros((runs, MINUTES, 2)), np.full((runs, MINUTES), -1)
    stage, begun, seen = np.zeros(runs, int), np.zeros(runs), np.zeros(runs)
    shares = np.array([*PLAN.shares, 0.0])
    for minute in range(MINUTES):
        runs_on = stage < len(PLAN.shares)
        challenger = random.binomial(total[:, minute], shares[stage]) * runs_on
        searches[:, minute] = np.stack([total[:, minute] * runs_on - challenger, challenger], -1)
        stages[:, minute] = np.where(runs_on, stage, -1)
        seen += challenger
        over = runs_on & is_over(PLAN, np.minimum(stage, len(PLAN.shares) - 1), minute + 1 - begun, seen)
        stage, begun, seen = stage + over, np.where(over, minute + 1, begun), np.where(over, 0, seen)
    return Traffic(searches, stages)


def levels(random: np.random.Generator, made: Traffic, name: str, users: Floats) -> Floats:
    """The rate of each minute and arm: what the minute has, times what the users of the arm have; shape (runs, MINUTES, 2)."""
    runs = len(users)
    shape = {"errors": 2.0, "empty": 50.0, "clicks": 100.0}[name]
    of_minute = LEVELS[name] * random.gamma(shape, 1 / shape, (runs, MINUTES, 1))
    deviation = BETWEEN_USERS[name] / np.sqrt(users / SLICES)
    slices = np.exp(deviation[:, None] * random.standard_normal((runs, SLICES)))
    grown = slices.cumsum(-1)
    heads = np.round(np.array([*PLAN.shares, 0.5]) * SLICES).astype(int)[made.stage]
    ours = np.take_along_axis(grown, heads - 1, -1)
    arms = np.stack([(grown[:, -1:] - ours) / (SLICES - heads), ours / heads], -1)
    return of_minute * arms


def of_groups(random: np.random.Generator, events: Floats, searches: Floats, users: Floats, name: str) -> tuple[Floats, Floats]:
    """Events and searches of the groups of each arm's users, shape (runs, 2, GROUPS)."""
    deviation = BETWEEN_USERS[name] / np.sqrt(users / GROUPS)
    own = np.exp(deviation[:, None, None] * random.standard_normal((len(users), 2, GROUPS)))
    trials = np.repeat(searches.sum(-2)[..., None] / GROUPS, GROUPS, -1)
    return random.poisson(events.sum(-2)[..., None] / GROUPS * own).astype(float), trials


def latencies(random: np.random.Generator, answered: Floats, harm: Harm) -> Floats:
    """Answered searches by bucket, shape (runs, MINUTES, 2, BUCKETS). A minute in twenty is slow, for both arms."""
    from scipy.special import ndtr

    runs = len(answered)
    slow = np.where(random.random((runs, MINUTES)) < 0.05, random.uniform(1, 3, (runs, MINUTES)), 1.0)
    centre = np.log(MEDIAN_MS * slow) + 0.15 * random.standard_normal((runs, MINUTES))
    ends = (np.log(FIRST_MS * STEP ** np.arange(BUCKETS)) - centre[..., None]) / SIGMA
    stretch = 1 + np.log(harm.p99) / (SIGMA * (2.3263 - BEND))
    harmed = np.where(ends > BEND, BEND + (ends - BEND) / stretch, ends)
    below = ndtr(np.stack([ends, harmed], -2))
    below[..., -1] = 1.0
    return random.multinomial(answered.astype(int), np.diff(below, axis=-1, prepend=0.0)).astype(float)


def memory(random: np.random.Generator, made: Traffic, harm: Harm) -> Floats:
    """Memory relative to the start: caches fill, what is measured wavers, and a leak adds up; shape (runs, MINUTES)."""
    runs = len(made.searches)
    wavers = np.zeros((runs, MINUTES))
    for minute in range(1, MINUTES):
        wavers[:, minute] = 0.9 * wavers[:, minute - 1] + 0.004 * random.standard_normal(runs)
    filled = 0.08 * random.random((runs, 1)) * (1 - np.exp(-np.arange(MINUTES) / 30))
    return 1 + wavers + filled + harm.leak_mb * made.so_far / SERVERS / MEGABYTES


def simulated(random: np.random.Generator, runs: int, harm: Harm) -> tuple[Traffic, Counts]:
    """Whole deployments as counts."""
    made = traffic(random, runs)
    users = np.array(USERS, float)[np.arange(runs) % len(USERS)]
    harmed = {"errors": lambda rate: rate + harm.errors, "clicks": lambda rate: rate * harm.clicks}
    events: dict[str, Floats] = {}
    for name in LEVELS:
        rate = levels(random, made, name, users)
        rate[..., 1] = harmed.get(name, lambda rate: rate)(rate[..., 1])
        events[name] = random.binomial(made.searches.astype(int), np.minimum(rate, 1.0)).astype(float)
    groups = {name: of_groups(random, events[name], made.searches, users, name) for name in LEVELS}
    latency = latencies(random, made.searches - events["errors"], harm)
    counted = (events[name] for name in ("errors", "empty", "clicks"))
    return made, Counts(made.searches, *counted, latency, memory(random, made, harm), groups)


def broken_from(random: np.random.Generator, runs: int, harm: Harm) -> tuple[Any, Any, dict[str, Any]]:
    """The minute in which each run is rolled back, MINUTES: none; the challenger's searches until then; by guardrail."""
    made, counts = simulated(random, runs, harm)
    running = made.stage >= 0
    crossed = {name: (found >= REFUSED) & running for name, found in evidence(counts).items()}
    restarts = random.poisson(SERVERS * RESTARTS + harm.crashes * made.searches[..., 1]).cumsum(-1)
    restarts[:, HOUR:] -= restarts[:, :-HOUR].copy()
    crossed["restarts"] = (restarts > MOST_RESTARTS) & running
    shared = random.hypergeometric(RESULTS, DOCUMENTS - RESULTS, RESULTS, (runs, PROBES)).mean(-1) / RESULTS
    crossed["overlap"] = np.broadcast_to(((shared < LEAST_OVERLAP) & harm.broken)[:, None], running.shape) & running
    anything = np.any(list(crossed.values()), axis=0)
    first = np.where(anything.any(-1), anything.argmax(-1), MINUTES)
    seen = np.take_along_axis(made.so_far, np.minimum(first, MINUTES - 1)[:, None], -1)[:, 0]
    if not (made.stage[:, -1] < 0).all():
        raise AssertionError(f"a deployment that is not over after {MINUTES} minutes: raise MINUTES")
    return first, seen, {name: found.any(-1) for name, found in crossed.items()}


def many(runs: int, harm: Harm, seed: int) -> tuple[Floats, Floats, dict[str, int]]:
    """Whether each run is rolled back, the challenger's searches until then, and by which guardrail how many are."""
    random = np.random.default_rng([SEED, seed])
    made = [broken_from(random, min(BATCH, runs - start), harm) for start in range(0, runs, BATCH)]
    by_guardrail = {name: int(sum(batch[2][name].sum() for batch in made)) for name in made[0][2]}
    return np.concatenate([batch[0] for batch in made]) < MINUTES, np.concatenate([batch[1] for batch in made]), by_guardrail


def figures(healthy: int, planted: int) -> dict[str, Any]:
    """All figures of simulated deployments."""
    rolled_back, _, by_guardrail = many(healthy, Harm(), 0)
    low, high = interval(int(rolled_back.sum()), healthy)
    found: dict[str, Any] = {
        "healthy_runs": healthy,
        "false_rollbacks": round(float(rolled_back.mean()), 5),
        "false_rollback_low": round(low, 5),
        "false_rollback_high": round(high, 5),
        **{f"false_{name}": count for name, count in by_guardrail.items()},
        "planted": planted * len(HARMS),
        "traffic_a_minute": RATE,
        "challenger_searches": sum(PLAN.searches),
    }
    detected, requests = {}, {}
    for number, (name, harm) in enumerate(HARMS.items(), 1):
        caught, seen, _ = many(planted, harm, number)
        detected[name], requests[name] = float(caught.mean()), float(np.median(seen[caught])) if caught.any() else 0.0
        found |= {f"detected_{name}": round(detected[name], 4), f"median_requests_{name}": round(requests[name])}
    found["planted_detected_rate_min"] = round(min(detected.values()), 4)
    found["median_detect_requests"] = round(float(np.median(list(requests.values()))))
    return found


def main() -> int:
    from tests.figures import write_figures

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--healthy", type=int, default=HEALTHY)
    parser.add_argument("--planted", type=int, default=PLANTED)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--served", type=int, default=SERVED)
    parser.add_argument("--harmed", type=int, default=SERVED)
    options = parser.parse_args()
    started = time.monotonic()
    found = figures(options.healthy, options.planted) if options.healthy and options.planted else {}
    if options.people:
        found |= deploy_people.figures(options.people, PLAN, RATE, MINUTES, SEED)
    if options.served:
        found |= deploy_served.figures(options.served) | deploy_harmed.figures(options.harmed) | deploy_replicas.figures()
    found["seconds"] = round(time.monotonic() - started, 1)
    name, runs = ("proof/deploy", options.healthy) if options.healthy else ("proof/deploy-served", options.served)
    write_figures(name, found, seed=SEED, runs=runs)
    false = max(found.get(f"{name}false_rollback_low", 0.0) for name in ("", "people_", "monitor_"))
    missed = found.get("planted_detected_rate_min", 1) < 0.9 or found.get("real_harms_found_min", 1) < 0.9 * options.harmed
    refused = sum(found.get(name, 0) - found.get(f"{name}_passed", 0) for name in ("real_healthy", "served_healthy"))
    alone = options.served and not (
        found["replicas_passed"] and found["replicas_silent_told"] and found["replicas_counted_min"] == found["replicas"]
    )
    served = found.get("status_5xx", 0) + found.get("wrong_release", 0) + found.get("healthy_5xx", 0)
    killed = found.get("kill_points", 0) - found.get("kill_points_passed", 0)
    return int(bool(false > ALPHA or missed or alone or served + killed + refused > 0))


if __name__ == "__main__":
    sys.exit(main())
