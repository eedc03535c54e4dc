"""Suites: checks of data, declared in a YAML file.

    name: shop
    extends: default
    checks:
      documents:
        - expectation: expect_column_values_to_be_between
          kwargs: {column: characters, min_value: 10}
          level: warn
          mostly: 0.99

A proposed check has `reviewed: false` and does not count until `reviewed_by: NAME` takes its place.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InputError
from pipelines.quality.tables import TABLES
from pipelines.store.recipes import canonical, digest
from pipelines.wording import printable

DEFAULT = Path(__file__).with_name("suite.yaml")
LARGEST, DEEPEST = 1_000_000, 10
"""Bytes and levels of nesting of a suite at most."""
TOP_KEYS = ("name", "extends", "checks")
COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
NEXT_ACTION = "correct this line; docs/data-quality.md has the format"


class Check(BaseModel):
    """One check of one table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expectation: str
    kwargs: dict[str, Any] = {}
    level: Literal["warn", "fail"]
    mostly: float | None = Field(None, gt=0, le=1)
    why: str = ""
    reviewed: bool = True
    reviewed_by: str = ""
    observed: str = ""
    """What was observed in the profile that proposed it; empty: a person wrote it."""

    @property
    def counts(self) -> bool:
        """Whether it can fail or warn: a proposal does only once a person has reviewed it."""
        return bool(self.reviewed_by.strip()) or (self.reviewed and not self.observed)


class PlacedCheck(BaseModel):
    """A check with its table, and its file and line for messages."""

    model_config = ConfigDict(frozen=True)

    table: str
    check: Check
    place: str


class Suite(BaseModel):
    """The checks of a suite file, with those of the shipped suite if it extends that."""

    model_config = ConfigDict(frozen=True)

    name: str
    checks: tuple[PlacedCheck, ...]

    @property
    def digest(self) -> str:
        """20 hexadecimal digits of its name and checks, without comments, layout and path."""
        checks = [[placed.table, placed.check.model_dump()] for placed in self.checks]
        return digest(canonical([self.name, checks]))[:20]


class _LinedMapping(dict[str, Any]):
    """A YAML mapping with its line and the lines of its keys."""

    line: int = 0
    lines: dict[str, int]


def read_suite(path: str) -> Suite:
    """The suite of a file; empty or `default`: the shipped one.

    Raises:
        InputError: the file can't be read or is not a suite; names file, line and what was expected.
    """
    file = DEFAULT if path in ("", "default") else Path(path)
    try:
        with file.open("rb") as opened:
            body = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"suite {printable(path, 200)}: {error}", "a YAML file that can be read", "correct --suite") from None
    return parse_suite(body, "the shipped suite" if file == DEFAULT else printable(file, 200))


def parse_suite(body: bytes, source: str) -> Suite:
    """Parse a suite; `source` is its name in messages.

    Raises:
        InputError: it is not a suite; names line and what was expected.
    """
    top = _as_mapping(_parse_yaml(body, source), f"{source} line 1", TOP_KEYS)
    extends = top.get("extends", "nothing")
    if extends not in ("default", "nothing"):
        raise _suite_error(f"{source} line {top.lines['extends']}: extends {_quoted(extends)}", "default or nothing")
    name = top.get("name", "unnamed")
    if not isinstance(name, str) or not name.strip():
        raise _suite_error(f"{source} line {top.lines['name']}: name {_quoted(name)}", "a text")
    own = tuple(_checks_of(top, source))
    _refuse_repeated(own)
    inherited = read_suite("default").checks if extends == "default" else ()
    replaced = {_check_key(placed) for placed in own if placed.check.counts}
    kept = (placed for placed in inherited if _check_key(placed) not in replaced)
    return Suite(name=" ".join(name.split()), checks=(*kept, *own))


def _checks_of(top: _LinedMapping, source: str) -> Iterator[PlacedCheck]:
    checks = top.get("checks")
    place = f"{source} line {top.lines.get('checks', 1)}"
    tables = _as_mapping({} if checks is None and "checks" in top else checks, f"{place}: checks", TABLES)
    for table, listed in tables.items():
        here = f"{source} line {tables.lines[table]}: {table}"
        if listed is not None and not isinstance(listed, list):
            raise _suite_error(f"{here} {_quoted(listed)}", "a list of checks")
        for declared in listed or ():
            yield _placed_check(table, declared, source, here)


def _placed_check(table: str, declared: Any, source: str, here: str) -> PlacedCheck:
    fields = _as_mapping(declared, f"{here}: a check", Check.model_fields, source)
    place = f"{source} line {fields.line}"
    try:
        check = Check.model_validate(dict(fields), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        value = "nothing" if first["type"] == "missing" else _quoted(first["input"])
        raise _suite_error(f"{source} line {fields.lines.get(key, fields.line)}: {key} {value}", first["msg"]) from None
    _check_review(check, fields, source)
    _check_columns(table, check, place)
    return PlacedCheck(table=table, check=check, place=place)


def _check_review(check: Check, fields: _LinedMapping, source: str) -> None:
    if "reviewed" not in fields:
        return
    place = f"{source} line {fields.lines['reviewed']}"
    if check.reviewed and not check.reviewed_by.strip():
        raise _suite_error(f"{place}: reviewed true by nobody", "the name of who reviewed it as reviewed_by")
    if not check.reviewed and check.reviewed_by:
        raise _suite_error(f"{place}: reviewed false, and reviewed_by {_quoted(check.reviewed_by)}", "one of the two")


def _check_columns(table: str, check: Check, place: str) -> None:
    """Check the columns and regular expressions of the arguments; Great Expectations checks the rest."""
    kwargs = check.kwargs
    if "mostly" in kwargs:
        raise _suite_error(f"{place}: mostly among the kwargs", "mostly beside them")
    listed = kwargs.get("column_list") or []
    columns = [kwargs[key] for key in COLUMN_ARGUMENTS if key in kwargs] + (listed if isinstance(listed, list) else [listed])
    condition = kwargs.get("row_condition")
    columns += re.findall(r"""col\(["'](.*?)["']\)""", condition) if isinstance(condition, str) else []
    for column in columns:
        if not isinstance(column, str) or column not in TABLES[table].columns:
            raise _suite_error(f"{place}: column {_quoted(column)} of {table}", f"one of {', '.join(TABLES[table].columns)}")
    for pattern in [kwargs.get("regex", ""), *(kwargs.get("regex_list") or [])]:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise _suite_error(f"{place}: regex {_quoted(pattern)} ({error})", "a regular expression") from None


def _check_key(placed: PlacedCheck) -> bytes:
    """Table, expectation and arguments: a check replaces the shipped one with an equal key, whatever their levels."""
    return canonical([placed.table, placed.check.expectation, placed.check.kwargs])


def _refuse_repeated(checks: tuple[PlacedCheck, ...]) -> None:
    seen: dict[bytes, str] = {}
    for placed in checks:
        key = _check_key(placed)
        if key in seen:
            raise _suite_error(f"{placed.place}: the check of {seen[key]} again", "each check once")
        seen[key] = placed.place


def _as_mapping(value: Any, place: str, keys: Any, source: str = "") -> _LinedMapping:
    """The value, if it is a mapping with no other keys than `keys`."""
    if isinstance(value, dict) and not value:
        value = _LinedMapping()
        value.lines = {}
    if not isinstance(value, _LinedMapping):
        raise _suite_error(f"{place} {_quoted(value)}", f"a mapping with {', '.join(keys)}")
    unknown = next((key for key in value if key not in keys), None)
    if unknown is not None:
        file = source or place.partition(" line ")[0]
        raise _suite_error(f"{file} line {value.lines[unknown]}: key {_quoted(unknown)}", f"one of {', '.join(keys)}")
    return value


def _quoted(value: Any) -> str:
    return repr(printable(value)) if isinstance(value, str) else printable(value)


def _suite_error(given: str, expected: str) -> InputError:
    return InputError(given, expected, NEXT_ACTION)


def _parse_yaml(body: bytes, source: str) -> Any:
    """The YAML as plain values, mappings with their lines. Refuses tags, aliases and repeated keys."""
    if len(body) > LARGEST:
        raise _suite_error(f"{source} of more than {LARGEST:,} bytes", "a suite")
    try:
        node = yaml.compose(body.decode("utf-8"), Loader=_LoaderWithoutAliases)
        empty = yaml.MappingNode("", [], yaml.Mark("", 0, 0, 0, "", 0))
        return _plain_value(node or empty, source, 0)
    except UnicodeDecodeError as error:
        raise _suite_error(f"{source}: byte {error.start} is no UTF-8", "a YAML file in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark or yaml.Mark("", 0, 0, 0, "", 0)).line + 1
        raise _suite_error(f"{source} line {line}: {printable(error.problem or error.context, 200)}", "YAML") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise _suite_error(f"{source}: {printable(error, 200)}", "YAML") from None


class _LoaderWithoutAliases(yaml.SafeLoader):
    """A safe loader that refuses aliases, with which a few lines can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias, which suites don't have", event.start_mark)
        return super().compose_node(parent, index)


def _plain_value(node: Any, source: str, depth: int) -> Any:
    line = node.start_mark.line + 1
    if depth > DEEPEST:
        raise _suite_error(f"{source} line {line}: more than {DEEPEST} levels", "a suite")
    if isinstance(node, yaml.SequenceNode):
        return [_plain_value(item, source, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _lined_mapping(node, source, depth)
    value = yaml.constructor.SafeConstructor().construct_object(node)
    if isinstance(value, float) and not math.isfinite(value):
        raise _suite_error(f"{source} line {line}: {value}", "a finite number")
    return value if isinstance(value, str | int | float | bool | None) else str(value)  # a date as SQLite has it


def _lined_mapping(node: Any, source: str, depth: int) -> _LinedMapping:
    mapping = _LinedMapping()
    mapping.line, mapping.lines = node.start_mark.line + 1, {}
    for key_node, value_node in node.value:
        key, line = _plain_value(key_node, source, depth + 1), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise _suite_error(f"{source} line {line}: key {_quoted(key)}", "a name")
        if key in mapping:
            raise _suite_error(f"{source} line {line}: key {_quoted(key)} again", "each key once")
        mapping[key] = _plain_value(value_node, source, depth + 1)
        mapping.lines[key] = line
    return mapping
