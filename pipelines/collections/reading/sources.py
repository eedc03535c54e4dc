"""Sources: a path or an s3 URI becomes local files, none of them outside it, each with how it is compressed."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.collections.reading.archives import is_office, is_tar, tar_members, zip_members
from pipelines.collections.reading.compression import CHUNK, MAX_EXPANDED, compression_of, expanded, unreadable
from pipelines.collections.reading.foreign import aside_by_name, is_hidden, unread_format
from pipelines.collections.record import Compression
from pipelines.errors import InputError
from pipelines.store.bucket import download
from pipelines.store.locations import local_path

MOST_FILES = 100_000
"""Files of one source: more are a tree that was not meant, and would be read for hours before anything is said."""
FORMS = "CSV, JSONL, JSON, Parquet or TREC, as it is or as gz, bz2, xz, zst, zip or tar"


@dataclass(frozen=True)
class LocalFile:
    """A local file to read."""

    path: Path
    name: str
    """Its path within the source, for messages; a member of an archive is `archive.zip/member.csv`."""
    compression: Compression = ""
    member: str = ""
    """Of a zip archive: which member."""


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left aside, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """The files of a source in the order of their names."""

    files: tuple[LocalFile, ...]
    skipped: tuple[SkippedFile, ...] = ()

    def __iter__(self) -> Iterator[LocalFile]:
        return iter(self.files)


def open_source(uri: str, scratch: Path, endpoint: str | None = None) -> Source:
    """The files that lie at `uri`.

    Args:
        uri: a file or folder, as a path or file:///…, or s3://bucket/key or s3://bucket/prefix.
        scratch: a folder of our own, for what is fetched from S3 and unpacked; the caller removes it.
        endpoint: of an S3-compatible server; None: the one that the settings name.

    Raises:
        InputError: nothing that can be read lies there, or something that is damaged, encrypted, a bomb or leads elsewhere.
        TryAgain: the S3 server did not answer.
    """
    opening = _SourceBuilder(scratch)
    if uri.startswith("s3://"):
        for name, path, reason in download(uri, scratch / "fetched", endpoint, MOST_FILES, aside_by_name):
            opening.add(name, path, reason)
    else:
        path = local_path(uri)
        for file, name, reason in _files_at(path, uri):
            opening.add(name, file, reason)
    if not opening.files:
        raise _nothing_readable(uri, opening.skipped)
    return Source(tuple(opening.files), tuple(opening.skipped))


def printable_name(name: str) -> str:
    r"""A file's name as it can be printed and stored.

    >>> printable_name("caf\udce9.csv")
    'caf\\udce9.csv'
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)


def check_whole(opened: LocalFile) -> None:
    """Expand a file once before a row of it is read: damage, a missing end and a bomb are told at once.

    What lies beyond the first MAX_EXPANDED bytes is checked as it is read.

    Raises:
        InputError: it is damaged, cut off, or a bomb.
    """
    with expanded(opened.path, opened.name, opened.compression, opened.member) as stream:
        while stream.size <= MAX_EXPANDED and stream.read():
            pass


def _files_at(path: Path, uri: str) -> Iterator[tuple[Path, str, str]]:
    """The file, or the files of the folder: path, name, and why one is left aside."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(uri, error) from None
    if stat.S_ISDIR(status.st_mode):
        yield from _walked(path)
    elif stat.S_ISREG(status.st_mode):
        yield path, path.name, ""
    else:
        raise InputError(f"{uri}, a pipe or a device", "a file or a folder", "write what it gives to a file, and pass that")


def _walked(folder: Path) -> Iterator[tuple[Path, str, str]]:
    waiting = _entries(folder, str(folder))
    while waiting:
        path = waiting.pop()
        name = path.relative_to(folder).as_posix()
        kind = _file_mode(path, name)
        if stat.S_ISLNK(kind):
            yield path, name, _link(path, folder)
        elif not stat.S_ISDIR(kind):
            yield path, name, aside_by_name(name) if stat.S_ISREG(kind) else "a pipe, socket or device"
        elif is_hidden(name):
            yield path, name, "hidden"
        else:
            waiting += _entries(path, name)


def _file_mode(path: Path, name: str) -> int:
    try:
        return path.lstat().st_mode
    except OSError as error:
        raise unreadable(name, error) from None


def _entries(folder: Path, name: str) -> list[Path]:
    try:
        return sorted((Path(entry.path) for entry in os.scandir(folder)), reverse=True)
    except OSError as error:
        raise unreadable(name, error) from None


def _link(path: Path, folder: Path) -> str:
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        inside = False
    return "a link to a place in the folder, which is read there" if inside else "leads out of the folder"


def _nothing_readable(uri: str, skipped: list[SkippedFile]) -> InputError:
    first = "; ".join(f"{printable_name(file.name)}: {file.reason}" for file in skipped[:5])
    more = f" and {len(skipped) - 5:,} more" if len(skipped) > 5 else ""
    given = f"{uri}, where nothing was found that can be read" + (f" ({first}{more})" if skipped else "")
    return InputError(given, FORMS, "check the path, or export the data as CSV")


@dataclass
class _SourceBuilder:
    """Files on their way in: each is looked into, and archives are taken apart."""

    scratch: Path
    files: list[LocalFile] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    unpacked: int = 0

    def add(self, name: str, path: Path, reason: str) -> None:
        """Take one file in, or leave it aside for `reason`."""
        name = printable_name(name)
        if reason:
            self._set_aside(name, reason)
        else:
            self._inspect(path, name)

    def _set_aside(self, name: str, reason: str) -> None:
        self.skipped.append(SkippedFile(name, reason))
        self._count()

    def _accept(self, opened: LocalFile) -> None:
        self.files.append(opened)
        self._count()

    def _count(self) -> None:
        if len(self.files) + len(self.skipped) > MOST_FILES:
            given = f"more than {MOST_FILES:,} files"
            raise InputError(given, "a folder of data", "check the path, or put the rows into fewer files")

    def _inspect(self, path: Path, name: str, archive: str = "") -> None:
        """A file on disk: data, or something that holds data. What lies in an archive must not be another."""
        with expanded(path, name) as file:
            head = file.first(512)
        compression = compression_of(name, head)
        if not compression:
            self._classify(LocalFile(path, name), head, archive)
        elif compression != "zip":
            with expanded(path, name, compression) as file:
                inner = file.first(512)
            self._classify(LocalFile(path, name, compression), inner, archive)
        elif archive:
            raise _nested(name)
        else:
            self._unzip(path, name)

    def _classify(self, opened: LocalFile, head: bytes, archive: str) -> None:
        """Decide by the first bytes, expanded, what becomes of a file."""
        reason = unread_format(head) if head else "empty"
        if reason:
            self._set_aside(opened.name, reason)
        elif is_tar(head) or opened.name.lower().endswith(".tar"):
            if archive:
                raise _nested(opened.name)
            self._untar(opened)
        elif opened.compression and compression_of("", head):
            raise _nested(opened.name)
        elif opened.compression and head.startswith(b"PAR1"):
            self._accept(LocalFile(self._unpack(opened), opened.name))  # Parquet is read from its end
        else:
            if opened.compression:
                check_whole(opened)
            self._accept(opened)

    def _unzip(self, path: Path, name: str) -> None:
        if is_office(path, name):
            self._set_aside(name, "a spreadsheet, text or program")
            return
        for member, linked in zip_members(path, name):
            opened = LocalFile(path, f"{name}/{printable_name(member.filename)}", "zip", member.filename)
            if reason := linked or aside_by_name(member.filename):
                self._set_aside(opened.name, reason)
                continue
            with expanded(path, opened.name, "zip", opened.member) as file:
                head = file.first(512)
            if compression_of(opened.name, head):  # a compressed member is unpacked and then looked into
                self._inspect(self._unpack(opened), opened.name, name)
            else:
                self._classify(opened, head, name)

    def _untar(self, opened: LocalFile) -> None:
        self.unpacked += 1
        target = self.scratch / "unpacked" / f"{self.unpacked:06}"
        with expanded(opened.path, opened.name, opened.compression) as stream:
            for member, path, special in tar_members(stream, opened.name, opened.path.stat().st_size, target):
                name = f"{opened.name}/{printable_name(member)}"
                reason = special or aside_by_name(member)
                if reason or path is None:
                    self._set_aside(name, reason)
                else:
                    self._inspect(path, name, opened.name)

    def _unpack(self, opened: LocalFile) -> Path:
        self.unpacked += 1
        path = self.scratch / "unpacked" / f"{self.unpacked:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with expanded(opened.path, opened.name, opened.compression, opened.member) as stream, path.open("xb") as file:
            while chunk := stream.read(CHUNK):
                file.write(chunk)
        return path


def _nested(name: str) -> InputError:
    return InputError(f"{name}, an archive within another", "one archive of files", "unpack the outer one and pass the folder")
