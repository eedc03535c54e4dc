"""CSV and other delimited text: rows of cells between delimiters, quoted as RFC 4180 says.

A quote that never closes costs one row and a bounded look ahead: reading goes on with the next physical line.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from pipelines.collections.reading.compression import expanded
from pipelines.collections.reading.lines import LONGEST, FlawedLine, Lines, excerpt
from pipelines.collections.record import BadRow, Record, SourceFile
from pipelines.errors import InputError

LOOK_AHEAD = 4 << 20
"""Characters after which a quote is taken for one that never closes: a novel has a million."""
ATOMIC = re.compile(r"(.+):(?:token|token_seq|float|float_seq)")
"""A column as RecBole's atomic files name it."""
HEADER_AGAIN = "the header line again"
"""Of files that were concatenated: left out and counted, and not bad."""
UNCLOSED = "a quote that never closes"

csv.field_size_limit(LONGEST + LOOK_AHEAD)  # the module's own limit is 128 KiB; ours are the line's and the look ahead


class Rows:
    """The rows of a text as (line, cells), or as (line, what is wrong, text) where they are none; blank ones are left out.

    Args:
        lines: the physical lines, the separator that they ended with.
        delimiter: between cells; empty: each line is one cell.
        quoted: whether a quote at the beginning of a cell opens it.
    """

    def __init__(self, lines: Iterable[str], delimiter: str, quoted: bool, separator: str = "\n") -> None:
        self._lines, self._delimiter, self._separator = iter(lines), delimiter, separator
        self._quoted = quoted and len(delimiter) == 1
        self._ahead: deque[str] = deque()
        self._taken: list[str] = []
        self._used, self._room = 0, 0
        self._parser = csv.reader(_Feed(self), delimiter=delimiter, strict=True) if self._quoted else iter(())

    def __iter__(self) -> "Iterator[tuple[int, list[str]] | tuple[int, str, str]]":
        number, delimiter, quoted, ahead, lines = 0, self._delimiter, self._quoted, self._ahead, self._lines
        while True:
            if ahead:
                line = ahead.popleft()
            elif (line := next(lines, None)) is None:  # type: ignore[assignment]
                return
            number += 1
            if quoted and '"' in line:
                yield self._parsed(number, line)
                number += len(self._taken) - 1
            elif type(line) is not str:
                yield number, line.reason, line  # type: ignore[attr-defined]
            elif line and not line.isspace():
                cells = line.removesuffix("\r").split(delimiter) if delimiter else [line.removesuffix("\r")]
                if any(cells):
                    yield number, cells

    def _parsed(self, number: int, line: str) -> tuple[int, list[str]] | tuple[int, str, str]:
        """A row that begins with `line` and may span several; lines that do not belong to it are read again."""
        self._taken, self._used, self._room = [line], 0, LOOK_AHEAD
        try:
            cells = next(self._parser)
        except csv.Error as error:
            self._ahead.extendleft(reversed(self._taken[1:]))
            many = len(self._taken) > 1
            self._taken = [line]
            return number, self._reason(line, str(error), many), line
        reason = next((taken.reason for taken in self._taken if isinstance(taken, FlawedLine)), "")
        return (number, reason, line) if reason else (number, cells)

    @staticmethod
    def _reason(line: str, message: str, many: bool) -> str:
        if isinstance(line, FlawedLine):
            return line.reason
        if many or "unexpected end" in message:
            return UNCLOSED
        return "a line break outside quotes" if "new-line" in message else "text after a closing quote"

    def following(self) -> str:
        """The next line that the parser asks for: the row's first, or one further within the look ahead."""
        if self._used < len(self._taken):
            line = self._taken[self._used]
        else:
            line = self._further()
            self._taken.append(line)
        self._used += 1
        self._room -= len(line) + 1
        return line + self._separator

    def _further(self) -> str:
        if self._room <= 0:
            raise StopIteration
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        if isinstance(line, FlawedLine) and line.reason == "too long":
            self._ahead.appendleft(line)
            raise StopIteration
        return line


class _Feed:
    """The csv module's input; unlike a generator it can go on after StopIteration."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        return self._rows.following()


def read_delimited(file: SourceFile, longest: int = LONGEST) -> Iterator[Record | BadRow]:
    """The rows of a CSV file by column.

    Raises:
        InputError: its header can't be used, or the file is damaged.
    """
    name = file.name
    with expanded(file.path, name, file.compression, file.member) as stream:
        lines = Lines(stream, file.encoding, longest)
        rows = iter(Rows(lines, file.delimiter, file.quoted, lines.separator))
        for _ in range(file.preamble):
            next(rows, None)
        columns = file.columns or header_of(name, rows)
        width, folded = len(columns), _folded(columns)
        for row in rows:
            if len(row) == 3:
                yield BadRow(name, row[0], row[1], excerpt(row[2]))
            elif width > 1 and row[1][0].strip().casefold() == folded[0] and _folded(row[1]) == folded:
                yield BadRow(name, row[0], HEADER_AGAIN)
            elif len(row[1]) == width or (len(row[1]) == width + 1 and not row[1][-1]):  # a delimiter at the end of the row
                yield Record(name, row[0], dict(zip(columns, row[1], strict=False)))
            else:
                cells = row[1]
                yield BadRow(name, row[0], f"{len(cells)} cells for {width} columns", excerpt(file.delimiter.join(cells)))


def _folded(cells: Iterable[str]) -> list[str]:
    return [cell.strip().casefold() for cell in cells]


def header_of(name: str, rows: "Iterator[tuple[int, list[str]] | tuple[int, str, str]]") -> tuple[str, ...]:
    """The columns that the first row names; none where there is no row.

    Raises:
        InputError: it is no row, or names a column twice.
    """
    first = next(rows, None)
    if first is None:
        return ()
    if len(first) == 3:
        raise InputError(
            f"{name} line {first[0]}, the header: {first[1]}", "a line that names the columns", "correct the file's first line"
        )
    return column_names(name, first[1])


def column_names(name: str, cells: list[str]) -> tuple[str, ...]:
    """The names in a header: without the blanks around them, and without the types that RecBole adds.

    >>> column_names("ml.inter", ["user_id:token", "rating:float", ""])
    ('user_id', 'rating', 'column 3')
    """
    stripped = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    typed = [ATOMIC.fullmatch(cell) for cell in stripped]
    names = [match[1] if match else cell for match, cell in zip(typed, stripped, strict=True)]
    repeated(name, names)
    return tuple(names)


def repeated(name: str, columns: Iterable[str]) -> None:
    """Refuse columns that can't be told apart.

    Raises:
        InputError: a name stands for two of them.
    """
    twice = sorted(column for column, times in Counter(columns).items() if times > 1)
    if twice:
        columns_given = f"{name}, which has more than one column {', '.join(map(repr, twice))}"
        raise InputError(columns_given, "columns that differ", "rename all but one")
