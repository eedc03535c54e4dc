"""The effect of each treatment on each metric: at one look by tea-tasting, at every look by confidence sequences."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipelines.experiments.cells import Cells, metric_by_day, metric_by_segment, skewness
from pipelines.experiments.design import FINAL_SHARE, Design, Metric
from pipelines.experiments.metrics import Source
from pipelines.experiments.units import UnitTable
from pipelines.statistics.multiplicity import holm
from pipelines.statistics.sequential import (
    VAGUE,
    critical_value,
    mixture_pvalue,
    multinomial_pvalue,
    rate_ratio_bounds,
    tuned_rho,
)
from pipelines.statistics.uplift import Floats, Moments, Uplift, detectable_difference, fixed_pvalue, uplift

FEWEST_NONZERO = 10
"""Units with an outcome in each group below which no normal approximation is made."""
FEWEST_UNITS = 50
SKEWED = 355.0
"""Units that a group needs for each square of its skewness (R. Kohavi et al., "Seven rules of thumb", KDD 2014)."""


@dataclass(frozen=True)
class Span:
    """An estimate with its interval; infinite bounds where nothing is known."""

    estimate: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class Look:
    """What was known at the end of a day."""

    day: int
    relative: Span
    pvalue: float


@dataclass(frozen=True)
class Effect:
    """One metric of one treatment against control."""

    metric: str
    role: str
    kind: str
    direction: str
    treatment: str
    units: tuple[int, int]
    """Of control and treatment."""
    control_value: float
    treatment_value: float
    absolute: Span
    """By the deciding test."""
    relative: Span
    fixed: Span
    """Relative, of one look at the end."""
    sequential: Span
    """Relative, valid at every look."""
    pvalue: float
    """Of one look at the end."""
    sequential_pvalue: float
    """The smallest until today."""
    adjusted: float
    """The deciding p-value by Holm over the treatments."""
    level: float
    """The error of the deciding interval."""
    segment: str = ""
    cut: float = 0.0
    """The part of the variance that the covariate took away."""
    detectable: float = math.nan
    """The relative change that this many units show with the declared power."""
    skewed: bool = False
    looks: tuple[Look, ...] = field(default=(), repr=False)
    exact: bool = False
    """Few outcomes: the interval is of the exact test of counts."""

    @property
    def sign(self) -> int:
        """1 where more is better."""
        return 1 if self.direction == "increase" else -1

    @property
    def better(self) -> Span:
        """The relative effect, turned so that more is better."""
        span = self.relative
        return span if self.sign > 0 else Span(-span.estimate, -span.high, -span.low)


@dataclass(frozen=True)
class Mode:
    """Which test decides: `fixed` once the experiment is over, else `sequential`."""

    over: bool
    looked: bool
    """Whether it was looked at before its end."""
    rho: float

    @property
    def word(self) -> str:
        return "fixed" if self.over else "sequential"


def mode_of(design: Design, days: int, counts: Floats, over: bool) -> Mode:
    """How the effects of this experiment are judged.

    Args:
        design: the experiment.
        days: from its first unit to its last.
        counts: units by day and variant.
        over: whether its planned stop has passed, or none was declared and it counts as finished.
    """
    looked = design.looks == "daily" and days > 1
    return Mode(over, looked, tuned_rho(_expected_units(design, counts), design.alpha))


def _expected_units(design: Design, counts: Floats) -> float:
    """Units at the planned stop: declared, or projected from the first two days, so that it is fixed before the third."""
    if design.expected_units:
        return float(design.expected_units)
    daily = counts.sum(1)
    if design.start and design.planned_stop:
        days = max(1.0, (design.planned_stop - design.start).total_seconds() / 86400)
        return max(1.0, float(daily[:2].sum()) / min(2, len(daily)) * days)
    return max(1.0, float(daily.sum()))


def effects_of(table: UnitTable, number: int, mode: Mode) -> list[Effect]:
    """The effects of all treatments on one metric, Holm's correction over them included."""
    cells = metric_by_day(table, number)
    source, design = table.sources[number], table.design
    many = skewness(table, number) if source.metric.kind in ("mean", "ratio") else 0.0
    drafts = [_draft(table, cells, source, place, mode) for place in range(1, len(design.variants))]
    final = design.alpha * (FINAL_SHARE if mode.over and mode.looked else 1)
    adjusted, levels = holm([draft["deciding"] for draft in drafts], final)
    return [_finished(design, source, draft, adjusted[index], levels[index], many) for index, draft in enumerate(drafts)]


def segment_effects(table: UnitTable, segment: int, mode: Mode) -> list[Effect]:
    """The primary metric's effect within each value of a segment; Holm over values and treatments is for the caller."""
    cells = metric_by_segment(table, 0, segment)
    found = []
    for index, key in enumerate(cells.keys):
        part = Cells(cells.moments.at([index]), cells.nonzero[[index]], [0])
        for place in range(1, len(table.design.variants)):
            draft = _draft(table, part, table.sources[0], place, mode)
            label = f"{table.segments[segment]} = {key}"
            found.append(_finished(table.design, table.sources[0], draft, draft["deciding"], table.design.alpha, 0.0, label))
    return found


def corrected(effects: list[Effect], alpha: float) -> list[Effect]:
    """Effects in segments with Holm's correction over all of them, their intervals at the corrected levels."""
    adjusted, levels = holm([effect.adjusted for effect in effects], alpha)
    return [_at_level(effect, pvalue, level) for effect, pvalue, level in zip(effects, adjusted, levels, strict=True)]


def _draft(table: UnitTable, cells: Cells, source: Source, place: int, mode: Mode) -> dict[str, Any]:
    """Everything about one comparison that does not depend on the correction for several."""
    control, treatment = cells.moments.at(np.s_[:, 0]).accumulated(), cells.moments.at(np.s_[:, place]).accumulated()
    nonzero = cells.nonzero.cumsum(0)
    series = uplift(control, treatment)
    enough = (np.minimum(nonzero[:, 0], nonzero[:, place]) >= FEWEST_NONZERO) & (
        np.minimum(control.count, treatment.count) >= FEWEST_UNITS
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(series.error > 0, series.difference / series.error, 0.0)
    pvalues = np.where(enough, mixture_pvalue(statistic, np.maximum(series.units, 1), mode.rho), 1.0)
    last = -1
    groups = (control.at(last), treatment.at(last))
    order = [table.design.baseline, *table.design.treatments]
    pair = (table.design.variants[order[0]], table.design.variants[order[place]])
    ended = bool(enough[last])
    fixed_p = _fixed(groups, source.metric, table.design.alpha)["pvalue"] if ended else 1.0
    counts = (float(nonzero[last, 0]), float(nonzero[last, place]))
    exact = not ended and source.metric.kind == "proportion"
    if exact:
        fixed_p = float(multinomial_pvalue(counts, pair, VAGUE))
    deciding = fixed_p if mode.over or exact else float(np.min(pvalues))
    if mode.over and mode.looked and float(np.min(pvalues)) < table.design.alpha:  # it would have been stopped then
        deciding = min(fixed_p, FINAL_SHARE * float(np.min(pvalues)))
    return {
        "groups": groups, "series": series, "enough": enough, "pvalues": pvalues, "fixed_p": fixed_p, "deciding": deciding,
        "counts": counts, "pair": pair, "exact": exact, "mode": mode, "treatment": order[place], "days": cells.keys,
    }  # fmt: skip


def _finished(
    design: Design, source: Source, draft: dict[str, Any], adjusted: float, level: float, skew: float, segment: str = ""
) -> Effect:
    metric, groups, series, mode = source.metric, draft["groups"], draft["series"], draft["mode"]
    ended = bool(draft["enough"][-1])
    looks = _looks(draft, level)
    sequential = looks[-1].relative if ended else _unknown()
    fixed = _fixed(groups, metric, level) if ended else None
    absolute, relative = (fixed["absolute"], fixed["relative"]) if fixed else (_unknown(), _unknown())
    if draft["exact"]:
        absolute, relative = _exact(groups, draft["counts"], draft["pair"], level)
        sequential = relative
    shown_fixed = relative
    if not mode.over and ended:
        reach = float(critical_value(series.units[-1], mode.rho, level) * series.error[-1])
        absolute = Span(
            float(series.difference[-1]), float(series.difference[-1]) - reach, float(series.difference[-1]) + reach
        )
        relative = sequential
    smallest = min(groups[0].count, groups[1].count)
    return Effect(
        metric.name,
        source.role,
        metric.kind,
        metric.direction,
        draft["treatment"],
        (int(groups[0].count), int(groups[1].count)),
        float(series.control[-1]),
        float(series.treatment[-1]),
        absolute,
        relative,
        shown_fixed,
        sequential,
        float(draft["fixed_p"]),
        float(np.min(draft["pvalues"])),
        adjusted,
        level,
        segment,
        float(series.cut[-1]) if metric.covariate or design.covariate else 0.0,
        _detectable(design, series, draft["pair"]),
        bool(skew and smallest < SKEWED * skew**2),
        tuple(looks),
        draft["exact"],
    )


def _at_level(effect: Effect, adjusted: float, level: float) -> Effect:
    """The same effect with intervals of another level; the normal quantiles' ratio stretches them."""
    from scipy.special import ndtri

    stretch = float(ndtri(1 - level / 2) / ndtri(1 - effect.level / 2))

    def wider(span: Span) -> Span:
        if not math.isfinite(span.width):
            return span
        return Span(
            span.estimate,
            span.estimate - stretch * (span.estimate - span.low),
            span.estimate + stretch * (span.high - span.estimate),
        )

    return replace(effect, absolute=wider(effect.absolute), relative=wider(effect.relative), adjusted=adjusted, level=level)


def _unknown() -> Span:
    return Span(math.nan, -math.inf, math.inf)


def _looks(draft: dict[str, Any], level: float) -> list[Look]:
    """The confidence sequence, relative to control, at the end of every day."""
    series: Uplift = draft["series"]
    reach = critical_value(np.maximum(series.units, 1), draft["mode"].rho, level)
    looks = []
    for index, day in enumerate(draft["days"]):
        pvalue = float(draft["pvalues"][index])
        looks.append(Look(int(day), _relative(series, index, float(reach[index]), bool(draft["enough"][index])), pvalue))
    return looks


def _relative(series: Uplift, index: int, reach: float, enough: bool) -> Span:
    """A relative effect: by the logarithm of the ratio, or divided by control's value where one of both is not above 0."""
    if not enough:
        return _unknown()
    log, error = float(series.log_ratio[index]), float(series.log_error[index])
    if math.isfinite(log) and math.isfinite(error):
        return Span(math.exp(log) - 1, math.exp(log - reach * error) - 1, math.exp(log + reach * error) - 1)
    base = abs(float(series.control[index]))
    if base == 0:
        return _unknown()
    difference, spread = float(series.difference[index]) / base, float(series.error[index]) / base
    return Span(difference, difference - reach * spread, difference + reach * spread)


def _fixed(groups: tuple[Moments, Moments], metric: Metric, level: float) -> dict[str, Any]:
    """The test of one look, by tea-tasting: Welch's t, the delta method for ratios, CUPED where there is a covariate."""
    from tea_tasting.metrics.mean import RatioOfMeans

    adjusts = bool((groups[0] + groups[1]).covariance[2, 2] > 0)
    covariate = "c" if adjusts else None
    test = RatioOfMeans("x", "y" if metric.kind in ("ratio", "slow_share") else None, covariate, confidence_level=1 - level)
    if float(groups[0].mean[0]) <= 0 or float(groups[1].mean[0]) <= 0:
        return _fixed_by_difference(uplift(groups[0].at([None]), groups[1].at([None])), level)
    result: Any = test.analyze_aggregates(aggregates(groups[0], adjusts), aggregates(groups[1], adjusts))
    pvalue = float(result.pvalue)
    return {
        "pvalue": pvalue if math.isfinite(pvalue) else 1.0,
        "absolute": Span(result.effect_size, result.effect_size_ci_lower, result.effect_size_ci_upper),
        "relative": Span(result.rel_effect_size, result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper),
    }


def _fixed_by_difference(effect: Uplift, level: float) -> dict[str, Any]:
    """Welch's t where a mean is not above 0, so that there is no ratio."""
    from scipy.special import stdtrit

    difference, error = float(effect.difference[0]), float(effect.error[0])
    reach = float(stdtrit(effect.freedom[0], 1 - level / 2))
    return {
        "pvalue": float(fixed_pvalue(difference / error, effect.freedom[0])) if error > 0 else 1.0,
        "absolute": Span(difference, difference - reach * error, difference + reach * error),
        "relative": _relative(effect, 0, reach, True),
    }


def aggregates(group: Moments, covariate: bool) -> Any:
    """The moments of one group as tea-tasting takes them."""
    from tea_tasting.aggr import Aggregates

    names = ("x", "y", "c") if covariate else ("x", "y")
    mean, spread = group.mean, group.covariance
    return Aggregates(
        int(group.count),
        {name: float(mean[index]) for index, name in enumerate(names)},
        {name: float(spread[index, index]) for index, name in enumerate(names)},
        {(first, second): float(spread[i, j]) for i, first in enumerate(names) for j, second in enumerate(names) if i < j},
    )


def _exact(
    groups: tuple[Moments, Moments], counts: tuple[float, float], pair: tuple[float, float], level: float
) -> tuple[Span, Span]:
    """Few outcomes: the ratio of the two rates by the exact test of counts; the absolute effect follows from control's rate."""
    low, high = rate_ratio_bounds(counts[0], counts[1], pair, level)
    rates = (counts[0] / float(groups[0].count), counts[1] / float(groups[1].count))
    estimate = rates[1] / rates[0] - 1 if rates[0] > 0 else math.nan
    difference = rates[1] - rates[0]
    return Span(difference, -math.inf, math.inf), Span(estimate, float(low) - 1, float(high) - 1)


def _detectable(design: Design, series: Uplift, pair: tuple[float, float]) -> float:
    """The relative change that the units so far show with the declared power."""
    units, error, base = float(series.units[-1]), float(series.error[-1]), abs(float(series.control[-1]))
    if not (units > 0 and error > 0 and base > 0):
        return math.nan
    variance = error**2 * units / (sum(pair) / pair[0] + sum(pair) / pair[1])
    return detectable_difference(variance, units, design.final_alpha, design.power, pair) / base
