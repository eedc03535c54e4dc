"""Which metrics a log is analyzed for: those that a design declares, or those that the columns of an undeclared log suggest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.errors import InputError
from pipelines.experiments.design import Design, Metric, design_of, plain_name
from pipelines.experiments.recognition import EXPOSED, LATENCY, LogReading
from pipelines.experiments.staging import FILE, StagedLog, literal, quoted
from pipelines.experiments.values import Reading, read_column
from pipelines.wording import counted, printable

NEAR_EQUAL = 0.1
"""Shares of an undeclared log that are this near to equal ones, relatively, are taken for equal weights."""
MOST_METRICS = 8
QUANTILES = (0.5, 0.95, 0.99)
BEST_EVENTS = (
    "purchase purchased buy bought order transaction conversion convert converted checkout signup subscribe addtocart cart"
    " click clicked"
)
"""Words of events, the most telling first: the first that a log has is the primary metric of an undeclared log."""


@dataclass(frozen=True)
class Source:
    """One metric with the SQL of what it is made of, by row of the log."""

    metric: Metric
    role: str
    """primary, guardrail or secondary."""
    value: str = ""
    """A DOUBLE; empty: rows are counted."""
    denominator: str = ""
    covariate: str = ""
    only: str = ""
    """A condition on rows; empty: all."""
    yes_alone: bool = False
    """The column says yes or nothing: nothing is read as no."""
    said: str = ""


def exposure_event(log: StagedLog, reading: LogReading) -> str:
    """The value of the event column that says a unit was exposed; empty: there is none, and every row exposes."""
    if "event" not in reading.fields:
        return ""
    words = EXPOSED.split()
    events = _events(log, reading)
    telling = [
        (min(words.index(word) for word in set(re.split(r"[\W_]+", e.lower())) & set(words)), e)
        for e in events
        if set(re.split(r"[\W_]+", e.lower())) & set(words)
    ]
    return min(telling)[1] if telling else ""


def _events(log: StagedLog, reading: LogReading) -> list[str]:
    rows = log.db.execute(f"SELECT DISTINCT {reading.column('event')} AS e FROM log WHERE e IS NOT NULL LIMIT 50").fetchall()
    return sorted(str(row[0]) for row in rows)


def assumed_design(log: StagedLog, reading: LogReading, name: str) -> Design:
    """What is analyzed where no design was declared: the first outcome decides, others are shown beside it."""
    metrics: list[dict[str, object]] = []
    for outcome in reading.outcomes[:MOST_METRICS]:
        metrics += _assumed_metrics(reading, outcome)
    if "event" in reading.fields:
        exposed = exposure_event(log, reading)
        best = BEST_EVENTS.split()
        events = [event for event in _events(log, reading) if event != exposed]
        ranked = sorted(events, key=lambda event: next((best.index(word) for word in best if word in event.lower()), len(best)))
        for event in reversed(ranked[:MOST_METRICS]):
            metrics.insert(0, {"name": plain_name(event), "kind": "proportion", "event": event})
    if not metrics:
        raise InputError(
            f"{printable(log.source, 120)} without an outcome",
            "a column of yes and no, numbers or amounts",
            "pass --column outcome=COLUMN",
        )
    names: dict[str, int] = {}
    for metric in metrics:
        label = str(metric["name"])
        names[label] = names.get(label, 0) + 1
        metric["name"] = label if names[label] == 1 else f"{label} {names[label]}"
    variants = _assumed_variants(log, reading)
    content = {
        "id": plain_name(name),
        "unit": "user" if "unit" in reading.fields else "row",
        "variants": variants,
        "primary": metrics[0],
        "secondary": metrics[1 : MOST_METRICS + 1],
        "segments": reading.segments,
        "looks": "end",
    }
    return design_of(content, "the log")


def _assumed_metrics(reading: LogReading, outcome: Reading) -> list[dict[str, object]]:
    name, column = plain_name(outcome.column), outcome.column
    words = set(re.split(r"[\W_]+", column.lower()))
    covariate = reading.covariates.get(column, "")
    if words & set(LATENCY.split()) and outcome.meaning == "number" and reading.form == "events":
        slow = [
            {
                "name": f"{name} above p{100 * q:g}",
                "kind": "slow_share",
                "column": column,
                "quantile": q,
                "direction": "decrease",
            }
            for q in QUANTILES
        ]
        exact = [
            {"name": f"{name} p{100 * q:g}", "kind": "quantile", "column": column, "quantile": q, "direction": "decrease"}
            for q in QUANTILES
        ]
        return [*slow, *exact]
    if outcome.meaning in ("yes or no", "percentage") or reading.form == "counts":
        clicked = bool(words & {"click", "clicks", "clicked", "klick", "klicks"}) and "unit" in reading.fields
        kind = "ratio" if reading.form == "events" and clicked else "proportion"
        if outcome.meaning == "percentage":
            kind = "mean"
        return [{"name": name, "kind": kind, "column": column, "covariate": covariate if kind == "proportion" else ""}]
    return [{"name": name, "kind": "mean", "column": column, "covariate": covariate}]


def _assumed_variants(log: StagedLog, reading: LogReading) -> dict[str, float]:
    """The log's variants with equal weights, control first.

    Raises:
        InputError: there is one variant, or there are more than 20.
    """
    column = reading.fields["variant"].column
    if len(reading.variants) < 2:
        only = printable(reading.variants[0], 40) if reading.variants else "none"
        raise InputError(
            f"{printable(log.source, 120)} with one variant, {only}, in column {column}",
            "two variants or more",
            "add the rows of the other variant, or name its column by --column variant=COLUMN",
        )
    if len(reading.variants) > 20:
        raise InputError(
            f"{len(reading.variants)} or more variants in column {column}", "2 to 20", "pass --column variant=COLUMN"
        )
    return dict.fromkeys(reading.variants, 1.0)


def observed_weights(design: Design, counts: Sequence[float]) -> Design:
    """Of a design that was guessed: equal weights, or the shares of the log where these are not nearly equal.

    Args:
        design: with equal weights.
        counts: units by variant, control first.
    """
    equal = sum(counts) / len(counts)
    if all(abs(count / equal - 1) <= NEAR_EQUAL for count in counts):
        return design
    names = (design.baseline, *design.treatments)
    return design.model_copy(
        update={"variants": {name: float(count) / sum(counts) for name, count in zip(names, counts, strict=True)}}
    )


def sources_of(log: StagedLog, reading: LogReading, design: Design) -> list[Source]:
    """The SQL of every metric of a design.

    Raises:
        InputError: a column that a metric names is not there, or holds no numbers; a latency is negative.
    """
    roles = ["primary", *["guardrail"] * len(design.guardrails), *["secondary"] * len(design.secondary)]
    return [_source(log, reading, metric, role) for metric, role in zip(design.metrics, roles, strict=True)]


def _source(log: StagedLog, reading: LogReading, metric: Metric, role: str) -> Source:
    source = Source(metric, role)
    if metric.source:
        outcome = _number(log, reading, metric.source, metric.name)
        source = replace(source, value=outcome.expression, said=outcome.said, yes_alone=_says_yes_alone(log, outcome))
        if metric.kind in ("slow_share", "quantile"):
            source = replace(source, value=_latency(log, outcome))
        if metric.kind == "proportion":
            _check_proportion(log, reading, outcome, metric)
    if metric.denominator:
        source = replace(source, denominator=_number(log, reading, metric.denominator, metric.name).expression)
    if metric.covariate:
        source = replace(source, covariate=_number(log, reading, metric.covariate, metric.name).expression)
    if metric.event:
        if "event" not in reading.fields:
            raise InputError(
                f"metric {metric.name} of event {metric.event!r}", "a column of events", "pass --column event=COLUMN"
            )
        source = replace(source, only=f"{reading.column('event')} = {literal(metric.event)}")
    return source


def _number(log: StagedLog, reading: LogReading, column: str, metric: str) -> Reading:
    known = {name.lower(): name for name in log.columns}
    name = (
        reading.fields[column].column
        if column in reading.fields and column not in log.columns
        else known.get(column.lower(), "")
    )
    if not name:
        there = ", ".join(printable(name, 40) for name in list(log.columns)[:30] if name != FILE)
        raise InputError(
            f"metric {metric} of column {column!r}, which the log does not have",
            f"one of {there}",
            "correct the metric's column",
        )
    return read_column(log, name, "number")


def _says_yes_alone(log: StagedLog, outcome: Reading) -> bool:
    if outcome.meaning != "yes or no":
        return False
    low, empty = log.db.execute(
        f"SELECT min(x), count(*) - count(x) FROM (SELECT {outcome.expression} AS x FROM log)"
    ).fetchone() or (0, 0)
    return bool(low == 1 and empty)


def _check_proportion(log: StagedLog, reading: LogReading, outcome: Reading, metric: Metric) -> None:
    top = f"({outcome.expression}) / {reading.column('count')}" if reading.form == "counts" else outcome.expression
    low, high = log.db.execute(f"SELECT min({top}), max({top}) FROM log").fetchone() or (None, None)
    if low is None or (low >= 0 and high <= 1):
        return
    if reading.form == "counts":
        given = f"column {outcome.column} with up to {high:,.4g} for each unit of {reading.fields['count'].column}"
        raise InputError(
            given, "counts of units, at most as many as there are", "leave it out: a sum has no variance in aggregated counts"
        )
    raise InputError(
        f"proportion {metric.name} with values from {low:g} to {high:g}",
        "yes and no, or 0 and 1",
        "declare the metric's kind as mean",
    )


def _latency(log: StagedLog, outcome: Reading) -> str:
    """Negative latencies are no latencies: a few are left out, many are refused."""
    negative, total = log.db.execute(
        f"SELECT count(*) FILTER (x < 0), count(x) FROM (SELECT {outcome.expression} AS x FROM log)"
    ).fetchone() or (0, 0)
    if negative > 0.01 * total:
        raise InputError(
            f"column {outcome.column} with {counted(negative, 'negative latency').replace('latencys', 'latencies')} of"
            f" {total:,}",
            "latencies of 0 or more",
            "correct the clock that measured them, or name another column",
        )
    if negative:
        log.notes.append(f"{outcome.column}: {negative:,} negative values are left out.")
    return f"CASE WHEN ({outcome.expression}) >= 0 THEN ({outcome.expression}) END"


def variant_index(reading: LogReading, design: Design) -> tuple[dict[str, int], list[str]]:
    """The place of each written variant in the design (control is 0), and the written ones that the design does not declare."""
    order = [design.baseline, *design.treatments]
    exact = {name: place for place, name in enumerate(order)}
    loose = {name.strip().lower(): place for name, place in exact.items()}
    places: dict[str, int] = {}
    unknown: list[str] = []
    for written in reading.variants:
        place = exact.get(written, loose.get(written.strip().lower()))
        if place is None:
            unknown.append(written)
        else:
            places[written] = place
    return places, unknown


__all__ = ["Source", "assumed_design", "exposure_event", "quoted", "sources_of", "variant_index"]
