"""Parquet in batches: rows with plain Python values, structs as columns of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.collections.reading.delimited import repeated
from pipelines.collections.reading.json_rows import flattened
from pipelines.collections.reading.lines import LONGEST, excerpt
from pipelines.collections.record import BadRow, Record, SourceFile
from pipelines.errors import InputError

BATCH_BYTES = 4 << 20
MOST_ROWS = 2048
"""Rows of a batch, where they are so short that BATCH_BYTES would hold more."""
BUFFER = 1 << 18
"""Bytes of each column that are read at once; without it a row group's columns are, whole."""
FLAWS = {UnicodeDecodeError: "invalid UTF-8", OverflowError: "a time out of range"}


def read_parquet(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The rows of a Parquet file; the line of each is its place in the file.

    Raises:
        InputError: it is no whole Parquet file, or its columns can't be told apart.
    """
    import pyarrow.parquet

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # its own keeps what it freed: a quarter more, growing with the rows
    name, number = file.name, 0
    options = {"buffer_size": BUFFER, "pre_buffer": False, "page_checksum_verification": True}
    with _arrow_errors(name), pyarrow.parquet.ParquetFile(file.path, **options) as table:
        columns = tuple(table.schema_arrow.names)
        repeated(name, columns)
        for batch in table.iter_batches(batch_size=batch_rows(name, table.metadata), use_threads=False):
            for values in _batch_rows(batch, longest):
                number += 1
                yield _record(name, number, columns, values)


def batch_rows(name: str, metadata: Any) -> int:
    """How many rows are read at once, by how long they are on average where they are longest.

    Raises:
        InputError: so long that one of them would not fit.
    """
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    longest: int = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    if longest > 4 * LONGEST:
        rows = f"{name}, whose rows have {longest:,} bytes on average"
        raise InputError(rows, f"at most {4 * LONGEST:,}", "leave out the column that is so long")
    return min(MOST_ROWS, max(1, BATCH_BYTES // max(1, longest)))


def _record(name: str, number: int, columns: tuple[str, ...], values: tuple[Any, ...] | str) -> Record | BadRow:
    if isinstance(values, str):
        return BadRow(name, number, values)
    row = dict(zip(columns, values, strict=True))
    if any(type(value) is dict for value in values):
        try:
            row = flattened(row)
        except ValueError:
            return BadRow(name, number, "a key given twice", excerpt(str(row)))
    return Record(name, number, row)


@contextmanager
def _arrow_errors(name: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(f"{name}: {reason}", "a whole Parquet file", "write it once more, or export it as CSV") from None


def _batch_rows(batch: Any, longest: int) -> Iterator[tuple[Any, ...] | str]:
    """The rows of a batch, or what is wrong with one; only a batch that holds such is looked at row by row."""
    try:
        if not any(_is_suspect(column, longest) for column in batch.columns):
            yield from list(zip(*(python_values(column) for column in batch.columns), strict=True))
            return
    except (UnicodeDecodeError, OverflowError):
        pass
    for place in range(batch.num_rows):
        yield _single_row(batch.slice(place, 1), longest)


def _single_row(row: Any, longest: int) -> tuple[Any, ...] | str:
    try:
        values = tuple(python_values(column)[0] for column in row.columns)
    except (UnicodeDecodeError, OverflowError) as error:
        return FLAWS[type(error)]
    texts = [value for value in values if isinstance(value, str)]
    if any(len(text) > longest for text in texts):
        return "too long"
    return "a NUL character" if any("\0" in text for text in texts) else values


def _is_suspect(column: Any, longest: int) -> bool:
    """Whether a column of text has a NUL character or a value that is too long."""
    import pyarrow
    from pyarrow import compute

    kinds = pyarrow.types
    if not (kinds.is_string(column.type) or kinds.is_large_string(column.type)):
        return False
    most = compute.max(compute.binary_length(column)).as_py() or 0
    return most > longest or bool(compute.any(compute.match_substring(column, "\0")).as_py())


def python_values(column: Any) -> list[Any]:
    """A column's values as Python has them: text, int, float, bool, date, datetime, time, Decimal, list, dict or None."""
    type_ = column.type
    for fits, values in _conversions():
        if fits(type_):
            return values(column)
    unconverted: list[Any] = column.to_pylist()
    return unconverted


def _conversions() -> list[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]]]:
    from pyarrow import types

    return [
        (types.is_dictionary, lambda column: python_values(column.dictionary_decode())),
        (lambda type_: types.is_timestamp(type_) and type_.unit == "ns", _microseconds),
        (lambda type_: types.is_duration(type_) and type_.unit == "ns", _microseconds),
        (lambda type_: types.is_decimal(type_) and type_.scale <= 0, lambda column: _converted(column, int)),
        (types.is_binary, lambda column: _converted(column, _decoded)),
        (types.is_large_binary, lambda column: _converted(column, _decoded)),
        (types.is_fixed_size_binary, lambda column: _converted(column, _decoded)),
    ]


def _microseconds(column: Any) -> list[Any]:
    import pyarrow

    type_ = column.type
    target = pyarrow.timestamp("us", type_.tz) if pyarrow.types.is_timestamp(type_) else pyarrow.duration("us")
    values: list[Any] = column.cast(target, safe=False).to_pylist()
    return values


def _converted(column: Any, convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in column.to_pylist()]


def _decoded(value: bytes) -> str | bytes:
    """Bytes as text where they are, as older writers leave texts; else as they are."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
