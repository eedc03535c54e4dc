"""Readers: a file of any format becomes records and bad rows, one at a time, in flat memory."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from pipelines.collections.reading.columnar import read_parquet
from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.delimited import read_delimited
from pipelines.collections.reading.json_document import read_document
from pipelines.collections.reading.json_rows import read_lines
from pipelines.collections.reading.lines import LONGEST, Encoding, decoded, excerpt, is_text
from pipelines.collections.reading.sniffing import NoRows, sniff
from pipelines.collections.reading.sources import LocalFile, SkippedFile
from pipelines.collections.reading.trec import read_documents, read_qrels, read_topics
from pipelines.collections.record import BadRow, Format, Record, Sampled, SourceFile

SAMPLE = 8 << 20
"""Characters of a sample: 200 rows of 16 MiB would not be flat."""


ARCHIVE = re.compile(r"^.*\.(zip|tar|tgz|tar\.\w+)/", re.IGNORECASE)
MAIL = re.compile(r"(From|To|Date|Subject|Received|Return-Path|Message-ID|Delivered-To|MIME-Version): |From \S+@\S+ ")
"""How an e-mail begins."""
TEXTS = (".txt", ".text", ".eml")
"""Suffixes of files that may be a text each."""


def read_text(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """A whole text as one record: `id` is the file's name, `title` its first line, `text` the rest."""
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        text = ""
        for block in decoded(stream, file.encoding):
            text = (text + block)[: longest + 1]
    name = ARCHIVE.sub("", file.name)
    id_ = re.sub(r"\s+", "_", name.removesuffix(PurePosixPath(name).suffix))
    title, _, rest = text.strip().partition("\n")
    if MAIL.match(text):
        above, _, rest = text.replace("\r\n", "\n").partition("\n\n")
        title = next(iter(re.findall(r"^Subject:[ \t]*(.*)$", above, re.MULTILINE)), "")
    flaw = "too long" if len(text) > longest else "" if is_text(text) else "invalid UTF-8"
    if flaw:
        yield BadRow(file.name, 1, flaw, excerpt(text))
    else:
        yield Record(file.name, 1, {"id": id_, "title": title.strip(), "text": rest.strip() or title.strip()})


READERS: dict[Format, Callable[[SourceFile, int], Iterator[Record | BadRow]]] = {
    "csv": read_delimited,
    "jsonl": read_lines,
    "json": read_document,
    "parquet": read_parquet,
    "trec documents": read_documents,
    "trec topics": read_topics,
    "trec qrels": read_qrels,
    "text": read_text,
}


def read(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The rows of a file, one at a time, and those that can't be read.

    Args:
        file: the file, and how it is to be read.
        longest: bytes (in JSON and TREC documents characters) that a row may have; a longer one is a bad row.

    Raises:
        InputError: the file is damaged, cut off or expands beyond all measure, or its columns can't be told apart.
    """
    return READERS[file.format](file, longest)


def _is_one_text(file: SourceFile) -> bool:
    """Whether a file is not a text a line: blank lines part it, lines break within sentences, or speakers take turns."""
    with expanded(file.path, file.name, file.compression, file.member) as stream:
        start = stream.first(1 << 16)
    lines = start.count(b"\n") + 1
    broken = len(re.findall(rb"[a-z,] ?\r?\n[a-z]", start)) > lines / 4 and re.search(rb"[.!?]\s", start)
    turns = len(re.findall(rb"^[A-Z][\w .]{0,24}: \S", start, re.MULTILINE)) > lines / 2
    return bool(re.search(rb"\S[ \t]*\r?\n[ \t]*\r?\n\s*\S", start) or broken or turns)


def sample(file: LocalFile | SourceFile, rows: int = 200, encoding: Encoding | None = None) -> Sampled:
    """The first rows of a file.

    Args:
        file: what `open_source` gave, or what is known of it already.
        rows: how many.
        encoding: the one that the user names; None: see `sniff`.

    Raises:
        InputError: it is none of the formats, or damaged.
    """
    source = sniff(file, encoding) if isinstance(file, LocalFile) else file
    records: list[Record] = []
    bad: list[BadRow] = []
    size = 0
    for row in read(source):
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            records.append(row)
            size += sum(len(value) for value in row.fields.values() if isinstance(value, str))
        if len(records) + len(bad) >= rows or size > SAMPLE:
            break
    return Sampled(source, records, bad)


def samples(
    files: Sequence[LocalFile], rows: int = 200, encoding: Encoding | None = None
) -> tuple[list[Sampled], list[SkippedFile]]:
    """The first rows of several files, and those of them that are none of the formats, which are left aside.

    Raises:
        InputError: one is damaged, or none is of the formats.
    """
    skipped: list[SkippedFile] = []
    sources: list[SourceFile] = []
    for file in files:
        try:
            sources.append(sniff(file, encoding))
        except NoRows as error:
            if len(skipped) + 1 == len(files):
                raise
            skipped.append(SkippedFile(file.name, error.given.removeprefix(f"{file.name}, ")))
    untabled = [file for file in sources if file.format == "csv" and (file.columns or not file.delimiter)]
    plain = [file for file in untabled if file.name.lower().endswith(TEXTS)]
    texts = plain if len(plain) > 1 and all(map(_is_one_text, plain)) else []
    return [sample(replace(file, format="text") if file in texts else file, rows) for file in sources], skipped
