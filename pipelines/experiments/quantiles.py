"""Quantiles of requests whose units have several, such as latencies: intervals by the delta method, clustered by unit.

The share of a unit's requests below a value is a ratio, so that its error is known; the quantile's bounds are the quantiles at
that share's bounds (A. Deng, U. Knoblich and J. Lu, KDD 2018, section 4). Requests of one user are not independent, so there is
no confidence sequence of their quantile. Of a log whose every row is another unit there is one, by the exact test of shares: it
is shown, too. A quantile never decides while the experiment runs.
"""

import math
from dataclasses import dataclass

from pipelines.experiments.design import Metric
from pipelines.experiments.effects import Effect, Mode, Span
from pipelines.experiments.units import EXACT_QUANTILES, UnitTable
from pipelines.statistics.sequential import quantile_ranks

POINTS = 60


@dataclass(frozen=True)
class Curves:
    """The distribution of a metric's rows: for each variant the values at equal steps of probability."""

    metric: str
    probabilities: list[float]
    values: list[list[float]]
    names: list[str]


def latency_curves(table: UnitTable, number: int) -> Curves:
    """The distribution of each variant's requests, from the first to the 99.5th percentile."""
    probabilities = [round(0.01 + 0.985 * step / (POINTS - 1), 5) for step in range(POINTS)]
    listed = "[" + ", ".join(map(str, probabilities)) + "]"
    rows = dict(
        table.rows(f"SELECT variant, approx_quantile(v{number}, {listed}) FROM rows WHERE variant IS NOT NULL GROUP BY variant")
    )
    names = [table.design.baseline, *table.design.treatments]
    values = [[float(value or 0.0) for value in rows.get(place) or [0.0] * POINTS] for place in range(len(names))]
    return Curves(table.sources[number].metric.source or table.sources[number].metric.name, probabilities, values, names)


def quantile_effects(table: UnitTable, number: int, mode: Mode) -> list[Effect]:
    """The difference of a quantile between control and each treatment, with Bonferroni's correction over the treatments."""
    metric, design = table.sources[number].metric, table.design
    level = design.alpha / len(design.treatments)
    groups = [_quantile(table, number, place, metric) for place in range(len(design.variants))]
    return [
        _effect(table, number, treatment, groups[0], groups[place], level, mode)
        for place, treatment in enumerate(design.treatments, 1)
    ]


@dataclass(frozen=True)
class _Group:
    value: float
    error: float
    units: int
    low: float = -math.inf
    """Bounds that hold at every look, where the rows are independent."""
    high: float = math.inf


def _quantile(table: UnitTable, number: int, place: int, metric: Metric) -> _Group:
    level = metric.quantile or 0.5
    name = "quantile_cont" if table.log.rows <= EXACT_QUANTILES else "approx_quantile"
    rows = f"FROM rows WHERE variant = {place} AND v{number} IS NOT NULL"
    value = table.rows(f"SELECT {name}(v{number}, {level}) {rows}")[0][0]
    if value is None:
        return _Group(math.nan, math.nan, 0)
    below_it = f"CAST(v{number} <= {float(value)!r} AS DOUBLE)"
    inner = f"SELECT {below_it} AS below, CAST(1 AS DOUBLE) AS total {rows}"
    if table.identified:
        inner = f"SELECT sum({below_it}) AS below, CAST(count(*) AS DOUBLE) AS total {rows} GROUP BY unit"
    units, below, total, var_below, var_total, shared = table.rows(
        f"SELECT count(*), avg(below), avg(total), var_samp(below), var_samp(total), covar_samp(below, total) FROM ({inner})"
    )[0]
    if units < 2:
        return _Group(float(value), math.nan, int(units))
    share = below / total
    error = math.sqrt(max(0.0, (var_below - 2 * share * shared + share**2 * var_total) / units)) / total
    low, high = (
        table.rows(f"SELECT {name}(v{number}, {min(max(level + side * error, 0.0), 1.0)}) {rows}")[0][0] for side in (-1, 1)
    )
    bounds = _at_every_look(table, f"v{number}", rows, level)
    return _Group(float(value), (float(high) - float(low)) / 2, int(units), *bounds)


def _at_every_look(table: UnitTable, value: str, rows: str, probability: float) -> tuple[float, float]:
    """Bounds of a quantile of independent units at every look, each at half the error, since two of them are compared."""
    count, units = table.rows(f"SELECT count(*), count(DISTINCT unit) {rows}")[0]
    if table.form != "units" or count > EXACT_QUANTILES or (table.identified and units < count):
        return -math.inf, math.inf
    level = table.design.alpha / len(table.design.treatments) / 2
    ranks = quantile_ranks(int(count), probability, level)

    def at(rank: int) -> float:
        if not 1 <= rank <= count:
            return -math.inf if rank < 1 else math.inf
        return float(table.rows(f"SELECT {value} {rows} ORDER BY {value} LIMIT 1 OFFSET {rank - 1}")[0][0])

    return at(ranks[0]), at(ranks[1])


def _effect(table: UnitTable, number: int, treatment: str, control: _Group, other: _Group, level: float, mode: Mode) -> Effect:
    from scipy.special import ndtr, ndtri

    metric = table.sources[number].metric
    difference, error = other.value - control.value, math.hypot(control.error, other.error)
    reach = float(ndtri(1 - level / 2)) * error
    known = math.isfinite(reach) and error > 0
    absolute = Span(difference, difference - reach, difference + reach) if known else Span(difference, -math.inf, math.inf)
    relative, pvalue = Span(math.nan, -math.inf, math.inf), 1.0
    if known and control.value > 0 and other.value > 0:
        log = math.log(other.value / control.value)
        spread = math.hypot(control.error / control.value, other.error / other.value)
        stretch = float(ndtri(1 - level / 2)) * spread
        relative = Span(math.exp(log) - 1, math.exp(log - stretch) - 1, math.exp(log + stretch) - 1)
        pvalue = min(1.0, 2 * float(ndtr(-abs(difference / error))) * len(table.design.treatments))
    unknown = sequence = Span(math.nan, -math.inf, math.inf)
    if control.low > 0 and other.low > 0:
        sequence = Span(relative.estimate, other.low / control.high - 1, other.high / control.low - 1)
    deciding = relative if mode.over else unknown
    return Effect(
        metric.name, table.sources[number].role, metric.kind, metric.direction, treatment, (control.units, other.units),
        control.value, other.value, absolute, deciding, relative, sequence, pvalue, 1.0, pvalue if mode.over else 1.0, level,
    )  # fmt: skip
