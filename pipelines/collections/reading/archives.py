"""Archives: the members of a zip or tar, none of which can be written outside the target folder."""

import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from pipelines.collections.reading.compression import CHUNK, Readable, check_bounds, damaged, open_archive
from pipelines.errors import InputError

HEADER_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
MAX_HEADER = 1 << 20
"""Bytes of a tar header that are read at once: long names and times; a header may claim any length."""
OFFICE = re.compile(r"\[Content_Types\]\.xml|mimetype|META-INF/MANIFEST\.MF|AndroidManifest\.xml")


def is_tar(head: bytes) -> bool:
    """Whether a file's first 512 bytes are a tar header.

    >>> is_tar(b"id,text")
    False
    """
    return len(head) >= 512 and head[257:262] == b"ustar"


def check_name(archive: str, member: str) -> None:
    """Refuse a member that would lie outside its archive.

    Raises:
        InputError: its name is absolute or climbs.
    """
    parts = re.split(r"[/\\]", member)
    if ".." in parts or not parts[0] or re.match(r"[A-Za-z]:", parts[0]) or "\0" in member:
        given = f"{archive} with the member {member!r}"
        raise InputError(given, "names that stay within the archive", "pack the files once more, from their folder")


def is_office(path: Path, name: str) -> bool:
    """Whether a zip archive is a spreadsheet, a text or a program, which only look like archives of files."""
    return any(OFFICE.fullmatch(member.filename) for member in open_archive(path, name).infolist()[:20])


def zip_members(path: Path, name: str) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """The files of a zip archive, each with the reason why it is left aside, if it is.

    Raises:
        InputError: it is damaged, encrypted, a bomb, or a member's name leads out of it.
    """
    members = open_archive(path, name).infolist()
    check_bounds(name, sum(member.file_size for member in members), path.stat().st_size)
    seen: set[str] = set()
    for member in members:
        check_name(name, member.filename)
        if member.is_dir():
            continue
        if member.filename in seen:
            raise InputError(f"{name} with two members {member.filename!r}", "names that differ", "pack the files once more")
        seen.add(member.filename)
        if member.flag_bits & 0x1:
            given = f"{name}, whose member {member.filename!r} is encrypted"
            raise InputError(given, "files without a password", "unpack it and pass the folder")
        linked = member.create_system == 3 and stat.S_ISLNK(member.external_attr >> 16)
        yield member, "a link" if linked else ""


class _DamagedHeader(Exception):
    """A damaged tar header, which tarfile may take for the end of the archive."""


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise EOFError
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.count(b"\0") == tarfile.BLOCKSIZE:
                raise
            raise _DamagedHeader(str(error)) from None
        if header.type in HEADER_TYPES and header.size > MAX_HEADER:
            raise _DamagedHeader("a header longer than any name")
        return header


def tar_members(stream: Readable, name: str, size: int, target: Path) -> Iterator[tuple[str, Path | None, str]]:
    """The files of a tar archive, written below `target` one after the other.

    Args:
        stream: the archive's bytes, expanded.
        name: what messages call it.
        size: the bytes of the archive as it lies there.
        target: a folder of our own.

    Yields:
        a member's name, where it was written, and the reason why it was left aside instead.

    Raises:
        InputError: it is damaged or cut off, a bomb, or a member's name leads out of it.
    """
    written = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header, errorlevel=2) as archive:  # type: ignore[call-overload]
            for number, member in enumerate(archive):
                archive.members = []  # it would keep every one
                check_name(name, member.name)
                written += member.size
                check_bounds(name, written, size)  # a sparse member is written longer than it lies there
                if member.isfile():
                    yield member.name, _written(archive.extractfile(member), target / f"{number:06}"), ""
                elif not member.isdir():
                    yield member.name, None, "a link" if member.islnk() or member.issym() else "a special file"
        while stream.read(CHUNK):
            pass
    except (tarfile.TarError, EOFError, ValueError, _DamagedHeader) as error:
        raise damaged(name, EOFError() if "unexpected end" in str(error) else error) from None


def _written(member: IO[bytes] | None, path: Path) -> Path:
    assert member is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while chunk := member.read(CHUNK):
            file.write(chunk)
    return path
