"""A log in any format becomes one table of DuckDB: large files are read by it in flat memory, the rest row by row."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipelines.collections import BadRow, Sampled, SampleTable, SourceFile, read_table, sample_tables
from pipelines.corpus.exposure import Traffic
from pipelines.errors import InputError
from pipelines.wording import counted, printable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEGABYTES_A_CORE = 96
"""What DuckDB may hold in memory for each core; beyond it, it writes to the scratch folder."""
MOST_BAD = 0.01
"""The part of the rows that may be unreadable."""
BATCH = 20_000
FILE = "log_file"
"""A column that is made: which file a row is of. It stands for the variant where no column does."""
UNNAMED = "(unnamed)"
"""What a column without a name is called: pandas writes its index so."""
NATIVE = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BOOL", "TIMESTAMP", "DATE", "HUGEINT", "REAL")


@dataclass
class StagedLog:
    """The rows of a log as the view `log`, its columns named as in the files."""

    db: "DuckDBPyConnection"
    source: str
    columns: dict[str, str]
    """Type by column, as DuckDB calls it; text formats have VARCHAR alone."""
    sample: SampleTable
    rows: int
    files: list[tuple[str, Path]] = field(default_factory=list)
    """Names and local places."""
    readings: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    """How columns are read, once they are."""
    bad: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What speaks against the result, and the rows do not show."""
    traffic: Traffic = "live"
    """As the log itself tells, where it does."""

    def scalar(self, sql: str) -> Any:
        """The first value of the first row of a query."""
        row = self.db.execute(sql).fetchone()
        return row[0] if row else None


def quoted(name: str) -> str:
    """A name as an identifier of SQL.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a literal of SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def open_database(scratch: Path, memory: str = "") -> "DuckDBPyConnection":
    """An empty database on disk in `scratch`, which takes what does not fit into `memory`."""
    import duckdb

    scratch.mkdir(parents=True, exist_ok=True)
    db = duckdb.connect(str(scratch / "log.duckdb"))
    settings = {
        "memory_limit": memory or f"{MEGABYTES_A_CORE * max(2, os.cpu_count() or 2)}MB",
        "temp_directory": str(scratch / "spilled"),
        "preserve_insertion_order": "false",
        "TimeZone": "UTC",
    }
    for name, value in settings.items():
        db.execute(f"SET {name} = {literal(value)}")
    db.execute("SET enable_progress_bar = false")
    return db


def stage_log(source: str, scratch: Path, memory: str = "") -> StagedLog:
    """Read a log: one file, or a folder whose files have the same columns.

    Raises:
        InputError: it can't be read, has no rows, or too many of them can't be read.
        TryAgain: the S3 server did not answer.
    """
    sampled, notes = sample_tables(source, scratch / "source")
    sampled = [sample for sample in sampled if sample.records or sample.bad]
    if not any(sample.records for sample in sampled):
        raise InputError(f"{printable(source, 200)} without a row that can be read", "a log with rows", "check the file")
    db = open_database(scratch / "database", memory)
    log = StagedLog(db, source, {}, SampleTable(tuple(s.file for s in sampled), [r for s in sampled for r in s.records]), 0)
    log.notes += notes
    log.files = [(sample.file.name, sample.file.path) for sample in sampled]
    views = [_stage_file(log, sample, number, scratch) for number, sample in enumerate(sampled)]
    union = " UNION ALL BY NAME ".join(f"SELECT * FROM {view}" for view in views)
    db.execute(f"CREATE VIEW log AS {union}")
    log.columns = {name: str(kind) for name, kind, *_ in db.execute("DESCRIBE log").fetchall()}
    log.rows = int(log.scalar("SELECT count(*) FROM log"))
    _check_bad(log)
    return log


def _check_bad(log: StagedLog) -> None:
    if log.bad > MOST_BAD * (log.rows + log.bad):
        raise InputError(
            f"{printable(log.source, 200)}, of which {counted(log.bad, 'row')} of {log.rows + log.bad:,} can't be read",
            f"at most {MOST_BAD:.0%}",
            "correct these rows, or export the log once more",
        )
    if log.bad:
        log.notes.append(f"{counted(log.bad, 'row')} that could not be read {'is' if log.bad == 1 else 'are'} left out.")
    if not log.rows:
        raise InputError(f"{printable(log.source, 200)} without rows", "a log with rows", "check the file")


def _stage_file(log: StagedLog, sample: Sampled, number: int, scratch: Path) -> str:
    """A view of one file: Parquet as it is; texts are parsed once, by DuckDB where it reads them as we do, else row by row."""
    from duckdb import Error

    view, file, path = f"log_{number}", sample.file, scratch / f"rows-{number}.parquet"
    if file.format == "parquet":
        try:
            _create_view(log.db, view, f"read_parquet({literal(str(file.path))})", file)
        except Error as error:
            raise _unreadable(file, error) from None
        return view
    if not _parsed(log.db, _direct(file, sample.columns), path):
        log.bad += _write_rows(file, path)
    _create_view(log.db, view, f"read_parquet({literal(str(path))})", file)
    return view


def _parsed(db: "DuckDBPyConnection", relation: str, path: Path) -> bool:
    """Whether DuckDB could write the rows of a text file as Parquet; else a row can't be read, and our reader says which."""
    from duckdb import Error

    if not relation:
        return False
    try:
        db.execute(f"COPY (SELECT * FROM {relation}) TO {literal(str(path))} (FORMAT parquet)")
    except Error:
        path.unlink(missing_ok=True)
        return False
    return True


def _unreadable(file: SourceFile, error: Exception) -> InputError:
    reason = str(error).partition("\n")[0]
    return InputError(
        f"{file.name}: {printable(reason, 200)}", "a whole Parquet file", "write it once more, or export it as CSV"
    )


def _create_view(db: "DuckDBPyConnection", view: str, relation: str, file: SourceFile) -> None:
    name = literal(_label(file))
    db.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT *, {name} AS {FILE} FROM {relation}")


def _label(file: SourceFile) -> str:
    """What tells a file from the others: its path without the ending.

    >>> from pathlib import Path
    >>> _label(SourceFile(Path("x"), "random/all.csv", "csv"))
    'random/all'
    """
    path = PurePosixPath(file.name)
    return str(path.parent / path.name.partition(".")[0]).removeprefix("./")


def _direct(file: SourceFile, names: list[str]) -> str:
    """What DuckDB reads itself, as a table function; empty: it would read this file otherwise than the collections' readers."""
    path = literal(str(file.path))
    plain = file.compression in ("", "gzip", "zstd") and file.encoding == "utf-8" and not file.columns and not file.preamble
    if file.format == "csv" and plain and len(file.delimiter) == 1:
        quote = "'\"'" if file.quoted else "''"
        compression = file.compression or "none"
        columns = "{" + ", ".join(f"{literal(_named(name))}: 'VARCHAR'" for name in names) + "}"
        return (
            f"read_csv({path}, delim={literal(file.delimiter)}, header=true, all_varchar=true, quote={quote}, escape={quote},"
            f" compression={literal(compression)}, auto_detect=false, strict_mode=true, columns={columns})"
        )
    return ""


def _named(column: str) -> str:
    return column or UNNAMED


def _write_rows(file: SourceFile, path: Path) -> int:
    """Write the rows that can be read as texts; returns how many can't."""
    import pyarrow
    import pyarrow.parquet

    names = _names(file)
    schema = pyarrow.schema([(_named(name), pyarrow.string()) for name in names])
    bad: list[int] = [0]
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _batches(file, names, bad):
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return bad[0]


def _names(file: SourceFile) -> list[str]:
    names: dict[str, None] = {}
    for row in read_table(file):
        if not isinstance(row, BadRow):
            names.update(dict.fromkeys(row.fields))
    return list(names)


def _batches(file: SourceFile, names: list[str], bad: list[int]) -> Iterator[list[dict[str, str | None]]]:
    rows: list[dict[str, str | None]] = []
    for row in read_table(file):
        if isinstance(row, BadRow):
            bad[0] += 1
            continue
        rows.append({_named(name): _text(row.fields.get(name)) for name in names})
        if len(rows) >= BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def _text(value: Any) -> str | None:
    """A value as text; nothing stays nothing.

    >>> _text(True), _text(2.0), _text(None), _text([1, 2])
    ('true', '2.0', None, '1 2')
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)
