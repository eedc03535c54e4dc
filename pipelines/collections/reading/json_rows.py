"""JSON objects as rows, and files that hold one a line."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.lines import LONGEST, FlawedLine, Lines, excerpt, is_text
from pipelines.collections.record import BadRow, Record, SourceFile

SUSPECT = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


class _DuplicateKey(ValueError):
    """A key stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _DuplicateKey
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def flattened(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of an object by path; lists stay as they are.

    Raises:
        ValueError: two paths are the same.

    >>> flattened({"id": 1, "meta": {"year": 1999, "tags": ["a"]}})
    {'id': 1, 'meta.year': 1999, 'meta.tags': ['a']}
    """
    flat: dict[str, Any] = {}
    for key, value in row.items():
        inner = flattened(value, f"{prefix}{key}.") if type(value) is dict and value else {prefix + key: value}
        if not flat.keys().isdisjoint(inner):
            raise _DuplicateKey
        flat.update(inner)
    return flat


def parse_row(text: str) -> dict[str, Any] | str:
    """The row that a JSON text is, or what is wrong with it.

    >>> parse_row('{"id": 1}'), parse_row('[1]'), parse_row('{"id": 1, "id": 2}'), parse_row('{"id"')
    ({'id': 1}, 'not an object', 'a key given twice', 'not JSON')
    """
    try:
        value = DECODER.decode(text)
        return checked_row(value, text) if type(value) is dict else "not an object"
    except _DuplicateKey:
        return "a key given twice"
    except RecursionError:
        return "nested too deep"
    except ValueError:
        return "not JSON"


def checked_row(row: dict[str, Any], text: str) -> dict[str, Any] | str:
    """A decoded object as a row, unless its text hid what no text may hold."""
    if any(type(value) is dict for value in row.values()):
        try:
            row = flattened(row)
        except _DuplicateKey:
            return "a key given twice"
    if SUSPECT.search(text) and (reason := _flaw_in(row)):
        return reason
    return row


def _flaw_in(row: dict[str, Any]) -> str:
    texts = list(_texts(row))
    if not all(map(is_text, texts)):
        return "half a character"
    return "a NUL character" if any("\0" in text for text in texts) else ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _bulk_action(row: dict[str, Any]) -> str | None:
    """The id in an action line of Elasticsearch's bulk format, which may be empty; None: it is none."""
    for action in ("index", "create", "update", "delete"):
        names = {f"{action}.{name}" for name in ("_id", "_index", "_type", "routing", "_routing")}
        if row == {action: {}} or (row.keys() & names and row.keys() <= names):
            return str(row.get(f"{action}._id", ""))
    return None


def read_lines(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The objects of a JSONL file, one a line; blank lines are none.

    In Elasticsearch's bulk format an action line has the id of the document on the line that follows.
    """
    name, id_ = file.name, ""
    with expanded(file.path, name, file.compression, file.member) as stream:
        for number, line in enumerate(Lines(stream, file.encoding, longest), 1):
            if isinstance(line, FlawedLine):
                yield BadRow(name, number, line.reason, excerpt(line))
            elif line and not line.isspace():
                row = parse_row(line)
                if isinstance(row, dict) and (action := _bulk_action(row)) is not None:
                    id_ = action
                    continue
                row = {"_id": id_, **row} if id_ and isinstance(row, dict) else row
                id_ = ""
                yield BadRow(name, number, row, excerpt(line)) if isinstance(row, str) else Record(name, number, row)
