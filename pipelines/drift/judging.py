"""Whether a day has drifted: quiet, watch or act for each area, why, and what is to start."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.drift.alarms import LEAST_DAYS, RECENT, Finding, baseline_of, findings_of
from pipelines.drift.permutation import PERMUTATIONS, permuted_signals
from pipelines.drift.policy import AREAS, DriftPolicy
from pipelines.drift.rows import Rows, Sketch
from pipelines.drift.signals import NDCG, NEW, Area, Mask, Part, parts_of, signals, with_parts
from pipelines.drift.snapshot import Snapshot
from pipelines.gates.policy import REPAIRS, Repair
from pipelines.statistics.multiplicity import holm
from pipelines.wording import clipped, counted

Outcome = Literal["quiet", "watch", "act", "not compared"]
WORST_FIRST: tuple[Outcome, ...] = ("act", "watch", "quiet", "not compared")
ENCODED: tuple[Area, ...] = ("embeddings", "tokens")
"""Areas whose numbers depend on the encoder: its vectors, its tokens."""
OF_RELEASE = ("probes",)
"""Tables whose numbers say how a release ranks: those of another release say nothing about this one."""
PLAIN = tuple(area for area in AREAS if area not in ENCODED)
OUTCOMES = ("clicked", NDCG)
"""Numbers that are looked at for each value of a column, too."""
LEAST_ROWS = 50
"""Rows of a table below which a day is not compared."""
BETWEEN = "between days: "
"""How the null is called that past days give."""
PERMUTED = "by permutation: "
"""How the null begins that knows nothing of days."""
Samples = Callable[[str], tuple[Rows, Rows]]
"""Gives the rows of the reference's and the current sample of a table."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SignalChange(_Stored):
    """What a signal shows today."""

    name: str
    area: Area
    kind: Literal["sudden", "gradual"]
    days: int
    """Over which it changed: 1 if sudden."""
    detail: str
    """The value that it is about, where it is about one."""
    unit: str
    today: float
    """The mean of the days over which it changed."""
    usual: float
    """The mean of the baseline's days; by permutation the reference's own number, if there is one for it alone."""
    effect: float
    """A share of rows, or a relative change, beyond what quiet days show."""
    pvalue: float
    """By Holm's correction over all tests of the day."""
    alarm: bool
    trend: tuple[float, ...] = ()
    """The number of each day, today last; empty: there are too few days."""


class AreaChange(_Stored):
    """What is said of an area."""

    area: Area
    outcome: Outcome
    sentence: str
    null: str
    """How it is known what a quiet day shows."""
    repairs: tuple[Repair, ...] = ()


class Drift(_Stored):
    """`drift.json`: what drifted, and what is to start."""

    outcome: Outcome
    sentence: str
    day: str
    current: str
    reference: str
    """Snapshot that the pictures and examples compare with; empty: none."""
    areas: tuple[AreaChange, ...]
    signals: tuple[SignalChange, ...]
    repairs: tuple[Repair, ...]
    gradual: bool
    """Whether an alarm is of gradual drift, which begins to count anew after it."""


def judge_drift(
    current: Snapshot,
    past: Sequence[Snapshot],
    reference: Snapshot | None,
    samples: Samples,
    policy: DriftPolicy,
    quiet_since: str = "",
) -> Drift:
    """Judge a day.

    Args:
        current: the day.
        past: the days before, in their order.
        reference: what is compared with where the past has too few days.
        samples: for permutations.
        policy: the areas, the rate of false alarms, the sizes that count.
        quiet_since: the day of the last alarm of gradual drift; only later days count for the next.
    """
    found: list[tuple[Finding, _Tested]] = []
    nulls: dict[Area, list[str]] = {area: [] for area in AREAS}
    for table in current.sketches:
        for areas, tested in _tested(table, current, past, reference, samples, policy, quiet_since):
            kept = [test for test in tested.findings if test.signal.area in areas and test.signal.area in policy.areas]
            found += [(test, tested) for test in kept]
            for area in {test.signal.area for test in kept} if tested.findings else areas:
                nulls[area] += [tested.null] if tested.null not in nulls[area] else []
    adjusted, _ = holm([test.pvalue for test, _ in found], policy.level)
    changes = [_change(test, tested, pvalue, policy) for (test, tested), pvalue in zip(found, adjusted, strict=True)]
    before = reference or (past[-1] if past else current)
    other_encoder = bool(before.encoder and current.encoder and before.encoder != current.encoder)
    areas_said = tuple(_area(area, changes, nulls[area], policy, other_encoder) for area in policy.areas)
    return _drift(current, reference, areas_said, changes)


class _Tested(NamedTuple):
    """The findings of a table, the baseline of its signals, and what the null is, or why there is none."""

    findings: list[Finding]
    baseline: Mask
    null: str
    between: bool = False
    """Whether the signals are of days, not of permutations."""


def _tested(
    table: str, current: Snapshot, past: Sequence[Snapshot], reference: Snapshot | None, samples: Samples,
    policy: DriftPolicy, quiet_since: str,
) -> Iterator[tuple[tuple[Area, ...], _Tested]]:  # fmt: skip
    """A table's findings for areas that need one encoder, and for the others: each by as many past days as it has."""
    permuted: _Tested | None = None
    for areas in (ENCODED, PLAIN):
        days = _alike(table, current, past, areas == ENCODED)[-policy.window_days - RECENT :]
        if current.sketches[table].rows < LEAST_ROWS:
            yield areas, _untested(f"{table} with {counted(current.sketches[table].rows, 'row')} of {LEAST_ROWS}")
        elif len(days) >= LEAST_DAYS:
            yield from _between_days(table, current.sketches[table], days, areas, policy, quiet_since)
        elif reference and _alike(table, current, [reference], areas == ENCODED):
            permuted = permuted or _permuted(table, samples, len(days))
            yield areas, permuted
        else:
            yield areas, _untested(_why_not(table, current, reference, len(days), areas == ENCODED))


def _untested(reason: str) -> _Tested:
    return _Tested([], np.empty(0, bool), reason)


def _alike(table: str, current: Snapshot, days: Sequence[Snapshot], encoded: bool) -> list[Snapshot]:
    """The days that a table can be compared with: with enough rows, and where it matters by the same encoder or release."""
    if encoded:
        days = [day for day in days if day.encoder == current.encoder]
    if table in OF_RELEASE:
        days = [day for day in days if day.release == current.release]
    return [day for day in days if table in day.sketches and day.sketches[table].rows >= LEAST_ROWS]


def _between_days(
    table: str, today: Sketch, past: Sequence[Snapshot], areas: tuple[Area, ...], policy: DriftPolicy, quiet_since: str
) -> Iterator[tuple[tuple[Area, ...], _Tested]]:
    """Today's parts beside the past days that have them: a day that lacks a column is no past day of this column alone."""
    has = [parts_of(day.sketches[table]).keys() for day in past]
    own = {part: area for part, area in parts_of(today).items() if area in areas}
    groups: dict[tuple[int, ...], list[Part]] = {}
    for part in own:
        groups.setdefault(tuple(number for number, parts in enumerate(has) if part in parts), []).append(part)
    for numbers, parts in sorted(groups.items(), key=lambda group: -len(group[0])):
        named, count = f"{_listed(parts)} of {table}", len(numbers)
        if count < LEAST_DAYS:
            for area in dict.fromkeys(own[part] for part in parts):
                yield (area,), _untested(f"{named} on {count} of {LEAST_DAYS} past days")
            continue
        days = [past[number] for number in numbers]
        mask = baseline_of(count + 1, policy.window_days)
        since = sum(day.day <= quiet_since for day in days)
        sketches = [*(day.sketches[table] for day in days), with_parts(today, parts)]
        if tests := findings_of(list(signals(table, sketches, mask)), mask, since):
            null = f"{BETWEEN}today against {counted(int(mask.sum()), 'past day')}, each of them against the others"
            yield areas, _Tested(tests, mask, null if count == len(past) else f"{named} {null}", between=True)


def _listed(parts: Sequence[Part]) -> str:
    """Some parts by name."""
    names = [" ".join(filter(None, part)) for part in parts]
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def lacking(before: Snapshot, now: Snapshot) -> list[str]:
    """What a day before had and today lacks, as sentences."""
    lines = [f"Today has no {table}, unlike {before.day}." for table in before.sketches if table not in now.sketches]
    for table in [table for table in before.sketches if table in now.sketches]:
        has = parts_of(now.sketches[table])
        lacks = [part for part in parts_of(before.sketches[table]) if part not in has and part[0] != "outcome"]
        lines += [f"Today has no {_listed([part])} of {table}, unlike {before.day}: not compared." for part in lacks]
    return lines


def _permuted(table: str, samples: Samples, days: int) -> _Tested:
    reference, current = samples(table)
    users = min(len(np.unique(side.units)) for side in (reference, current))
    if users < LEAST_ROWS:
        return _untested(f"{table} with {counted(users, 'user')} of {LEAST_ROWS}, and {days} of {LEAST_DAYS} past days")
    made, mask = permuted_signals(table, reference, current, OUTCOMES)
    null = (
        f"{PERMUTED}{days} of {LEAST_DAYS} past days, so users are dealt anew to reference and current {PERMUTATIONS}"
        " times; it does not know how days differ"
    )
    return _Tested(findings_of(made, mask), mask, null)


def _why_not(table: str, current: Snapshot, reference: Snapshot | None, days: int, encoded: bool) -> str:
    if reference is None:
        return f"no reference yet, and {days} of {LEAST_DAYS} past days"
    if encoded and reference.encoder != current.encoder:
        return "vectors and tokens of different encoders are never compared"
    if table in OF_RELEASE and reference.release != current.release:
        return f"{table} that different releases ranked are never compared"
    return f"the reference has no {table}, or fewer than {LEAST_ROWS} rows"


def _change(test: Finding, tested: _Tested, pvalue: float, policy: DriftPolicy) -> SignalChange:
    signal = test.signal
    alarm = pvalue <= policy.level and test.effect >= policy.areas[signal.area].watch
    return SignalChange(
        name=signal.name,
        area=signal.area,
        kind=test.kind,
        days=test.days,
        detail=clipped(signal.detail, 80),
        unit=signal.unit,
        today=_rounded(signal.shown[-test.days :].mean()),
        usual=_rounded(signal.shown[tested.baseline].mean() if signal.before is None else signal.before),
        effect=_rounded(test.effect),
        pvalue=pvalue,
        alarm=alarm,
        trend=tuple(_rounded(value) for value in signal.shown) if tested.between else (),
    )


def _rounded(number: Any) -> float:
    return float(f"{float(number):.6g}")


def _area(
    area: Area, changes: Sequence[SignalChange], nulls: Sequence[str], policy: DriftPolicy, other_encoder: bool
) -> AreaChange:
    null = "; ".join(nulls)
    rule, own = policy.areas[area], [change for change in changes if change.area == area]
    alarms = sorted((change for change in own if change.alarm), key=lambda change: (-change.effect, change.pvalue))
    if area == "embeddings" and other_encoder:
        sentence = "the encoder changed: vectors of different encoders are never compared"
        return AreaChange(area=area, outcome="act", sentence=sentence, null=null, repairs=rule.repairs)
    if not own:
        lacking = null or "the snapshots have nothing of it in common"
        return AreaChange(area=area, outcome="not compared", sentence=f"not compared: {lacking}", null=null)
    if not alarms:
        largest = min(own, key=lambda change: change.pvalue)
        sentence = (
            f"nothing beyond {_beyond(null)} in {counted(len(own), 'test')}; least p {largest.pvalue:.2g} ({largest.name})"
        )
        return AreaChange(area=area, outcome="quiet", sentence=sentence, null=null)
    acting = alarms[0].effect >= rule.act
    return AreaChange(
        area=area,
        outcome="act" if acting else "watch",
        sentence="; ".join(said(change) for change in each_once(alarms)[:2]),
        null=null,
        repairs=rule.repairs if acting else (),
    )


def each_once(changes: Sequence[SignalChange]) -> list[SignalChange]:
    """The first change of each signal: one may be sudden and gradual."""
    first: dict[str, SignalChange] = {}
    for change in changes:
        first.setdefault(change.name, change)
    return list(first.values())


def _beyond(*nulls: str) -> str:
    """What a quiet area was compared with, by the nulls of its tests."""
    kinds = {"quiet days": BETWEEN, "chance": PERMUTED}
    return " and ".join(kind for kind, words in kinds.items() if any(words in null for null in nulls))


def said(change: SignalChange) -> str:
    """A change as a sentence. Without a trend it is by permutation, and beside the reference's number, if it has one."""
    when = "" if change.kind == "sudden" else f", the mean of {change.days} days"
    before = "by chance" if change.name.startswith(NEW) else "before"  # the reference has nothing that it lacks
    usually, beyond = ("usually", "quiet days") if change.trend else (before, "chance")
    name = f"{change.name.removeprefix('one value of ')}, {change.detail}" if change.detail else change.name
    if change.unit == "mean":
        return f"{name} {change.today:.3g}, {usually} {change.usual:.3g}{when}"
    if change.unit == "share of rows":
        return f"{name}: {100 * change.today:.1f} % of rows, {usually} {100 * change.usual:.1f} %{when}"
    return f"{change.name} moved by {100 * change.effect:.1f} % beyond {beyond}{when}"


def _drift(
    current: Snapshot, reference: Snapshot | None, areas: tuple[AreaChange, ...], changes: Sequence[SignalChange]
) -> Drift:
    worst = min((area.outcome for area in areas), key=WORST_FIRST.index)
    told = [area for area in areas if area.outcome == worst] if worst in ("act", "watch") else []
    silent = [area.area for area in areas if area.outcome == "not compared"]
    quiet = [area.null for area in areas if area.outcome == "quiet"]
    parts = [f"{area.area}: {area.sentence}" for area in told] or [
        f"nothing beyond {_beyond(*quiet)}" if quiet else areas[0].sentence.removeprefix("not compared: ")
    ]
    if silent and worst != "not compared":
        parts.append(f"not compared: {', '.join(silent)}")
    called = {repair for area in areas for repair in area.repairs}
    return Drift(
        outcome=worst,
        sentence=f"{worst}: {'; '.join(parts)}",
        day=current.day,
        current=current.name,
        reference=reference.name if reference else "",
        areas=areas,
        signals=tuple(sorted(changes, key=lambda change: (not change.alarm, change.pvalue, change.name))),
        repairs=tuple(repair for repair in REPAIRS if repair in called),
        gradual=any(change.alarm and change.kind == "gradual" for change in changes),
    )
