"""A source as tables, for rooms that give its columns a meaning of their own: files, recognized, with named columns."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.collections.reading import readers
from pipelines.collections.reading.sources import open_source
from pipelines.collections.record import BadRow, Record, Sampled, SourceFile
from pipelines.collections.schema.headings import name_columns


def sample_tables(source: str, scratch: Path) -> tuple[list[Sampled], list[str]]:
    """The first rows of every file of a source that holds rows, and a sentence for each file that was left aside.

    Args:
        source: a file or folder, local or s3://, in any format that `ingest` reads.
        scratch: a folder of our own, for what is fetched and unpacked.

    Raises:
        InputError: nothing can be read there.
        TryAgain: the S3 server did not answer.
    """
    opened = open_source(source, scratch)
    sampled, skipped = readers.samples(list(opened))
    named = [name_columns(sample) for sample in sampled]
    notes = [f"{file.name} is left aside: {file.reason}." for file in (*opened.skipped, *skipped)]
    return [sample for sample, _ in named], [*notes, *(note for _, note in named if note)]


def read_table(file: SourceFile) -> Iterator[Record | BadRow]:
    """The rows of one file of `sample_tables`, and those that can't be read."""
    return readers.read(file)
