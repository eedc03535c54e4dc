"""Which column of a log is what, guessed by names and values, and said in words before anything is computed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.collections import ColumnFeatures, SampleColumn, words_of
from pipelines.errors import InputError
from pipelines.experiments.design import FIELDS
from pipelines.experiments.staging import FILE, StagedLog, literal, quoted
from pipelines.experiments.values import Reading, read_column
from pipelines.wording import counted, printable

VARIANT = (
    "variant variation variante group gruppe arm bucket treatment test_group cohort assignment policy condition cell branch"
    " treated experiment_group ab promotion"
)
UNIT_IDS = "userid visitorid uuid cookie cookie_id pseudo_id device device_id session session_id"
COUNTS = (
    "n count users visitors visits units exposures impressions trials total sample size sessions participants views pageviews"
    " requests people customers observations"
)
SUCCESSES = "conversions converted clicks orders purchases successes signups enrollments payments events subscriptions bookings"
OUTCOMES = (
    "converted conversion conversions convert purchase purchased purchases order orders bought click clicks clicked signup"
    " signed"
    " subscribed subscription enrolled enrollment booking booked retention retained returned revenue spend spent sales sale"
    " amount"
    " visit visits visited success outcome response responded target label value payment paid churn churned sum rounds"
    " gamerounds time_spent duration sessions score engagement read yes umsatz kauf gekauft klick klicks"
)
BEFORE = "pre before prior previous baseline covariate historic past vorher"
LATENCY = "latency latenz duration ms millis milliseconds response_ms"
EXPOSED = "exposure exposed impression view viewed assign assigned assignment shown served search searched session start visit"
NOBODY = ("", "nan", "null", "<na>", "n/a", "nat")
"""What stands in a column of variants where there is none."""
SUMS = "spend spent cost costs price budget revenue amount"
"""Sums of money, which are no counts of units."""
TELLING = (
    r"purchas|order|bought|buy|convert|conversion|paid|payment|subscri|enrol|sign.?up|book|sale|revenue|spen",
    r"retention|retain|return|churn",
)
CONTROL = re.compile(
    r"control|controls|ctrl|ctl|con|a|0|0\.0|false|no|base|baseline|old|old["
    " _-]?page|champion|off|original|current|default|holdout|psa|"
    r"placebo|no[ _-].*|random|kontrolle|control[ _-].*|.*[ _-]control|variant[ _-]?a|group[ _-]?a|version[ _-]?a|existing|none"
)
NUMERIC = re.compile(r"[\d.]+")
MANY_ROWS = 1_000_000
"""Rows above which a part of the units tells how many rows a unit has."""
FEWEST_REPEATS = 1.05
"""Rows for each unit below which a log is one of units in which some are written twice."""
FIELD_WORDS = {
    "request": {"request", "impression"}, "position": {"position", "rank"},
    "target_propensity": {"target_propensity"}, "propensity": {"propensity", "pscore"}, "measured_at": {"measured_at"},
}  # fmt: skip


@dataclass
class LogReading:
    """What a log was taken for."""

    form: str
    """`units`: one row per unit; `events`: one row per event; `counts`: aggregated."""
    fields: dict[str, Reading]
    """unit, variant, time, event, count, request, position, propensity: those that are there."""
    outcomes: list[Reading]
    segments: list[str]
    covariates: dict[str, str]
    """Outcome to the column of the same quantity before the start."""
    variants: list[str]
    """As they are written, control first."""
    written: list[tuple[str, str, int]] = field(default_factory=list)
    """Of the variants' column: each value as SQL, as text without blanks around it (empty: none), and its rows."""
    sentences: list[str] = field(default_factory=list)

    def column(self, name: str) -> str:
        """The SQL of a field; NULL where the log has none."""
        return self.fields[name].expression if name in self.fields else "NULL"


@dataclass(frozen=True)
class Overrides:
    """What need not be guessed."""

    fields: Mapping[str, str] = field(default_factory=dict)
    outcomes: Sequence[str] = ()
    segments: Sequence[str] = ()
    declared: bool = False
    """Whether a design names the outcomes, so that none need be found."""


def parse_overrides(options: Sequence[str]) -> Overrides:
    """`FIELD=COLUMN` options; `outcome=` and `segment=` may be given several times.

    >>> parse_overrides(["unit=uid", "outcome=bought"]).fields
    {'unit': 'uid'}

    Raises:
        InputError: an option is none of these.
    """
    known = (*FIELDS, "outcome", "segment")
    fields: dict[str, str] = {}
    several: dict[str, list[str]] = {"outcome": [], "segment": []}
    for option in options:
        name, sign, column = option.partition("=")
        if not sign or not column or name not in known:
            raise InputError(
                f"--column {option[:80]!r}", f"FIELD=COLUMN, a field: {', '.join(known)}", "pass --column outcome=bought, say"
            )
        if name in several:
            several[name].append(column)
        else:
            fields[name] = column
    return Overrides(fields, several["outcome"], several["segment"])


def read_log(log: StagedLog, overrides: Overrides) -> LogReading:
    """What the columns are, the user's word first, then their names, then their values.

    Raises:
        InputError: there is no column of variants or none of outcomes, or one that was named is not there.
    """
    _check_columns(log, [*overrides.fields.values(), *overrides.outcomes, *overrides.segments])
    features = ColumnFeatures(log.sample)
    named = dict(overrides.fields)
    if "variant" not in named:
        named["variant"] = _variant(log, features, set(named.values()))
    if unit := named.get("unit") or _unit(log, features, set(named.values())):
        named["unit"] = unit
    if time := named.get("time") or _time(log, features, set(named.values())):
        named["time"] = time
    for name, words in FIELD_WORDS.items():
        column = next((c for c in log.columns if c not in named.values() and ({*words_of(c), c.lower()} & words)), "")
        if column and name not in named:
            named[name] = column
    if "event" not in named and (event := _event(log, features, set(named.values()))):
        named["event"] = event
    if "count" not in named and (count := _count(log, named)):
        named["count"] = count
    wanted = {
        "time": "time",
        "measured_at": "time",
        **dict.fromkeys(("count", "position", "propensity", "target_propensity"), "number"),
    }
    fields = {name: _field(log, name, column, wanted.get(name, "")) for name, column in named.items()}
    written = _written(log, fields["variant"].column)
    names = sorted({name for _, name, _ in written if name}, key=lambda name: (not CONTROL.fullmatch(name.lower()), name))
    reading = LogReading(_form(log, fields), fields, [], list(overrides.segments), {}, names, written)
    _add_outcomes(log, reading, overrides)
    _say(log, reading)
    return reading


def _check_columns(log: StagedLog, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in log.columns]
    if missing:
        there = ", ".join(printable(name, 40) for name in list(log.columns)[:30] if name != FILE)
        raise InputError(
            f"column {missing[0]!r}, which {printable(log.source, 120)} does not have", f"one of {there}", "name one of these"
        )


def _field(log: StagedLog, name: str, column: str, wanted: str) -> Reading:
    if wanted:
        return read_column(log, column, wanted)
    if name == "unit":
        return Reading(column, "text", quoted(column))
    text = f"nullif(trim(CAST({quoted(column)} AS VARCHAR)), '')"
    return Reading(column, "text", text)


def _different(log: StagedLog, column: str, most: int = 30) -> list[str]:
    text = f"trim(CAST({quoted(column)} AS VARCHAR))"
    rows = log.db.execute(f"SELECT DISTINCT {text} AS v FROM log WHERE nullif({text}, '') IS NOT NULL LIMIT {most}").fetchall()
    return sorted(str(row[0]) for row in rows)


def _words(text: str) -> set[str]:
    return set(text.split())


def _variant(log: StagedLog, features: ColumnFeatures, taken: set[str]) -> str:
    """The column of the variants: called so, with 2 to 20 values; else the file's name."""
    best: tuple[float, str] = (0.0, "")
    for name in log.columns:
        if name in taken or name == FILE:
            continue
        sampled = log.sample.columns.get(name)
        if sampled is not None and len(sampled.different) > 20:
            continue
        rank = _variant_rank(name, _different(log, name, 21))
        best = max(best, (rank, name), key=lambda pair: pair[0])
    if best[0] > 0:
        return best[1]
    if len(_different(log, FILE, 21)) >= 2:
        return FILE
    columns = ", ".join(printable(name, 40) for name in list(features.table.columns)[:30])
    raise InputError(
        f"{printable(log.source, 120)} with the columns {columns}, none of which names the variant",
        "a column with a few different values, such as control and treatment",
        "pass --column variant=COLUMN",
    )


def _variant_rank(name: str, values: list[str]) -> float:
    words = set(words_of(name)) | {name.lower()}
    lower = [value.lower() for value in values]
    if not 1 <= len(values) <= 20:
        return 0.0
    speaks = any(CONTROL.fullmatch(value) and value not in ("a", "0", "0.0", "no", "false", "none", "off") for value in lower)
    letters = sorted(lower) in (["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"])
    called = bool(words & _words(VARIANT))
    if called:
        return 3.0 + speaks + letters + (len(values) > 1) + ("variant" in words or "treatment" in words)
    if len(values) < 2:
        return 0.0
    if words & {"server", "serverid"} and len(values) <= 5:
        return 1.0
    if words & {"version", "test", "page", "experiment", "design"} and not all(NUMERIC.fullmatch(value) for value in lower):
        return 1.5 + speaks + letters
    told = speaks and any(re.search(r"treat|test|variant|new|challenger|exp|mail|ad\b", value) for value in lower)
    return 2.0 if told else 0.0


def _unit(log: StagedLog, features: ColumnFeatures, taken: set[str]) -> str:
    users = [name for name in features.users if name not in taken and name.lower() not in _words(COUNTS)]
    ids = [
        column.name
        for column in features.columns
        if column.name not in taken and column.name in log.columns and _is_unit_id(column)
    ]
    return next((name for name in [*users, *ids] if name in log.columns and _tells_units_apart(log.sample.columns[name])), "")


def _tells_units_apart(column: SampleColumn) -> bool:
    """Whether the values are ids rather than a few kinds of units."""
    described = {"feature", "features", "segment", "type", "kind", "group", "age", "country", "level", "tier", "plan", "status"}
    few = len(column.different) < min(20, 0.1 * len(column.texts))
    return not (described & set(re.split(r"[\W_\d]+", column.name.lower()))) and not few


def _is_unit_id(column: SampleColumn) -> bool:
    words = set(column.meaning.words)
    known = column.name.lower() in _words(UNIT_IDS) or column.meaning.words in (("id",), ("uid",))
    return known or (
        column.meaning.attribute == "id"
        and bool(words & {"user", "visitor", "customer", "session", "device", "location", "store", "shop"})
    )


def _time(log: StagedLog, features: ColumnFeatures, taken: set[str]) -> str:
    columns = [column for column in features.columns if column.name not in taken and column.name in log.columns]
    native = [name for name, kind in log.columns.items() if kind.startswith(("TIMESTAMP", "DATE")) and name not in taken]
    times = [column.name for column in columns if column.moments > 0.9 and column.meaning.attribute in ("time", "")]
    called = [column.name for column in columns if column.meaning.attribute == "time" and column.moments > 0.5]
    return next((name for name in [*called, *native, *times]), "")


def _event(log: StagedLog, features: ColumnFeatures, taken: set[str]) -> str:
    for column in features.columns:
        if column.name in taken or column.name not in log.columns or column.meaning.attribute != "event":
            continue
        values = _different(log, column.name, 21)
        if 2 <= len(values) <= 20 and column.letters > 0.5:
            return column.name
    return ""


def _count(log: StagedLog, named: Mapping[str, str]) -> str:
    """The column of units in a log of aggregated counts: few rows, a number of units and a number of events in each."""
    if log.rows > 100_000 or "unit" in named:
        return ""
    rest = [name for name in log.columns if name not in named.values() and name != FILE]
    counts = [name for name in rest if set(words_of(name)) & _words(COUNTS) or name.lower() in _words(COUNTS)]
    for name in counts:
        whole = f"bool_and(TRY_CAST({quoted(name)} AS DOUBLE) = round(TRY_CAST({quoted(name)} AS DOUBLE)))"
        row = log.db.execute(
            f"SELECT {whole}, max(TRY_CAST({quoted(name)} AS DOUBLE)), count(TRY_CAST({quoted(name)} AS DOUBLE)) FROM log"
        ).fetchone()
        if row and row[0] and row[1] > 1 and row[2] == log.rows and _holds(log, name, rest):
            return name
    return ""


def _holds(log: StagedLog, count: str, rest: Sequence[str]) -> bool:
    """Whether another column has no more events in any row than there are units."""
    others = [name for name in rest if name != count and set(words_of(name)) & (_words(SUCCESSES) | _words(OUTCOMES))]
    number = f"TRY_CAST({quoted(count)} AS DOUBLE)"
    return any(log.scalar(f"SELECT bool_and(TRY_CAST({quoted(name)} AS DOUBLE) <= {number}) FROM log") for name in others)


def _form(log: StagedLog, fields: Mapping[str, Reading]) -> str:
    if "count" in fields:
        return "counts"
    if "unit" not in fields or "event" in fields:
        return "events" if "event" in fields else "units"
    unit = quoted(fields["unit"].column)
    some = f" WHERE hash({unit}) % 64 = 0" if log.rows > MANY_ROWS else ""
    rows, units = log.db.execute(f"SELECT count({unit}), count(DISTINCT {unit}) FROM log{some}").fetchone() or (0, 0)
    return "events" if rows > FEWEST_REPEATS * max(1, units) else "units"


def _written(log: StagedLog, column: str) -> list[tuple[str, str, int]]:
    """The values of the variants' column, each as SQL has it, as text, and how many rows have it."""
    name = quoted(column)
    rows = log.db.execute(
        f"SELECT v, trim(CAST(v AS VARCHAR)), n FROM (SELECT {name} AS v, count(*) AS n FROM log GROUP BY v LIMIT 200)"
    ).fetchall()
    return [
        ("NULL" if value is None else literal(str(value)), "" if (text or "").lower() in NOBODY else text, int(count))
        for value, text, count in rows
    ]


def _add_outcomes(log: StagedLog, reading: LogReading, overrides: Overrides) -> None:
    taken = {field_.column for field_ in reading.fields.values()} | {*reading.segments, FILE}
    if overrides.outcomes:
        reading.outcomes = [read_column(log, name, "number") for name in overrides.outcomes]
    else:
        rest = [name for name in log.columns if name not in taken]
        words = _words(SUCCESSES) | _words(OUTCOMES) if reading.form == "counts" else _words(OUTCOMES)
        called = [name for name in rest if _called(name, words) and not set(words_of(name)) & _words(BEFORE)]
        latency = [name for name in rest if name not in called and set(words_of(name)) & _words(LATENCY)]
        reading.outcomes = _numbers(log, [*called, *latency]) or _numbers(log, [name for name in rest if _may_be(log, name)])
        if reading.form == "counts":
            reading.outcomes = [outcome for outcome in reading.outcomes if not set(words_of(outcome.column)) & _words(SUMS)]
        reading.outcomes.sort(key=lambda outcome: (outcome.column in latency, *_telling(outcome)))
    for outcome in reading.outcomes:
        before = [name for name in log.columns if _is_before(name, outcome.column) and name not in taken]
        if before and reading.form != "counts":
            reading.covariates[outcome.column] = before[0]
    if not reading.outcomes and "event" not in reading.fields and not overrides.declared:
        columns = ", ".join(printable(name, 40) for name in list(log.columns)[:30] if name not in taken)
        raise InputError(
            f"{printable(log.source, 120)} without a column of outcomes: {columns or 'no other column'}",
            "a column of yes and no, numbers or amounts",
            "pass --column outcome=COLUMN",
        )
    if not reading.segments and not overrides.segments:
        used = taken | {outcome.column for outcome in reading.outcomes} | set(reading.covariates.values())
        reading.segments = [name for name in log.columns if name not in used and _is_segment(log, name)][:3]


def _telling(outcome: Reading) -> tuple[bool, int, int]:
    """How well an outcome may stand for the others, the lowest first: yes and no, what was bought, the longest time."""
    name = outcome.column.lower()
    rank = next((place for place, pattern in enumerate(TELLING) if re.search(pattern, name)), len(TELLING))
    number = re.search(r"\d+$", name)
    return outcome.meaning not in ("yes or no", "percentage"), rank, -int(number[0]) if number else 0


def _called(name: str, words: set[str]) -> bool:
    return bool((set(words_of(name)) | {name.lower()} | set(re.split(r"[_\W]+", name.lower()))) & words)


def _numbers(log: StagedLog, names: Sequence[str]) -> list[Reading]:
    readings = [read_column(log, name) for name in names]
    return [reading for reading in readings if reading.meaning in ("yes or no", "number", "money", "percentage")]


def _may_be(log: StagedLog, name: str) -> bool:
    """Whether a column without a telling name may be an outcome: no id, no time, nothing of before."""
    column = log.sample.columns.get(name)
    if column is None or column.meaning.attribute in ("id", "key", "time", "segment") or set(words_of(name)) & _words(BEFORE):
        return False
    return not re.fullmatch(r"(f|x|feature|user_feature|unnamed|column)[ _-]?\d*:?.*|age|index|year|.*affinity.*", name.lower())


def _is_before(name: str, outcome: str) -> bool:
    words = re.split(r"[_\W]+", name.lower())
    rest = [word for word in words if word not in _words(BEFORE) and word not in ("experiment", "exp", "period")]
    return bool(set(words) & _words(BEFORE)) and (not rest or rest == re.split(r"[_\W]+", outcome.lower()))


def _is_segment(log: StagedLog, name: str) -> bool:
    column = log.sample.columns.get(name)
    known = {"country", "device", "platform", "segment", "os", "browser", "channel", "region", "plan", "city", "zip", "gender"}
    if column is None or not (set(words_of(name)) & known or column.meaning.attribute == "segment"):
        return False
    return 2 <= len(_different(log, name, 13)) <= 12


def _say(log: StagedLog, reading: LogReading) -> None:
    """The guess in words."""
    fields = {name: printable(field_.column, 60) for name, field_ in reading.fields.items()}
    variant = "the file's name" if fields["variant"] == FILE else fields["variant"]
    forms = {
        "units": f"one row per unit ({fields.get('unit', 'no column of ids: every row is a unit')})",
        "events": f"one row per event, units by {fields.get('unit', 'row: there is no column of ids')}",
        "counts": f"aggregated counts: {fields.get('count')} units in each row",
    }
    shown = ", ".join(printable(value, 40) for value in reading.variants[:8])
    reading.sentences += [
        f"{counted(log.rows, 'row')}, read as {forms[reading.form]}.",
        f"Variant: {variant} ({shown}); {printable(reading.variants[0], 40) if reading.variants else 'nothing'} is taken for"
        " control.",
    ]
    for name in ("time", "event", "request", "position", "propensity"):
        if name in fields:
            reading.sentences.append(f"{name.capitalize()}: {fields[name]}.")
    outcomes = ", ".join(f"{printable(outcome.column, 60)} ({outcome.meaning})" for outcome in reading.outcomes)
    reading.sentences.append(f"Outcomes: {outcomes or 'the events of each unit'}.")
    if reading.covariates:
        pairs = ", ".join(f"{before} for {outcome}" for outcome, before in reading.covariates.items())
        reading.sentences.append(f"Measured before the start, by their names: {pairs}.")
    if reading.segments:
        reading.sentences.append(f"Segments: {', '.join(reading.segments)}.")
    readings = [*reading.fields.values(), *reading.outcomes]
    reading.sentences += list(dict.fromkeys(item.said for item in readings if item.said))
