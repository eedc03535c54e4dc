"""The physical lines of a text, in flat memory however long one is; lines with flaws are marked."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import Literal

from pipelines.collections.reading.compression import Readable

LONGEST = 16 << 20
"""Bytes of a line, a cell, an object or a document: a novel has a million, and what is longer was never meant as one row."""
BLOCK = 1 << 18
GIVEN = 200
"""Characters of a bad row that the quarantine keeps."""
Encoding = Literal["utf-8", "latin-1", "utf-16"]
BOMS: tuple[tuple[bytes, Encoding], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class FlawedLine(str):
    """A line that can't be used as it is."""

    __slots__ = ("reason",)
    reason: str


def mark_flawed(line: str, reason: str) -> FlawedLine:
    """Mark a line as flawed; its text stays for the quarantine and the quote parser."""
    marked = FlawedLine(line)
    marked.reason = reason
    return marked


def excerpt(text: str) -> str:
    r"""The beginning of a bad row, printable in any encoding.

    >>> excerpt("caf\udce9")
    'caf\\xe9'
    """
    return text[:GIVEN].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")[:GIVEN]


def marked_if_flawed(line: str) -> str:
    """The line, marked where it is no text."""
    if "\0" in line:
        return mark_flawed(line, "a NUL character")
    if not is_text(line):
        return mark_flawed(line, "invalid UTF-8")
    return line


def is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: it holds no byte that was none, and no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_blocks(stream: Readable, encoding: Encoding, size: int) -> Iterator[bytes]:
    """A stream's text as blocks of UTF-8 (or latin-1) bytes, without its byte order mark."""
    if encoding == "utf-16":
        yield from _transcoded(stream, size)
        return
    first = stream.read(max(size, 3))
    yield first.removeprefix(codecs.BOM_UTF8) if encoding == "utf-8" else first
    while block := stream.read(size):
        yield block


def _transcoded(stream: Readable, size: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
    while block := stream.read(size):
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    if decoder.getstate()[0]:
        yield b"\xff"  # half a character at the end


def decoded(stream: Readable, encoding: Encoding) -> Iterator[str]:
    """Blocks of text, in which a byte that is no UTF-8 stands as a lone surrogate."""
    decoder = codecs.getincrementaldecoder("latin-1" if encoding == "latin-1" else "utf-8")("surrogateescape")
    for block in text_blocks(stream, encoding, BLOCK):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


class Lines:
    r"""The lines of a stream without their line feeds; `\r` ends lines only where the first block has no line feed.

    A line that is too long is skipped as it comes; what is kept of it is its beginning.

    >>> import io
    >>> list(Lines(io.BytesIO("é\r\nb".encode()))), list(Lines(io.BytesIO(b"a\rb")))
    (['é\r', 'b'], ['a', 'b'])
    """

    def __init__(self, stream: Readable, encoding: Encoding = "utf-8", longest: int = LONGEST) -> None:
        self._longest, self._codec = longest, "latin-1" if encoding == "latin-1" else "utf-8"
        blocks = text_blocks(stream, encoding, min(BLOCK, longest))  # so that no line within one block is too long
        first = next(blocks, b"")
        self.separator = "\r" if b"\r" in first[:-1] and b"\n" not in first else "\n"
        self._blocks = chain([first], blocks)
        self._kept, self._over = bytearray(), False

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._batches())

    def _batches(self) -> Iterator[list[str]]:
        separator = self.separator.encode()
        for block in self._blocks:
            begin, end = 0, block.rfind(separator)
            if end >= 0 and (self._kept or self._over):
                begin = block.find(separator) + 1
                self._keep(block[: begin - 1])
                yield [self._finished()]
            if begin <= end:
                yield self._decoded(block[begin:end])
            self._keep(block[end + 1 :])
        if self._kept or self._over:
            yield [self._finished()]

    def _keep(self, part: bytes) -> None:
        if self._over:
            return
        self._kept += part
        if len(self._kept) > self._longest:
            self._over = True
            del self._kept[4 * GIVEN :]

    def _finished(self) -> str:
        kept, over = bytes(self._kept), self._over
        self._kept, self._over = bytearray(), False
        if over:
            return mark_flawed(kept.decode(self._codec, "surrogateescape"), "too long")
        return self._decoded(kept)[0]

    def _decoded(self, block: bytes) -> list[str]:
        try:
            text = block.decode(self._codec)
        except UnicodeDecodeError:
            text = block.decode(self._codec, "surrogateescape")
        else:
            if "\0" not in text:
                return text.split(self.separator)
        return [marked_if_flawed(line) for line in text.split(self.separator)]
