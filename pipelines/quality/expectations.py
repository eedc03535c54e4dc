"""A suite's checks evaluated by Great Expectations: in this process, in SQL, on the staging file, which it can't change."""

import json
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import InputError
from pipelines.quality.suite import NEXT, Check, Placed, Suite
from pipelines.quality.tables import FLAGS, TABLES, printable

Status = Literal["passed", "warned", "failed", "not run", "proposed"]
EXAMPLES = 5
NOT_OURS = frozenset(
    {
        "id", "meta", "notes", "description", "result_format", "catch_exceptions", "rendered_content", "windows", "batch_id",
        "severity", "mostly", "condition_parser", "library_metadata",
    }
)  # fmt: skip
"""Arguments that Great Expectations takes and a suite has no use for, or has elsewhere."""
NOT_IN_SQL = frozenset(
    {
        "expect_column_values_to_be_dateutil_parseable", "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing", "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema", "expect_column_values_to_match_strftime_format",
    }
)  # fmt: skip
ELSEWHERE = frozenset({"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"})
"""What would look at something else than the table it stands under."""
TABLEWIDE = "expect_table_"


@dataclass(frozen=True)
class Outcome:
    """What a check came to."""

    placed: Placed
    status: Status
    rows: int
    """Rows that the check could say something about."""
    unexpected: int | None = None
    """Rows that it says are wrong; None: it is about the table as a whole."""
    observed: str = ""
    examples: list[str] = field(default_factory=list)
    """Rows that are wrong, by their ids."""
    why_not: str = ""
    """Why it was not run, or what a proposal would come to."""

    @property
    def check(self) -> Check:
        """The check itself."""
        return self.placed.check

    @property
    def subject(self) -> str:
        """What the check is about, such as `documents.id`."""
        named = [str(value) for key, value in self.check.kwargs.items() if key in ("column", "column_A", "column_B")]
        named += map(str, self.check.kwargs.get("column_list") or [])
        return f"{self.placed.table}.{'+'.join(named)}" if named else self.placed.table

    @property
    def found(self) -> str:
        """What was found, in a few words."""
        if self.status == "not run":
            return self.why_not
        if self.unexpected is None:
            return f"observed {self.observed}"
        if not self.unexpected:
            return f"none of {self.rows:,}"
        return f"{self.unexpected:,} of {self.rows:,} ({100 * self.unexpected / self.rows:.3g} %)"

    @property
    def sentence(self) -> str:
        """Subject, expectation and what was found, for a message."""
        such_as = f", such as {', '.join(self.examples[:3])}" if self.examples else ""
        return f"{self.subject} {self.check.expectation}: {self.found}{such_as}"


def known_expectations() -> list[str]:
    """The names of Great Expectations that a suite may use."""
    return sorted(_classes())


def check_suite(suite: Suite) -> None:
    """Refuse what Great Expectations does not know.

    Raises:
        InputError: an expectation or an argument that there is none of; names its place.
    """
    for placed in suite.checks:
        _expectation(placed, 0)


def evaluate(database: Path, suite: Suite, absent: Mapping[str, str]) -> list[Outcome]:
    """What each check of the suite comes to, in the suite's order. Proposals are tried, and count for nothing.

    Args:
        database: the staging file.
        suite: the checks.
        absent: tables that nothing was loaded into, and why: their checks are not run.

    Raises:
        InputError: a check can't be evaluated.
    """
    counts, raw = _counts(database), _raw(database, suite, absent)
    return [
        _outcome(one, raw[number], counts[one.table]) if number in raw else _not_run(one, absent[one.table])
        for number, one in enumerate(suite.checks)
    ]


def _raw(database: Path, suite: Suite, absent: Mapping[str, str]) -> dict[int, Any]:
    """Great Expectations' results by the number of their check."""
    by_table: dict[str, dict[int, Placed]] = {}
    for number, one in enumerate(suite.checks):
        if one.table not in absent:
            by_table.setdefault(one.table, {})[number] = one
    if not by_table:
        return {}
    source = _source(database)
    each = [_results(source, table, checks) for table, checks in by_table.items()]
    source.get_execution_engine().close()
    return {number: result for results in each for number, result in results.items()}


def _not_run(placed: Placed, why: str, rows: int = 0) -> Outcome:
    return Outcome(placed, "not run" if placed.check.counts else "proposed", rows, why_not=why)


def _counts(database: Path) -> dict[str, int]:
    with _reader(database) as db:
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608  # our own


def _reader(database: Path) -> sqlite3.Connection:
    """A connection that can't write; made here, so that no path goes through a URL, in which Great Expectations reads `$`."""
    db = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    db.execute("PRAGMA temp_store=FILE")
    return db


@cache
def _library() -> Any:
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # what fails is in the results
    return great_expectations


@cache
def _classes() -> Mapping[str, Any]:
    _library()
    from great_expectations import expectations

    every = (getattr(expectations, name) for name in dir(expectations) if name.startswith("Expect"))
    named = {one.expectation_type: one for one in every if getattr(one, "expectation_type", "")}
    return {name: one for name, one in named.items() if name not in NOT_IN_SQL | ELSEWHERE}


def _expectation(placed: Placed, number: int) -> Any:
    """Great Expectations' own object for a check, which carries its number."""
    name, kwargs = placed.check.expectation, placed.check.kwargs
    made = _classes().get(name)
    if made is None:
        reason = ", which can't be evaluated in SQL" if name in NOT_IN_SQL else ""
        near = get_close_matches(name, known_expectations(), 3) or known_expectations()
        raise InputError(f"{placed.place}: expectation {printable(name)!r}{reason}", f"one of {', '.join(near)}", NEXT)
    takes = sorted(set(made.__fields__) - NOT_OURS)
    for key, value in kwargs.items():
        if key not in takes:
            raise InputError(f"{placed.place}: {printable(key)!r} of {name}", f"one of {', '.join(takes)}", NEXT)
        if isinstance(value, dict) and "$PARAMETER" in value:
            raise InputError(f"{placed.place}: {key} as a parameter", "a value", NEXT)
    return _made(placed, made, number)


def _made(placed: Placed, made: Any, number: int) -> Any:
    given = dict(placed.check.kwargs)
    if placed.check.mostly is not None:
        if "mostly" not in made.__fields__:
            raise InputError(f"{placed.place}: mostly of {placed.check.expectation}", "a check without it", NEXT)
        given["mostly"] = placed.check.mostly
    if "row_condition" in given:
        given["condition_parser"] = "great_expectations"
    try:
        return made(**given, meta={"check": number})
    except (ValueError, TypeError, KeyError, AttributeError, _library().exceptions.GreatExpectationsError) as error:
        wrong = f"{placed.place}: {placed.check.expectation}: {_reason(error)}"
        raise InputError(wrong, "arguments that it takes", NEXT) from None


def _reason(error: Exception) -> str:
    """A validation error of pydantic's in one line."""
    told = getattr(error, "errors", None)
    if not callable(told):
        return printable(error, 200)
    first = told()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "__root__")
    return f"{where + ': ' if where else ''}{first['msg']}"


def _source(database: Path) -> Any:
    """The staging file as Great Expectations sees it; nothing of it is kept, nothing is told to anybody."""
    context = _library().get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False}
    made = {"creator": lambda: _reader(database)}
    return context.data_sources.add_sqlite("staging", connection_string="sqlite://", kwargs=made)


def _results(source: Any, table: str, checks: Mapping[int, Placed]) -> dict[int, Any]:
    """The results of a table's checks by their number."""
    batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()
    named = {"unexpected_index_column_names": list(TABLES[table].keys)} if TABLES[table].keys else {}
    wanted = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES, **named}
    expectations = [_expectation(one, number) for number, one in checks.items()]
    validated = batch.validate(_library().ExpectationSuite(name=table, expectations=expectations), result_format=wanted)
    return {result.expectation_config.meta["check"]: result for result in validated.results}


def _outcome(placed: Placed, raw: Any, rows: int) -> Outcome:
    problem, result = _problem(raw.exception_info), raw.result or {}
    of_rows = not placed.check.expectation.startswith(TABLEWIDE)
    if rows == 0 and of_rows:
        return _not_run(placed, "no rows")
    if problem:
        return _unevaluated(placed, rows, problem)
    told = int(result.get("element_count", rows)) - int(result.get("missing_count", 0) if "element_count" in result else 0)
    if of_rows and (told == 0 or _says_nothing(result)):
        return _not_run(placed, "no values", rows)
    unexpected = result.get("unexpected_count") if "element_count" in result else None
    status = _status(placed, bool(raw.success))
    why = ("would pass" if raw.success else "would not pass") if status == "proposed" else ""
    return Outcome(placed, status, told, unexpected, _observed(placed, result), list(_examples(placed, result)), why)


def _says_nothing(result: Mapping[str, Any]) -> bool:
    """An aggregate of no values. Of sets, and of what is infinite, it is None too, but more stands beside it."""
    observed = result.get("observed_value", 0)
    if isinstance(observed, dict) and "values" in observed:  # quantiles
        return all(value is None for value in observed["values"])
    return observed is None and set(result) <= {"observed_value"}


def _status(placed: Placed, success: bool) -> Status:
    if not placed.check.counts:
        return "proposed"
    if success:
        return "passed"
    return "warned" if placed.check.level == "warn" else "failed"


def _unevaluated(placed: Placed, rows: int, problem: str) -> Outcome:
    """A proposal may be nonsense; a check that counts may not."""
    if placed.check.counts:
        raise InputError(f"{placed.place}: {placed.check.expectation} can't be evaluated: {problem}",
                         "a check that fits its table", NEXT)  # fmt: skip
    return Outcome(placed, "proposed", rows, why_not=f"can't be evaluated: {problem}")


def _problem(info: Mapping[str, Any]) -> str:
    """What was raised while a check was evaluated; Great Expectations says it in two ways."""
    for one in [info, *(inner for inner in info.values() if isinstance(inner, Mapping))]:
        if one.get("raised_exception"):
            message = str(one.get("exception_message") or "").partition("\n")[0]
            return printable(re.sub(r"\s*\(Background on this error.*", "", message), 200)
    return ""


def _observed(placed: Placed, result: Mapping[str, Any]) -> str:
    if _is_private(placed):
        return ""
    value = result.get("observed_value")
    if value is None and ("partial_unexpected_list" in result or "partial_missing_list" in result):
        parts = (("unexpected", "partial_unexpected_list"), ("missing", "partial_missing_list"))
        return ", ".join(f"{word} {_listed(result[key])}" for word, key in parts if result.get(key))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else printable(json.dumps(value, default=float, ensure_ascii=False), 200)


def _listed(values: list[Any]) -> str:
    return ", ".join(printable(one) for one in values[:EXAMPLES])


def _is_private(placed: Placed) -> bool:
    kwargs = placed.check.kwargs
    named = {kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *(kwargs.get("column_list") or [])}
    return bool(named & TABLES[placed.table].private)


def _examples(placed: Placed, result: Mapping[str, Any]) -> Iterator[str]:
    """Rows by their keys, with the value that is wrong where it may be shown."""
    keys, column = TABLES[placed.table].keys, placed.check.kwargs.get("column")
    shown = None if column in {*keys, *FLAGS} or _is_private(placed) else column
    seen: set[str] = set()
    for row in result.get("partial_unexpected_index_list") or []:
        name = " ".join(f"{key} {row[key]}" if key in ("line", "position") else printable(row[key]) for key in keys)
        example = name + (f" ({shown} {printable(row[shown], 32)})" if shown in row else "")
        if example not in seen:
            seen.add(example)
            yield example
