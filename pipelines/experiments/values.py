"""What the values of a column mean: yes and no, numbers, money, times; as an expression of SQL and as a sentence.

A column is read in one way, by all of its different values (the first 2,000 of them). What could mean two things is refused.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import InputError
from pipelines.experiments.staging import StagedLog, quoted
from pipelines.wording import printable

Meaning = Literal["yes or no", "number", "money", "percentage", "time", "text", "empty"]
MOST = 2000
"""Different values by which a column is judged."""
MOST_UNREADABLE = 0.01
"""Of the values that are there, the part that may be no number."""
YES = ("1", "1.0", "yes", "y", "true", "t", "on", "ja", "oui", "si", "sí", "clicked", "converted", "success")
NO = ("0", "0.0", "no", "n", "false", "f", "off", "nein", "non", "not clicked", "not converted", "failure")
NOTHING = ("", "nan", "null", "none", "na", "n/a", "<na>", "nat", "\\n", "#n/a", "-")
SIGNS = r"[$€£¥₹₽₩]|(?:usd|eur|gbp|jpy|chf|inr|cad|aud|brl|pln|sek|kr|zł)"
MONEY = re.compile(rf"\(?-?\s*(?:{SIGNS})\s*-?\d[\d.,' ]*\)?|\(?-?\d[\d.,' ]*\s*(?:{SIGNS})\)?|\(\d[\d.,' ]*\)", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(\d[\d.,' ]*|\.\d+)([eE][+-]?\d+)?")
ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?", re.IGNORECASE
)
SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})(?:[T ]\d{2}:\d{2}(?::\d{2})?)?")
EPOCH = re.compile(r"\d{9,10}(\.\d+)?|\d{13}|\d{16}|\d{19}")


@dataclass(frozen=True)
class Reading:
    """How one column is read."""

    column: str
    meaning: Meaning
    expression: str
    """SQL: a DOUBLE (a number, or 1 for yes), a TIMESTAMPTZ (a time) or a VARCHAR (a text); NULL where nothing is there."""
    said: str = ""
    """What is to be said of it, a sentence; empty: nothing that could be read otherwise."""


def read_column(log: StagedLog, column: str, wanted: str = "") -> Reading:
    """`_read_column`, once for each column: its values are looked at only once."""
    known = log.readings.get((column, wanted))
    if known is None:
        known = log.readings[column, wanted] = _read_column(log, column, wanted)
    return known


def _read_column(log: StagedLog, column: str, wanted: str) -> Reading:
    """How a column is read, by its type and its different values.

    Args:
        log: the staged log.
        column: one of its columns.
        wanted: `number` where nothing but numbers (yes and no, money) will do, `time` likewise.

    Raises:
        InputError: the values could mean two things, or are not what is wanted.
    """
    kind, name = log.columns[column].upper(), quoted(column)
    if kind.startswith(("TIMESTAMP", "DATE")):
        return Reading(column, "time", f"CAST({name} AS TIMESTAMPTZ)")
    if kind == "BOOLEAN":
        return Reading(column, "yes or no", f"CAST({name} AS DOUBLE)")
    if kind != "VARCHAR":
        return _native_number(log, column, wanted)
    text = f"lower(trim({name}))"
    values = _different(log, text)
    reading = _read_text(column, name, text, values, wanted)
    if wanted and reading.meaning not in (("time",) if wanted == "time" else ("yes or no", "number", "money", "percentage")):
        raise _unfit(column, values, wanted)
    return reading


def _different(log: StagedLog, text: str) -> list[str]:
    nothing = ", ".join(f"'{value}'" for value in NOTHING)
    rows = log.db.execute(
        f"SELECT DISTINCT v FROM (SELECT {text} AS v FROM log) WHERE v IS NOT NULL AND v NOT IN ({nothing}) LIMIT {MOST}"
    ).fetchall()
    return sorted(str(row[0]) for row in rows)


def _native_number(log: StagedLog, column: str, wanted: str) -> Reading:
    name = quoted(column)
    number = f"CASE WHEN isfinite(CAST({name} AS DOUBLE)) THEN CAST({name} AS DOUBLE) END"
    low, high, whole = log.db.execute(
        f"SELECT min(x), max(x), bool_and(x = round(x)) FROM (SELECT {number} AS x FROM log)"
    ).fetchone() or (None, None, None)
    if low is None:
        return Reading(column, "empty", number)
    if wanted == "time":
        return _epoch(column, name, [str(int(low)), str(int(high))])
    if whole and (low, high) in ((0, 1), (0, 0), (1, 1)):
        return Reading(column, "yes or no", number)
    return Reading(column, "number", number)


def _read_text(column: str, name: str, text: str, values: list[str], wanted: str) -> Reading:
    if not values:
        return Reading(column, "empty", "CAST(NULL AS DOUBLE)")
    if set(values) <= {*YES, *NO} and wanted != "time":
        return _yes_or_no(column, text, values)
    if wanted != "number" and (reading := _time(column, name, text, values, wanted)):
        return reading
    money = [value for value in values if MONEY.fullmatch(value)]
    numbers = [value for value in values if NUMBER.fullmatch(value)]
    if len(money) + len(numbers) >= (1 - MOST_UNREADABLE) * len(values) and (money or numbers) and wanted != "time":
        return _number(column, text, [*money, *numbers], bool(money))
    if wanted != "time" and all(value.endswith("%") and NUMBER.fullmatch(value[:-1].strip()) for value in values):
        plain = _number(column, f"rtrim({text}, '% ')", [value[:-1].strip() for value in values], False)
        return Reading(column, "percentage", f"({plain.expression} / 100)", f"{column}: 5 % is read as 0.05.")
    return Reading(column, "text", f"nullif(trim({name}), '')")


def _yes_or_no(column: str, text: str, values: list[str]) -> Reading:
    yes, no = (", ".join(f"'{value}'" for value in words) for words in (YES, NO))
    said = ""
    if set(values) - {"0", "1"}:
        shown = [value for value in values if value in YES], [value for value in values if value in NO]
        said = f"{column}: {', '.join(shown[0]) or 'nothing'} is read as yes, {', '.join(shown[1]) or 'nothing'} as no."
    return Reading(column, "yes or no", f"CASE WHEN {text} IN ({yes}) THEN 1.0 WHEN {text} IN ({no}) THEN 0.0 END", said)


def _number(column: str, text: str, values: list[str], money: bool) -> Reading:
    signs = sorted({sign.lower() for value in values for sign in re.findall(SIGNS, value, re.IGNORECASE)})
    if len(signs) > 1:
        raise InputError(
            f"column {column} with amounts in {', '.join(signs)}",
            "one currency",
            "convert the amounts, or leave the column out",
        )
    decimal, grouped = _separators(column, values)
    bare = f"regexp_replace({text}, '{SIGNS}|[ '']', '', 'gi')" if money or grouped == " " else text
    bare = f"regexp_replace({bare}, '^\\((.*)\\)$', '-\\1')" if money else bare
    if grouped and grouped != " ":
        bare = f"replace({bare}, '{grouped}', '')"
    if decimal == ",":
        bare = f"replace({bare}, ',', '.')"
    number = f"TRY_CAST({bare} AS DOUBLE)"
    said = []
    if money:
        said.append(f"amounts in {signs[0] if signs else 'brackets'}, brackets are negative")
    if grouped or decimal == ",":
        said.append(f"“{decimal}” is the decimal sign" if decimal else f"“{grouped}” parts thousands")
    finite = f"CASE WHEN isfinite({number}) THEN {number} END"
    return Reading(column, "money" if money else "number", finite, f"{column}: {'; '.join(said)}." if said else "")


def _separators(column: str, values: list[str]) -> tuple[str, str]:
    """The decimal sign and the one between thousands, each perhaps empty.

    >>> _separators("x", ["1,234.50", "3.1"]), _separators("x", ["1.234,5"]), _separators("x", ["3,5", "0,25"])
    (('.', ','), (',', '.'), (',', ''))
    """
    digits = [re.sub(rf"{SIGNS}|[()+\-\s']", "", value, flags=re.IGNORECASE) for value in values]
    comma_last = [value for value in digits if "," in value and value.rfind(",") > value.rfind(".")]
    point_last = [value for value in digits if "." in value and value.rfind(".") > value.rfind(",")]
    decimal_comma = any("." in value or not re.fullmatch(r"\d{1,3}(,\d{3})+", value) for value in comma_last)
    decimal_point = any("," in value or not re.fullmatch(r"\d{1,3}(\.\d{3})+", value) for value in point_last)
    if decimal_comma and decimal_point:
        raise InputError(
            f"column {column} with {comma_last[0]!r} beside {point_last[0]!r}",
            "one decimal sign",
            "write the numbers in one way",
        )
    if decimal_comma:
        return ",", "." if any("." in value for value in digits) else ""
    if comma_last and not point_last:  # 1,234 alone: no decimal number has always three digits behind its sign
        if len(comma_last) < 3 and not any(value.count(",") > 1 for value in comma_last):
            raise InputError(
                f"column {column} with {comma_last[0]!r}, a number in the thousands or one with three decimals",
                "numbers that can be read in one way only",
                "write them without signs between thousands and with a point before decimals",
            )
        return "", ","
    return ".", "," if any("," in value for value in digits) else ""


def _time(column: str, name: str, text: str, values: list[str], wanted: str) -> Reading | None:
    matches = [ISO.fullmatch(value) for value in values]
    if sum(match is not None for match in matches) >= (1 - MOST_UNREADABLE) * len(values):
        offsets = {(match[1] or "").upper() for match in matches if match}
        if "" in offsets and len(offsets) > 1 and any(len(value) > 10 for value in values):
            zones = ", ".join(sorted(offsets - {""}))
            raise InputError(
                f"column {column} with times in {zones} and times without an offset",
                "times of one kind: all with their offset from UTC, or none",
                "add the offset to every time",
            )
        several = f"{column}: times of the offsets {', '.join(sorted(offsets))} are all converted to UTC."
        said = several if len(offsets) > 1 else f"{column}: times without an offset are read as UTC." if "" in offsets else ""
        stamp = (
            f"regexp_replace(regexp_replace(trim({name}), '(?i)\\s*(UTC|GMT)$', '+00:00'), '([+-]\\d\\d)(\\d\\d)$', '\\1:\\2')"
        )
        return Reading(column, "time", f"TRY_CAST({stamp} AS TIMESTAMPTZ)", said)
    if all(SLASHED.fullmatch(value) for value in values):
        return _slashed(column, name, values)
    epochs = all(EPOCH.fullmatch(value) for value in values)
    return _epoch(column, f"TRY_CAST({text} AS DOUBLE)", values) if wanted == "time" and epochs else None


def _slashed(column: str, name: str, values: list[str]) -> Reading:
    parts = [SLASHED.fullmatch(value) for value in values]
    first = max(int(part[1]) for part in parts if part)
    second = max(int(part[2]) for part in parts if part)
    if first <= 12 and second <= 12:
        raise InputError(
            f"column {column} with dates such as {values[0]!r}, day or month first",
            "dates that can be read in one way",
            "write 2026-01-31",
        )
    order = "%d{0}%m{0}%Y" if first > 12 else "%m{0}%d{0}%Y"
    formats = [order.format(sign) + time for sign in "/." for time in (" %H:%M:%S", " %H:%M", "")]
    listed = ", ".join(f"'{form}'" for form in formats)
    said = f"{column}: the {'day' if first > 12 else 'month'} comes first, and times are read as UTC."
    return Reading(column, "time", f"CAST(try_strptime(trim({name}), [{listed}]) AS TIMESTAMPTZ)", said)


def _epoch(column: str, number: str, values: list[str]) -> Reading:
    digits = {len(value.partition(".")[0].lstrip("-")) for value in values}
    if max(digits) <= 8 and min(digits) == 8 and all(value[:2] in ("19", "20") for value in values):
        stamp = f"CAST(try_strptime(CAST(CAST({number} AS BIGINT) AS VARCHAR), '%Y%m%d') AS TIMESTAMPTZ)"
        return Reading(column, "time", stamp, f"{column}: numbers are read as dates, YYYYMMDD.")
    for most, factor, unit in (
        (10, 1, "seconds"),
        (13, 1e3, "milliseconds"),
        (16, 1e6, "microseconds"),
        (19, 1e9, "nanoseconds"),
    ):
        if max(digits) <= most and min(digits) > most - 2:
            return Reading(column, "time", f"to_timestamp({number} / {factor:g})", f"{column}: {unit} since 1970, UTC.")
    raise _unfit(column, values, "time")


def _unfit(column: str, values: list[str], wanted: str) -> InputError:
    shown = ", ".join(repr(printable(value, 30)) for value in values[:3]) or "nothing"
    expected = "times" if wanted == "time" else "numbers, amounts, or yes and no"
    return InputError(f"column {column} with {shown}", expected, "name another column, or correct the values")
