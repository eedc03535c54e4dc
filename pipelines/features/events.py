"""What happened, as tables of DuckDB that hold only what was before the cut: documents, users, what was shown and what chosen.

A view's SQL gets these tables, those that its view names, and reads no file, so it can't see its own event or anything later,
whoever writes it. A table that a view names is a Parquet file with a column `time`, such as a model of dbt writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.corpus.event_log import AS_SHOWN, LIVE, LogFiles, log_files, reading_rows, require_log
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CORPUS = "interactions"
"""The word for the corpus's interactions in place of the search server's log; a blend that was fitted to them has it empty."""
DOCUMENTS = "{id: 'VARCHAR', title: 'VARCHAR', text: 'VARCHAR', segment: 'VARCHAR', facets: 'MAP(VARCHAR, VARCHAR)'}"
INTERACTIONS = "{\"user\": 'VARCHAR', document: 'VARCHAR', time: 'BIGINT', value: 'DOUBLE'}"
USERS = "{id: 'VARCHAR', fields: 'MAP(VARCHAR, VARCHAR)'}"
TABLES = """
    CREATE TABLE documents (document_id VARCHAR, title VARCHAR, text VARCHAR, segment VARCHAR, facets MAP(VARCHAR, VARCHAR));
    CREATE TABLE users (user_id VARCHAR, fields VARCHAR);
    CREATE TABLE shown (user_id VARCHAR, document_id VARCHAR, time TIMESTAMP);
    CREATE TABLE chosen (user_id VARCHAR, document_id VARCHAR, time TIMESTAMP);
"""
"""Times are UTC without a zone."""


@dataclass
class Events:
    """The tables: of everything, and of what was before the cut. Only of the latter does a view's SQL get the connection."""

    everything: "DuckDBPyConnection"
    before_cut: "DuckDBPyConnection"
    """Holds nothing else, and reads no file."""
    inputs: Mapping[str, str]
    """Digests of what came from elsewhere than the corpus: of the rows before the last cut, by source."""
    tables: Sequence[str] = ()
    """Those besides documents, users, shown and chosen."""
    cut: datetime | None = None

    def move_cut(self, cut: datetime) -> None:
        """Let what was before the next cut into the tables; `cut()` is that moment.

        Args:
            cut: in UTC, later than the one before.
        """
        since = f"time >= {_literal(self.cut)}" if self.cut else "true"
        for table in ("shown", "chosen", *self.tables):
            arriving = f'SELECT * FROM "{table}" WHERE {since} AND time < {_literal(cut)}'
            self._let_in(table, arriving)
        if self.cut is None:
            for table in ("documents", "users"):
                self._let_in(table, f"FROM {table}")
            self.before_cut.execute("CREATE MACRO cut() AS getvariable('cut')")
        self.before_cut.execute(f"SET VARIABLE cut = {_literal(cut)}")
        self.cut = cut

    def _let_in(self, table: str, rows: str) -> None:
        self.before_cut.register("arriving", self.everything.sql(rows).to_arrow_table())
        if self.cut is None and table in self.tables:
            self.before_cut.execute(f'CREATE TABLE "{table}" AS FROM arriving LIMIT 0')
        self.before_cut.execute(f'INSERT INTO "{table}" FROM arriving')
        self.before_cut.unregister("arriving")

    def later_than(self, moment: datetime) -> int:
        """How many events are at that moment or later, as where a server's clock was ahead."""
        later = f"SELECT count(*) FROM (FROM shown UNION ALL FROM chosen) WHERE time >= {_literal(moment)}"
        return int(self.everything.execute(later).fetchall()[0][0])


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}'"


def meant_log(named: str, default: str) -> str:
    """Where events come from, as a blend has it: `server`, or empty for the corpus's interactions.

    >>> meant_log("", "server"), meant_log("interactions", "server"), meant_log("server", "")
    ('server', '', 'server')
    """
    return "" if named == CORPUS else named or default


@contextmanager
def open_events(corpus: Artifact, log: str, folder: Path, until: datetime, tables: Sequence[str] = ()) -> Iterator[Events]:
    """The events of a corpus or of the search server's log, and tables of others.

    Args:
        corpus: its documents and users, and its interactions unless a log is named.
        log: `server`, or empty.
        folder: of the server's logs; its folder `tables` has the tables, as NAME.parquet.
        until: the last cut.
        tables: names of tables besides.

    Raises:
        InputError: the log or a table is not there, or can't be read, or the corpus can't.
    """
    import duckdb

    if log:
        require_log(corpus.store, folder, f"name {CORPUS} in its place")
    with duckdb.connect() as db, duckdb.connect() as before_cut:
        before_cut.execute(TABLES + "SET TimeZone = 'UTC'; SET enable_external_access = false; SET lock_configuration = true")
        db.execute("SET TimeZone = 'UTC'")
        db.execute(TABLES)
        with reading_rows(f"corpus {corpus.id}"):
            _load_corpus(db, corpus)
            if not log:
                _load_interactions(db, corpus)
        inputs = {}
        if log:
            with reading_rows(f"the log of the search server in {folder}"), TemporaryDirectory() as scratch:
                _load_log(db, *(log_files(corpus.store, folder, name, Path(scratch)) for name in ("exposures", "clicks")))
                inputs["log"] = _digest(db, until)
        for table in tables:
            _load_table(db, table, folder / "tables" / f"{table}.parquet")
            inputs[f"table {table}"] = _table_digest(db, table, until)
        yield Events(db, before_cut, inputs, tables)


def _load_corpus(db: "DuckDBPyConnection", corpus: Artifact) -> None:
    db.execute(
        f"INSERT INTO documents SELECT id, coalesce(title, ''), text, coalesce(segment, ''), facets"
        f" FROM {_read(corpus.path('documents.jsonl'), DOCUMENTS)}"
    )
    if "users.jsonl" in corpus.manifest.files:
        named = "list_transform(map_entries(fields), lambda one: one.key || '=' || one.value)"
        db.execute(
            f"INSERT INTO users SELECT id, array_to_string(list_sort({named}), ', ')"
            f" FROM {_read(corpus.path('users.jsonl'), USERS)}"
        )


def _load_interactions(db: "DuckDBPyConnection", corpus: Artifact) -> None:
    """Whatever a user met was shown; what has at least the corpus's `min_value` was chosen."""
    if "interactions.jsonl" not in corpus.manifest.files:
        return
    relation = _read(corpus.path("interactions.jsonl"), INTERACTIONS)
    row = f'"user", document, make_timestamp(time * 1000000) FROM {relation}'
    db.execute(f"INSERT INTO shown SELECT {row}")
    least = corpus.facts.get("min_value")
    db.execute(f"INSERT INTO chosen SELECT {row} WHERE ?1 IS NULL OR coalesce(value, 1.0) >= ?1", [least])


def _load_log(db: "DuckDBPyConnection", exposed: LogFiles, clicks: LogFiles) -> None:
    """Searches of people; those that a program made click by the judgments, which the blend is measured by.

    A click on what its search did not show there is left out. Others count from when they came, and never before their
    exposure, whichever clock was behind. A line counts once.
    """
    relation = exposed.relation("request_id", "at", "user", "results", "traffic")
    exposures = f'SELECT DISTINCT ON (request_id) * FROM {relation} WHERE "at" IS NOT NULL AND {LIVE}'
    db.execute('INSERT INTO shown SELECT "user", unnest(results).document, "at" AT TIME ZONE \'UTC\' FROM (' + exposures + ")")
    db.execute(f"""
        INSERT INTO chosen
        SELECT e."user", c.document, greatest(min(c."at"), min(e."at")) AT TIME ZONE 'UTC'
        FROM {clicks.relation("request_id", "at", "document", "position")} c JOIN ({exposures}) e USING (request_id)
        WHERE {AS_SHOWN} GROUP BY request_id, c.document, e."user"
    """)


def _load_table(db: "DuckDBPyConnection", table: str, path: Path) -> None:
    """Take what others wrote; what DuckDB says of it is not told, for it may quote a value."""
    import duckdb

    try:
        moment = 'SELECT * REPLACE (CAST("time" AS TIMESTAMP) AS "time")'
        db.execute(f'CREATE TABLE "{table}" AS {moment} FROM read_parquet({_quoted(path)})')
    except duckdb.Error as error:
        raise InputError(
            f"table {table} of a feature view, {path}, which can't be read ({type(error).__name__})",
            "a Parquet file with a column `time`, a moment from which on a row is known",
            "run what writes it, such as dbt, or set RATCHET_EVENTS to the folder whose folder `tables` has it",
        ) from None


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _read(path: Path, columns: str) -> str:
    """The relation of one file; a line that is cut off is left out."""
    name = _quoted(path)
    return f"read_json({name}, format='newline_delimited', ignore_errors=true, maximum_object_size=33554432, columns={columns})"


def _digest(db: "DuckDBPyConnection", until: datetime) -> str:
    """What the rows before a moment are, whatever their order."""
    before = f"time < {_literal(until)}"
    hashed = "hash(user_id, document_id, time)"
    counts = [
        db.execute(f"SELECT count(*), bit_xor({hashed}), sum({hashed}) FROM {table} WHERE {before}").fetchall()[0]
        for table in ("shown", "chosen")
    ]
    return "-".join(str(value) for row in counts for value in row)


def _table_digest(db: "DuckDBPyConnection", table: str, until: datetime) -> str:
    before = f'SELECT count(*), bit_xor(hash(line)), sum(hash(line)) FROM "{table}" AS line WHERE time < {_literal(until)}'
    return "-".join(map(str, db.execute(before).fetchall()[0]))
