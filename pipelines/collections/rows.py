"""From a record, as it was read, to the row of its role: taken from its columns, checked, or refused with a reason."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from pipelines.collections.record import FilePart, Record, Role
from pipelines.collections.schema.name_lists import SPLIT_NAMES
from pipelines.corpus.documents import query_id
from pipelines.corpus.text_rules import CONTROL_CHARACTERS, LONGEST_ID, LONGEST_QUERY, WHITE_SPACE, query_too_long

MILLISECONDS = 100_000_000_000
"""Seconds since 1970 stay below this until the year 5138: a larger time counts milliseconds, or smaller parts."""

NOTHING = re.compile(
    r"(?i:nan|<(na|null|none)>|nat|\(?null\)?|undefined|\\n|#?n/a|n\.a\.?|#na|#(ref|value|name|null|num)[!?]|#div/0!)|None|NA|[-–—]{1,3}"
)
"""What pandas, R, MySQL and spreadsheets write for an empty cell."""
COMPACT_DATE = re.compile(r"(19|20)\d{6}(\d{4}(\d\d)?)?")
"""YYYYMMDD, with HHMM or HHMMSS after it: as seconds it would lie in 1970, or beyond the year 2500."""

Row = tuple[Any, ...]
Values = Callable[[str], Any]


class InvalidRow(Exception):
    """A row that can't be used; says why in a few words that don't vary with the row."""


def document_row(values: Values, longest: int) -> Row:
    """id, text, title, segment, picture, known: the last is a held-out text that known-item queries are made from."""
    text = text_value(values("text"), "text", longest)
    if not text:
        raise InvalidRow("empty text")
    title, segment, picture, known = (
        text_value(values(name), name, longest) for name in ("title", "segment", "picture", "known")
    )
    value = values("id")
    return (id_from_text("d-", text) if value is None else id_value(value), text, title, segment, picture, known)


def query_row(values: Values, longest: int) -> Row:
    """id, text, split; a query without an id gets one from its text."""
    text = query_text(values("text"), "text", longest)
    value = values("id")
    return (query_id(text) if value is None else id_value(value), text, split_value(values("split")))


def query_text(value: Any, name: str, longest: int) -> str:
    """The text of a query that the server would answer, as the file has it."""
    text = text_value(value, name, longest)
    if not text:
        raise InvalidRow(f"empty {name}")
    if query_too_long(text):
        raise InvalidRow(f"query of more than {LONGEST_QUERY} characters, which the server refuses")
    return text


def qrel_row(values: Values, longest: int) -> Row:
    """query, document, grade as it was written, split; an empty grade is no judgment.

    Where queries or documents have no id, their text names them by the id that is made from it.
    """
    value = values("query")
    query = query_id(query_text(values("query_text"), "query", longest)) if value is None else id_value(value, "query id")
    named, grade = values("document"), values("grade")
    if named is None:
        document = id_from_text("d-", text_value(values("document_text"), "text", longest))
    else:
        document = id_value(named, "document id")
    written = "1" if grade is None else text_value(grade, "grade", 100)
    return (query, document, written, split_value(values("split")))


def interaction_row(values: Values, longest: int) -> Row:  # noqa: ARG001  # one signature for all roles
    """user, document, time in seconds since 1970 (UTC), value."""
    user, document = id_value(values("user"), "user id"), id_value(values("document"), "document id")
    value = values("value")
    return (user, document, seconds_of(values("time")), 1.0 if value in (None, "") else number_value(value, "value"))


ROWS: dict[Role, Callable[[Values, int], Row]] = {
    "documents": document_row,
    "queries": query_row,
    "qrels": qrel_row,
    "interactions": interaction_row,
}
"""How a row of each role is made; a user's is made of the whole record."""


def role_row(part: FilePart, record: Record, longest: int) -> Row:
    """The row that `part` makes of a record.

    Raises:
        Unfit: the record does not fit its role.
    """

    def values(name: str) -> Any:
        columns = part.columns.get(name)
        if not columns:
            return None
        if len(columns) == 1:
            value = record.fields.get(columns[0])
            return "" if value is None else value  # None is left to say that the layout has no such column
        return [record.fields.get(column) for column in columns]

    if part.role == "users":
        return user_row(part, record, longest)
    row = ROWS[part.role](values, longest)
    return (*row, facets_of(part, record, longest)) if part.role == "documents" else row


def facets_of(part: FilePart, record: Record, longest: int) -> str | None:
    """A document's facets by the names of their columns, as JSON; none where it has no value in any."""
    values = {name: text_value(record.fields.get(name), name, longest) for name in part.columns.get("facet", ())}
    known = {name: value for name, value in values.items() if value}
    return json.dumps(known, sort_keys=True, ensure_ascii=False) if known else None


def user_row(part: FilePart, record: Record, longest: int) -> Row:
    """id, and as JSON what is known of the user by name."""
    value = record.fields.get(part.columns["id"][0], "")
    named = part.columns.get("fields") or tuple(name for name in record.fields if name not in part.columns["id"])
    known = {name: text_value(record.fields.get(name), name, longest) for name in named}
    return (id_value(value, "user id"), json.dumps(known, sort_keys=True, ensure_ascii=False))


def id_value(value: Any, name: str = "id") -> str:
    """An id as text, without the blanks around it.

    >>> id_value(" a7 "), id_value(12)
    ('a7', '12')
    """
    if isinstance(value, float):
        raise InvalidRow(f"{name} is a float")  # 1e16 and 1e16 + 1 are one float: such ids can't be told apart
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise InvalidRow(f"{name} of a wrong type")
    text = "" if value is None else str(value).strip()
    if not text or NOTHING.fullmatch(text):
        raise InvalidRow(f"missing {name}")
    if len(text) > LONGEST_ID:
        raise InvalidRow(f"{name} too long")
    if WHITE_SPACE.search(text) or CONTROL_CHARACTERS.search(text):
        raise InvalidRow(f"{name} with white space or control characters")
    return text


def id_from_text(prefix: str, text: str) -> str:
    """An id from a text, for documents that have none.

    >>> id_from_text("d-", "red shoe")
    'd-6e4f1f24b6a7'
    """
    return prefix + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def text_value(value: Any, name: str, longest: int) -> str:
    """A value as text: nothing is empty, a list's items are joined by a space.

    >>> text_value(["red", None, 7, float("nan")], "text", 100)
    'red 7'
    """
    if isinstance(value, str):
        text = "" if NOTHING.fullmatch(value.strip()) else value.strip()
    elif value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    elif isinstance(value, (list, tuple)):
        text = " ".join(filter(None, (text_value(item, name, longest) for item in value)))
    elif isinstance(value, (dict, bytes)):
        raise InvalidRow(f"{name} of a wrong type")
    else:
        text = str(value)
    if len(text) > longest:
        raise InvalidRow(f"{name} too long")
    return text


def split_value(value: Any) -> str:
    """The side of the split that a row names; empty: none, or a word that is none.

    >>> split_value("Dev"), split_value(None)
    ('dev', '')
    """
    return SPLIT_NAMES.get(str(value).strip().lower(), "") if value else ""


def number_value(value: Any, name: str) -> float:
    """A finite number.

    >>> number_value("4.5", "value")
    4.5
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidRow(f"{name} that is no number") from None
    if not math.isfinite(number):
        raise InvalidRow(f"{name} that is no number")
    return number


def seconds_of(value: Any) -> int:
    """Seconds since 1970 (UTC), of a number (of seconds or smaller parts), a compact date or an ISO time; no offset is UTC.

    >>> seconds_of("874965758"), seconds_of(1577836800000), seconds_of("2020-01-01T01:00:00+01:00"), seconds_of(20200101)
    (874965758, 1577836800, 1577836800, 1577836800)
    """
    if COMPACT_DATE.fullmatch(digits := str(value).strip()):
        with suppress(InvalidRow):
            value = _moment(f"{digits[:8]}T{digits[8:] or '00'}") or value
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", value.strip()):
        value = _moment(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if value is None or value == "":
        raise InvalidRow("missing time")
    seconds = number_value(value, "time")
    while abs(seconds) >= MILLISECONDS:
        seconds /= 1000
    return int(seconds)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(re.sub(r"\s*(UTC|GMT)$", "+00:00", text))
    except ValueError:
        raise InvalidRow("time that is no time") from None
