"""Compressed files read as a stream: bounded, in flat memory; a truncated file is an error."""

import bz2
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipelines.collections.record import Compression
from pipelines.errors import InputError

CHUNK = 1 << 18
MAX_EXPANDED = 1 << 30
"""Bytes that any file may expand to, however small it is."""
MAX_RATIO = 200
"""Times its compressed size that a larger file may expand to. Tables and texts reach 5 to 50, a bomb 1,000 and more."""
XZ_MEMORY = 1 << 28
"""Bytes that an xz file may ask for; `xz -9` asks for 65 MiB, but a header can ask for 4 GiB."""

MAX_DIRECTORY = 1 << 25
"""Bytes of a zip archive's list of members: room for 300,000."""

MAGIC: tuple[tuple[re.Pattern[bytes], Compression], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), "gzip"),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"), "bz2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "zstd"),
    (re.compile(rb"PK\x03\x04|PK\x05\x06|PK\x07\x08"), "zip"),
)
SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip", ".gzip": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".tbz": "bz2", ".tbz2": "bz2", ".xz": "xz", ".txz": "xz",
    ".zst": "zstd", ".zstd": "zstd", ".tzst": "zstd", ".zip": "zip",
}  # fmt: skip
ANOTHER = "take the file from its origin once more, or unpack it and pass the unpacked file"


class Readable(Protocol):
    """Bytes, some at a time; none at the end."""

    def read(self, size: int, /) -> bytes: ...


def compression_of(name: str, head: bytes) -> Compression:
    """How a file is compressed, by its first bytes; its name only says what was meant.

    Raises:
        InputError: it is named as compressed and is not.

    >>> compression_of("corpus.jsonl", bytes.fromhex("1f8b0800"))
    'gzip'
    """
    detected = next((kind for magic, kind in MAGIC if magic.match(head)), None)
    meant = SUFFIXES.get(Path(name).suffix.lower(), "")
    if detected is None and meant and head:
        raise InputError(f"{name}, which does not begin as a {meant} file does", f"a {meant} file", ANOTHER)
    return detected or ""


class Expanded:
    """The expanded bytes of one file.

    Raises (reading):
        InputError: the file is cut off, damaged, or expands beyond the bounds.
    """

    def __init__(self, name: str, inner: Readable, consumed: Callable[[], int] | None = None) -> None:
        self.name, self.size = name, 0
        self._inner, self._consumed = inner, consumed

    def read(self, size: int = CHUNK) -> bytes:
        try:
            chunk = self._inner.read(size)
        except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise damaged(self.name, error) from None
        self.size += len(chunk)
        if self.size > MAX_EXPANDED and self._consumed:
            check_bounds(self.name, self.size, self._consumed())
        return chunk

    def first(self, size: int) -> bytes:
        """The first `size` bytes, fewer only where the file has fewer."""
        start = b""
        while len(start) < size and (chunk := self.read(size - len(start))):
            start += chunk
        return start


def check_bounds(name: str, expanded: int, compressed: int) -> None:
    """Refuse a zip bomb.

    Raises:
        InputError: more than MAX_EXPANDED bytes and more than MAX_RATIO times what they were read from.
    """
    if expanded > MAX_EXPANDED and expanded > MAX_RATIO * compressed:
        raise InputError(
            f"{name}, of which {compressed:,} bytes expand to more than {max(MAX_EXPANDED, MAX_RATIO * compressed):,}",
            f"at most {MAX_RATIO} times the compressed size, as no data but a zip bomb exceeds it",
            "unpack it yourself and pass the unpacked file, if you trust it",
        )


def damaged(name: str, error: Exception) -> InputError:
    """The error that a file can't be read to its end."""
    cut = isinstance(error, EOFError) or "Truncated" in str(error)
    reason = "which is cut off" if cut else f"which can't be read: {getattr(error, 'strerror', None) or error}"
    return InputError(f"{name}, {reason}", "a whole, undamaged file", ANOTHER)


class _Streams:
    """The streams of a gzip, bz2 or xz file, one after the other; what follows them must be another or padding of zeros."""

    def __init__(self, file: BinaryIO, start: Callable[[], Any]) -> None:
        self._file, self._start, self._next = file, start, b""
        self._stream = start()

    def read(self, size: int, /) -> bytes:
        while True:
            if self._stream.eof and not self._another():
                return b""
            compressed = self._given()
            chunk: bytes = self._stream.decompress(compressed, size)
            if chunk:
                return chunk
            if not compressed and not self._stream.eof and getattr(self._stream, "needs_input", True):
                raise EOFError

    def _given(self) -> bytes:
        """What the stream is to work on: what it left of the last chunk, else the next one."""
        left: bytes = getattr(self._stream, "unconsumed_tail", b"")
        if left or not getattr(self._stream, "needs_input", True):
            return left
        kept, self._next = self._next, b""
        return kept or self._file.read(CHUNK)

    def _another(self) -> bool:
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            chunk = self._file.read(CHUNK)
            if not chunk:
                return False
            rest = chunk.lstrip(b"\0")
        self._stream, self._next = self._start(), rest
        return True


STREAMS: dict[Compression, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class _Zstd:
    """The frames of a zstd file; pyarrow tells a cut-off one and refuses what is none."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow

        self._stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")

    def read(self, size: int, /) -> bytes:
        chunk: bytes = self._stream.read(size)
        return chunk


@contextmanager
def expanded(path: Path, name: str, compression: Compression = "", member: str = "") -> Iterator[Expanded]:
    """The bytes of a file, expanded where it is compressed.

    Args:
        path: the local file.
        name: what messages call it.
        compression: how it is compressed.
        member: of a zip archive: which member.

    Raises:
        InputError: it can't be opened.
    """
    if compression == "zip":
        with open_member(path, name, member) as (inner, size):
            yield Expanded(name, inner, lambda: size)
        return
    with _opened(path, name) as file:
        if compression == "zstd":
            yield Expanded(name, _Zstd(file), file.tell)
        elif compression:
            yield Expanded(name, _Streams(file, STREAMS[compression]), file.tell)
        else:
            yield Expanded(name, file)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None
    with file:
        yield file


def unreadable(name: str, error: Exception) -> InputError:
    """The error that a file or folder can't be opened."""
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{name}: {reason}", "a file or folder that this account may read", "check its path and its permissions")


@lru_cache(maxsize=2)
def _archive(path: Path, size: int, changed: int) -> zipfile.ZipFile:  # noqa: ARG001  # they tell a file from its successor
    """An archive with its list of members, which is read once and not for each member."""
    return zipfile.ZipFile(path)


def check_directory(path: Path, name: str, size: int) -> None:
    """Refuse an archive whose list of members alone would fill the memory.

    Raises:
        InputError: the list is longer than MAX_DIRECTORY.
    """
    with path.open("rb") as file:
        file.seek(max(0, size - 66_000))
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        listed = int.from_bytes(tail[end + 12 : end + 16], "little")
        if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # then a record with larger numbers lies before
            file.seek(int.from_bytes(tail[end - 12 : end - 4], "little") + 40)
            listed = int.from_bytes(file.read(8), "little")
    if end >= 0 and listed > MAX_DIRECTORY:
        given = f"{name}, whose list of members alone has {listed:,} bytes"
        raise InputError(given, f"at most {MAX_DIRECTORY:,}", "unpack it and pass the folder")


def open_archive(path: Path, name: str) -> zipfile.ZipFile:
    """A zip archive, its list of members read.

    Raises:
        InputError: it is no such archive, or a damaged one.
    """
    try:
        status = path.stat()
        check_directory(path, name, status.st_size)
        return _archive(path, status.st_size, status.st_mtime_ns)
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise damaged(name, error) from None


@contextmanager
def open_member(path: Path, name: str, member: str) -> Iterator[tuple[BinaryIO, int]]:
    """A member's expanded bytes as a stream, and its compressed size."""
    archive = open_archive(path, name)
    try:
        info = archive.getinfo(member)
        file = archive.open(info)
    except (OSError, EOFError, LookupError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise damaged(name, error) from None
    with file:
        yield file, min(info.compress_size, path.stat().st_size)  # type: ignore[misc]  # typeshed calls it IO[bytes]
