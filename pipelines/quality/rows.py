"""What a line of each file becomes: rows of the tables.

A value of a wrong type becomes NULL, so that a check can report it; a line that is not a row is an UnreadableRow.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.quality.staging import Row, StagingFile

Rows = Iterator[tuple[str, Row]]
RowReader = Callable[[StagingFile, int, Any], Rows]
"""The rows of a line, by its number and what it was split into."""


class UnreadableRow(ValueError):
    """A line that is not a row, with the reason in a few words."""


def json_row(line: bytes) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        UnreadableRow: there is none.
    """
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise UnreadableRow("invalid UTF-8") from None
    except (ValueError, RecursionError):
        raise UnreadableRow("no JSON") from None
    if not isinstance(row, dict):
        raise UnreadableRow("no JSON object")
    return row


def _qrel_fields(line: bytes) -> list[str]:
    fields = line.decode("utf-8", "replace").rstrip("\n").split(" ")
    if len(fields) != 4:
        raise UnreadableRow("not four fields")
    return fields


def text_or_null(value: Any) -> str | None:
    """A text, else NULL; so is an empty one. Lone surrogates, which SQLite can't hold, become question marks."""
    if not isinstance(value, str) or not value:
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def integer_or_null(value: Any) -> int | None:
    """An integer of 64 bits, else NULL."""
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def number_or_null(value: Any) -> float | None:
    """A finite number, else NULL."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def time_or_null(value: Any) -> datetime | None:
    """An ISO 8601 time with an offset from UTC, else NULL."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time if time and time.tzinfo else None
    except ValueError:
        return None


def content_digest(text: str | None) -> str | None:
    """32 hexadecimal digits that are equal for equal texts."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]


def _text_columns(text: str | None) -> Row:
    """The columns characters, words, content and language of a text; the language is filled in later."""
    return (0, 0, None, None) if text is None else (len(text), len(text.split()), content_digest(text), None)


def _document(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    text = text_or_null(row.get("text"))
    yield (
        "documents",
        (
            line,
            _required_text(row),
            text,
            text_or_null(row.get("title")),
            text_or_null(row.get("segment")),
            *_text_columns(text),
            0,
        ),
    )


def _query(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    text, history = text_or_null(row.get("text")), row.get("history") or ()
    origin = (int(bool(row.get("synthetic"))), len(history) if isinstance(history, list) else None)
    yield "queries", (line, _required_text(row), text, text_or_null(row.get("split")), *_text_columns(text), *origin, 0, 0)


def _required_text(row: Mapping[str, Any], name: str = "id") -> str:
    text = text_or_null(row.get(name))
    if text is None:
        raise UnreadableRow(f"no {name}")
    return text


def _qrel(_: StagingFile, line: int, fields: list[str]) -> Rows:
    query, _run, document, grade = fields
    number = grade.removeprefix("-")
    value = integer_or_null(int(grade)) if number.isascii() and number.isdigit() and len(number) < 20 else None
    yield "qrels", (line, query, document, value, None, None)


def _interaction(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    time = integer_or_null(row.get("time"))
    age = None if time is None else staged.days_old(datetime(1970, 1, 1, tzinfo=UTC)) - time / 86_400  # type: ignore[operator]
    value = number_or_null(row.get("value", 1.0))  # the default is left out of the file
    yield "interactions", (line, _required_text(row, "user"), text_or_null(row.get("document")), time, value, age, None, None)


def _user(_: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    fields = row.get("fields")
    fields = fields if isinstance(fields, dict) else {}
    user = _required_text(row)
    yield "users", (line, user, len(fields), 0)
    for name, value in fields.items():
        yield "user_fields", (line, user, text_or_null(name), text_or_null(value))


def _exposure(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    request, results, query = _required_text(row, "request_id"), row.get("results"), text_or_null(row.get("query"))
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise UnreadableRow("results that are no list of objects")
    positions = [integer_or_null(result.get("position")) for result in results]
    distinct = int(len(set(positions)) == len(positions) and None not in positions)
    yield (
        "exposures",
        (
            line,
            request,
            text_or_null(row.get("at")),
            staged.days_old(time_or_null(row.get("at"))),
            text_or_null(row.get("user")),
            query,
            content_digest(query),
            text_or_null(row.get("release")),
            text_or_null(row.get("policy")),
            integer_or_null(row.get("entry")),
            len(results),
            distinct,
        ),
    )
    for result, position in zip(results, positions, strict=True):
        scores = (number_or_null(result.get("score")), number_or_null(result.get("propensity")))
        yield "shown", (line, request, text_or_null(result.get("document")), position, *scores, None)


def _click(staged: StagingFile, line: int, row: dict[str, Any]) -> Rows:
    at = row.get("at")
    clicked = (_required_text(row, "request_id"), text_or_null(row.get("document")), integer_or_null(row.get("position")))
    yield "clicks", (line, *clicked, text_or_null(at), staged.days_old(time_or_null(at)), 0, 0)


CORPUS_FILES: Mapping[str, tuple[RowReader, Callable[[bytes], Any]]] = {
    "documents.jsonl": (_document, json_row),
    "queries.jsonl": (_query, json_row),
    "qrels.txt": (_qrel, _qrel_fields),
    "interactions.jsonl": (_interaction, json_row),
    "users.jsonl": (_user, json_row),
}
EVENT_FILES: Mapping[str, RowReader] = {"exposures.jsonl": _exposure, "clicks.jsonl": _click}
