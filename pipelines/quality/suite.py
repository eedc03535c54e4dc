"""A suite: the checks of a team's data, declared in one YAML file.

    name: shop
    extends: default
    checks:
      documents:
        - expectation: expect_column_values_to_be_between
          kwargs: {column: characters, min_value: 10}
          level: warn
          mostly: 0.99

A proposal that came from a profile carries `reviewed: false`, and does not count until somebody puts `reviewed_by: NAME` there.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import InputError
from pipelines.quality.tables import TABLES, printable
from pipelines.store.recipes import canonical, digest

DEFAULT = Path(__file__).with_name("suite.yaml")
LARGEST, DEEPEST = 1_000_000, 10
"""Bytes and levels of nesting that a suite may have."""
TOP = ("name", "extends", "checks")
COLUMNS = ("column", "column_A", "column_B")
NEXT = "correct this line; docs/data-quality.md has the format"


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
    """What the profile saw that proposed it; empty: a person wrote it."""

    @property
    def counts(self) -> bool:
        """Whether a person stands for it: a proposal counts only under a name."""
        return bool(self.reviewed_by.strip()) or (self.reviewed and not self.observed)


class Placed(BaseModel):
    """A check with the table it is about and its place in the suite, for messages."""

    model_config = ConfigDict(frozen=True)

    table: str
    check: Check
    place: str


class Suite(BaseModel):
    """The checks of a file, and of the shipped suite where it extends that."""

    model_config = ConfigDict(frozen=True)

    name: str
    checks: tuple[Placed, ...]

    @property
    def digest(self) -> str:
        """What the suite says, whatever its comments, its layout and its place."""
        said = [[one.table, one.check.model_dump()] for one in self.checks]
        return digest(canonical([self.name, said]))[:20]


class _Mapping(dict[str, Any]):
    """A mapping of the file with the lines of its keys."""

    line: int = 0
    lines: dict[str, int]


def read_suite(path: str) -> Suite:
    """The suite in a file; empty or `default`: the shipped one.

    Raises:
        InputError: the file can't be read, or is no suite; names file, line and what was expected there.
    """
    file = DEFAULT if path in ("", "default") else Path(path)
    try:
        with file.open("rb") as opened:
            body = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"suite {printable(path, 200)}: {error}", "a YAML file that can be read", "correct --suite") from None
    return parse_suite(body, "the shipped suite" if file == DEFAULT else printable(file, 200))


def parse_suite(body: bytes, source: str) -> Suite:
    """The suite that `body` says; `source` is what messages call it.

    Raises:
        InputError: it is no suite; names line and what was expected there.
    """
    top = _mapping(_parsed(body, source), f"{source} line 1", TOP)
    extends = top.get("extends", "nothing")
    if extends not in ("default", "nothing"):
        raise _wrong(f"{source} line {top.lines['extends']}: extends {_shown(extends)}", "default or nothing")
    name = top.get("name", "unnamed")
    if not isinstance(name, str) or not name.strip():
        raise _wrong(f"{source} line {top.lines['name']}: name {_shown(name)}", "a text")
    own = tuple(_checks(top, source))
    _refuse_repeated(own)
    inherited = read_suite("default").checks if extends == "default" else ()
    replaced = {_subject(one) for one in own if one.check.counts}
    kept = (one for one in inherited if _subject(one) not in replaced)
    return Suite(name=" ".join(name.split()), checks=(*kept, *own))


def _checks(top: _Mapping, source: str) -> Iterator[Placed]:
    given = top.get("checks")
    place = f"{source} line {top.lines.get('checks', 1)}"
    tables = _mapping({} if given is None and "checks" in top else given, f"{place}: checks", TABLES)
    for table, listed in tables.items():
        here = f"{source} line {tables.lines[table]}: {table}"
        if listed is not None and not isinstance(listed, list):
            raise _wrong(f"{here} {_shown(listed)}", "a list of checks")
        for given_check in listed or ():
            yield _placed(table, given_check, source, here)


def _placed(table: str, given: Any, source: str, here: str) -> Placed:
    fields = _mapping(given, f"{here}: a check", Check.model_fields, source)
    place = f"{source} line {fields.line}"
    try:
        check = Check.model_validate(dict(fields), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        was = "nothing" if first["type"] == "missing" else _shown(first["input"])
        raise _wrong(f"{source} line {fields.lines.get(key, fields.line)}: {key} {was}", first["msg"]) from None
    _check_review(check, fields, source)
    _check_columns(table, check, place)
    return Placed(table=table, check=check, place=place)


def _check_review(check: Check, fields: _Mapping, source: str) -> None:
    if "reviewed" not in fields:
        return
    place = f"{source} line {fields.lines['reviewed']}"
    if check.reviewed and not check.reviewed_by.strip():
        raise _wrong(f"{place}: reviewed true by nobody", "the name of who reviewed it as reviewed_by")
    if not check.reviewed and check.reviewed_by:
        raise _wrong(f"{place}: reviewed false, and reviewed_by {_shown(check.reviewed_by)}", "one of the two")


def _check_columns(table: str, check: Check, place: str) -> None:
    """Columns are those of our own tables, and regular expressions are some: the rest Great Expectations checks."""
    kwargs = check.kwargs
    if "mostly" in kwargs:
        raise _wrong(f"{place}: mostly among the kwargs", "mostly beside them")
    listed = kwargs.get("column_list") or []
    named = [kwargs[key] for key in COLUMNS if key in kwargs] + (listed if isinstance(listed, list) else [listed])
    condition = kwargs.get("row_condition")
    named += re.findall(r"""col\(["'](.*?)["']\)""", condition) if isinstance(condition, str) else []
    for column in named:
        if not isinstance(column, str) or column not in TABLES[table].columns:
            raise _wrong(f"{place}: column {_shown(column)} of {table}", f"one of {', '.join(TABLES[table].columns)}")
    for pattern in [kwargs.get("regex", ""), *(kwargs.get("regex_list") or [])]:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise _wrong(f"{place}: regex {_shown(pattern)} ({error})", "a regular expression") from None


def _subject(one: Placed) -> bytes:
    """What a check says, without how bad it is: a team's own takes the place of the shipped one on the same subject."""
    return canonical([one.table, one.check.expectation, one.check.kwargs])


def _refuse_repeated(checks: tuple[Placed, ...]) -> None:
    seen: dict[bytes, str] = {}
    for one in checks:
        subject = _subject(one)
        if subject in seen:
            raise _wrong(f"{one.place}: the check of {seen[subject]} again", "each check once")
        seen[subject] = one.place


def _mapping(given: Any, place: str, keys: Any, source: str = "") -> _Mapping:
    """`given`, if it is a mapping with no other keys than `keys`."""
    if isinstance(given, dict) and not given:
        given = _Mapping()
        given.lines = {}
    if not isinstance(given, _Mapping):
        raise _wrong(f"{place} {_shown(given)}", f"a mapping with {', '.join(keys)}")
    unknown = next((key for key in given if key not in keys), None)
    if unknown is not None:
        where = (
            f"{source} line {given.lines[unknown]}" if source else f"{place.partition(' line ')[0]} line {given.lines[unknown]}"
        )
        raise _wrong(f"{where}: key {_shown(unknown)}", f"one of {', '.join(keys)}")
    return given


def _shown(given: Any) -> str:
    return repr(printable(given)) if isinstance(given, str) else printable(given)


def _wrong(given: str, expected: str) -> InputError:
    return InputError(given, expected, NEXT)


def _parsed(body: bytes, source: str) -> Any:
    """The YAML as plain values, mappings with their lines; no tags, no aliases, no key twice."""
    if len(body) > LARGEST:
        raise _wrong(f"{source} of more than {LARGEST:,} bytes", "a suite")
    try:
        node = yaml.compose(body.decode("utf-8"), Loader=_Plain)
        return _value(node, source, 0) if node else _value(yaml.MappingNode("", [], yaml.Mark("", 0, 0, 0, "", 0)), source, 0)
    except UnicodeDecodeError as error:
        raise _wrong(f"{source}: byte {error.start} is no UTF-8", "a YAML file in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark or yaml.Mark("", 0, 0, 0, "", 0)).line + 1
        raise _wrong(f"{source} line {line}: {printable(error.problem or error.context, 200)}", "YAML") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise _wrong(f"{source}: {printable(error, 200)}", "YAML") from None


class _Plain(yaml.SafeLoader):
    """YAML without aliases: with them a few lines can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias, which suites don't have", event.start_mark)
        return super().compose_node(parent, index)


def _value(node: Any, source: str, depth: int) -> Any:
    line = node.start_mark.line + 1
    if depth > DEEPEST:
        raise _wrong(f"{source} line {line}: more than {DEEPEST} levels", "a suite")
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, source, depth + 1) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        return _lined(node, source, depth)
    value = yaml.constructor.SafeConstructor().construct_object(node)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(f"{source} line {line}: {value}", "a finite number")
    return value if isinstance(value, str | int | float | bool | None) else str(value)  # a date as it is compared in SQL


def _lined(node: Any, source: str, depth: int) -> _Mapping:
    found = _Mapping()
    found.line, found.lines = node.start_mark.line + 1, {}
    for key_node, value_node in node.value:
        key, line = _value(key_node, source, depth + 1), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise _wrong(f"{source} line {line}: key {_shown(key)}", "a name")
        if key in found:
            raise _wrong(f"{source} line {line}: key {_shown(key)} again", "each key once")
        found[key] = _value(value_node, source, depth + 1)
        found.lines[key] = line
    return found
