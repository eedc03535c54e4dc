"""Signals: one number a day for each way in which a day can differ from others, its size, and how to read it.

Every day is compared with the pool of the baseline's days; a day of the baseline with the pool of the others (leave one out).
So the numbers of past days show how far apart quiet days are, which rows resampled from one day would not. An effect is a share
of rows, or a relative change, beyond what the baseline's days show on average.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.drift.rows import Floats, Sketch

Area = Literal["embeddings", "tokens", "segments", "quality"]
Mask = NDArray[np.bool_]
LEAST_EXPECTED = 20
"""Rows of a value that a day should have before its absence, or its rate, is looked at."""
LEAST_PRESENT = 0.9
"""The part of the baseline's days that should have a row of a value before its rate is looked at."""
LEAST_SPREAD = 0.05
"""Of the logarithm of a distance between days: below it, days are copies of each other."""
NEW = "new "
"""How the name of a signal of values begins that no other day has."""
NDCG = "ndcg"
AGREED = "same grade"
"""Whether a pair that was judged again got the grade that it had."""
SHARES = ("unknown", "truncated", "clicked", "without results", NDCG, AGREED)
"""Numbers from 0 to 1, of which the rows spread at most as shares do. Others are above 0 and compared by their ratio."""
SCORE_BAND = "score band"
"""The column whose clicks by value say whether scores still mean what they meant."""
QUALITY = ("clicked", "without results", "latency_ms", "score", "gini", NDCG, AGREED)


@dataclass(frozen=True)
class Signal:
    """A number of each day, the size of its change and the least spread that days have by chance of their rows alone."""

    name: str
    area: Area
    values: Floats
    """Of each day, in the order of the days; larger is more, on a scale on which quiet days are about normal."""
    sizes: Floats
    """Of each day how far it is from the others: a share of rows, or a relative change; with `root` its square."""
    floor: float
    two_sided: bool
    shown: Floats
    """Of each day: the number that people read."""
    unit: str
    root: bool = False
    detail: str = ""
    """The value that the signal is about today."""
    before: float | None = None
    """What `shown` was in the reference, where days are permutations and it is a number of one side alone."""
    least_pvalue: float = 0.0
    """Its p-value is no smaller, whatever the tail of a distribution says."""

    def effect(self, days: Any, baseline: Mask) -> float:
        """The mean size of some days beyond that of the baseline's days on average."""
        beyond = max(0.0, float(self.sizes[days].mean() - self.sizes[baseline].mean()))
        return math.sqrt(beyond) if self.root else beyond


Part = tuple[Literal["vectors", "words", "column", "number", "outcome"], str]
"""What a sketch may have or lack: `("column", NAME)`, `("outcome", "NUMBER by COLUMN")`; vectors and words have no name."""


def parts_of(sketch: Sketch) -> dict[Part, Area]:
    """What a sketch has, with the area that it is of."""
    parts: dict[Part, Area] = {}
    if sketch.features is not None:
        parts["vectors", ""] = "embeddings"
    if sketch.words is not None:
        parts["words", ""] = "tokens"
    parts |= {("column", name): _area_of_column(name) for name in sketch.columns}
    parts |= {("number", name): _area_of_number(name) for name, sums in sketch.numbers.items() if sums[2]}
    for name, numbered in sketch.outcomes.items():
        area = _area_of_outcome(name)
        parts |= {("outcome", f"{number} by {name}"): area for number, by_value in numbered.items() if by_value}
    return parts


def with_parts(sketch: Sketch, parts: Collection[Part]) -> Sketch:
    """A sketch with some of its parts alone."""
    return replace(
        sketch,
        features=sketch.features if ("vectors", "") in parts else None,
        words=sketch.words if ("words", "") in parts else None,
        columns={name: counts for name, counts in sketch.columns.items() if ("column", name) in parts},
        numbers={name: sums for name, sums in sketch.numbers.items() if ("number", name) in parts},
        outcomes={
            name: {number: by for number, by in numbered.items() if ("outcome", f"{number} by {name}") in parts}
            for name, numbered in sketch.outcomes.items()
        },
    )


def _area_of_column(name: str) -> Area:
    return "tokens" if name == "language" else _area_of_outcome(name)


def _area_of_outcome(column: str) -> Area:
    return "quality" if column == SCORE_BAND else "segments"


def _area_of_number(name: str) -> Area:
    return "quality" if name in QUALITY else "tokens"


def signals(table: str, days: Sequence[Sketch], baseline: Mask) -> Iterator[Signal]:
    """All signals of a table that every day has.

    Args:
        table: its name.
        days: its sketches, in their order.
        baseline: which of them the others are compared with, (days,).
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # a baseline of one day has no others to be compared with
        rows = np.array([day.rows for day in days], float)
        if all(day.features is not None for day in days):
            yield _vectors(table, np.array([day.features for day in days]), rows, baseline)
        if all(day.words is not None for day in days):
            yield _mix(f"words of {table}", "tokens", np.array([day.words for day in days]), baseline)
        for name in days[-1].columns:
            if all(name in day.columns for day in days):
                yield from _of_column(table, name, days, baseline)
        for name in days[-1].numbers:
            if all(day.numbers.get(name, (0, 0, 0))[2] for day in days):
                yield _number(f"{name} of {table}", name, np.array([day.numbers[name] for day in days]), baseline)
        for name, number in [(name, number) for name, numbered in days[-1].outcomes.items() for number in numbered]:
            yield from _of_outcome(name, number, days, baseline)


def _of_column(table: str, name: str, days: Sequence[Sketch], baseline: Mask) -> Iterator[Signal]:
    area = _area_of_column(name)
    counts, values = aligned([day.columns[name] for day in days])
    if len(values) > 1:
        label = f"{name} of {table}"
        yield _mix(label, area, counts, baseline)
        yield _appeared(label, area, counts, values, baseline)
        yield _shifted(label, area, counts, values, baseline)


def _of_outcome(name: str, number: str, days: Sequence[Sketch], baseline: Mask) -> Iterator[Signal]:
    """The rates of the values that have enough rows today and had them on the baseline's days, nearly all of which have one."""
    by_value = [day.outcomes.get(name, {}).get(number, {}) for day in days]
    if number not in SHARES or not all(by_value):
        return
    totals, values = aligned([{value: pair[0] for value, pair in one.items()} for one in by_value])
    seen, _ = aligned([{value: pair[1] for value, pair in one.items()} for one in by_value])
    frequent = (seen[baseline].mean(0) >= LEAST_EXPECTED) & (seen[-1] >= LEAST_EXPECTED)
    frequent &= (seen[baseline] > 0).mean(0) >= LEAST_PRESENT
    if frequent.any() and len(values) > 1:
        signal = _rate_by_value(f"{number} by {name}", totals, seen, values, frequent, baseline)
        yield replace(signal, area=_area_of_outcome(name), unit=_unit(number))


def aligned(given: Sequence[Mapping[str, float]]) -> tuple[Floats, list[str]]:
    """Counts by value as an array, (days, values), and the values, sorted.

    >>> aligned([{"a": 1}, {"b": 2}])
    (array([[1., 0.],
           [0., 2.]]), ['a', 'b'])
    """
    named = sorted({value for one in given for value in one})
    return np.array([[one.get(value, 0) for value in named] for one in given], float).reshape(len(given), -1), named


def pool(days: Floats, baseline: Mask) -> Floats:
    """For each day the sum of the baseline's days without it, (days, …).

    >>> pool(np.array([[1.0], [2.0], [4.0]]), np.array([True, True, False])).ravel()
    array([2., 1., 3.])
    """
    return np.asarray(days[baseline].sum(0) - np.where(baseline[:, None], days, 0.0))


def _vectors(table: str, sums: Floats, rows: Floats, baseline: Mask) -> Signal:
    means = sums / rows[:, None]
    others = pool(sums, baseline) / pool(rows[:, None], baseline)
    squared = ((means - others) ** 2).sum(1)
    within = np.maximum(1e-9, 1 - (others**2).sum(1))
    values, sizes = _log_distance(squared, within / rows, baseline), squared / within
    return Signal(f"vectors of {table}", "embeddings", values, sizes, LEAST_SPREAD, False, np.sqrt(sizes), "MMD", root=True)


def _log_distance(distances: Floats, noise: Floats, baseline: Mask) -> Floats:
    """The logarithm of distances, each without what its day's number of rows adds and with what the baseline's usual adds."""
    usual = float(noise[baseline].mean() if baseline.sum() > 1 else noise[-1])  # of a pair the first day has no others
    return np.asarray(np.log(np.maximum(distances - noise + 2 * usual, usual / 10)))


def _mix(label: str, area: Area, counts: Floats, baseline: Mask) -> Signal:
    others = pool(counts, baseline)
    shares, usual = counts / counts.sum(1, keepdims=True), others / others.sum(1, keepdims=True)
    noise = np.maximum(1, (others > 0).sum(1) - 1) / (8 * np.log(2) * counts.sum(1))
    divergence = jensen_shannon(shares, usual)
    sizes = np.abs(shares - usual).sum(1) / 2
    return Signal(
        label, area, _log_distance(divergence, noise, baseline), sizes, LEAST_SPREAD, False, divergence, "Jensen–Shannon"
    )


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """The Jensen–Shannon divergence over the last axis, from 0 to 1 (J. Lin, 1991; logarithms to base 2).

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([1., 0.])
    """
    middle = (first + second) / 2

    def relative(shares: Floats) -> Floats:
        ratio = np.divide(shares, middle, out=np.ones_like(middle), where=(middle > 0) & (shares > 0))
        summed: Floats = (shares * np.log2(ratio)).sum(-1)
        return summed

    return (relative(np.broadcast_to(first, middle.shape)) + relative(np.broadcast_to(second, middle.shape))) / 2


def _angle(share: Floats) -> Floats:
    """The arcsine of the root, on which a share of n rows has the spread 1 / (2 √n)."""
    return np.asarray(np.arcsin(np.sqrt(np.clip(share, 0, 1))))


def _appeared(label: str, area: Area, counts: Floats, values: Sequence[str], baseline: Mask) -> Signal:
    """The rows with values that no other day has, and which of these is the most frequent today."""
    rows, unseen = counts.sum(1), np.where(pool(counts, baseline) > 0, 0.0, counts)
    share, floor = unseen.sum(1) / rows, 1 / (2 * np.sqrt(rows[-1]))
    others = int((unseen[-1] > 0).sum()) - 1
    named = values[int(unseen[-1].argmax())] + (f" and {others} more" if others else "") if others >= 0 else ""
    return Signal(f"{NEW}{label}", area, _angle(share), share, floor, False, share, "share of rows", detail=named)


def _shifted(label: str, area: Area, counts: Floats, values: Sequence[str], baseline: Mask) -> Signal:
    """The value whose share is furthest from its own of the baseline's days: a value that vanished, above all."""
    rows = counts.sum(1, keepdims=True)
    frequent = counts[baseline].mean(0) >= LEAST_EXPECTED
    if not frequent.any():
        frequent[counts[baseline].mean(0).argmax()] = True
    shares = counts / rows
    furthest = _furthest(_angle(shares), 1 / (4 * rows), frequent, baseline)
    return _of_value(f"one value of {label}", area, furthest, shares, values)


def _rate_by_value(label: str, totals: Floats, seen: Floats, values: Sequence[str], frequent: Mask, baseline: Mask) -> Signal:
    """The value in which a rate, such as that of clicks, is furthest from its own of the baseline's days.

    Of a day on which a value has no row nothing is known: it has the rate of all of the baseline's days together.
    """
    usual = totals[baseline].sum(0) / np.maximum(seen[baseline].sum(0), 1)
    rates = np.where(seen > 0, totals / np.maximum(seen, 1), usual)
    furthest = _furthest(_angle(rates), 1 / (4 * np.maximum(seen, 1)), frequent, baseline)
    return _of_value(label, "segments", furthest, rates, values)


class _Furthest(NamedTuple):
    """Of each day the place of the value that is furthest off, how far, and what is usual for it."""

    places: NDArray[np.int64]
    scores: Floats
    usual: Floats


def _furthest(angles: Floats, least: Floats, frequent: Mask, baseline: Mask) -> _Furthest:
    """The value that is furthest from its own of other days, in their spread.

    Each day is studentized by the other days alone, so that a day of the baseline is as far off as one more day would be. The
    p-value of Student's t, times the number of values, is given as a quantile of the normal distribution.

    Args:
        angles: of a share of each value, (days, values).
        least: the variance that it has by chance of its rows, (days, values) or (days, 1).
        frequent: the values that are looked at, (values,), at least one.
        baseline: (days,).
    """
    from scipy.special import ndtri, stdtr

    others = np.where(baseline, baseline.sum() - 1, baseline.sum())[:, None]
    mean = pool(angles, baseline) / others
    variance = (pool(angles**2, baseline) - others * mean**2) / (others - 1)
    spread = np.sqrt(np.maximum(np.where(others > 1, variance, 0.0), least) * (1 + 1 / others))
    apart = np.nan_to_num(np.where(frequent, np.abs(angles - mean) / spread, 0.0), posinf=0.0)
    each, places = np.arange(len(angles)), apart.argmax(1)
    pvalues = 2 * stdtr(np.where(others > 2, others - 1, 1e6)[:, 0], -apart[each, places]) * frequent.sum()
    return _Furthest(places, -ndtri(np.clip(pvalues, 1e-99, 0.99)), np.sin(mean[each, places]) ** 2)


def _of_value(name: str, area: Area, furthest: _Furthest, shares: Floats, values: Sequence[str]) -> Signal:
    each = np.arange(len(shares))
    sizes = np.abs(shares[each, furthest.places] - furthest.usual)
    today = int(furthest.places[-1])  # whose share is shown of each day; the scores are of each day's own furthest value
    return Signal(name, area, furthest.scores, sizes, 0.3, False, shares[:, today], "share of rows", detail=values[today])


def _unit(number: str) -> str:
    return "mean" if number == NDCG else "share of rows"


def _number(label: str, name: str, sums: Floats, baseline: Mask) -> Signal:
    total, squares, count = sums.T
    mean = total / count
    others = pool(sums, baseline)
    usual = others[:, 0] / others[:, 2]
    area = _area_of_number(name)
    if name in SHARES:
        floor = 1 / (2 * np.sqrt(count[-1]))
        apart, shares = _angle(mean) - _angle(usual), np.abs(mean - usual)
        return Signal(label, area, apart, shares, floor, True, mean, _unit(name))
    spread = float(np.sqrt(np.maximum(0, squares / count - mean**2))[-1] / np.sqrt(count[-1]))
    if not ((mean > 0).all() and (total[baseline] > 0).all()):
        return Signal(label, area, mean - usual, np.abs(mean - usual), max(1e-6, spread), True, mean, "mean")
    ratio = mean / usual
    return Signal(label, area, np.log(ratio), np.abs(ratio - 1), max(1e-6, spread / mean[-1]), True, mean, "mean")
