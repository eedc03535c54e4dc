"""Searches of a log as a table: the search server's own of one day, or any log with a row for each search, in flat memory.

Counts are taken by DuckDB over all rows; the sample for people and permutations has all rows of some users, by the hash of
their names and the seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.corpus.event_log import AS_SHOWN, LIVE, LogFiles, log_files, reading_rows, require_log
from pipelines.drift.rows import MOST_VALUES, NULL, Rows, Sketch, column_of
from pipelines.drift.sampling import Sample, unit_numbers
from pipelines.drift.signals import SCORE_BAND
from pipelines.drift.snapshot import Table
from pipelines.errors import InputError
from pipelines.experiments.own_log import SERVER
from pipelines.experiments.staging import FILE, literal, open_database, quoted, stage_log
from pipelines.statistics.concentration import gini
from pipelines.store.objects import open_store
from pipelines.store.recipes import canonical, digest
from pipelines.wording import counted, printable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNITS = ("user", "user_id", "userid", "session", "session_id", "visitor")
OUTCOMES = ("click", "clicked", "reward", "purchase", "converted")
TEXTS = ("query", "search_term", "q")
MOST_COLUMNS = 30
EXPOSURE = ("request_id", "at", "user", "query", "latency_ms", "segment", "results", "traffic")
FIRST, STEP = "results[1].score", "floor(2 * log2(abs(results[1].score)))"
BAND = (
    f"CASE WHEN {FIRST} = 0 THEN '0' ELSE format('{{}}{{:.2g}} to {{:.2g}}', CASE WHEN {FIRST} < 0 THEN '−' ELSE '' END,"
    f" 2 ** ({STEP} / 2), 2 ** (({STEP} + 1) / 2)) END"
)
"""The band of half a doubling of the first document's score."""
SHOWN = "SELECT document, count(*) AS times FROM (SELECT unnest(results).document AS document FROM shown) GROUP BY document"


@dataclass(frozen=True)
class Reading:
    """What the columns of a log are; an empty name: it has none."""

    unit: str = ""
    text: str = ""
    outcome: str = ""
    columns: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass
class OpenLog:
    """A log as the view `log`, and what its columns are."""

    db: "DuckDBPyConnection"
    reading: Reading
    notes: list[str]
    shown: str = ""
    """A query of `document` and `times`: how often each was shown; empty: the log does not say."""

    def digest(self) -> str:
        """What the rows are, whatever their order, and what their columns are taken for."""
        names = [name for name in self._names() if name]
        hashed = f"hash({', '.join(map(quoted, names))})" if names else "0"
        row = self.db.execute(f"SELECT count(*), bit_xor({hashed}), sum({hashed}) FROM log").fetchone()  # noqa: S608
        parts = [*(row or ()), digest(canonical(asdict(self.reading)))[:16]]
        if self.shown:
            parts.append(_scalar(self.db, f"SELECT coalesce(sum(hash(document, times)), 0) FROM ({self.shown})"))  # noqa: S608
        return "-".join(map(str, parts))

    def _names(self) -> Sequence[str]:
        reading = self.reading
        return (reading.unit, reading.text, reading.outcome, *reading.columns, *reading.numbers)


def open_log(source: str, events: Path, day: str, given: Reading, scratch: Path, memory: str = "") -> OpenLog:
    """Open a log.

    Args:
        source: `server`, or a file or folder of CSV, JSONL or Parquet, local or on S3.
        events: the folder of the search server's logs.
        day: whose searches count; of the server's log only.
        given: columns that the user names, of other logs.
        scratch: a folder of our own.
        memory: what DuckDB may hold.

    Raises:
        InputError: it can't be read, or a named column is not there.
    """
    if source == SERVER:
        return _open_own(events, day, scratch, memory)
    staged = stage_log(source, scratch, memory)
    have = [name for name in staged.columns if name != FILE]
    for name in filter(None, (given.unit, given.text, given.outcome, *given.columns)):
        if name not in have:
            listed = ", ".join(map(printable, have[:30]))
            raise InputError(f"column {printable(name)}", f"one of {listed}", "pass --unit, --text, --outcome or --column")
    lowered = {name.lower(): name for name in reversed(have)}

    def guessed(names: Sequence[str]) -> str:
        return next((lowered[name] for name in names if name in lowered), "")

    unit, text, notes = given.unit or guessed(UNITS), given.text or guessed(TEXTS), list(staged.notes)
    outcome = given.outcome or guessed(OUTCOMES)
    if outcome and (reason := _no_outcome(staged.db, outcome)):
        if given.outcome:
            raise InputError(f"outcome {printable(outcome)} {reason}", "0 or 1 in each row", "name the column of clicks")
        notes.append(f"Column {printable(outcome)} {reason}: it is not taken for clicks.")
        outcome = ""
    rest = [name for name in have if name not in (unit, text, outcome)]
    columns = given.columns or _categories(staged.db, rest, staged.rows)
    left = len(rest) - len(columns)
    notes.append(f"Columns that are compared: {', '.join(map(printable, columns)) or 'none'}; {left} others are not.")
    return OpenLog(staged.db, Reading(unit, text, outcome, tuple(columns)), notes)


def _categories(db: "DuckDBPyConnection", names: Sequence[str], rows: int) -> list[str]:
    """Columns with few enough different values to be compared, at most MOST_COLUMNS."""
    if not names:
        return []
    counts = db.execute(
        f"SELECT {', '.join(f'approx_count_distinct({quoted(name)})' for name in names)} FROM log"  # noqa: S608
    ).fetchone()
    most = min(MOST_VALUES, max(20, rows // 50))
    return [name for name, count in zip(names, counts or (), strict=True) if count <= most][:MOST_COLUMNS]


def _open_own(events: Path, day: str, scratch: Path, memory: str) -> OpenLog:
    store = open_store()
    require_log(store, events, "pass --log FILE")
    exposures = log_files(store, events, "exposures", scratch / "files", day, day)
    clicks = log_files(store, events, "clicks", scratch / "files", day)
    db = open_database(scratch / "searches", memory)
    try:
        with reading_rows(f"the log of the search server in {printable(events, 200)}"):
            aside = _read_own(db, exposures, clicks, day)
    except InputError:
        db.close()
        raise
    listed = db.execute("SELECT DISTINCT unnest(map_keys(segment)) FROM shown WHERE segment IS NOT NULL").fetchall()
    names = sorted(str(row[0]) for row in listed)[:MOST_COLUMNS]
    fields = "".join(f", segment[{literal(name)}] AS {quoted(f'segment {name}')}" for name in names)
    db.execute(
        "CREATE VIEW log AS SELECT coalesce(nullif(\"user\", ''), request_id) AS \"user\", nullif(query, '') AS query,"  # noqa: S608
        ' CAST(c.request_id IS NOT NULL AS INTEGER) AS clicked, CAST(len(results) = 0 AS INTEGER) AS "without results",'
        f" latency_ms, results[1].score AS score, {BAND} AS {quoted(SCORE_BAND)}{fields}"
        " FROM shown LEFT JOIN clicked c USING (request_id)"
    )
    reading = Reading(
        "user",
        "query",
        "clicked",
        (SCORE_BAND, *(f"segment {name}" for name in names)),
        ("without results", "latency_ms", "score"),
    )
    notes = [f"The searches of people at the search server on {day}."]
    if aside:
        notes.append(f"Clicks on what their search did not show at that position, set aside: {aside:,}.")
    return OpenLog(db, reading, notes, SHOWN)


def _read_own(db: "DuckDBPyConnection", exposures: LogFiles, clicks: LogFiles, day: str) -> int:
    """Make `shown`, the searches of people on a day, and `clicked`, those with a click; how many clicks can't be theirs."""
    after = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    db.execute(
        f"CREATE TABLE shown AS SELECT * FROM {exposures.relation(*EXPOSURE)} WHERE request_id IS NOT NULL AND {LIVE}"  # noqa: S608
        f' AND "at" >= {literal(day)}::TIMESTAMPTZ AND "at" < {literal(after)}::TIMESTAMPTZ'
    )
    clicked = clicks.relation("request_id", "document", "position")
    joined = f"{clicked} c JOIN shown e USING (request_id)"
    db.execute(f"CREATE TABLE told AS SELECT DISTINCT c.*, {AS_SHOWN} AS shown FROM {joined}")  # noqa: S608
    db.execute("CREATE TABLE clicked AS SELECT DISTINCT request_id FROM told WHERE shown")
    return _scalar(db, "SELECT count(*) FROM told WHERE NOT shown")


def search_table(opened: OpenLog, most: int, seed: int) -> Table | None:
    """The searches of a log; none: it has none that day."""
    db, reading = opened.db, opened.reading
    rows = _scalar(db, "SELECT count(*) FROM log")
    if not rows:
        return None
    numbers = {"clicked": reading.outcome} if reading.outcome else {}
    numbers |= {name: name for name in reading.numbers}
    counts = Sketch(
        rows=rows,
        features=None,
        words=None,
        columns={name: _counts(db, name) for name in reading.columns},
        numbers={name: _sums(db, column) for name, column in numbers.items()},
        outcomes={
            name: {"clicked": _by_value(db, name, reading.outcome)} if reading.outcome else {} for name in reading.columns
        },
    )
    if opened.shown and (unequal := _gini(opened)) is not None:
        counts.numbers["gini"] = (unequal, unequal**2, 1.0)  # of the day, not of its rows
    drawn, sampling = _drawn(db, reading, numbers, rows, most, seed)
    return Table(counts, drawn, [], None, sampling)


def queries_of(opened: OpenLog, most: int, seed: int) -> Sample[tuple[str, str]]:
    """The texts of searches with their users, of as many users as fit into `most` rows."""
    if not opened.reading.text:
        return Sample([], 0, 0, seed)
    unit, text = quoted(opened.reading.unit or opened.reading.text), quoted(opened.reading.text)
    total = _scalar(opened.db, f"SELECT count({text}) FROM log")  # noqa: S608
    rows = opened.db.execute(
        f"SELECT CAST({unit} AS VARCHAR), CAST({text} AS VARCHAR) FROM log WHERE {text} IS NOT NULL AND"  # noqa: S608
        f" {_taken(unit, most, total, seed)} ORDER BY 1, 2 LIMIT {most}"
    ).fetchall()
    return Sample([(str(user), str(asked)) for user, asked in rows], total, 0, seed)


def _gini(opened: OpenLog) -> float | None:
    """How unequally the documents that were shown were; none: there were none."""
    times = opened.db.execute(f"SELECT times FROM ({opened.shown})").fetchnumpy()["times"]  # noqa: S608
    return float(gini(np.asarray(times, np.float64))) if len(times) else None


def _scalar(db: "DuckDBPyConnection", sql: str) -> int:
    row = db.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _named(column: str) -> str:
    """A column's value as text, NULL where it has none."""
    return f"coalesce(nullif(CAST({quoted(column)} AS VARCHAR), ''), {literal(NULL)})"


def _counts(db: "DuckDBPyConnection", column: str) -> dict[str, int]:
    rows = db.execute(f"SELECT {_named(column)} AS value, count(*) FROM log GROUP BY 1 ORDER BY 1").fetchall()  # noqa: S608
    return {str(value): int(count) for value, count in rows}


def _number(column: str) -> str:
    """A column's value as a number: `true` and `false` are 1 and 0, NULL where it is none."""
    return f"coalesce(TRY_CAST({quoted(column)} AS DOUBLE), CAST(TRY_CAST({quoted(column)} AS BOOLEAN) AS DOUBLE))"


def _sums(db: "DuckDBPyConnection", column: str) -> tuple[float, float, float]:
    number = _number(column)
    row = db.execute(f"SELECT coalesce(sum({number}), 0), coalesce(sum({number} ** 2), 0), count({number}) FROM log").fetchone()  # noqa: S608
    assert row is not None
    return (float(row[0]), float(row[1]), float(row[2]))


def _by_value(db: "DuckDBPyConnection", column: str, outcome: str) -> dict[str, tuple[float, float]]:
    number = _number(outcome)
    rows = db.execute(
        f"SELECT {_named(column)}, sum({number}), count({number}) FROM log GROUP BY 1 HAVING count({number}) > 0 ORDER BY 1"  # noqa: S608
    ).fetchall()
    return {str(value): (float(total), float(count)) for value, total, count in rows}


def _no_outcome(db: "DuckDBPyConnection", column: str) -> str:
    """Why a column does not say what was clicked; empty: it does."""
    number = _number(column)
    numbers = _scalar(db, f"SELECT count({number}) FROM log")  # noqa: S608
    others = _scalar(db, f"SELECT count(*) FROM log WHERE {number} NOT IN (0, 1)")  # noqa: S608
    return "" if numbers and not others else f"with {counted(numbers, 'number')}, {others:,} of which are neither 0 nor 1"


def _taken(unit: str, most: int, rows: int, seed: int) -> str:
    """A condition that keeps all rows of some users, about `most` rows."""
    if rows <= most:
        return "true"
    return f"hash({literal(str(seed))} || CAST({unit} AS VARCHAR)) < {int(2**64 * most / rows)}::UBIGINT"


def _drawn(
    db: "DuckDBPyConnection", reading: Reading, numbers: Mapping[str, str], rows: int, most: int, seed: int
) -> tuple[Rows, str]:
    names = [*(["unit"] if reading.unit else []), *reading.columns, *numbers]
    chosen = [f"CAST({quoted(reading.unit)} AS VARCHAR)"] if reading.unit else []
    chosen += [_named(column) for column in reading.columns]
    chosen += [_number(column) for column in numbers.values()]
    if reading.unit:
        where = (
            f"WHERE {_taken(quoted(reading.unit), most, rows, seed)} ORDER BY {', '.join(map(str, range(1, len(chosen) + 1)))}"
        )
    else:
        where = f"USING SAMPLE reservoir({most} ROWS) REPEATABLE ({seed})" if rows > most else ""
    listed = db.execute(f"SELECT {', '.join(chosen) or 'NULL'} FROM log {where}").fetchmany(2 * most)  # noqa: S608
    by_name: dict[str, list[Any]] = dict(zip(names, map(list, zip(*listed, strict=True)), strict=True)) if listed else {}
    units = [str(value) for value in by_name.get("unit", range(len(listed)))]
    drawn = Rows(
        np.fromiter(unit_numbers(units), np.int64, len(units)),
        {name: column_of(by_name.get(name, [])) for name in reading.columns},
        {name: np.array([np.nan if one is None else one for one in by_name.get(name, [])], float) for name in numbers},
    )
    of = "all rows of some users, by the hash of their names" if reading.unit else "rows, by a reservoir"
    return drawn, f"{len(listed):,} of {rows:,}: {of}, seed {seed}; counts are of all rows"
