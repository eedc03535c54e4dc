"""Deployments by evidence, simulated one search after another, for `make proof-deploy`: people, not counts.

`proofs.deploy` draws counts by a model that is near to what the test assumes. Here are people. How active they are is
log-normal, so that a tenth of them make two thirds of all searches; they come in sessions, which last minutes; each has rates
of errors, empty results and clicks of its own, and so has each session; a hash says who has the challenger, and in which group
a person is. With a monitor: one of them makes a part of all searches, in each minute as many, and never clicks.

Each deployment is looked at again and again, with what was known of its people at each look.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.deployment.guardrails import BUCKETS, GROUPS, RATES, REFUSED, Counts, rate_evidence
from pipelines.deployment.stages import Plan, is_over
from pipelines.statistics.sequential import Floats

RATES_OF_ALL = {"errors": 0.002, "empty": 0.03, "clicks": 0.2}
BETWEEN_PEOPLE, BETWEEN_SESSIONS = 0.8, 0.4
"""Standard deviations of the logarithm of a rate: a person's own, and a session's."""
ACTIVITY = 1.5
"""The same of how often people search."""
SESSION, GAP = 4.0, 0.5
"""Mean searches of a session, and minutes between two of them."""
NUMBERS, MONITOR = (50_000, 5_000), 0.05
"""People of a deployment, and the part of all searches that the monitor makes."""
LOOKS = (*range(5, 60, 5), *range(60, 1000, 15))
"""Minutes after which is looked."""


@dataclass(frozen=True)
class People:
    """Who searches how much: `number` of them, and `monitor`, the part of all searches that one of them makes."""

    number: int
    monitor: float = 0.0


@dataclass(frozen=True)
class Searches:
    """Searches in the order of minutes: when, by whom, and in which of that person's sessions."""

    minute: Any
    person: Any
    session: Any


def searches_of(random: np.random.Generator, people: People, rate: float, minutes: int) -> Searches:
    """Searches of all people, `rate` a minute together; person 0 is the monitor, if there is one."""
    activity = np.cumsum(np.exp(ACTIVITY * random.standard_normal(people.number)))
    expected = rate * (1 - people.monitor) * minutes
    sessions = random.poisson(expected / SESSION)
    person = np.searchsorted(activity, random.random(sessions) * activity[-1])
    length = random.geometric(1 / SESSION, sessions)
    phase = random.random() * 2 * np.pi
    level = np.cumsum(1 + 0.4 * np.sin(2 * np.pi * np.arange(minutes) / 1440 + phase))
    start = np.searchsorted(level, random.random(sessions) * level[-1])
    session = np.repeat(np.arange(sessions), length)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    minute = np.repeat(start, length) + (GAP * within).astype(int)
    probes = np.repeat(np.arange(minutes), round(rate * people.monitor))
    kept = minute < minutes
    return Searches(
        np.r_[minute[kept], probes], np.r_[person[session][kept], 0 * probes], np.r_[session[kept], sessions + 0 * probes]
    )


def stages_of(plan: Plan, made: Searches, bucket: Floats, minutes: int) -> Any:
    """The stage of each minute, len(plan.shares) after the end; each ends by the rule that ends real ones."""
    had = bucket[made.person]
    by_share = [np.bincount(made.minute[had < share], minlength=minutes) for share in plan.shares]
    stages, stage, begun, seen = np.full(minutes, len(plan.shares)), 0, 0, 0
    for minute in range(minutes):
        stages[minute] = stage
        seen += int(by_share[stage][minute])
        if is_over(plan, stage, minute + 1 - begun, seen):
            stage, begun, seen = stage + 1, minute + 1, 0
        if stage == len(plan.shares):
            return stages
    raise AssertionError(f"a deployment that is not over after {minutes} minutes: raise them")


def rates_of(random: np.random.Generator, people: People, made: Searches, minutes: int, challenger: Any, clicks: float) -> Any:
    """By guardrail, whether each search has the event. A challenger that does harm has its clicks times `clicks`."""
    happened = {}
    for name, rate in RATES_OF_ALL.items():
        own = np.exp(BETWEEN_PEOPLE * random.standard_normal(people.number))
        of_session = np.exp(BETWEEN_SESSIONS * random.standard_normal(int(made.session.max()) + 1))
        shape = {"errors": 2.0, "empty": 50.0, "clicks": 100.0}[name]
        of_minute = random.gamma(shape, 1 / shape, minutes)
        if people.monitor:
            own[0] = 0.0
        mean = np.exp((BETWEEN_PEOPLE**2 + BETWEEN_SESSIONS**2) / 2)
        chance = rate / mean * own[made.person] * of_session[made.session] * of_minute[made.minute]
        if name == "clicks":
            chance = np.where(challenger, clicks * chance, chance)
        happened[name] = random.random(len(chance)) < chance
    return happened


def rolled_back(
    random: np.random.Generator, people: People, plan: Plan, rate: float, minutes: int, clicks: float = 1.0
) -> dict[str, bool]:
    """By guardrail, whether one deployment is rolled back at any of the looks."""
    made = searches_of(random, people, rate, minutes)
    bucket, group = random.random(people.number), random.integers(GROUPS, size=people.number)
    stages = stages_of(plan, made, bucket, minutes)
    shares = np.array([*plan.shares, 0.0])
    runs = stages[made.minute] < len(plan.shares)
    made = Searches(made.minute[runs], made.person[runs], made.session[runs])
    challenger = bucket[made.person] < shares[stages[made.minute]]
    happened = rates_of(random, people, made, minutes, challenger, clicks)
    over = int(np.argmax(np.r_[stages, len(plan.shares)] == len(plan.shares)))
    looks = np.array([*(look for look in LOOKS if look < over), over])
    arm = challenger.astype(int)
    taken_by = {"all": np.ones(len(arm), bool), **happened}
    counted = {name: _until(made.minute, arm, taken, looks) for name, taken in taken_by.items()}
    of_look = np.searchsorted(looks, made.minute, side="right")
    of_person = group[made.person]
    grouped = {name: _of_groups(of_look, arm, of_person, taken, len(looks)) for name, taken in taken_by.items()}
    counts = Counts(
        counted["all"],
        *(counted[name] for name in RATES_OF_ALL),
        np.zeros((over, 2, BUCKETS)),
        np.ones(over),
        {name: (grouped[name], grouped["all"]) for name in RATES_OF_ALL},
    )
    judged = [guardrail for guardrail in RATES if guardrail.name in RATES_OF_ALL]
    return {guardrail.name: bool((rate_evidence(counts, guardrail) >= REFUSED).any()) for guardrail in judged}


def _until(minute: Any, arm: Any, taken: Any, looks: Any) -> Floats:
    """What is counted in each minute and arm, as each look sees it: nothing after it; shape (looks, minutes, arms)."""
    minutes = int(looks[-1])
    whole = np.bincount(2 * minute[taken] + arm[taken], minlength=2 * minutes).reshape(minutes, 2)
    seen: Floats = whole * (np.arange(minutes)[None, :, None] < looks[:, None, None])
    return seen


def _of_groups(of_look: Any, arm: Any, group: Any, taken: Any, looks: int) -> Floats:
    """The same of each arm's groups, from the beginning to each look; shape (looks, arms, GROUPS)."""
    place = (2 * of_look[taken] + arm[taken]) * GROUPS + group[taken]
    whole = np.bincount(place, minlength=2 * looks * GROUPS).reshape(looks, 2, GROUPS)
    return whole.cumsum(0).astype(float)


def figures(runs: int, plan: Plan, rate: float, minutes: int, seed: int) -> dict[str, Any]:
    """How many healthy deployments are rolled back, half of them with few people; a quarter as many again have a monitor."""
    found: dict[str, Any] = {"people": NUMBERS[0], "people_few": NUMBERS[1], "monitor_share": MONITOR}
    for number, (name, count, monitor) in enumerate((("people", runs, 0.0), ("monitor", runs // 4, MONITOR))):
        seen = [
            rolled_back(np.random.default_rng([seed, number, run]), People(NUMBERS[run % 2], monitor), plan, rate, minutes)
            for run in range(count)
        ]
        false = sum(any(of_run.values()) for of_run in seen)
        low, high = interval(false, count)
        found |= {
            f"{name}_healthy_runs": count,
            f"{name}_false_rollbacks": round(false / count, 5),
            f"{name}_false_rollback_low": round(low, 5),
            f"{name}_false_rollback_high": round(high, 5),
            **{f"{name}_false_{guardrail}": sum(of_run[guardrail] for of_run in seen) for guardrail in RATES_OF_ALL},
        }
    return found


def interval(count: int, runs: int) -> tuple[float, float]:
    """The exact 95 % interval of a simulated share."""
    from scipy.stats import binomtest

    low, high = binomtest(count, runs).proportion_ci(0.95)
    return float(low), float(high)
