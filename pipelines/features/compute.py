"""The rows of a view as of each cut, as an artifact that Feast reads."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.features.events import Events
from pipelines.features.views import REPOSITORY, SQL_TYPES, TIME, View

if TYPE_CHECKING:
    import duckdb

KIND = "features"
FILE = "features.parquet"


def cuts_until(end: datetime, days: int) -> list[datetime]:
    """A cut a day, the last at `end`.

    >>> [cut.day for cut in cuts_until(datetime(2026, 1, 3, tzinfo=UTC), 2)]
    [1, 2, 3]
    """
    return [end - timedelta(days=before) for before in range(days, -1, -1)]


def compute(view: View, events: Events, cuts: Sequence[datetime], folder: Path) -> dict[str, Any]:
    """Write the view's rows of all cuts as one Parquet file, and return what the manifest says of them.

    Raises:
        InputError: the view's SQL can't be run, or gives other columns, an entity twice, or a value that is no number.
    """
    import duckdb
    import pyarrow.parquet

    columns = ", ".join(f'CAST("{name}" AS {SQL_TYPES[kind]}) AS "{name}"' for name, kind in view.features.items())
    try:
        for number, cut in enumerate(cuts):
            events.move_cut(cut)
            if not number:
                _check_columns(view, events)
            rows = f'SELECT CAST("{view.key}" AS VARCHAR) AS "{view.key}", cut() AS {TIME}, {columns} FROM ({view.sql})'
            events.before_cut.execute(f"INSERT INTO computed {rows}" if number else f"CREATE TABLE computed AS {rows}")
        _check_rows(view, events)
        ordered = f'FROM computed ORDER BY {TIME}, "{view.key}"'
        pyarrow.parquet.write_table(events.before_cut.sql(ordered).to_arrow_table(), folder / FILE)
        counted = f'SELECT count(*), count(DISTINCT "{view.key}") FROM computed'
        ((rows_, entities),) = events.before_cut.execute(counted).fetchall()
    except duckdb.Error as error:
        raise _wrong(view, f"whose SQL can't be run: {_without_values(error)}") from None
    return {
        "view": view.name,
        "key": view.key,
        "features": dict(view.features),
        "cuts": len(cuts),
        "rows": rows_,
        "entities": entities,
        "from_the_future": events.later_than(datetime.now(UTC)),
    }


def _without_values(error: "duckdb.Error") -> str:
    """What DuckDB says of the SQL; of an error in a row only its kind: its text quotes the value, which may be a person's."""
    import duckdb

    of_the_sql = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException,
                  duckdb.PermissionException)  # fmt: skip
    said = str(error).partition("\n")[0]
    return said if isinstance(error, of_the_sql) else f"{said.partition(':')[0]}, whose text may hold a row's values"


def _check_columns(view: View, events: Events) -> None:
    described = events.before_cut.execute(f"DESCRIBE SELECT * FROM ({view.sql})").fetchall()
    given, expected = sorted(row[0] for row in described), sorted([view.key, *view.features])
    if given != expected:
        raise _wrong(view, f"whose SQL gives the columns {', '.join(given)}", f"the columns {', '.join(expected)}")


def _check_rows(view: View, events: Events) -> None:
    key = f'"{view.key}"'
    repeated = f"SELECT {key} FROM computed GROUP BY {key}, {TIME} HAVING count(*) > 1"
    twice = events.before_cut.execute(f"SELECT count(DISTINCT {key}) FROM ({repeated})").fetchall()[0][0]
    if twice:
        raise _wrong(view, f"whose SQL gives {twice:,} of {view.key} several rows for one moment", "a row for each")
    if events.before_cut.execute(f"SELECT 1 FROM computed WHERE {key} IS NULL OR {key} = '' LIMIT 1").fetchall():
        raise _wrong(view, f"whose SQL gives a row without {view.key}", "an entity in each row")
    for name, kind in view.features.items():
        if (
            kind == "Float64"
            and events.before_cut.execute(f'SELECT 1 FROM computed WHERE NOT isfinite("{name}") LIMIT 1').fetchall()
        ):
            raise _wrong(view, f"whose feature {name} is infinite or no number", "numbers, or NULL")


def _wrong(view: View, what: str, expected: str = "SQL over documents, users, shown and chosen") -> InputError:
    return InputError(f"feature view {view.name}, {what}", expected, f"correct the SQL in {REPOSITORY}/{view.name}.py")
