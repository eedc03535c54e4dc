"""One table of units: who was assigned to what, when first, and the sums of each metric, from a log of any form.

The table `units` has the columns `variant` (0: control), `day` (since the first), `weight`, `size`, `lost`, and for metric i
`x{i}`, `y{i}`, `c{i}`: numerator, denominator and covariate. Of aggregated counts a row stands for `weight` units, of which
`x{i}` had the outcome.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from pipelines.errors import InputError
from pipelines.experiments.design import Design
from pipelines.experiments.metrics import Source, exposure_event, variant_index
from pipelines.experiments.recognition import LogReading
from pipelines.experiments.staging import StagedLog, literal, quoted
from pipelines.wording import counted, printable

MOST_STRAY = 0.01
"""The part of the rows that may be of no declared variant, or of the future."""
DEDUPLICATED = 2_000_000
"""Rows up to which equal rows of a log of events are looked for."""
EXACT_QUANTILES = 5_000_000


@dataclass
class UnitTable:
    """The units of an experiment."""

    log: StagedLog
    design: Design
    form: str
    sources: list[Source]
    segments: list[str]
    timed: bool
    identified: bool = False
    """Whether there is a column of units' ids."""
    targeted: bool = False
    """Whether there are the propensities of two policies."""
    first_day: date | None = None
    last_moment: datetime | None = None
    days: int = 1
    crossed: list[int] = field(default_factory=list)
    """Units that were seen in two variants, by the first of them; they are left out."""
    early: int = 0
    """Units that were exposed before the start; they are left out."""
    immature: int = 0
    thresholds: dict[int, float] = field(default_factory=dict)
    """Of a slow share: milliseconds, by metric."""
    caps: dict[int, float] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    centres: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def weighted(self) -> bool:
        """Whether a row stands for many units."""
        return self.form == "counts"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.log.db.execute(sql).fetchall()


def build_units(log: StagedLog, reading: LogReading, design: Design, sources: list[Source], now: datetime) -> UnitTable:
    """Make the table `units`.

    Raises:
        InputError: variants that were not declared, one variant alone, times in the future, or a covariate that was measured
            after the exposure.
    """
    table = UnitTable(
        log, design, reading.form, sources, list(design.segments) or list(reading.segments), "time" in reading.fields
    )
    table.identified = "unit" in reading.fields
    table.targeted = {"propensity", "target_propensity"} <= reading.fields.keys() and not table.weighted
    _find_segments(table)
    _make_rows(table, reading, now)
    for number, source in enumerate(sources):
        if source.metric.kind == "slow_share":
            table.thresholds[number] = _threshold(table, number)
    if table.weighted:
        _from_counts(table)
    elif reading.form == "units" and "unit" not in reading.fields:
        _from_single_rows(table)
    else:
        _from_grouped_rows(table, exposure_event(log, reading) if reading.form == "events" else "", reading)
    _leave_out(table)
    _check_two_variants(table)
    _cap(table)
    return table


def _find_segments(table: UnitTable) -> None:
    known = {name.lower(): name for name in table.log.columns}
    missing = [name for name in table.segments if name.lower() not in known]
    if missing:
        raise InputError(
            f"segment {missing[0]!r}, which the log does not have", f"one of {', '.join(list(known)[:30])}", "correct segments"
        )
    table.segments = [known[name.lower()] for name in table.segments]


def _variant_case(table: UnitTable, reading: LogReading) -> str:
    """The SQL of a row's variant: its place, or NULL."""
    design, log = table.design, table.log
    places, unknown = variant_index(reading, design)
    stray = sum(rows for _, name, rows in reading.written if name in unknown)
    declared = ", ".join(printable(name, 40) for name in design.variants)
    if unknown and stray > MOST_STRAY * log.rows:
        raise InputError(
            f"{printable(log.source, 120)} with the variant {printable(unknown[0], 40)} ({counted(stray, 'row')})",
            f"the declared variants {declared}",
            "declare it with its weight, or correct the log",
        )
    if unknown:
        names = ", ".join(printable(name, 40) for name in unknown[:5])
        table.sentences.append(f"{counted(stray, 'row')} of variants that were not declared ({names}) are left out.")
    if absent := [name for place, name in enumerate([design.baseline, *design.treatments]) if place not in places.values()]:
        raise InputError(
            f"{printable(log.source, 120)} without a row of variant {printable(absent[0], 40)}; it has"
            f" {', '.join(map(printable, list(places)[:5])) or 'none'}",
            f"rows of {declared}",
            "correct the names of the variants, or add the rows of the other variant",
        )
    if nothing := sum(rows for _, name, rows in reading.written if not name):
        table.sentences.append(f"{counted(nothing, 'row')} without a variant {'assigns' if nothing == 1 else 'assign'} nobody.")
    cases = " ".join(f"WHEN {value} THEN {places[name]}" for value, name, _ in reading.written if name in places)
    return f"CASE {quoted(reading.fields['variant'].column)} {cases} END"


def _make_rows(table: UnitTable, reading: LogReading, now: datetime) -> None:
    """The view `rows`: the log's columns by their meaning."""
    log = table.log
    parts = [f"CAST({_variant_case(table, reading)} AS TINYINT) AS variant", f"{_unit(table, reading)} AS unit"]
    parts.append(f"{reading.column('time')} AS moment" if table.timed else "CAST(NULL AS TIMESTAMPTZ) AS moment")
    parts.append(f"{reading.column('event')} AS event" if "event" in reading.fields else "CAST(NULL AS VARCHAR) AS event")
    parts.append(f"{reading.column('count')} AS weight" if table.weighted else "CAST(1 AS DOUBLE) AS weight")
    parts.append(
        f"{reading.column('measured_at')} AS measured"
        if "measured_at" in reading.fields
        else "CAST(NULL AS TIMESTAMPTZ) AS measured"
    )
    if table.targeted:
        parts += [f"{reading.column('propensity')} AS propensity", f"{reading.column('target_propensity')} AS target"]
    for number, source in enumerate(table.sources):
        only = f"({source.only})" if source.only else "true"
        value = f"CASE WHEN {only} THEN ({source.value}) END" if source.value else f"CASE WHEN {only} THEN 1 ELSE 0 END"
        if source.yes_alone:
            value = f"coalesce({value}, 0.0)"
            table.sentences.append(f"{source.metric.source}: empty is read as no, since the column has no other word for it.")
        parts.append(f"CAST({value} AS DOUBLE) AS v{number}")
        parts.append(
            f"CAST({source.denominator} AS DOUBLE) AS b{number}" if source.denominator else f"CAST(NULL AS DOUBLE) AS b{number}"
        )
        parts.append(
            f"CAST({source.covariate} AS DOUBLE) AS k{number}" if source.covariate else f"CAST(NULL AS DOUBLE) AS k{number}"
        )
    parts += [f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '') AS s{number}" for number, name in enumerate(table.segments)]
    relation = f"({_without_repeats(table, reading)})"
    log.db.execute(f"CREATE OR REPLACE VIEW all_rows AS SELECT {', '.join(parts)} FROM {relation}")
    future = _check_future(table, now) if table.timed else "true"
    log.db.execute(f"CREATE OR REPLACE VIEW rows AS SELECT * FROM all_rows WHERE {future}")


def _unit(table: UnitTable, reading: LogReading) -> str:
    """The SQL of a unit's key; of texts their hash of 64 bits, which two of ten million units share in 3 of a million logs."""
    if not table.identified:
        return "CAST(NULL AS BIGINT)"
    name = quoted(reading.fields["unit"].column)
    is_text = table.log.columns[reading.fields["unit"].column] == "VARCHAR"
    return f"CASE WHEN {name} <> '' THEN hash({name}) END" if is_text else name


def _without_repeats(table: UnitTable, reading: LogReading) -> str:
    """The log, of events without rows that are there twice with the same time, or the same request."""
    log = table.log
    if reading.form != "events" or not table.timed or not table.identified:
        return "SELECT * FROM log"
    if log.rows > DEDUPLICATED:
        table.sentences.append(f"Equal rows were not looked for: there are more than {DEDUPLICATED:,}.")
        return "SELECT * FROM log"
    log.db.execute("CREATE OR REPLACE TABLE distinct_log AS SELECT DISTINCT * FROM log")
    repeated = log.rows - int(log.scalar("SELECT count(*) FROM distinct_log"))
    if repeated:
        table.sentences.append(
            f"{counted(repeated, 'row')} of events that are there already, equal in every column, are left out."
        )
    return "SELECT * FROM distinct_log"


def _check_future(table: UnitTable, now: datetime) -> str:
    limit = (now + timedelta(days=1)).isoformat()
    later = f"moment > TIMESTAMPTZ {literal(limit)}"
    count, none, total, newest = table.rows(
        f"SELECT count(*) FILTER ({later}), count(*) - count(moment), count(*), max(moment) FROM all_rows"
    )[0]
    if max(count, none) > MOST_STRAY * total:
        given = (
            f"{counted(count, 'row')} of {total:,} in the future, up to {newest:%Y-%m-%d}"
            if count > none
            else f"{counted(none, 'row')} of {total:,} without a time"
        )
        raise InputError(given, "times up to now", "correct the clock or the column of times: --column time=COLUMN")
    table.last_moment = min(newest, now) if newest else None
    if count or none:
        table.sentences.append(f"{counted(count + none, 'row')} without a time, or in the future, are left out.")
    return f"moment IS NOT NULL AND NOT ({later})" if count or none else "true"


def _threshold(table: UnitTable, number: int) -> float:
    """The declared threshold of a slow share, or the quantile of control's requests."""
    metric = table.sources[number].metric
    if metric.threshold is not None:
        return metric.threshold
    exact = table.log.rows <= EXACT_QUANTILES
    name = "quantile_cont" if exact else "approx_quantile"
    level = float(table.rows(f"SELECT {name}(v{number}, {metric.quantile}) FROM rows WHERE variant = 0")[0][0] or 0.0)
    table.sentences.append(
        f"{metric.name}: slower than {level:,.4g} ms, the quantile {metric.quantile:g} of control's requests; it was not"
        " fixed beforehand."
    )
    return level


def _day(table: UnitTable) -> str:
    return "CAST(moment AS DATE)" if table.timed else "CAST(NULL AS DATE)"


def _from_counts(table: UnitTable) -> None:
    metrics = ", ".join(
        f"v{number} AS x{number}, CAST(1 AS DOUBLE) AS y{number}, CAST(0 AS DOUBLE) AS c{number}"
        for number in range(len(table.sources))
    )
    segments = "".join(f", s{number}" for number in range(len(table.segments)))
    table.log.db.execute(
        f"CREATE OR REPLACE TABLE units AS SELECT variant, {_day(table)} AS date, moment, weight, CAST(1 AS DOUBLE) AS size,"
        " 0 AS lost,"
        f" variant AS other, false AS early, {metrics}{segments} FROM rows WHERE variant IS NOT NULL AND weight > 0"
    )


def _from_single_rows(table: UnitTable) -> None:
    """A log without ids: every row is a unit."""
    parts = []
    for number, source in enumerate(table.sources):
        value = f"CAST(v{number} > {table.thresholds[number]!r} AS DOUBLE)" if number in table.thresholds else f"v{number}"
        below = f"b{number}" if source.denominator else "CAST(1 AS DOUBLE)"
        parts.append(f"{value} AS x{number}, {below} AS y{number}, k{number} AS c{number}")
    segments = "".join(f", s{number}" for number in range(len(table.segments)))
    table.log.db.execute(
        f"CREATE OR REPLACE TABLE units AS SELECT variant, {_day(table)} AS date, moment, CAST(1 AS DOUBLE) AS weight,"
        " abs(v0) AS size,"
        f" CAST(v0 IS NULL AS INTEGER) AS lost, variant AS other, {_early(table)} AS early, {', '.join(parts)}{segments}"
        " FROM rows WHERE variant IS NOT NULL"
    )


def _early(table: UnitTable, moment: str = "moment") -> str:
    if not (table.timed and table.design.start):
        return "false"
    return f"({moment} < TIMESTAMPTZ {literal(table.design.start.isoformat())})"


def _from_grouped_rows(table: UnitTable, exposed: str, reading: LogReading) -> None:
    """Rows of one unit become one row. With exposure events, only what follows a unit's first exposure counts."""
    db, events = table.log.db, table.form == "events"
    relation = "rows"
    if exposed:
        table.sentences.append(
            f"A unit is exposed by the event {printable(exposed, 40)}; only what it does from then on counts."
        )
        db.execute(
            "CREATE OR REPLACE TABLE exposures AS SELECT unit, min(variant) AS variant, max(variant) AS other, min(moment)"
            " AS since"
            f" FROM rows WHERE event = {literal(exposed)} AND unit IS NOT NULL GROUP BY unit"
        )
        after = "(since IS NULL OR moment >= since)" if table.timed else "true"
        window = _covariate_window(table)
        relation = (
            "(SELECT r.* EXCLUDE (variant), e.variant, e.other, e.since FROM rows r JOIN exposures e ON r.unit = e.unit"
            f" WHERE {after}{f' OR {window}' if window else ''})"
        )
    if nobody := int(table.rows("SELECT count(*) - count(unit) FROM rows")[0][0]):
        table.sentences.append(f"{counted(nobody, 'row')} without a unit {'is' if nobody == 1 else 'are'} left out.")
    other = "max(other)" if exposed else "max(variant)"
    window = _covariate_window(table)
    first = "min(since)" if exposed else f"min(moment) FILTER (NOT {window})" if window else "min(moment)"
    parts = [_metric_sums(table, number, events) for number in range(len(table.sources))]
    parts += [f"{f'arg_min(s{n}, moment)' if table.timed else f'min(s{n})'} AS s{n}" for n in range(len(table.segments))]
    lost = "0" if events or table.sources[0].only else "CAST(count(v0) = 0 AS INTEGER)"
    size = "CAST(count(*) AS DOUBLE)" if events else "abs(max(v0))"
    measured = f"coalesce(max(measured) > {first}, false)" if table.timed and "measured_at" in reading.fields else "false"
    db.execute(
        "CREATE OR REPLACE TABLE units AS SELECT variant, CAST(moment AS DATE) AS date, moment, CAST(1 AS DOUBLE) AS weight,"
        " size, lost,"
        " other,"
        f" {_early(table)} AS early, measured_late, * EXCLUDE (variant, moment, size, lost, other, measured_late)"
        f" FROM (SELECT min(variant) AS variant, {other} AS other, {first} AS moment, {size} AS size, {lost} AS lost,"
        f" {measured} AS measured_late, count(*) AS entries, {', '.join(parts)} FROM {relation} WHERE unit IS NOT NULL GROUP"
        " BY unit)"
        f" WHERE variant IS NOT NULL{' AND moment IS NOT NULL' if table.timed else ''}"
    )
    late = int(table.rows("SELECT count(*) FROM units WHERE measured_late")[0][0])
    if late:
        raise InputError(
            f"a covariate that was measured after the exposure of {counted(late, 'unit')}",
            "covariates from before the exposure: what comes later may be an effect of the variant",
            "leave the covariate out, or give its value from before",
        )
    if not events and (repeated := int(table.rows("SELECT count(*) FROM units WHERE entries > 1")[0][0])):
        table.sentences.append(f"{counted(repeated, 'unit')} with several rows: the largest value counts.")


def _covariate_window(table: UnitTable) -> str:
    """The condition of rows that are a covariate: those of the declared window before the start."""
    design = table.design
    if not (design.covariate and design.start and table.timed and table.form == "events"):
        return ""
    begin = design.start - timedelta(days=design.covariate.window_days)
    return f"(moment < TIMESTAMPTZ {literal(design.start.isoformat())} AND moment >= TIMESTAMPTZ {literal(begin.isoformat())})"


def _metric_sums(table: UnitTable, number: int, events: bool) -> str:
    """The SQL of one metric's numerator, denominator and covariate for one unit."""
    source, window = table.sources[number], _covariate_window(table)
    metric, value = source.metric, f"v{number}"
    if number in table.thresholds:
        value = f"CAST(v{number} > {table.thresholds[number]!r} AS DOUBLE)"

    def sums(condition: str) -> tuple[str, str]:
        chosen = f" FILTER ({condition})" if condition else ""
        if metric.kind == "proportion":
            top = f"coalesce(CAST(max({value}){chosen} > 0 AS DOUBLE), CAST(0 AS DOUBLE))" if events else f"max({value})"
            return top, "CAST(1 AS DOUBLE)"
        if not events:
            below = f"max(b{number})" if source.denominator else "CAST(1 AS DOUBLE)"
            return f"max({value})", below
        top = f"coalesce(sum({value}){chosen}, 0.0)"
        if metric.kind == "mean":
            return top, "CAST(1 AS DOUBLE)"
        return (
            top,
            f"coalesce(sum(b{number}){chosen}, 0.0)" if source.denominator else f"CAST(count({value}){chosen} AS DOUBLE)",
        )

    x, y = sums(f"NOT {window}" if window else "")
    before, _ = sums(window) if window and metric.kind in ("proportion", "mean") else ("", "")
    c = f"max(k{number})" if source.covariate else before or "CAST(NULL AS DOUBLE)"
    return f"{x} AS x{number}, {y} AS y{number}, {c} AS c{number}"


def _leave_out(table: UnitTable) -> None:
    """Units of two variants, of before the start, and too recent ones; then the days are numbered."""
    design, db = table.design, table.log.db
    variants = len(design.variants)
    crossed = dict(table.rows("SELECT variant, count(*) FROM units WHERE other <> variant GROUP BY variant"))
    table.crossed = [int(crossed.get(place, 0)) for place in range(variants)]
    table.early = int(table.rows("SELECT count(*) FROM units WHERE early AND other = variant")[0][0])
    conditions = ["other = variant", "NOT early"]
    if table.timed:
        if design.planned_stop:
            conditions.append(f"moment < TIMESTAMPTZ {literal(design.planned_stop.isoformat())}")
        if design.maturity_days and table.last_moment:
            limit = table.last_moment - timedelta(days=design.maturity_days)
            ripe = f"moment <= TIMESTAMPTZ {literal(limit.isoformat())}"
            table.immature = int(table.rows(f"SELECT count(*) FROM units WHERE NOT ({ripe})")[0][0])
            conditions.append(ripe)
    db.execute(f"CREATE OR REPLACE VIEW kept AS SELECT * FROM units WHERE {' AND '.join(conditions)}")
    if table.timed:
        first, last = table.rows("SELECT min(date), max(date) FROM kept")[0]
        if first:
            table.first_day, table.days = first, (last - first).days + 1
            db.execute(
                f"CREATE OR REPLACE VIEW kept AS SELECT *, date - DATE {literal(str(first))} AS day FROM units WHERE"
                f" {' AND '.join(conditions)}"
            )
            return
    db.execute(f"CREATE OR REPLACE VIEW kept AS SELECT *, 0 AS day FROM units WHERE {' AND '.join(conditions)}")


def _check_two_variants(table: UnitTable) -> None:
    counts = dict(table.rows("SELECT variant, sum(weight) FROM kept GROUP BY variant"))
    names = [table.design.baseline, *table.design.treatments]
    empty = [name for place, name in enumerate(names) if counts.get(place, 0) < 2]
    if empty:
        raise InputError(
            f"{printable(table.log.source, 120)} with fewer than 2 units of variant {printable(empty[0], 40)} that count",
            "units of every variant between start and planned stop",
            "check the start, the planned stop, and the column of units",
        )


def _cap(table: UnitTable) -> None:
    """The value at which winsorized metrics are cut: a quantile of all units, whatever their variant."""
    for number, source in enumerate(table.sources):
        if source.metric.winsorize is not None:
            name = "quantile_cont" if table.log.rows <= EXACT_QUANTILES else "approx_quantile"
            level = table.rows(f"SELECT {name}(x{number}, {source.metric.winsorize}) FROM kept")[0][0]
            table.caps[number] = float(level)
