"""One JSON document that holds rows in a list or by key, parsed with one value in memory at a time."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.json_rows import DECODER, checked_row, parse_row
from pipelines.collections.reading.lines import LONGEST, decoded, excerpt, is_text
from pipelines.collections.record import BadRow, Record, SourceFile
from pipelines.errors import InputError

PEEK = 4
"""Blocks of the document by which it is decided where its rows lie."""
NESTED = {"response": "docs", "hits": "hits", "result": "items", "data": "items"}
"""Objects whose list holds the rows, as search engines answer."""
IDS = {"id", "_id", "docid", "doc_id", "docno", "qid", "query_id", "key", "asin", "uuid", "number"}
SPACE = re.compile(r"[ \t\r\n]*")
BY_COLUMN = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"0"\s*:|\{\s*"columns"\s*:\s*\[\s*\{\s*"name"')
"""How pandas' and polars' frames begin as JSON: a column, then a value for each row."""
LIST_OF_OBJECTS = re.compile(r"\[\s*\{")
OUTSIDE = re.compile(r'["{}\[\],]')
DEEPER = {"{": 1, "[": 1, ",": 0, "}": -1, "]": -1}
INSIDE = re.compile(r'["\\]')


@dataclass(frozen=True)
class Element:
    """A value of a list or object."""

    text: str
    """As it is written; of one that is longer than any row may be, the beginning."""
    flaw: str = ""
    value: dict[str, Any] | None = None
    """The object, where it was decoded on the way."""

    @property
    def row(self) -> dict[str, Any] | str:
        """The row that it is, or what is wrong with it."""
        if self.flaw:
            return self.flaw
        return parse_row(self.text) if self.value is None else checked_row(self.value, self.text)


@dataclass
class _Scan:
    """How far into a value a scan has come."""

    depth: int = 0
    inside: bool = False
    """Within a string."""


class JsonDocument:
    """A JSON document, walked from its beginning to its end.

    Raises (walking):
        InputError: it is no JSON where its structure is read, or ends too early.
    """

    def __init__(self, name: str, blocks: Iterator[str], longest: int = LONGEST) -> None:
        self.name, self.item = name, 0
        self._blocks, self._longest = blocks, longest
        self._text, self._at = "", 0

    def peek(self) -> str:
        """The next character that is no space; empty: the end."""
        while True:
            match = SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        block = next(self._blocks, None)
        self._text, self._at = self._text[self._at :] + (block or ""), 0
        return block is not None

    def take(self, sign: str) -> None:
        """Walk over a character that must come next."""
        if self.peek() != sign:
            raise self.broken(f"{sign!r} is missing" if sign else "something follows its end")
        self._at += len(sign)

    def holds_objects(self) -> bool:
        if self.peek() and len(self._text) - self._at < 1000:
            self._more()
        return bool(LIST_OF_OBJECTS.match(self._text, self._at))

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; between two of them its value must be walked over."""
        self.take("{")
        while self.peek() != "}":
            yield self._key()
            if self.peek() != "}":
                self.take(",")
        self.take("}")

    def elements(self) -> Iterator[Element]:
        self.take("[")
        while self.peek() != "]":
            self.item += 1
            yield self.element()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def _key(self) -> str:
        if self.peek() != '"':
            raise self.broken("a key is missing")
        text, over = self._scanned(string=True)
        self.take(":")
        with suppress(ValueError):
            if not over and is_text(text):
                return str(json.loads(text))
        raise self.broken("a key is no text")

    def element(self) -> Element:
        if self.peek() == "{":
            with suppress(ValueError, RecursionError):  # cut off by the block's end, or bad: the scan tells which
                value, end = DECODER.raw_decode(self._text, self._at)
                if end - self._at <= self._longest:
                    text, self._at = self._text[self._at : end], end
                    return Element(text, "" if text.isascii() or is_text(text) else "invalid UTF-8", value)
        text, over = self._scanned()
        flaw = "too long" if over else "" if is_text(text) else "invalid UTF-8"
        return Element(text, flaw)

    def _scanned(self, string: bool = False) -> tuple[str, bool]:
        """Walk over a value by its quotes and brackets alone; returns it, or its beginning and True when it is too long."""
        kept: list[str] = []
        size, scan, done = 0, _Scan(), False
        while not done:
            end, done = _end_of(self._text, self._at, scan, string)
            if size <= self._longest:
                kept.append(self._text[self._at : min(end, self._at + self._longest)])
            size += end - self._at
            self._at = end
            if not done and not self._more():
                raise self.broken("the file ends within a value")
        return "".join(kept), size > self._longest

    def broken(self, reason: str) -> InputError:
        """The error that the document can't be walked further."""
        near = excerpt(self._text[max(0, self._at - 40) : self._at + 40])
        where = f"{self.name} item {self.item:,}" if self.item else self.name
        return InputError(
            f"{where}: {reason} (near {near!r})", "a whole JSON document", "correct it, or write one object a line as JSONL"
        )


def _end_of(text: str, at: int, scan: _Scan, string: bool) -> tuple[int, bool]:
    """Where a value ends in `text`, and whether it does: before the comma or bracket that follows, or after its quote."""
    while match := (INSIDE if scan.inside else OUTSIDE).search(text, at):
        sign, at = match[0], match.end()
        if sign == "\\":
            if at == len(text):
                return at - 1, False  # what it escapes comes with the next block
            at += 1
        elif sign == '"':
            scan.inside = not scan.inside
            if string and not scan.inside:
                return at, True
        elif scan.depth or DEEPER[sign] > 0:
            scan.depth += DEEPER[sign]
        else:
            return at - 1, True
    return len(text), False


@dataclass(frozen=True)
class Shape:
    """Where the rows of a document lie."""

    kind: str
    """"list": in the list at `path`; "map": each value is a row and its key the id; "one": objects one after the other."""
    path: tuple[str, ...] = ()


def shape_of(name: str, beginning: str) -> Shape:
    """Where the rows lie, by the document's beginning.

    Raises:
        InputError: there are several lists of rows, or the values lie by columns.

    >>> shape_of("a.json", '{"count": 2, "data": [{"id": 1}, {"id": 2}]}'), shape_of("a.json", '{"d1": {"text": "a"}}')
    (Shape(kind='list', path=('data',)), Shape(kind='map', path=()))
    """
    document = JsonDocument(name, iter([beginning]))
    if document.peek() == "[":
        return Shape("list")
    entries = _entries(document)
    if BY_COLUMN.match(beginning.lstrip()) or (len(entries) > 1 and all(kind == "list" for _, kind in entries)):
        columns = ", ".join(path[0] for path, _ in entries[:5])
        wanted = 'write it by rows: DataFrame.to_json(..., orient="records", lines=True)'
        raise InputError(f"{name}, whose values lie by columns ({columns})", "a list of rows, or an object a line", wanted)
    lists = [path for path, kind in entries if kind == "rows"]
    if lists and not IDS & {path[0] for path, kind in entries if kind == "scalar"}:
        if len(lists) > 1:
            raise _several(name, lists)
        return Shape("list", lists[0])
    return Shape("map" if all(kind == "object" for _, kind in entries) else "one")


def _entries(document: JsonDocument, within: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """The values of an object by path, each known for what it is; those that the beginning holds."""
    entries: list[tuple[tuple[str, ...], str]] = []
    with suppress(InputError):
        for key in document.members():
            path, sign = (*within, key), document.peek()
            if sign == "{" and not within and key in NESTED:
                inner = [entry for entry in _entries(document, path) if entry == ((key, NESTED[key]), "rows")]
                entries += inner or [(path, "object")]
                continue
            entries.append((path, "rows" if document.holds_objects() else {"{": "object", "[": "list"}.get(sign, "scalar")))
            document.element()
    return entries


def _several(name: str, lists: list[tuple[str, ...]]) -> InputError:
    named = ", ".join(".".join(path) for path in lists)
    given_lists = f"{name} with several lists of objects ({named})"
    return InputError(given_lists, "one list of rows", "write each list to a file of its own")


def read_document(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The rows of a JSON document; the line of each is its place among them.

    Raises:
        InputError: it is no whole JSON document, or the file is damaged.
    """
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        blocks = decoded(stream, file.encoding)
        first = list(islice(blocks, PEEK))
        shape = shape_of(file.name, "".join(first))
        document = JsonDocument(file.name, _blocks(first, blocks), longest)
        for number, (key, element) in enumerate(_row_elements(document, shape), 1):
            row = element.row
            if isinstance(row, str):
                yield BadRow(file.name, number, row, excerpt(element.text))
            else:
                yield Record(file.name, number, row if not key or "id" in row else {"id": key, **row})
        document.take("")


def _blocks(first: list[str], blocks: Iterator[str]) -> Iterator[str]:
    while first:
        yield first.pop(0)
    yield from blocks


def _row_elements(document: JsonDocument, shape: Shape) -> Iterator[tuple[str, Element]]:
    """The elements that are rows, each with its key where it has one."""
    if shape.kind == "list":
        yield from (("", element) for element in _list_elements(document, shape.path))
    elif shape.kind == "map":
        for key in document.members():
            document.item += 1
            yield key, document.element()
    else:
        while document.peek() == "{":
            document.item += 1
            yield "", document.element()


def _list_elements(document: JsonDocument, path: tuple[str, ...]) -> Iterator[Element]:
    """The elements of the list at `path`; what lies beside it must not be another."""
    if not path:
        yield from document.elements()
        return
    for key in document.members():
        if key == path[0]:
            yield from _list_elements(document, path[1:])
        elif document.holds_objects():
            raise _several(document.name, [path, (key,)])
        else:
            document.element()
