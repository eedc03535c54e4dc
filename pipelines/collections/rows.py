"""From a record, as it was read, to the row of its role: taken from its columns, checked, or refused with a reason."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from pipelines.collections.record import Part, Record, Role
from pipelines.corpus.documents import query_id
from pipelines.corpus.text_rules import CONTROL_CHARACTERS, LONGEST_ID, LONGEST_QUERY, WHITE_SPACE, query_too_long

SPLITS = {"train": "train", "training": "train", "dev": "train", "valid": "train", "validation": "train", "test": "test"}
MILLISECONDS = 100_000_000_000
"""Seconds since 1970 stay below this until the year 5138: a larger time counts milliseconds, or smaller parts."""

Row = tuple[Any, ...]
Values = Callable[[str], Any]


class Unfit(Exception):
    """A row that can't be used; says why in a few words that don't vary with the row."""


def document_row(values: Values, longest: int) -> Row:
    """id, text, title, segment, picture, known: the last is a held-out text that known-item queries are made from."""
    text = text_of(values("text"), "text", longest)
    if not text:
        raise Unfit("empty text")
    title, segment, picture, known = (text_of(values(name), name, longest) for name in ("title", "segment", "picture", "known"))
    given = values("id")
    return (made_id("d-", text) if given is None else id_of(given), text, title, segment, picture, known)


def query_row(values: Values, longest: int) -> Row:
    """id, text, split; a query without an id gets one from its text."""
    text = query_text(values("text"), "text", longest)
    given = values("id")
    return (query_id(text) if given is None else id_of(given), text, split_named(values("split")))


def query_text(given: Any, name: str, longest: int) -> str:
    """The text of a query that the server would answer, as the file has it."""
    text = text_of(given, name, longest)
    if not text:
        raise Unfit(f"empty {name}")
    if query_too_long(text):
        raise Unfit(f"query of more than {LONGEST_QUERY} characters, which the server refuses")
    return text


def qrel_row(values: Values, longest: int) -> Row:
    """query, document, grade as it was written, split; an empty grade is no judgment.

    Where queries or documents have no id, their text names them by the id that is made from it.
    """
    given = values("query")
    query = query_id(query_text(values("query_text"), "query", longest)) if given is None else id_of(given, "query id")
    named, grade = values("document"), values("grade")
    if named is None:
        document = made_id("d-", text_of(values("document_text"), "text", longest))
    else:
        document = id_of(named, "document id")
    return (query, document, "1" if grade is None else text_of(grade, "grade", 100),
            split_named(values("split")))  # fmt: skip


def interaction_row(values: Values, longest: int) -> Row:  # noqa: ARG001  # one signature for all roles
    """user, document, time in seconds since 1970 (UTC), value."""
    user, document = id_of(values("user"), "user id"), id_of(values("document"), "document id")
    value = values("value")
    return (user, document, seconds_of(values("time")), 1.0 if value in (None, "") else number_of(value, "value"))


ROWS: dict[Role, Callable[[Values, int], Row]] = {
    "documents": document_row,
    "queries": query_row,
    "qrels": qrel_row,
    "interactions": interaction_row,
}
"""How a row of each role is made; a user's is made of the whole record."""


def row_of(part: Part, record: Record, longest: int) -> Row:
    """The row that `part` makes of a record.

    Raises:
        Unfit: the record does not fit its role.
    """

    def values(name: str) -> Any:
        columns = part.columns.get(name)
        if not columns:
            return None
        if len(columns) == 1:
            found = record.fields.get(columns[0])
            return "" if found is None else found  # None is left to say that the layout has no such column
        return [record.fields.get(column) for column in columns]

    return user_row(part, record, longest) if part.role == "users" else ROWS[part.role](values, longest)


def user_row(part: Part, record: Record, longest: int) -> Row:
    """id, and as JSON what is known of the user by name."""
    given = record.fields.get(part.columns["id"][0], "")
    named = part.columns.get("fields") or tuple(name for name in record.fields if name not in part.columns["id"])
    known = {name: text_of(record.fields.get(name), name, longest) for name in named}
    return (id_of(given, "user id"), json.dumps(known, sort_keys=True, ensure_ascii=False))


def id_of(given: Any, name: str = "id") -> str:
    """An id as text, without the blanks around it.

    >>> id_of(" a7 "), id_of(12)
    ('a7', '12')
    """
    if isinstance(given, float):
        raise Unfit(f"{name} is a float")  # 1e16 and 1e16 + 1 are one float: such ids can't be told apart
    if isinstance(given, bool) or not isinstance(given, (str, int, type(None))):
        raise Unfit(f"{name} of a wrong type")
    found = "" if given is None else str(given).strip()
    if not found:
        raise Unfit(f"missing {name}")
    if len(found) > LONGEST_ID:
        raise Unfit(f"{name} too long")
    if WHITE_SPACE.search(found) or CONTROL_CHARACTERS.search(found):
        raise Unfit(f"{name} with white space or control characters")
    return found


def made_id(prefix: str, text: str) -> str:
    """An id from a text, for documents that have none.

    >>> made_id("d-", "red shoe")
    'd-6e4f1f24b6a7'
    """
    return prefix + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def text_of(given: Any, name: str, longest: int) -> str:
    """A value as text: nothing is empty, a list's items are joined by a space.

    >>> text_of(["red", None, 7, float("nan")], "text", 100)
    'red 7'
    """
    if isinstance(given, str):
        found = given.strip()
    elif given is None or (isinstance(given, float) and math.isnan(given)):
        return ""
    elif isinstance(given, (list, tuple)):
        found = " ".join(filter(None, (text_of(one, name, longest) for one in given)))
    elif isinstance(given, (dict, bytes)):
        raise Unfit(f"{name} of a wrong type")
    else:
        found = str(given)
    if len(found) > longest:
        raise Unfit(f"{name} too long")
    return found


def split_named(given: Any) -> str:
    """The side of the split that a row names; empty: none, or a word that is none.

    >>> split_named("Dev"), split_named(None)
    ('train', '')
    """
    return SPLITS.get(str(given).strip().lower(), "") if given else ""


def number_of(given: Any, name: str) -> float:
    """A finite number.

    >>> number_of("4.5", "value")
    4.5
    """
    try:
        found = float(given)
    except (TypeError, ValueError):
        raise Unfit(f"{name} that is no number") from None
    if not math.isfinite(found):
        raise Unfit(f"{name} that is no number")
    return found


def seconds_of(given: Any) -> int:
    """Seconds since 1970 (UTC), of a number (of seconds or smaller parts) or an ISO time; without an offset it is UTC.

    >>> seconds_of("874965758"), seconds_of(1577836800000), seconds_of("2020-01-01T01:00:00+01:00")
    (874965758, 1577836800, 1577836800)
    """
    if isinstance(given, str) and not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", given.strip()):
        given = _moment(given.strip())
    if isinstance(given, date) and not isinstance(given, datetime):
        given = datetime(given.year, given.month, given.day, tzinfo=UTC)
    if isinstance(given, datetime):
        return int((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp())
    if given is None or given == "":
        raise Unfit("missing time")
    found = number_of(given, "time")
    while abs(found) >= MILLISECONDS:
        found /= 1000
    return int(found)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(re.sub(r"\s*(UTC|GMT)$", "+00:00", text))
    except ValueError:
        raise Unfit("time that is no time") from None
