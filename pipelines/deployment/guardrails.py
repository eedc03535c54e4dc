"""Guardrails of a deployment: is the challenger worse than the champion, judged at every look, over all stages at once?

Searches are counted by minute and arm. Within a minute both arms had the same load, machines and queries of the day, so each
minute of each stage is a stratum of its own: pooled over a ramp, minutes with a higher share of the challenger would speak for
or against it (Simpson's paradox: T. Crook, B. Frasca, R. Kohavi and R. Longbotham, "Seven pitfalls to avoid when running
controlled experiments on the web", KDD 2009). Evidence adds up over the strata of all stages, and a stage spends no error of
its own: ALPHA is split over the guardrails alone.

Latency is a rate, too: the share of searches that take longer than the champion's quantile of the last hour. The hour ends
before the minute, so that the quantile does not depend on what is counted above it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.statistics.sequential import (
    Floats,
    design_effect,
    mixture_pvalue,
    stratified_log_evidence,
    stratified_ratio,
    tuned_rho,
)

ALPHA = 0.05
"""The probability that a healthy release is ever taken for a harmful one, over all guardrails and stages."""
CHAMPION, CHALLENGER = 0, 1
FIRST_MS, STEP, BUCKETS = 0.05, 1.1, 140
"""Bucket 0 holds latencies up to FIRST_MS; each next one ends STEP times as far, the last at 28 seconds."""
SLOWER = 1
"""Buckets by which the challenger may be slower: 10 %."""
HOUR = 60
"""Minutes before a minute whose searches give the champion's quantiles."""
FEWEST = {"p50": 100, "p99": 1000}
"""Searches of the champion in that hour without which a quantile is not known."""
QUANTILES = {"p50": 0.5, "p99": 0.99}
GROUPS = 32
"""Groups of each arm's users, by a hash, whose events tell how much those of one user go together."""
GROWTH = 0.1
"""By which share of its first minutes' memory a server may grow."""
MOST_MEMORY = 2.0
"""Times the memory of its first minutes that a server may not have for FIRST_MINUTES. A sequence is slow to tell a leak,
however fast: growth that is steady is taken for how widely the memory differs."""
FIRST_MINUTES = 5
BLOCK = 10
"""Minutes whose mean memory counts."""
MEMORY_RHO = tuned_rho(24)
MOST_RESTARTS = 2
"""Restarts of all servers within HOUR minutes: over a whole deployment, healthy servers have more, the more and the longer."""
LEAST_OVERLAP = 0.05
MOST_NOT_READY = 5
"""Minutes in a row that a server may say that it is not ready, or all say nothing."""


@dataclass(frozen=True)
class Counts:
    """What servers counted, by stratum: a minute of a stage, oldest first. Leading axes are runs, or there are none."""

    searches: Floats
    """Of the users whom the split assigned, shape (…, strata, arms), the champion first. So are errors, empty and clicked."""
    errors: Floats
    empty: Floats
    clicked: Floats
    latency: Floats
    """Rankings by bucket, shape (…, strata, arms, BUCKETS): one for all searches that were ranked together, none for those
    that the cache answered. So they are independent, and the release with more users is not the faster one by its cache."""
    memory: Floats
    """Megabytes of a server's process relative to its first minutes, the mean of all servers, shape (…, strata)."""
    groups: Mapping[str, tuple[Floats, Floats]]
    """By guardrail: events and searches of each group of an arm's users, shape (…, arms, GROUPS)."""
    shadow: int = 0
    """The number of strata at the beginning that nobody saw: both releases ranked their searches, each alone."""

    def until(self, strata: int) -> "Counts":
        """The first strata alone; groups as they are, since they are not counted by stratum."""
        cut = {name: getattr(self, name)[..., :strata, :] for name in ("searches", "errors", "empty", "clicked")}
        latency, memory = self.latency[..., :strata, :, :], self.memory[..., :strata]
        return Counts(**cut, latency=latency, memory=memory, groups=self.groups, shadow=min(self.shadow, strata))


@dataclass(frozen=True)
class Guardrail:
    """A rate that must not get worse."""

    name: str
    told: str
    """What is counted, in words."""
    tolerated: float
    """The ratio of the rates that is no harm."""
    events: Callable[[Counts], tuple[Floats, Floats]]
    """Events of the champion and of the challenger by stratum: a share of the units of each."""
    units: Callable[[Counts], Floats]
    """What has an event or none, by stratum and arm."""
    falls: bool = False
    """Whether fewer events are worse."""


def bucket_of(milliseconds: Any) -> Any:
    """The bucket of a latency.

    >>> [int(bucket) for bucket in bucket_of([0.01, 0.05, 0.0501, 1.0, 1e6])]
    [0, 0, 1, 32, 139]
    """
    steps = np.log(np.maximum(np.asarray(milliseconds, float), FIRST_MS) / FIRST_MS) / math.log(STEP)
    return np.clip(np.ceil(np.round(steps, 6)), 0, BUCKETS - 1).astype(int)


def bucket_end(bucket: int) -> float:
    """The milliseconds at which a bucket ends."""
    return FIRST_MS * STEP**bucket


def quantiles(latency: Floats) -> dict[str, tuple[float, float]]:
    """By name of QUANTILES, the milliseconds of the champion and of the challenger, each to 10 %; none where nothing answered.

    Args:
        latency: searches by bucket, shape (arms, BUCKETS).

    >>> seen = np.zeros((2, BUCKETS))
    >>> seen[:, 10], seen[CHALLENGER, 40] = 99, 9
    >>> {name: [round(end, 2) for end in pair] for name, pair in quantiles(seen).items()}
    {'p50': [0.13, 0.13], 'p99': [0.13, 2.26]}
    """
    if not latency.sum(-1).all():
        return {}
    reached = {name: (np.cumsum(latency, -1) >= part * latency.sum(-1, keepdims=True)) for name, part in QUANTILES.items()}
    return {
        name: (bucket_end(int(arms[CHAMPION].argmax())), bucket_end(int(arms[CHALLENGER].argmax())))
        for name, arms in reached.items()
    }


def champion_bucket(latency: Floats, name: str, shadow: int = 0) -> Any:
    """The bucket with the champion's quantile of the hour before each stratum; −1 where too few searches tell it.

    Args:
        latency: as `Counts` has it.
        name: one of QUANTILES.
        shadow: as `Counts` has it. What was ranked alone says nothing of how long users wait: their hour begins after it.

    Returns:
        Shape (…, strata).
    """
    hour = _hour_before(latency, shadow)
    total = hour[..., -1]
    reached = (hour >= QUANTILES[name] * total[..., None]).argmax(-1)
    return np.where(total >= FEWEST[name], reached, -1)


def _hour_before(latency: Floats, shadow: int) -> Floats:
    """The champion's rankings of the hour before each stratum that took as long as a bucket or less, (…, strata, BUCKETS)."""
    champion = latency[..., CHAMPION, :]
    before = np.cumsum(champion, axis=-2) - champion
    earlier = np.zeros_like(before)
    earlier[..., HOUR:, :] = before[..., :-HOUR, :] if before.shape[-2] > HOUR else 0
    if 0 < shadow < before.shape[-2]:
        earlier[..., shadow:, :] = np.maximum(earlier[..., shadow:, :], before[..., shadow : shadow + 1, :])
    hour: Floats = np.cumsum(before - earlier, axis=-1)
    return hour


def too_few_rankings(counts: Counts, name: str) -> str:
    """Why a guardrail of latency could not be judged so far, in words; empty: it could, or is none of latency.

    Args:
        counts: of one deployment.
        name: of a guardrail.
    """
    if name not in FEWEST:
        return ""
    judged = champion_bucket(counts.latency, name, counts.shadow) >= 0
    if (counts.latency.sum(-1)[judged] > 0).all(-1).any():
        return ""
    most = int(_hour_before(counts.latency, counts.shadow)[..., -1].max(initial=0))
    return f"{most:,} of {FEWEST[name]:,} rankings of the champion in an hour; leave it out, or let RATCHET_CACHE keep fewer"


def _slow(name: str) -> Callable[[Counts], tuple[Floats, Floats]]:
    """Searches above the champion's quantile: the challenger's above SLOWER buckets more."""

    def above(counts: Counts) -> tuple[Floats, Floats]:
        bucket = champion_bucket(counts.latency, name, counts.shadow)
        beyond = counts.latency.sum(-1, keepdims=True) - np.cumsum(counts.latency, axis=-1)
        slow = []
        for arm, more in ((CHAMPION, 0), (CHALLENGER, SLOWER)):
            place = np.clip(bucket + more, 0, BUCKETS - 1)[..., None]
            slow.append(np.where(bucket >= 0, np.take_along_axis(beyond[..., arm, :], place, -1)[..., 0], 0.0))
        return slow[0], slow[1]

    return above


def _of(field: str) -> Callable[[Counts], tuple[Floats, Floats]]:
    def events(counts: Counts) -> tuple[Floats, Floats]:
        values: Floats = getattr(counts, field)
        return values[..., CHAMPION], values[..., CHALLENGER]

    return events


def _searches(counts: Counts) -> Floats:
    return counts.searches


def _rankings(counts: Counts) -> Floats:
    rankings: Floats = counts.latency.sum(-1)
    return rankings


SLOW = "searches slower than the champion's {} (the challenger's: by 10 %)"
RATES = (
    Guardrail("errors", "searches that ended with an error of the server", 1.1, _of("errors"), _searches),
    Guardrail("p99", SLOW.format("99th percentile"), 1.0, _slow("p99"), _rankings),
    Guardrail("p50", SLOW.format("median"), 1.0, _slow("p50"), _rankings),
    Guardrail("empty", "searches without a result", 1.05, _of("empty"), _searches),
    Guardrail("clicks", "searches with a click", 1.02, _of("clicked"), _searches, falls=True),
)
TESTED = (*(rate.name for rate in RATES), "memory")
"""The guardrails that share ALPHA. The others are fixed limits: a healthy release does not come near them."""
REFUSED = math.log(len(TESTED) / ALPHA)
"""The logarithm of the evidence from which on a guardrail is broken."""


def share_of(units: Floats) -> Floats:
    """The share of each stratum's units that the challenger has; 0 where there are none. `units`: shape (…, strata, arms)."""
    share: Floats = units[..., CHALLENGER] / np.maximum(units.sum(-1), 1)
    return share


def effect_of(counts: Counts, name: str) -> Any:
    """The design effect of a guardrail's events, shape (…, 1); 1 where nothing is known of users.

    The larger of both arms': one user with many searches, a monitor, say, is in one arm alone.
    """
    return design_effect(*counts.groups[name]).max(-1)[..., None] if name in counts.groups else 1.0


def rate_evidence(counts: Counts, rate: Guardrail) -> Any:
    """The logarithm of the evidence of harm after each stratum, shape (…, strata)."""
    champion, challenger = (events / effect_of(counts, rate.name) for events in rate.events(counts))
    share = share_of(rate.units(counts))
    if rate.falls:
        return stratified_log_evidence(champion, challenger, 1 - share, rate.tolerated)
    return stratified_log_evidence(challenger, champion, share, rate.tolerated)


def memory_evidence(memory: Floats) -> Any:
    """The same for memory that grows beyond GROWTH: blocks of minutes are taken for a random walk, as wide as they differ.

    Args:
        memory: as `Counts` has it, 1 for that of the first minutes; shape (…, strata).
    """
    blocks = memory.shape[-1] // BLOCK
    if blocks < 2:
        return np.zeros_like(memory)
    means = memory[..., : blocks * BLOCK].reshape(*memory.shape[:-1], blocks, BLOCK).mean(-1)
    steps = np.diff(means, axis=-1, prepend=means[..., :1])
    number = np.arange(1, blocks + 1, dtype=float)
    deviation = np.sqrt(np.cumsum(steps**2, axis=-1) / number)
    grown = means - 1 - GROWTH
    statistic = grown / np.maximum(deviation * np.sqrt(number), 1e-3)
    found = -np.log(np.maximum(mixture_pvalue(statistic, number, MEMORY_RHO), 1e-300))
    found = np.where((grown > 0) & (number > 1), found, 0.0)
    last = np.arange(1, memory.shape[-1] + 1) // BLOCK - 1
    return np.where(last >= 0, found[..., np.maximum(last, 0)], 0.0)


def evidence(counts: Counts) -> dict[str, Any]:
    """The logarithm of the evidence of harm by guardrail, each of shape (…, strata)."""
    return {**{rate.name: rate_evidence(counts, rate) for rate in RATES}, "memory": memory_evidence(counts.memory)}


@dataclass(frozen=True)
class Finding:
    """What a guardrail says now."""

    name: str
    broken: bool
    sentence: str
    ratio: float | None = None
    """Challenger over champion; of memory, now over the first minutes."""
    low: float | None = None
    high: float | None = None
    champion: int = 0
    """Events of each arm."""
    challenger: int = 0
    judged: bool = True
    """Whether there was enough to compare; it holds as long as there was not."""


def findings(counts: Counts) -> list[Finding]:
    """What each tested guardrail says of the counts of one deployment."""
    return [*(_rate_finding(counts, rate) for rate in RATES), _memory_finding(counts.memory)]


def _rate_finding(counts: Counts, rate: Guardrail) -> Finding:
    """What a guardrail says; where harm was over before this look, as it was when the evidence was largest."""
    seen = rate_evidence(counts, rate)
    broken = bool(np.max(seen, initial=-np.inf) >= REFUSED)
    if broken and seen[-1] < REFUSED:
        counts = counts.until(int(np.argmax(seen)) + 1)
    events = rate.events(counts)
    deflated = [values / effect_of(counts, rate.name) for values in events]
    ratio, low, high = stratified_ratio(deflated[1], deflated[0], share_of(rate.units(counts)), ALPHA / len(TESTED))
    champion, challenger = (round(float(values.sum())) for values in events)
    known = math.isfinite(ratio)
    bounds = f"{ratio:.2f} [{low:.2f}, {high:.2f}]" if known else f"at least {low:.2f}"
    limit = f"at least {1 / rate.tolerated:.2f}" if rate.falls else f"at most {rate.tolerated:.2f}"
    of_each = f"challenger {challenger:,}, champion {champion:,}"
    sentence = f"{rate.name}: {bounds} times the champion's {rate.told}, {limit} tolerated ({of_each})"
    if not (challenger or champion):
        sentence = f"{rate.name}: no {rate.told} so far, of either release"
    if few := too_few_rankings(counts, rate.name):
        return Finding(rate.name, broken, f"{rate.name} can't be judged: {few}", judged=False)
    if not known:
        return Finding(rate.name, broken, sentence, champion=champion, challenger=challenger)
    return Finding(rate.name, broken, sentence, ratio, low, high, champion, challenger)


def _memory_finding(memory: Floats) -> Finding:
    now = float(memory[-1]) if memory.size else 1.0
    held = float(memory[-FIRST_MINUTES:].min()) if memory.size >= FIRST_MINUTES else 1.0
    broken = held > MOST_MEMORY or bool(np.max(memory_evidence(memory), initial=-np.inf) >= REFUSED)
    sentence = f"memory: {now:.2f} times that of the first minutes, at most {1 + GROWTH:.2f} tolerated"
    return Finding("memory", broken, sentence, now)


def shadow_overlap(overlap: float, searches: int, least: float, enough: bool) -> Finding:
    """What the rankings of both releases have in common, of the searches that the champion ranked unseen.

    Args:
        overlap: the mean share of the first ten that both have; none of a search that the challenger failed.
        searches: of which that is the mean.
        least: the least that is allowed; 0: whatever it is.
        enough: whether so many were tried that the mean says something.
    """
    sentence = f"overlap in shadow: {overlap:.2f} of the first ten on {searches:,} searches" + (
        f", at least {least:g} demanded" if least else ""
    )
    return Finding("shadow overlap", enough and searches > 0 and overlap < least, sentence, overlap if searches else None)


def limit_findings(restarts: int, not_ready: int, silent: int = 0) -> list[Finding]:
    """What the guardrails with fixed limits say.

    Args:
        restarts: of servers within an hour.
        not_ready: the most minutes in a row, up to now, that a server says it is not ready.
        silent: minutes since any server told something; they end, say, faster than they can tell of it.
    """
    unready = f"no server has told anything for {silent}" if silent > not_ready else f"a server is not ready for {not_ready}"
    return [
        Finding(
            "restarts",
            restarts > MOST_RESTARTS,
            f"restarts: {restarts} of the servers within an hour, at most {MOST_RESTARTS} tolerated",
        ),
        Finding(
            "readiness",
            max(not_ready, silent) > MOST_NOT_READY,
            f"readiness: {unready} minutes, at most {MOST_NOT_READY} tolerated",
        ),
    ]


def probed_overlap(overlap: float) -> Finding:
    """What the rankings of probe queries say: the share of the champion's first ten that the challenger has, their mean."""
    sentence = f"rank overlap: {overlap:.2f} of the champion's first ten on probe queries, at least {LEAST_OVERLAP:g} expected"
    return Finding("overlap", overlap < LEAST_OVERLAP, sentence, overlap)
