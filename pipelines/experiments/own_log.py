"""The search server's own logs as a log of an experiment: exposures joined with their clicks, one row for each search.

The variant is the one that the exposure names, where it belongs to the experiment; without an experiment it is the role of
the release that answered, champion or challenger, and searches of the champion before are left out. Clicks give the ranking
measures of a search: reciprocal rank of the first click, and nDCG with a clicked document as relevant.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.experiments.design import Design
from pipelines.experiments.recognition import Overrides
from pipelines.experiments.staging import StagedLog, literal, open_database, quoted, stage_log
from pipelines.wording import printable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SERVER = "server"
"""The name of this log in place of a path."""
OUTCOMES = ("clicked", "reciprocal_rank", "ndcg", "latency_ms")
FIELDS = {"unit": "user", "variant": "variant", "time": "at", "request": "request_id"}
EXPOSURE = (
    "{request_id: 'VARCHAR', \"at\": 'TIMESTAMPTZ', \"user\": 'VARCHAR', release: 'VARCHAR', policy: 'VARCHAR',"
    " latency_ms: 'DOUBLE',"
    " experiment: 'VARCHAR', variant: 'VARCHAR', segment: 'MAP(VARCHAR, VARCHAR)', results: 'JSON'}"
)
CLICK = "{request_id: 'VARCHAR', document: 'VARCHAR', position: 'INTEGER'}"


def stage_own_log(events: Path, design: Design | None, scratch: Path, memory: str) -> StagedLog:
    """Join the logs and stage the result.

    Args:
        events: the folder of `exposures.jsonl` and `clicks.jsonl`.
        design: the experiment whose exposures count; none: all, by role.
        scratch: a folder of our own.
        memory: what DuckDB may hold.

    Raises:
        InputError: there is no such log, or nothing of this experiment in it.
    """
    exposures = events / "exposures.jsonl"
    if not exposures.is_file():
        raise InputError(
            f"the log of the search server, {printable(exposures, 200)}, which is not there",
            "exposures.jsonl in that folder",
            "set RATCHET_EVENTS to its folder, or pass --log FILE",
        )
    db = open_database(scratch / "joined", memory)
    try:
        name = design.id if design and _belongs(db, exposures, design.id) else ""
        _join(db, exposures, events / "clicks.jsonl", name, scratch / "searches.parquet")
    finally:
        db.close()
    log = stage_log(str(scratch / "searches.parquet"), scratch / "staged", memory)
    log.source = f"the search server's log in {events}"
    what = f"those of experiment {name}" if name else "by the role of the release that answered"
    searches = f"{log.rows:,} search{'' if log.rows == 1 else 'es'}"
    log.notes.append(f"Searches of the server with their clicks, {what}: {searches}.")
    return log


def stage_any(
    source: str, events: Path, design: Design | None, overrides: Overrides, scratch: Path, memory: str
) -> tuple[StagedLog, Overrides]:
    """Stage a log by its place, or the search server's own by the word `server`; and what its columns are."""
    if source == SERVER:
        return stage_own_log(events, design, scratch, memory), own_overrides(overrides)
    return stage_log(source, scratch, memory), overrides


def own_overrides(overrides: Overrides) -> Overrides:
    """What the columns of the joined log are; the user's word comes first."""
    fields = {**FIELDS, **overrides.fields}
    outcomes = overrides.outcomes or OUTCOMES
    return Overrides(fields, outcomes, overrides.segments, overrides.declared)


def _read(path: Path, columns: str) -> str:
    """The relation of one log; a line that is cut off is left out."""
    options = "format='newline_delimited', ignore_errors=true, maximum_object_size=33554432"
    return f"read_json({literal(str(path))}, {options}, columns={columns})"


def _belongs(db: "DuckDBPyConnection", exposures: Path, name: str) -> bool:
    row = db.execute(
        f"SELECT count(*) FROM {_read(exposures, EXPOSURE)} WHERE experiment = {literal(name)} AND variant <> ''"
    ).fetchone()
    return bool(row and row[0])


def _join(db: "DuckDBPyConnection", exposures: Path, clicks: Path, name: str, target: Path) -> None:
    relation = _read(exposures, EXPOSURE)
    kept = f"experiment = {literal(name)}" if name else "policy IN ('champion', 'challenger')"
    variant = "variant" if name else "policy"
    db.execute(
        f"CREATE TABLE searches AS SELECT * EXCLUDE (variant), {variant} AS variant FROM {relation} WHERE request_id IS NOT"
        f" NULL AND {kept}"
    )
    if clicks.is_file():
        db.execute(
            f"CREATE TABLE clicks AS SELECT DISTINCT request_id, document, position FROM {_read(clicks, CLICK)} WHERE"
            " position >= 1"
        )
    else:
        db.execute("CREATE TABLE clicks (request_id VARCHAR, document VARCHAR, position INTEGER)")
    names = sorted(
        str(row[0])
        for row in db.execute("SELECT DISTINCT unnest(map_keys(segment)) FROM searches WHERE segment IS NOT NULL").fetchall()
    )
    segments = "".join(f", segment[{literal(segment)}] AS {quoted('segment ' + segment)}" for segment in names)
    db.execute(
        f"""COPY (
            SELECT request_id, nullif("user", '') AS "user", "at", variant, release,
                CAST(coalesce(c.clicks, 0) > 0 AS INTEGER) AS clicked, coalesce(1.0 / c.first, 0.0) AS reciprocal_rank,
                coalesce(c.gain / c.ideal, 0.0) AS ndcg, latency_ms{segments}
            FROM searches LEFT JOIN (
                SELECT request_id, count(*) AS clicks, min(position) AS first, sum(1 / log2(1 + position)) AS gain,
                    list_sum([1 / log2(1 + i) FOR i IN range(1, count(*) + 1)]) AS ideal
                FROM clicks GROUP BY request_id
            ) c USING (request_id) ORDER BY "at", request_id
        ) TO {literal(str(target))} (FORMAT parquet)"""
    )
