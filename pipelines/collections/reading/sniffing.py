"""What a file is: its format, delimiter, header and encoding, by its name and its beginning."""

import codecs
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath

from pipelines.collections.reading.compression import SUFFIXES, Expanded, expanded
from pipelines.collections.reading.delimited import ATOMIC, Rows
from pipelines.collections.reading.lines import Encoding, Lines
from pipelines.collections.reading.sources import FORMS, LocalFile
from pipelines.collections.reading.trec import QRELS, TOPIC_LINE, judgment_cells
from pipelines.collections.record import SourceFile
from pipelines.errors import InputError

HEAD = 1 << 20
"""Bytes by which a file is judged."""
ROWS = 200
BLANK = b" \t\r\n\0"
MOST_CONTROLS = 0.02
"""Of the first bytes, the part that may be control characters in a text."""
TABULAR = {".csv", ".tsv", ".tab", ".psv", ".inter", ".item", ".user"}
TABBED = {".tsv", ".tab", ".inter", ".item", ".user"}
LINES = {".jsonl", ".ndjson", ".jl", ".jsonlines"}
LATIN = re.compile(r"u\.(item|user|genre|occupation|info)|(movies|users)\.dat")
"""Files of MovieLens, which are known to be latin-1; any other file that is no UTF-8 says nothing of what it is instead."""
DELIMITERS = ("\t", "::", ",", ";", "|")
NEVER_IN_TEXT = DELIMITERS[:2]
ALWAYS_QUOTED = (",", ";")
MOST = 0.9
SOME = 0.6
NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|\.\d+)([eE][+-]?\d+)?%?")
YEAR = re.compile(r"(19|20)\d\d")
ADDRESS = re.compile(r"[a-z]+://\S+", re.IGNORECASE)
LONG = 60
"""Characters: nobody names a column so."""
ONLY_COLUMNS = {"text", "title", "query", "id", "document", "content", "body", "question", "name", "passage", "sentence"}
"""Names by which the only column of a file is known to be named."""
DOCUMENT = re.compile(r"<doc(\s[^<>]*)?>", re.IGNORECASE)
TOPIC = re.compile(r"<(top|topic)(\s[^<>]*)?>", re.IGNORECASE)
EXCEL_SEPARATOR = re.compile(r"sep=(\\t|.)\r?", re.IGNORECASE)
MOST_PREAMBLE = 5
"""Lines above the header, such as a title or "Report created on …"."""
NO_TABLES = (
    (re.compile(r"\.I \d+\r?\n\.[A-Z]"), "a SMART collection (.I, .T, .W lines)"),
    (re.compile(r"WEBVTT|\d+\r?\n\d\d:\d\d:\d\d[,.]\d{3} -->"), "subtitles"),
)
"""Texts whose rows are groups of lines, by their first two lines."""
OBJECT = re.compile(r"\{\s*[\"}]|\{\s*$")
PYTHON = re.compile(r"\[?\s*\{\s*u?'")
"""How Python prints an object."""
LIST = re.compile(r"\[\s*[\[{\"\]]|\[\s*$")


class NoRows(InputError):
    """A file that is none of the formats."""


@dataclass(frozen=True)
class Head:
    """The beginning of a file, blank lines left out, and what it is called."""

    name: str
    bytes: bytes
    whole: bool
    """Whether the file ends with it."""
    encoding: Encoding

    @property
    def suffix(self) -> str:
        return PurePosixPath(_base(self.name)).suffix

    @property
    def separator(self) -> str:
        return Lines(io.BytesIO(self.bytes), self.encoding).separator

    def lines(self) -> list[str]:
        """Its whole lines that are not blank."""
        lines = list(Lines(io.BytesIO(self.bytes), self.encoding))
        if not self.whole and len(lines) > 1:
            del lines[-1]
        return lines


def _base(name: str) -> str:
    """The last part of a name in small letters, apart from how it is compressed."""
    path = PurePosixPath(name.lower())
    return path.stem if path.suffix in SUFFIXES else path.name


def sniff(opened: LocalFile, encoding: Encoding | None = None) -> SourceFile:
    """What a file is and how it is to be read.

    Args:
        opened: the file.
        encoding: the one that the user names; None: UTF-8, UTF-16 where a byte order mark says so, latin-1 for MovieLens's own.

    Raises:
        NoRows: it is none of the formats.
        InputError: it is damaged.
    """
    with expanded(opened.path, opened.name, opened.compression, opened.member) as stream:
        head = _head(opened.name, stream, encoding)
    file = SourceFile(opened.path, opened.name, "csv", opened.compression, opened.member, encoding=head.encoding)
    if head.bytes.startswith(b"PAR1"):
        return replace(file, format="parquet")
    if head.suffix in (".parquet", ".pq"):
        raise NoRows(f"{opened.name}, which does not begin as a Parquet file does", "a Parquet file", "write it once more")
    _check_text(head)
    lines = [str(line) for line in head.lines() if line and not line.isspace()]  # flaws do not matter here
    if form := next((form for pattern, form in NO_TABLES if pattern.match("\n".join(lines[:2]))), ""):
        raise NoRows(f"{opened.name}, {form}", FORMS, "write a row of CSV for each document")
    return _json(file, head, lines) or _tagged(file, head, lines) or _columns(file, lines) or _table(file, head, lines)


def _head(name: str, stream: Expanded, encoding: Encoding | None) -> Head:
    """The first bytes that are not blank.

    Raises:
        NoRows: all are.
    """
    start = stream.first(HEAD)
    utf16 = start[:2] if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else b""
    mark = codecs.BOM_UTF8 if start.startswith(codecs.BOM_UTF8) else utf16
    rest = start[len(mark) :]
    whole = len(start) < HEAD
    while not rest.strip(BLANK) and not whole:
        rest = stream.first(HEAD)
        whole = len(rest) < HEAD
    if not rest.strip(BLANK):
        raise NoRows(f"{name}, in which all lines are blank", "rows", "check whether this is the right file")
    detected: Encoding = "utf-16" if utf16 else "latin-1" if _is_latin(name, rest) else "utf-8"
    return Head(name, mark + rest, whole, encoding or detected)


def _is_latin(name: str, head: bytes) -> bool:
    """Whether a file is one of those known to be latin-1, and nothing in it speaks for UTF-8."""
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    return bool(LATIN.fullmatch(_base(name)) and lines) and not any(map(_is_utf8, lines))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_text(head: Head) -> None:
    """Refuse what is no text.

    Raises:
        NoRows: too many of the first bytes are control characters.
    """
    if head.encoding == "utf-16":
        return
    start = head.bytes[: 1 << 16]
    controls = len(start) - len(start.translate(None, bytes(set(range(32)) - set(b"\t\n\r\f\x1a\x1b"))))
    if controls > max(8, MOST_CONTROLS * len(start)):
        raise NoRows(
            f"{head.name}, which is no text (or UTF-16 without a byte order mark)", FORMS, "export the data as CSV in UTF-8"
        )


def _json(file: SourceFile, head: Head, lines: list[str]) -> SourceFile | None:
    """JSON, by its first signs; JSONL where lines are objects of their own."""
    first = "\n".join(lines[:3]).lstrip()[:1000]
    if head.suffix in (*LINES, ".json") and PYTHON.match(first):
        printed = f"{head.name}, no JSON but objects as Python prints them ('…' in place of \"…\")"
        raise NoRows(printed, "JSON", "write each again by json.dumps(ast.literal_eval(line))")
    if head.suffix in LINES:
        whole = LIST.match(first) and "{" in first and not any(map(_is_object, lines[1:5]))  # one list, called JSONL
        return replace(file, format="json" if whole else "jsonl")
    if OBJECT.match(first):
        objects = [_is_object(line) for line in lines[:5]]
        alone = len(lines) == 1 and head.whole and head.suffix == ".json"
        begun = all(line.lstrip().startswith("{") for line in lines[:5])
        return replace(file, format="jsonl" if begun and any(objects) and not alone else "json")
    if LIST.match(first) and (head.suffix == ".json" or (head.suffix not in TABULAR and "{" in first)):
        return replace(file, format="json")
    if head.suffix == ".json":
        raise NoRows(f"{head.name}, which does not begin as JSON does", "a list or an object", "correct it, or rename the file")
    return None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _tagged(file: SourceFile, head: Head, lines: list[str]) -> SourceFile | None:
    """TREC's documents and topics, by their tags."""
    if not lines[0].lstrip().startswith("<") or head.suffix in TABULAR:
        return None
    text = "\n".join(lines)
    topic, document = TOPIC.search(text), DOCUMENT.search(text)
    if document and not (topic and topic.start() < document.start()):
        return replace(file, format="trec documents")
    if topic:
        return replace(file, format="trec topics")
    raise NoRows(f"{head.name}, whose tags are none of TREC's", "<DOC> or <top>", "export the data as CSV, JSONL or Parquet")


def _columns(file: SourceFile, lines: list[str]) -> SourceFile | None:
    """TREC's qrels, by their columns between white space.

    Raises:
        NoRows: it is a run, which judges nothing.
    """
    cells = [judgment_cells(line) for line in lines[:ROWS]]
    cells = [row for row in cells if not row[0].startswith("#")] or cells  # comments, as trec_eval takes them
    width = len(cells[0])
    alike = [row for row in cells if len(row) == width]
    if len(alike) < MOST * len(cells) or any(cell.endswith((",", ";")) or '"' in cell for row in alike for cell in row):
        return None
    constant = width >= 3 and {row[1].lower() for row in alike} <= {"0", "q0"}
    if width == 6 and constant:
        raise NoRows(f"{file.name}, a ranked run", "documents, queries or judgments", "pass the judgments (qrels) instead")
    called = "qrel" in file.name.lower()
    spaced = not any("\t" in line for line in lines[:ROWS])
    graded = width in QRELS and all(NUMBER.fullmatch(row[-1 if width < 5 else 3]) for row in alike)
    if width in QRELS and ((constant and width > 3) or (graded and (called or (spaced and width == 3)))):
        return replace(file, format="trec qrels", columns=QRELS[width])
    return None


def _table(file: SourceFile, head: Head, lines: list[str]) -> SourceFile:
    """A table: the delimiter that cuts its rows alike, and whether its first line names the columns."""
    preamble, declared = _preamble(head, lines)
    lines = lines[preamble:]
    delimiter, quoted = (declared, True) if declared else _delimiter(head, lines)
    if delimiter not in NEVER_IN_TEXT and head.suffix not in TABULAR and _are_topics(lines):
        return replace(file, format="trec topics", delimiter=":")
    rows = list(_rows(lines, delimiter, quoted, head.separator))
    if delimiter in ALWAYS_QUOTED and head.suffix not in TABULAR and _are_sentences(lines, delimiter, rows):
        delimiter, quoted, rows = "", False, [[line] for line in lines[:ROWS]]
    file = replace(file, delimiter=delimiter, quoted=quoted, preamble=preamble)
    if not rows or is_header(rows[0], rows[1:]):
        return file
    return replace(file, columns=tuple(f"column {place}" for place in range(1, len(rows[0]) + 1)))


def _preamble(head: Head, lines: list[str]) -> tuple[int, str]:
    """How many lines stand above the header of a CSV file, and the delimiter if the first one is Excel's `sep=;`."""
    if declared := EXCEL_SEPARATOR.fullmatch(lines[0].lstrip("\ufeff")):
        return 1, "\t" if declared[1] == "\\t" else declared[1]
    if head.suffix not in TABULAR or _delimiter_score(head, lines) >= SOME:
        return 0, ""
    for count in range(1, min(MOST_PREAMBLE, len(lines) - 4) + 1):
        above = (re.split(r"[,;\t|]+", line.strip(" ,;|\t\r")) for line in lines[:count])
        if _delimiter_score(head, lines[count:]) >= MOST and all(len(cells) == 1 for cells in above):
            return count, ""
    return 0, ""


def _delimiter_score(head: Head, lines: list[str]) -> float:
    """The part of the rows that the best delimiter cuts alike."""
    return max(_score(list(_rows(lines, delimiter, True, head.separator)))[0] for delimiter in DELIMITERS)


def _are_topics(lines: list[str]) -> bool:
    """Whether each line is `id:text`, and no id is there twice."""
    matches = [TOPIC_LINE.fullmatch(line) for line in lines[:ROWS]]
    ids = {match[1] for match in matches if match and any(map(str.isdigit, match[1]))}
    return len(ids) == len(matches)


def _are_sentences(lines: list[str], delimiter: str, rows: list[list[str]]) -> bool:
    """Whether a delimiter is only the comma of sentences: a blank follows each, and words stand before the first."""
    spaced = not any(re.search(rf"{delimiter}(?!\s|$)", line) for line in lines[:ROWS])
    return spaced and bool(rows) and sum(len(row[0].split()) >= 3 for row in rows if row) >= MOST * len(rows)


def _rows(lines: list[str], delimiter: str, quoted: bool, separator: str) -> Iterator[list[str]]:
    """The rows that a delimiter makes of the first lines; one that can't be read is empty."""
    for row in islice(Rows(lines, delimiter, quoted, separator), ROWS):
        yield row[1] if len(row) == 2 else []


def _delimiter(head: Head, lines: list[str]) -> tuple[str, bool]:
    """The delimiter, and whether cells are quoted."""
    scores: dict[str, tuple[float, int, bool]] = {}
    for delimiter in DELIMITERS:
        quoted = delimiter in ALWAYS_QUOTED or _are_quoted(lines, delimiter, head.separator)
        scores[delimiter] = (*_score(list(_rows(lines, delimiter, quoted, head.separator))), quoted)
    sure = [delimiter for delimiter in NEVER_IN_TEXT if scores[delimiter][0] >= MOST]
    best = sure[0] if sure else max(DELIMITERS, key=lambda delimiter: (round(scores[delimiter][0], 1), scores[delimiter][1]))
    if scores[best][0] < SOME:
        best = "\t" if head.suffix in TABBED and scores["\t"][1] > 1 else "," if head.suffix == ".csv" else ""
    return best, scores[best][2] if best else False


def _score(rows: list[list[str]]) -> tuple[float, int]:
    """Which part of the rows has as many cells as the first, and how many these are; one cell is no table."""
    width = len(rows[0]) if rows else 0
    return (sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0), width


def _are_quoted(lines: list[str], delimiter: str, separator: str) -> bool:
    """Whether cells that a quote begins are quoted: the names of the columns are, or a cell holds what had to be."""
    if len(delimiter) > 1 or not any('"' in line for line in lines[:ROWS]):
        return False
    if all(cell.startswith('"') and cell.endswith('"') for cell in lines[0].rstrip("\r").split(delimiter)):
        return True
    rows = list(_rows(lines, delimiter, True, separator))
    needed = any(sign in cell for row in rows for cell in row for sign in (delimiter, "\n", "\r"))
    doubled = any(f'{delimiter}"' in line and '""' in line for line in lines[:ROWS])
    return all(rows) and (needed or doubled)


def is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first row names the columns: no cell of it is a number, an address, long, or shaped as the cells below it.

    >>> is_header(["id", "text"], [["d1", "red shoe"]]), is_header(["d1", "red shoe"], [["d2", "blue hat"]])
    (True, False)
    """
    if any(ATOMIC.fullmatch(cell) for cell in first):
        return True
    if len(first) == 1:
        return first[0].strip().lower() in ONLY_COLUMNS
    if any(_is_value(cell.strip()) for cell in first):
        return False
    below = [[row[place] for row in rest if len(row) == len(first)] for place in range(len(first))]
    return not any(_continues(cell, cells) for cell, cells in zip(first, below, strict=True))


def _is_value(cell: str) -> bool:
    number = NUMBER.fullmatch(cell) and not YEAR.fullmatch(cell)
    return bool(number or ADDRESS.fullmatch(cell)) or len(cell) > LONG or len(cell.split()) >= 8


def _continues(cell: str, below: list[str]) -> bool:
    """Whether a cell with digits has the shape of most of those below it."""
    shape = _shape(cell)
    alike = Counter(map(_shape, below))[shape]
    return any(map(str.isdigit, cell)) and alike > 0 and alike >= 0.8 * len(below)


def _shape(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell[:100]))
