"""TREC's files: documents and topics between tags that are SGML by custom only, topics a line each, and qrels."""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.lines import LONGEST, FlawedLine, Lines, decoded, excerpt, is_text
from pipelines.collections.record import BadRow, Record, SourceFile

TAG = re.compile(r"<(/?)([A-Za-z][\w.:-]*)((?:\s[^<>]*)?)>")
ATTRIBUTE = re.compile(r"""([A-Za-z][\w:.-]*)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
ATTRIBUTES_WITHIN = 2000
"""Characters of a tag in which attributes are looked for."""
MARKUP = re.compile(r"</?[A-Z][A-Z0-9]*(?:\s[^<>]*)?>|<!--[^<>]*-->")
"""What TREC's own files hold within a text; tags in small letters are HTML, which is data."""
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});")
LABELS = {
    "num": "number", "title": "title|topic", "desc": "description", "narr": "narrative", "dom": "domain", "smry": "summary",
    "con": r"concept\(s\)",
}  # fmt: skip
"""The words with which a topic's parts begin, which say no more than their tags."""
TOPIC_LINE = re.compile(r"\s*([^\s:]+)\s*:\s*(.*\S)\s*")
NAMED_PARTS = {"field", "str", "int", "long", "float", "double", "bool", "date", "arr"}
"""Tags of Solr's documents, whose part is called as the attribute `name` says."""
QRELS = {
    3: ("query_id", "document_id", "grade"),
    4: ("query_id", "iteration", "document_id", "grade"),
    5: ("query_id", "iteration", "document_id", "grade", "rest"),
}
"""The columns of judgments by how many there are."""


@dataclass(frozen=True)
class TaggedElement:
    """What lies between an opening tag and its end."""

    line: int
    attributes: str
    body: str
    flaw: str = ""


class Elements:
    """The elements of one name in a text, one after the other, in flat memory however long one is.

    Args:
        blocks: the text.
        tag: the names that open an element, separated by |.
        noun: what messages call an element.
        longest: characters that an element may have.
    """

    def __init__(self, blocks: Iterator[str], tag: str, noun: str, longest: int) -> None:
        self._blocks, self._noun, self._longest = blocks, noun, longest
        self._tag = re.compile(rf"<(/?)(?:{tag})(\s[^<>]*)?>", re.IGNORECASE)
        self._text, self._at, self._line = "", 0, 1

    def __iter__(self) -> Iterator[TaggedElement]:
        opening: tuple[int, str] | None = None
        while True:
            line, (between, over), tag = self._line, *self._until()
            if opening:
                ended = tag is not None and tag[1] == "/"
                flaw = "too long" if over else "" if ended else f"a {self._noun} that never ends"
                yield TaggedElement(*opening, between, flaw)
            elif words := re.sub(r"<(\w+) name=[^<>]*>[^<>]*</\1>|<[^<>]*>", " ", between).strip():
                yield TaggedElement(line, "", words, f"text outside a {self._noun}")
            if tag is None:
                return
            opening = None if tag[1] else (self._line, (tag[2] or "")[:ATTRIBUTES_WITHIN])
            self._walk(tag.end())

    def _until(self) -> tuple[tuple[str, bool], re.Match[str] | None]:
        """Walk to the next opening or closing tag, or to the end; returns what lay before it, and whether that is cut short."""
        kept: list[str] = []
        size = 0
        while True:
            tag = self._tag.search(self._text, self._at)
            begun = self._text.rfind("<", max(self._at, len(self._text) - ATTRIBUTES_WITHIN))
            part = self._walk(tag.start() if tag else begun if begun >= 0 else len(self._text))
            if size <= self._longest:
                kept.append(part[: self._longest + 1])
            size += len(part)
            if tag:
                return ("".join(kept), size > self._longest), tag
            if not self._more():
                kept.append(self._walk(len(self._text)))
                return ("".join(kept), size > self._longest), None

    def _more(self) -> bool:
        """Forget what was walked over and read on; False at the end."""
        block = next(self._blocks, None)
        self._text, self._at = self._text[self._at :] + (block or ""), 0
        return block is not None

    def _walk(self, end: int) -> str:
        between, self._at = self._text[self._at : end], end
        self._line += between.count("\n")
        return between


def parts_of(body: str) -> dict[str, str]:
    """The parts of an element by their tags in small letters, what lies between as `text`; an unclosed one ends at any tag.

    >>> parts_of("<DOCNO> d1 </DOCNO><TEXT>A <b>big</b> one</TEXT><DATE>1994")
    {'docno': 'd1', 'text': 'A <b>big</b> one', 'date': '1994'}
    """
    texts_by_tag: dict[str, list[str]] = {}
    loose: list[str] = []
    at = 0
    for name, begin, start, end, after in _part_spans(body):
        loose.append(body[at:begin])
        at = after
        if name:
            texts_by_tag.setdefault(name, []).append(body[start:end])
        if name == "dochdr":
            break  # a page follows, as it was fetched
    parts = {name: "\n".join(filter(None, map(cleaned, texts))) for name, texts in texts_by_tag.items()}
    between = "\n".join(filter(None, map(cleaned, [*loose, body[at:]])))
    return parts | ({"text": "\n".join(filter(None, [parts.get("text", ""), between]))} if between else {})


def _part_spans(body: str) -> Iterator[tuple[str, int, int, int, int]]:
    """The parts as (name, begin of its tag, begin and end of its text, where it goes on); a stray closing tag has no name."""
    tags = list(TAG.finditer(body))
    closing: dict[str, list[int]] = {}
    for place, tag in enumerate(tags):
        if tag[1]:
            closing.setdefault(tag[2].lower(), []).append(place)
    place = 0
    while place < len(tags):
        tag, name = tags[place], tags[place][2].lower()
        ends = closing.get(name, [])
        if name in NAMED_PARTS:
            name = attributes_of(tag[3]).get("name", name)
        end = bisect_right(ends, place)
        if tag[1]:
            yield "", tag.start(), tag.end(), tag.end(), tag.end()
        elif end < len(ends):
            place = ends[end]
            yield name, tag.start(), tag.end(), tags[place].start(), tags[place].end()
        else:
            following = tags[place + 1].start() if place + 1 < len(tags) else len(body)
            yield name, tag.start(), tag.end(), following, following
        place += 1


def cleaned(text: str) -> str:
    """A part's text without TREC's own markup, entities as the signs they stand for.

    >>> cleaned(" <P> AT&amp;T &lt; 5 </P> ")
    'AT&T < 5'
    """
    if "<" in text:
        text = MARKUP.sub(" ", text)
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text.strip()


def attributes_of(text: str) -> dict[str, str]:
    """The attributes in a tag, names in small letters."""
    return {name.lower(): cleaned(value.strip("\"'")) for name, value in ATTRIBUTE.findall(text)}


def read_documents(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The documents of a TREC file."""
    return _read(file, "doc", "document", longest)


def read_topics(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The topics of a TREC file: between tags, or `id:text` a line."""
    if file.delimiter == ":":
        return _topic_lines(file, longest)
    return _read(file, "top|topic", "topic", longest)


def _read(file: SourceFile, tag: str, noun: str, longest: int) -> Iterator[Record | BadRow]:
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        for element in Elements(decoded(stream, file.encoding), tag, noun, longest):
            reason = element.flaw or _flaw(element.attributes + element.body)
            if reason:
                yield BadRow(file.name, element.line, reason, excerpt(element.body.strip()))
                continue
            fields = attributes_of(element.attributes) | parts_of(element.body)
            yield Record(file.name, element.line, _topic_fields(fields) if noun == "topic" else fields)


def _flaw(text: str) -> str:
    if not is_text(text):
        return "invalid UTF-8"
    return "a NUL character" if "\0" in text else ""


def _topic_fields(fields: dict[str, str]) -> dict[str, str]:
    """A topic's parts on one line each, without the words that they begin with."""
    return {name: " ".join(_unlabelled(name, text).split()) for name, text in fields.items()}


def _unlabelled(name: str, text: str) -> str:
    label = LABELS.get(name)
    return re.sub(rf"\A\s*(?:{label})\s*:", "", text, flags=re.IGNORECASE) if label else text


def _topic_lines(file: SourceFile, longest: int) -> Iterator[Record | BadRow]:
    for number, line in _lines(file, longest):
        match = TOPIC_LINE.fullmatch(line)
        if isinstance(line, FlawedLine) or not match:
            yield BadRow(file.name, number, line.reason if isinstance(line, FlawedLine) else "not id:text", excerpt(line))
        else:
            yield Record(file.name, number, {"num": match[1], "title": match[2]})


def judgment_cells(line: str) -> list[str]:
    """The cells of a judgment, without a comment behind them.

    >>> judgment_cells("q1 0 #d1 2 # sure")
    ['q1', '0', '#d1', '2']
    """
    cells = line.split()
    return cells[: next((place for place in range(3, len(cells)) if cells[place].startswith("#")), len(cells))]


def read_qrels(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The judgments of a TREC file: columns between white space."""
    columns = file.columns or QRELS[4]
    width = len(columns)
    for number, line in _lines(file, longest):
        cells = judgment_cells(line)
        if isinstance(line, FlawedLine):
            yield BadRow(file.name, number, line.reason, excerpt(line))
        elif line.startswith("#") and (len(cells) != width or cells[0] == "#" or cells[columns.index("grade")].isalpha()):
            continue  # a comment, as trec_eval takes it, or names of columns
        elif len(cells) != width:
            yield BadRow(file.name, number, f"{len(cells)} cells for {width} columns", excerpt(line))
        else:
            yield Record(file.name, number, dict(zip(columns, cells, strict=True)))


def _lines(file: SourceFile, longest: int) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, by number."""
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        for number, line in enumerate(Lines(stream, file.encoding, longest), 1):
            if line and not line.isspace():
                yield number, line
