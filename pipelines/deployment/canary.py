"""A deployment by evidence, one look after another: the journal says which stage it is in, servers' counts say what comes next.

Nothing else is kept: whoever looks next, after a kill or by hand, reads the same journal and the same counts, and goes on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from pipelines.deployment.counts import (
    ServerCounts,
    counted_since,
    counts_of,
    not_ready_of,
    overlap_of,
    readable_counts,
    reporting_of,
    restarts_of,
    silent_of,
)
from pipelines.deployment.guardrails import (
    CHALLENGER,
    CHAMPION,
    HOUR,
    MOST_NOT_READY,
    Counts,
    Finding,
    evidence,
    findings,
    limit_findings,
    probed_overlap,
    quantiles,
    shadow_overlap,
)
from pipelines.deployment.signals import missing_signals, told_missing
from pipelines.deployment.stages import SHADOW, Decision, Plan, decide
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.journal import Entry, Journal, Split

PREFIX = "canary-"
"""How the split of a deployment by evidence is named: one name over all stages, so that users keep their release."""
PASSED = "PASSED: "
"""What the reason of the entry begins with by which a deployment passed, so that `deploy` may give all users the challenger."""
SIGNALS = ("errors", "p99", "p50", "empty", "clicks", "memory", "restarts", "readiness", "overlap")
"""What must arrive before a deployment starts; who has no clicks, say, names it as left out."""

SECOND_LOOK_S = 30.0
"""After which silent servers are looked for once more: they write every 5 s, and a request to the store fails within 15 s."""


@dataclass(frozen=True)
class Canary:
    """A deployment that was begun: its split, and the entries of its stages."""

    split: Split
    champion: str
    challenger: str
    begun: Entry
    stage: Entry
    """The entry since which the split has its share."""
    last: int
    """The number of the last entry under which it ran."""
    unseen: frozenset[int]
    """The entries of its stage before the first users."""

    @property
    def entries(self) -> range:
        """The journal's entries under which it ran."""
        return range(self.begun.n, self.last + 1)

    def number(self, plan: Plan) -> int:
        """The number of its stage, from 0: the last one that has no larger share; SHADOW while nobody has the challenger."""
        if self.stage.n in self.unseen:
            return SHADOW
        return max(0, sum(share <= self.split.share + 1e-9 for share in plan.shares) - 1)


@dataclass(frozen=True)
class Look:
    """What was seen, and what follows from it."""

    decision: Decision
    sentence: str
    findings: list[Finding]

    @property
    def broken(self) -> list[Finding]:
        """Guardrails that do not hold."""
        return [finding for finding in self.findings if finding.broken]


def canary_of(journal: Journal, name: str = "") -> Canary | None:
    """The deployment by evidence that runs; with a name, that one, even if it is over.

    A split that a person began is none.
    """
    running = journal.routing.split
    name = name or (running.name if running and running.name.startswith(PREFIX) else "")
    of_name = [entry for entry in journal.entries if entry.routing.split and entry.routing.split.name == name]
    if not name or not of_name:
        return None
    begun, last = of_name[0], of_name[-1]
    split = last.routing.split
    assert split is not None
    changes = (entry for before, entry in pairwise(of_name) if before.routing.split != entry.routing.split)
    *_, stage = begun, *changes  # a share that a person took back begins anew
    unseen = frozenset(entry.n for entry in of_name if entry.routing.split and not entry.routing.split.share)
    return Canary(split, str(last.routing.champion), str(last.routing.challenger), begun, stage, last.n, unseen)


def last_canary(journal: Journal, release: str = "") -> Canary | None:
    """The youngest deployment by evidence, of a release or at all, whether it runs or is over; None: there was none."""
    routings = (entry.routing for entry in reversed(journal.entries))
    names = (routing.split.name for routing in routings if routing.split and release in ("", routing.challenger))
    name = next((name for name in names if name.startswith(PREFIX)), "")
    return canary_of(journal, name) if name else None


def told_end(journal: Journal, canary: Canary) -> str:
    """How a deployment ended, by the entry that did it; empty: it runs."""
    if canary.last == len(journal.entries):
        return ""
    end = journal.entries[canary.last]
    return end.why if end.action == "stage" else f"entry {end.n} by {end.who} ended it: {end.action} to {end.to}, {end.why}"


def found_harmful(journal: Journal, release: str = "") -> Entry | None:
    """The entry that took a release, empty: the challenger, from its users for harm since it was promoted; None: none did."""
    release = release or journal.routing.challenger or ""
    last = last_canary(journal, release) if release else None
    if last is None or last.last == len(journal.entries):
        return None
    end, promoted = journal.entries[last.last], journal.latest("promote", to=last.challenger)
    return end if end.action == "stage" and (promoted is None or promoted.n < end.n) else None


def check_not_harmful(journal: Journal) -> None:
    """Check that no deployment by evidence found the challenger harmful since it was promoted.

    Raises:
        InputError: one did.
    """
    if end := found_harmful(journal):
        raise InputError(
            f"release {end.to}, which entry {end.n} took from its users: {end.why}",
            "a release that was not found harmful since its promotion",
            "promote another one; to try this one again, `promote` it by its verdict with --again true",
        )


def passed(journal: Journal) -> Entry | None:
    """The entry by which the deployment that runs passed; None: none runs, or nothing says so since its share was set."""
    last = journal.last_routing() if canary_of(journal) else None
    return last if last and last.action == "stage" and last.why.startswith(PASSED) else None


def check_passed(journal: Journal) -> None:
    """Check that no deployment by evidence runs but one that passed, or one that this dag run looks at.

    The DAG deploys after a pass or a person's yes alone.

    Raises:
        InputError: one runs that has not passed.
    """
    running, own = canary_of(journal), journal.resumed("stage")
    if running is None or passed(journal) or (own and own.n >= running.begun.n):
        return
    raise InputError(
        f"{running.split.name}, which has not passed: a share of {running.split.share:.4g} has release {running.challenger}",
        "a deployment by evidence that passed, or none",
        "look again by `judge-canary` until it passes; or end it by `split --share 0`, and then deploy to all at once",
    )


def deployed_because(journal: Journal, why: str, promotion: Entry) -> str:
    """The reason of the entry that gives all users a release: what was seen, which a dag run tells in `why`, or "direct"."""
    if canary_of(journal) is None:
        return f"direct: {why or promotion.why}"
    seen = passed(journal) if not why.startswith(PASSED) else None
    return "; ".join(filter(None, (seen.why if seen else "", why))) or promotion.why


def canary_name(journal: Journal) -> str:
    """The name for a deployment of the challenger that begins with the next entry."""
    return f"{PREFIX}{str(journal.routing.challenger)[:8]}-{len(journal.entries) + 1}"


def look(
    journal: Journal, canary: Canary, plan: Plan, without: Sequence[str], probe: Callable[[], tuple[float | None, str]]
) -> Look:
    """Judge what all servers have counted since the deployment began.

    Counts that can't be read are left out: those of a server of another version, or damaged ones, must not end the watch.

    Args:
        journal: as it is now.
        canary: that runs.
        plan: its stages.
        without: guardrails that are left out.
        probe: gives the overlap of the rankings of probe queries, or why it is not known. It is asked where the counts show no
            harm, since a slow server answers it slowly.

    Raises:
        TryAgain: the store does not answer.
    """
    read, unreadable = _counted_now(journal, canary, without)
    counts, strata = counts_of(read, canary.unseen)
    now, began = time.time(), datetime.fromisoformat(canary.begun.at).timestamp()
    restarts = restarts_of(read, max(began, now - 60 * HOUR))
    fixed = limit_findings(restarts, not_ready_of(read), silent_of(read, began, now))
    if canary.unseen:
        tried = sum(int(counts.searches[place, CHALLENGER]) for place, (n, _) in enumerate(strata) if n in canary.unseen)
        fixed.append(shadow_overlap(*overlap_of(read, canary.unseen), plan.least_overlap, tried >= plan.shadow_searches))
    found = [finding for finding in (*findings(counts), *fixed) if finding.name not in without]
    overlap, unanswered = (None, "") if any(finding.broken for finding in found) else probe()
    found += [] if overlap is None else [probed_overlap(overlap)]
    broken = [finding for finding in found if finding.broken]
    in_stage = np.array([entry >= canary.stage.n for entry, _ in strata], bool)
    searches = int(counts.searches[in_stage, CHALLENGER].sum())
    minutes = (now - datetime.fromisoformat(canary.stage.at).timestamp()) / 60
    in_hour = [counted for counted in counted_since(read, now - 60 * HOUR) if counted.entry >= canary.stage.n]
    unseen = _not_seen(read, unreadable, missing_signals(in_hour, without), unanswered)
    decision = decide(plan, canary.number(plan), minutes, searches, bool(broken), bool(unseen))
    unjudged = [finding.sentence for finding in found if not finding.judged and decision != "wait"]
    told = _told(decision, canary, plan, broken, minutes, searches)
    sentence = "; ".join((told, *(() if broken else (*unseen, *unjudged))))
    return Look(decision, sentence, found)


def _counted_now(journal: Journal, canary: Canary, without: Sequence[str]) -> tuple[list[ServerCounts], dict[str, str]]:
    """What can be read of the deployment's counts, and what can't.

    Where all servers seem silent, it is read once more after SECOND_LOOK_S: a store that was away has no minutes of them, which
    they write within seconds once it is back.
    """
    began = datetime.fromisoformat(canary.begun.at).timestamp()
    read = readable_counts(journal.store, canary.entries)
    if "readiness" in without or silent_of(read[0], began, time.time()) <= MOST_NOT_READY:
        return read
    log().warning("no server has told anything: it is read once more", in_s=SECOND_LOOK_S)
    time.sleep(SECOND_LOOK_S)
    return readable_counts(journal.store, canary.entries)


def _not_seen(
    read: Sequence[ServerCounts], unreadable: Mapping[str, str], missing: Mapping[str, str], unanswered: str
) -> list[str]:
    """What a look can't see, by which nobody more gets the challenger; empty: it sees all."""
    told = [f"no overlap is known: {unanswered}"] if unanswered else []
    servers, before = reporting_of(read)
    if servers < before:
        told.append(f"only {servers} of {before} servers still report what they count: look at the others")
    for path, reason in unreadable.items():
        log().warning("counts can't be read and were left out", path=path, problem=reason)
        told.append(f"{path} can't be read and was left out: {reason}")
    if missing:
        told.append(f"no signal in this stage's last hour of {told_missing(missing)}")
    return told


def _told(decision: Decision, canary: Canary, plan: Plan, broken: Sequence[Finding], minutes: float, searches: int) -> str:
    stage = canary.number(plan)
    place = "in shadow, before any user has it" if stage == SHADOW else f"at a share of {canary.split.share:.4g}"
    seen = f"{searches:,} of {plan.needed[stage]:,} searches and {minutes:.0f} of {plan.minutes:g} minutes {place}"
    if decision == "roll back":
        return f"{'; '.join(finding.sentence for finding in broken)} ({place})"
    if decision == "next" and searches < plan.needed[stage]:
        return f"no guardrail is broken, and yet there were only {seen}: what these did not show, the first users must"
    if decision == "next":
        return f"no guardrail is broken after {seen}"
    if decision == "ask" and searches >= plan.needed[stage]:
        return f"no guardrail is broken after {seen}, and yet not everything is seen: a person decides"
    if decision == "ask":
        return f"no guardrail is broken, and yet there were only {seen}: a person decides"
    return f"no guardrail is broken so far: {seen}"


def check_possible(journal: Journal) -> None:
    """Check that there are two releases and that nothing else is going on.

    Raises:
        InputError: there is no champion or no challenger, or a split runs that a person began.
    """
    routing = journal.routing
    if routing.champion is None:
        raise InputError(
            "no champion", "one to compare the challenger with", "deploy the first by `deploy`, which is mode direct"
        )
    if routing.challenger is None:
        raise InputError("no challenger", "a release that was promoted", "run `promote` with a verdict that passed")
    if routing.split:
        raise InputError(
            f"split {routing.split.name} with a share of {routing.split.share:.4g}",
            "no split but that of a deployment",
            "end it by `split --share 0`, then run this again",
        )


@dataclass(frozen=True)
class StageSeen:
    """One stage of a deployment as it was: who began it and why, and what servers counted up to its end."""

    entry: Entry
    share: float
    """0: nobody had the challenger, which ranked searches unseen."""
    champion: int
    """Searches that each release answered in it, or ranked unseen."""
    challenger: int
    findings: list[Finding]
    """Of all stages up to this one."""
    evidence: list[float]
    """After each of its minutes, the most that any guardrail has against the challenger; REFUSED breaks it."""
    milliseconds: dict[str, tuple[float, float]]
    """By quantile, of its rankings: the champion's and the challenger's. Empty: one of them ranked nothing."""
    shadow: "ShadowSeen | None" = None
    """What was ranked unseen; none: the stage had users."""


@dataclass(frozen=True)
class ShadowSeen:
    """What both releases ranked unseen; pairs are of the champion and of the challenger."""

    overlap: float
    """The mean share of the first ten that both have; none where the challenger fails."""
    overlapped: int
    """How many searches that is of: those that the champion ranked."""
    errors: tuple[int, int]
    empty: tuple[int, int]


def stages_seen(journal: Journal, canary: Canary, without: Sequence[str] = ()) -> list[StageSeen]:
    """The stages of a deployment so far, by its entries and the counts of its servers, without guardrails that are left out."""
    read, _ = readable_counts(journal.store, canary.entries)
    counts, strata = counts_of(read, canary.unseen)
    numbers = np.array([entry for entry, _ in strata], int)
    judged = [values for name, values in evidence(counts).items() if name not in without]
    most = np.max(judged, axis=0) if len(strata) and judged else np.zeros(len(strata))
    entries = journal.entries[canary.begun.n - 1 : canary.last]
    before = [None, *(entry.routing.split for entry in entries)]
    stages = [entry for entry, split in zip(entries, before, strict=False) if entry.routing.split != split]
    ends = [*(entry.n for entry in stages[1:]), canary.last + 1]
    seen = []
    for entry, end in zip(stages, ends, strict=True):
        here = (numbers >= entry.n) & (numbers < end)
        searches = counts.searches[here].sum(0)
        share = entry.routing.split.share if entry.routing.split else 0.0
        found = [one for one in findings(counts.until(int((numbers < end).sum()))) if one.name not in without]
        values = (round(float(value), 3) for value in most[here])
        shadow = None if share else _shadow_seen(read, canary, counts, here)
        took = quantiles(counts.latency[here].sum(0))
        answered = int(searches[CHAMPION]), int(searches[CHALLENGER])
        seen.append(StageSeen(entry, share, *answered, found, [*values], took, shadow))
    return seen


def _shadow_seen(read: Sequence[ServerCounts], canary: Canary, counts: Counts, here: Any) -> ShadowSeen:
    errors, empty = (values[here].sum(0) for values in (counts.errors, counts.empty))
    pairs = ((int(pair[CHAMPION]), int(pair[CHALLENGER])) for pair in (errors, empty))
    return ShadowSeen(*overlap_of(read, canary.unseen), *pairs)
