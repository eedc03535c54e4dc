"""Who or what is erased, and how it is found in files: by names and by words of its own."""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.store.erasures import SubjectKind

FIRST_WORDS = 8
"""Of a document's text: enough to tell it, few enough to be found where a text was cut."""
PARQUET = b"PAR1"
"""With what files of Parquet begin and end."""
NUMPY = b"\x93NUMPY"
"""With what arrays of numbers begin."""
IDS = r"(?i:(?:[\w-]*[-_]|q|u|doc|document|query|user|item|movie|product|customer|reviewer)?id)|\w*[a-z0-9]I[Dd]"
"""Keys of JSON whose values are ids, also as numbers; a word that ends as they do, such as `paid`, is none."""
FIELDS = rf"{IDS}|(?i:doc|document|query|user|item|product|customer|reviewer)"
"""Keys of JSON whose texts are ids."""


@dataclass(frozen=True)
class Subject:
    """What is looked for. Messages, logs and certificates never repeat it."""

    kind: SubjectKind
    id: str = field(repr=False)
    pseudonyms: tuple[str, ...] = field(default=(), repr=False)
    """Of a user: those in the logs, under all keys that are known."""
    texts: tuple[str, ...] = field(default=(), repr=False)
    """Of a document: titles, and how its texts begin, in all corpora that have it."""
    ordinary: frozenset[str] = field(default=frozenset(), repr=False)
    """Those of its names and texts that others have, too, or that are digits: by them alone nothing can be told."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its id, and its pseudonyms."""
        return (self.id, *self.pseudonyms)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What readable text of a file that holds it matches."""
        words = [word for word in (*self.names, *self.texts) if word not in self.ordinary]
        own = [rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in words]
        return re.compile("|".join([*own, *map(_as_id, self.names)]))

    def found_in(self, text: str) -> bool:
        """Whether readable text holds it."""
        return bool(self.pattern.search(text))

    def in_row(self, row: str) -> bool:
        """Whether a row of a source, as the quarantine keeps it, has one of its names anywhere but within a longer one.

        >>> [Subject("user", "5031").in_row(row) for row in ("5031,17", '{"n": 5031}', "0.5031,17", "15031,17", "5031-a,17")]
        [True, True, False, False, False]
        """
        return any(re.search(rf"(?<![\w-])(?<!\d\.){re.escape(name)}(?![\w-])", row) for name in self.names)

    def in_path(self, act: str) -> bool:
        """Whether the path of a request has one of its names where routes take an id.

        >>> [Subject("user", "search").in_path(act) for act in ("GET /v1/search", "GET /v1/similar/search")]
        [False, True]
        """
        return any(re.search(rf"/v1/\w+/(?:\S+/)?{re.escape(name)}(?![\w-])", act) for name in self.names)


def _as_id(name: str) -> str:
    """A name where only ids stand: as a value of JSON, in an array of JSON, in a run or judgments of TREC."""
    escaped = re.escape(name)
    number = rf'|"(?:{IDS})": ?{escaped}(?:\.0)?(?![\w.])' if name.isdigit() else ""
    quoted = rf'"(?:{FIELDS})": ?"{escaped}"|[\[,] ?"{escaped}" ?[\],]'
    return rf"{quoted}|(?<!\S){escaped} (?:Q0|0) \S| (?:Q0|0) {escaped} {number}"


def beginning(text: str) -> str:
    """How a text begins, with single blanks, as `readable` gives it.

    >>> beginning("a  lamp\\nof brass")
    'a lamp of brass'
    """
    return " ".join(text.split()[:FIRST_WORDS])


def readable(body: bytes) -> str:
    """Text as people wrote it, from JSON, HTML, CSV, TREC, Markdown or Parquet: escapes undone, blanks single; none of vectors.

    >>> readable(b'{"a": "caf\\\\u00e9  &amp; bar"}')
    '{"a": "café & bar"}'
    >>> readable(b'text,"{""id"": ""5031""}"')
    'text,"{"id": "5031"}"'
    """
    if body.startswith(NUMPY):
        return ""
    text = (_rows_of(body) if body[:4] == body[-4:] == PARQUET else body).decode("utf-8", "replace")
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
    text = html.unescape(text.replace(r"\"", '"').replace('""', '"').replace(r"\/", "/").replace(r"\n", " "))
    return " ".join(text.split())


def _rows_of(body: bytes) -> bytes:
    """The rows of Parquet as JSON, for the texts of all columns."""
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(pyarrow.BufferReader(body)).to_pylist()
    return json.dumps(rows, ensure_ascii=False, default=str).encode("utf-8", "replace")


def ordinary_words(words: Iterable[str], texts: str) -> frozenset[str]:
    """Those words that stand in texts which do not hold the subject."""
    return frozenset(word for word in words if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", texts))
