"""Sums of each metric by variant and day, or by variant and segment: all that the statistics need of any number of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.experiments.units import UnitTable
from pipelines.statistics.uplift import VARIABLES, Floats, Moments

MOST_SEGMENTS = 20
"""Values of a segment that are analyzed one by one; the smaller ones are one value together."""
FEWEST_UNITS = 100
"""Units in each variant of a segment's value below which it is counted among the others."""
OTHERS = "(others)"


@dataclass(frozen=True)
class Cells:
    """The moments of one metric.

    Args:
        moments: shape (keys, variants).
        nonzero: units whose numerator is not 0, shape (keys, variants).
        keys: days from 0, or a segment's values.
    """

    moments: Moments
    nonzero: Floats
    keys: list[Any]


def metric_by_day(table: UnitTable, number: int) -> Cells:
    """A metric's moments for every day from the first to the last, also those without units."""
    return _cells(table, number, "day", list(range(table.days)))


def metric_by_segment(table: UnitTable, number: int, segment: int) -> Cells:
    """A metric's moments for the larger values of a segment, and for the others together."""
    large = [str(row[0]) for row in segment_counts(table, segment) if row[0] != OTHERS]
    others = any(row[0] == OTHERS for row in segment_counts(table, segment))
    keys = [*large, *([OTHERS] if others else [])]
    listed = ", ".join("'" + key.replace("'", "''") + "'" for key in large) or "''"
    key = f"CASE WHEN s{segment} IN ({listed}) THEN s{segment} ELSE '{OTHERS}' END"
    return _cells(table, number, key, keys)


def segment_counts(table: UnitTable, segment: int) -> list[tuple[Any, ...]]:
    """The larger values of a segment with their units by variant, the largest first; the rest as one value."""
    variants = len(table.design.variants)
    columns = ", ".join(f"coalesce(sum(weight) FILTER (variant = {place}), 0)" for place in range(variants))
    rows = table.rows(
        f"SELECT s{segment} AS s, {columns} FROM kept WHERE s IS NOT NULL GROUP BY s ORDER BY sum(weight) DESC, s"
    )
    large = [row for row in rows if min(row[1:]) >= FEWEST_UNITS][:MOST_SEGMENTS]
    names = {row[0] for row in large}
    rest = [row for row in rows if row[0] not in names]
    empty = table.rows(f"SELECT {columns} FROM kept WHERE s{segment} IS NULL")[0]
    counts = [sum(float(row[place + 1]) for row in rest) + float(empty[place] or 0) for place in range(variants)]
    return [*large, (OTHERS, *counts)] if sum(counts) > 0 else large


def counts_by_day(table: UnitTable) -> Floats:
    """Units by day and variant, shape (days, variants)."""
    counts = np.zeros((table.days, len(table.design.variants)))
    for day, variant, count in table.rows("SELECT day, variant, sum(weight) FROM kept GROUP BY day, variant"):
        counts[int(day), int(variant)] = count
    return counts


def _cells(table: UnitTable, number: int, key: str, keys: list[Any]) -> Cells:
    place = {value: index for index, value in enumerate(keys)}
    shape = (len(keys), len(table.design.variants))
    count, nonzero = np.zeros(shape), np.zeros(shape)
    sums, products = np.zeros((*shape, 4)), np.zeros((*shape, 4, 4))
    centre = _centre(table, number)
    names = [f"x{number}", f"y{number}", f"c{number}"]
    values = [f"({_value(table, number, name)} - CAST({float(centre[index])!r} AS DOUBLE))" for index, name in enumerate(names)]
    pairs = [(first, second) for first in range(3) for second in range(first, 3)]
    if table.weighted:  # a row has x units of value 1 and the others of value 0
        selected = f"sum(weight), sum(x{number}), sum(x{number}), 0.0, 0.0, sum(x{number}), 0.0, 0.0, 0.0, 0.0, 0.0"
    else:
        means = ", ".join(f"sum({value})" for value in values)
        squares = ", ".join(f"sum({values[first]} * {values[second]})" for first, second in pairs)
        selected = f"CAST(count(*) AS DOUBLE), CAST(count(*) FILTER (x{number} <> 0) AS DOUBLE), {means}, {squares}"
    there = f"x{number} IS NOT NULL AND y{number} IS NOT NULL"
    for row in table.rows(f"SELECT {key} AS k, variant, {selected} FROM kept WHERE {there} GROUP BY k, variant"):
        at = (place[row[0]], int(row[1]))
        count[at], nonzero[at] = row[2], row[3]
        sums[at][:3] = row[4:7]
        for (first, second), value in zip(pairs, row[7:], strict=True):
            products[at][first, second] = products[at][second, first] = value
    return Cells(Moments(count, sums, products, centre), nonzero, keys)


def _value(table: UnitTable, number: int, name: str) -> str:
    if name == f"x{number}" and number in table.caps:
        return f"least({name}, {table.caps[number]!r})"
    if name.startswith("c"):
        return f"coalesce({name}, {_centre_of(table, name)!r})"
    return name


def _centre(table: UnitTable, number: int) -> Floats:
    """Near the means of the variables: numerator, denominator, covariate, and 1 for the covariate's denominator."""
    if table.weighted:
        return np.array([0.0, 1.0, 0.0, 1.0])
    centre = [
        _centre_of(table, _value(table, number, f"x{number}")),
        _centre_of(table, f"y{number}"),
        _centre_of(table, f"c{number}"),
    ]
    assert len(VARIABLES) == 4
    return np.array([*centre, 1.0])


def _centre_of(table: UnitTable, expression: str) -> float:
    known = table.centres.get(expression)
    if known is None:
        known = table.centres[expression] = float(table.rows(f"SELECT coalesce(avg({expression}), 0) FROM kept")[0][0])
    return known


def skewness(table: UnitTable, number: int) -> float:
    """The largest skewness of a metric's numerator in any variant; 0 for aggregated counts."""
    if table.weighted:
        return 0.0
    value = _value(table, number, f"x{number}")
    rows = table.rows(f"SELECT skewness({value}) FROM kept WHERE x{number} IS NOT NULL GROUP BY variant")
    return max((abs(float(row[0])) for row in rows if row[0] is not None and np.isfinite(row[0])), default=0.0)
