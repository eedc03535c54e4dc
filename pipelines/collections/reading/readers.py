"""Readers: a file of any format becomes records and bad rows, one at a time, in flat memory."""

from collections.abc import Callable, Iterator, Sequence

from pipelines.collections.reading.columnar import read_parquet
from pipelines.collections.reading.delimited import read_delimited
from pipelines.collections.reading.json_document import read_document
from pipelines.collections.reading.json_rows import read_lines
from pipelines.collections.reading.lines import LONGEST, Encoding
from pipelines.collections.reading.sniffing import NoRows, sniff
from pipelines.collections.reading.sources import LocalFile, SkippedFile
from pipelines.collections.reading.trec import read_documents, read_qrels, read_topics
from pipelines.collections.record import BadRow, Format, Record, Sampled, SourceFile

SAMPLE = 8 << 20
"""Characters of a sample: 200 rows of 16 MiB would not be flat."""
READERS: dict[Format, Callable[[SourceFile, int], Iterator[Record | BadRow]]] = {
    "csv": read_delimited,
    "jsonl": read_lines,
    "json": read_document,
    "parquet": read_parquet,
    "trec documents": read_documents,
    "trec topics": read_topics,
    "trec qrels": read_qrels,
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
    sampled: list[Sampled] = []
    skipped: list[SkippedFile] = []
    for file in files:
        try:
            sampled.append(sample(file, rows, encoding))
        except NoRows as error:
            if len(skipped) + 1 == len(files):
                raise
            skipped.append(SkippedFile(file.name, error.given.removeprefix(f"{file.name}, ")))
    return sampled, skipped
