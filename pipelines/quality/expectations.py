"""A suite's checks, evaluated by Great Expectations in SQL on the staging file, which is opened read-only."""

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
from pipelines.quality.suite import NEXT_ACTION, Check, PlacedCheck, Suite
from pipelines.quality.tables import FLAGS, TABLES
from pipelines.wording import printable

Status = Literal["passed", "warned", "failed", "not run", "proposed"]
EXAMPLES = 5
UNSUPPORTED_ARGUMENTS = frozenset(
    {
        "id", "meta", "notes", "description", "result_format", "catch_exceptions", "rendered_content", "windows", "batch_id",
        "severity", "mostly", "condition_parser", "library_metadata",
    }
)  # fmt: skip
"""Arguments of expectations that a suite does not take, or that a check has under its own keys."""
NOT_IN_SQL = frozenset(
    {
        "expect_column_values_to_be_dateutil_parseable", "expect_column_values_to_be_decreasing",
        "expect_column_values_to_be_increasing", "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_match_json_schema", "expect_column_values_to_match_strftime_format",
    }
)  # fmt: skip
OTHER_TABLES = frozenset({"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"})
"""Expectations that read other tables than that of their check."""
TABLE_PREFIX = "expect_table_"


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one check."""

    placed: PlacedCheck
    status: Status
    rows: int
    """Rows that the check applies to."""
    unexpected: int | None = None
    """Rows that fail it; None: it is about the table as a whole."""
    observed: str = ""
    examples: list[str] = field(default_factory=list)
    """The first rows that fail it, by their keys."""
    why_not: str = ""
    """Why it was not run, or whether a proposal would pass."""

    @property
    def check(self) -> Check:
        """The declared check."""
        return self.placed.check

    @property
    def subject(self) -> str:
        """The table and columns of the check, such as `documents.id`."""
        columns = [str(value) for key, value in self.check.kwargs.items() if key in ("column", "column_A", "column_B")]
        columns += map(str, self.check.kwargs.get("column_list") or [])
        return f"{self.placed.table}.{'+'.join(columns)}" if columns else self.placed.table

    @property
    def found(self) -> str:
        """The result in a few words."""
        if self.status == "not run":
            return self.why_not
        if self.unexpected is None:
            return f"observed {self.observed}"
        if not self.unexpected:
            return f"none of {self.rows:,}"
        return f"{self.unexpected:,} of {self.rows:,} ({100 * self.unexpected / self.rows:.3g} %)"

    @property
    def sentence(self) -> str:
        """Subject, expectation and result, for a message."""
        examples = f", such as {', '.join(self.examples[:3])}" if self.examples else ""
        return f"{self.subject} {self.check.expectation}: {self.found}{examples}"


def known_expectations() -> list[str]:
    """The names of the expectations that a suite may use, sorted."""
    return sorted(_expectation_classes())


def check_suite(suite: Suite) -> None:
    """Refuse a suite with an unknown expectation or argument.

    Raises:
        InputError: names file, line and what is known.
    """
    for placed in suite.checks:
        _expectation(placed, 0)


def evaluate(database: Path, suite: Suite, absent: Mapping[str, str]) -> list[CheckOutcome]:
    """The outcome of each check, in the suite's order. Proposals are evaluated too, but neither fail nor warn.

    Args:
        database: the staging file.
        suite: the checks.
        absent: by table that was not loaded, the reason: its checks are not run.

    Raises:
        InputError: a check can't be evaluated.
    """
    counts, results = _row_counts(database), _results_by_check(database, suite, absent)
    return [
        _outcome(placed, results[number], counts[placed.table]) if number in results else _not_run(placed, absent[placed.table])
        for number, placed in enumerate(suite.checks)
    ]


def _results_by_check(database: Path, suite: Suite, absent: Mapping[str, str]) -> dict[int, Any]:
    """Great Expectations' results by the number of their check."""
    by_table: dict[str, dict[int, PlacedCheck]] = {}
    for number, placed in enumerate(suite.checks):
        if placed.table not in absent:
            by_table.setdefault(placed.table, {})[number] = placed
    if not by_table:
        return {}
    source = _data_source(database)
    results: dict[int, Any] = {}
    for table, checks in by_table.items():
        results |= _table_results(source, table, checks)
    source.get_execution_engine().close()
    return results


def _not_run(placed: PlacedCheck, why: str, rows: int = 0) -> CheckOutcome:
    return CheckOutcome(placed, "not run" if placed.check.counts else "proposed", rows, why_not=why)


def _row_counts(database: Path) -> dict[str, int]:
    with _read_only(database) as db:
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608


def _read_only(database: Path) -> sqlite3.Connection:
    """A read-only connection. Great Expectations substitutes `$` in connection URLs, so the path is not passed through one."""
    db = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    db.execute("PRAGMA temp_store=FILE")
    return db


@cache
def _great_expectations() -> Any:
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # failures are in the results
    return great_expectations


@cache
def _expectation_classes() -> Mapping[str, Any]:
    _great_expectations()
    from great_expectations import expectations

    classes = (getattr(expectations, name) for name in dir(expectations) if name.startswith("Expect"))
    by_type = {cls.expectation_type: cls for cls in classes if getattr(cls, "expectation_type", "")}
    return {name: cls for name, cls in by_type.items() if name not in NOT_IN_SQL | OTHER_TABLES}


def _expectation(placed: PlacedCheck, number: int) -> Any:
    """The expectation object of a check, with the check's number in its meta."""
    name, kwargs = placed.check.expectation, placed.check.kwargs
    cls = _expectation_classes().get(name)
    if cls is None:
        reason = ", which can't be evaluated in SQL" if name in NOT_IN_SQL else ""
        near = get_close_matches(name, known_expectations(), 3) or known_expectations()
        raise InputError(f"{placed.place}: expectation {printable(name)!r}{reason}", f"one of {', '.join(near)}", NEXT_ACTION)
    takes = sorted(set(cls.__fields__) - UNSUPPORTED_ARGUMENTS)
    for key, value in kwargs.items():
        if key not in takes:
            raise InputError(f"{placed.place}: {printable(key)!r} of {name}", f"one of {', '.join(takes)}", NEXT_ACTION)
        if isinstance(value, dict) and "$PARAMETER" in value:
            raise InputError(f"{placed.place}: {key} as a parameter", "a value", NEXT_ACTION)
    return _constructed(placed, cls, number)


def _constructed(placed: PlacedCheck, cls: Any, number: int) -> Any:
    arguments = dict(placed.check.kwargs)
    if placed.check.mostly is not None:
        if "mostly" not in cls.__fields__:
            raise InputError(f"{placed.place}: mostly of {placed.check.expectation}", "a check without it", NEXT_ACTION)
        arguments["mostly"] = placed.check.mostly
    if "row_condition" in arguments:
        arguments["condition_parser"] = "great_expectations"
    try:
        return cls(**arguments, meta={"check": number})
    except (ValueError, TypeError, KeyError, AttributeError, _great_expectations().exceptions.GreatExpectationsError) as error:
        wrong = f"{placed.place}: {placed.check.expectation}: {_reason(error)}"
        raise InputError(wrong, "arguments that it takes", NEXT_ACTION) from None


def _reason(error: Exception) -> str:
    """An error in one line; the first problem of a validation error of pydantic."""
    problems = getattr(error, "errors", None)
    if not callable(problems):
        return printable(error, 200)
    first = problems()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "__root__")
    return f"{where + ': ' if where else ''}{first['msg']}"


def _data_source(database: Path) -> Any:
    """The staging file as a data source of an ephemeral context, without analytics."""
    context = _great_expectations().get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False}
    connection = {"creator": lambda: _read_only(database)}
    return context.data_sources.add_sqlite("staging", connection_string="sqlite://", kwargs=connection)


def _table_results(source: Any, table: str, checks: Mapping[int, PlacedCheck]) -> dict[int, Any]:
    """The results of a table's checks by the number of their check."""
    batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()
    result_format = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    if TABLES[table].keys:
        result_format["unexpected_index_column_names"] = list(TABLES[table].keys)
    expectations = [_expectation(placed, number) for number, placed in checks.items()]
    suite = _great_expectations().ExpectationSuite(name=table, expectations=expectations)
    validated = batch.validate(suite, result_format=result_format)
    return {result.expectation_config.meta["check"]: result for result in validated.results}


def _outcome(placed: PlacedCheck, validation: Any, rows: int) -> CheckOutcome:
    problem, result = _exception_message(validation.exception_info), validation.result or {}
    of_rows = not placed.check.expectation.startswith(TABLE_PREFIX)
    if rows == 0 and of_rows:
        return _not_run(placed, "no rows")
    if problem:
        return _not_evaluated(placed, rows, problem)
    missing = int(result.get("missing_count", 0)) if "element_count" in result else 0
    applies_to = int(result.get("element_count", rows)) - missing
    if of_rows and (applies_to == 0 or _aggregates_nothing(result)):
        return _not_run(placed, "no values", rows)
    unexpected = result.get("unexpected_count") if "element_count" in result else None
    status = _status(placed, bool(validation.success))
    why = ("would pass" if validation.success else "would not pass") if status == "proposed" else ""
    return CheckOutcome(placed, status, applies_to, unexpected, _observed(placed, result), list(_examples(placed, result)), why)


def _aggregates_nothing(result: Mapping[str, Any]) -> bool:
    """Whether an aggregate had no values. Sets and infinite values give None too, but with other keys beside it."""
    observed = result.get("observed_value", 0)
    if isinstance(observed, dict) and "values" in observed:  # quantiles
        return all(value is None for value in observed["values"])
    return observed is None and set(result) <= {"observed_value"}


def _status(placed: PlacedCheck, success: bool) -> Status:
    if not placed.check.counts:
        return "proposed"
    if success:
        return "passed"
    return "warned" if placed.check.level == "warn" else "failed"


def _not_evaluated(placed: PlacedCheck, rows: int, problem: str) -> CheckOutcome:
    """The outcome of a check that raised: an error, unless it is a proposal."""
    if placed.check.counts:
        given = f"{placed.place}: {placed.check.expectation} can't be evaluated: {problem}"
        raise InputError(given, "a check that fits its table", NEXT_ACTION)
    return CheckOutcome(placed, "proposed", rows, why_not=f"can't be evaluated: {problem}")


def _exception_message(info: Mapping[str, Any]) -> str:
    """What was raised while a check was evaluated: at the top level of `info`, or by metric below it; empty: nothing."""
    for entry in [info, *(inner for inner in info.values() if isinstance(inner, Mapping))]:
        if entry.get("raised_exception"):
            message = str(entry.get("exception_message") or "").partition("\n")[0]
            return printable(re.sub(r"\s*\(Background on this error.*", "", message), 200)
    return ""


def _observed(placed: PlacedCheck, result: Mapping[str, Any]) -> str:
    if _is_private(placed):
        return ""
    value = result.get("observed_value")
    if value is None and ("partial_unexpected_list" in result or "partial_missing_list" in result):
        parts = (("unexpected", "partial_unexpected_list"), ("missing", "partial_missing_list"))
        return ", ".join(f"{word} {_first_values(result[key])}" for word, key in parts if result.get(key))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else printable(json.dumps(value, default=float, ensure_ascii=False), 200)


def _first_values(values: list[Any]) -> str:
    return ", ".join(printable(value) for value in values[:EXAMPLES])


def _is_private(placed: PlacedCheck) -> bool:
    kwargs = placed.check.kwargs
    columns = {kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *(kwargs.get("column_list") or [])}
    return bool(columns & TABLES[placed.table].private)


def _examples(placed: PlacedCheck, result: Mapping[str, Any]) -> Iterator[str]:
    """Failing rows by their keys, each once, with the value of the checked column unless that is private."""
    keys, column = TABLES[placed.table].keys, placed.check.kwargs.get("column")
    shown = None if column in {*keys, *FLAGS} or _is_private(placed) else column
    seen: set[str] = set()
    for row in result.get("partial_unexpected_index_list") or []:
        name = " ".join(f"{key} {row[key]}" if key in ("line", "position") else printable(row[key]) for key in keys)
        example = name + (f" ({shown} {printable(row[shown], 32)})" if shown in row else "")
        if example not in seen:
            seen.add(example)
            yield example
