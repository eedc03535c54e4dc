"""The search server's own logs as a log of an experiment: exposures joined with their clicks, one row for each search.

The variant is the one that the exposure names, where it belongs to the experiment; without an experiment it is the role of
the release that answered, champion or challenger, and searches of the champion before are left out. Clicks give the ranking
measures of a search: reciprocal rank of the first click, and nDCG with a clicked document as relevant.

Where people searched, only their searches count; where none did, the report says that the traffic was replayed or simulated.
Searches that a release did not answer are no exposures: they are in no metric, and a warning says how many there were.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpus.event_log import AS_SHOWN, LogFiles, log_files, reading_rows, require_log
from pipelines.corpus.exposure import Traffic
from pipelines.errors import InputError, NothingToDo
from pipelines.experiments.design import Design, design_of, log_of, read_design
from pipelines.experiments.recognition import Overrides
from pipelines.experiments.staging import StagedLog, literal, open_database, quoted, stage_log
from pipelines.store.journal import Entry, Journal
from pipelines.store.objects import open_store
from pipelines.wording import printable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SERVER = "server"
"""The name of this log in place of a path; with `:NAME`, its searches under the split NAME."""
OUTCOMES = ("clicked", "reciprocal_rank", "ndcg", "latency_ms")
SPLIT = {
    "hypothesis": "People click more, or no less, on what the challenger finds.",
    "primary": {"name": "clicks per search", "kind": "ratio", "column": "clicked"},
    "secondary": [
        {"name": "nDCG of clicks", "kind": "ratio", "column": "ndcg"},
        {"name": "RR of clicks", "kind": "ratio", "column": "reciprocal_rank"},
        {"name": "latency p95", "kind": "quantile", "column": "latency_ms", "quantile": 0.95, "direction": "decrease"},
    ],
}
"""What is compared between the releases of a split."""
FIELDS = {"unit": "user", "variant": "variant", "time": "at", "request": "request_id"}
EXPOSURE = (
    "request_id", "at", "user", "release", "policy", "entry", "results", "latency_ms", "experiment", "variant", "segment",
    "traffic",
)  # fmt: skip


def declared_experiment(log: str, file: str) -> tuple[str, Design | None, int]:
    """The place of a log, the experiment that is declared for it, and the journal's entry from which its searches count.

    Args:
        log: a place, `server`, `server:NAME` of a split, or a YAML file, which is an experiment that names its log; empty: the
            experiment's own.
        file: the YAML file that declares the experiment; empty: none.

    Raises:
        InputError: the file declares no experiment, no log is named, the journal has no such split, or both declare one.
    """
    if log.startswith(f"{SERVER}:"):
        if file:
            raise InputError(f"--log {log} together with {file}", "one: a split declares its own experiment", "leave one out")
        return log, *split_design(Journal(open_store()), log.removeprefix(f"{SERVER}:"))
    if log.endswith((".yaml", ".yml")) and not file:
        log, file = "", log
    design = read_design(Path(file)) if file else None
    place = log or log_of(design, file)
    begun = _begun(Journal(open_store()), design.id) if design and place == SERVER else None
    return place, design, begun.n if begun else 0


def split_design(journal: Journal, name: str) -> tuple[Design, int]:
    """The experiment that a split of the journal's is, and the entry from which its searches count.

    A split whose share or whose releases were changed counts from the last change: over different shares pooled, a day on which
    people click more would speak for the release that had more of it (Simpson's paradox: T. Crook, B. Frasca, R. Kohavi and R.
    Longbotham, "Seven pitfalls to avoid when running controlled experiments on the web", KDD 2009).

    Raises:
        InputError: the journal has no such split, or with a share of 0 or 1, which leaves nobody to compare with.
    """
    begun = _begun(journal, name)
    if begun is None or begun.routing.split is None:
        names = {entry.routing.split.name for entry in journal.entries if entry.routing.split}
        told = ", ".join(sorted(names)) or "none yet: run `split` first"
        raise InputError(f"--log {SERVER}:{printable(name, 60)}", f"the name of a split: {told}", "correct the name")
    share = begun.routing.split.share
    if share in (0, 1):
        raise InputError(
            f"split {name} with a share of {share:g}", "users of both releases", "give it another share by `split --share`"
        )
    weights = {"champion": 1 - share, "challenger": share}
    return design_of({**SPLIT, "id": name, "variants": weights, "start": begun.at}, name), begun.n


def _begun(journal: Journal, name: str) -> Entry | None:
    """The entry since which the last split of a name had the share and the releases that it had last; None: there was none."""
    of_name = (entry for entry in reversed(journal.entries) if entry.routing.split and entry.routing.split.name == name)
    begun = last = next(of_name, None)
    for entry in reversed(journal.entries[: last.n - 1] if last else []):
        if last is None or _told_apart(entry) != _told_apart(last):
            break
        begun = entry
    return begun


def _told_apart(entry: Entry) -> tuple[object, ...]:
    """What must not change within an experiment; a shadow may, which nobody sees."""
    return entry.routing.split, *entry.routing.roles.values()


def stage_own_log(events: Path, design: Design | None, scratch: Path, memory: str, since: int = 0) -> StagedLog:
    """Join the logs and stage the result.

    Args:
        events: the folder of `exposures.jsonl` and `clicks.jsonl`; what was shipped from there counts, too.
        design: the experiment whose exposures count; none: all, by role.
        scratch: a folder of our own.
        memory: what DuckDB may hold.
        since: the journal's entry from which on searches count.

    Raises:
        InputError: there is no such log, or it can't be read.
        NothingToDo: no search counts yet, nobody was assigned by the split, or all to one release.
    """
    store = open_store()
    require_log(store, events, "pass --log FILE")
    journal = Journal(store)
    first = _day_before(journal.entries[since - 1]) if since else ""
    exposures, clicks, failures = (
        log_files(store, events, log, scratch / "files", first) for log in ("exposures", "clicks", "failures")
    )
    db = open_database(scratch / "joined", memory)
    try:
        with reading_rows(f"the log of the search server in {printable(events, 200)}"):
            name = design.id if design and (since or _belongs(db, exposures, design.id)) else ""
            left_out = _select(db, exposures, name, since, design)
            warnings = _unanswered(db, failures, name, since)
            _check_compared(db, name, since, left_out, warnings)
            warnings += _join(db, clicks, scratch / "searches.parquet")
            traffic = _traffic(db)
    finally:
        db.close()
    log = stage_log(str(scratch / "searches.parquet"), scratch / "staged", memory)
    log.source = f"the search server's log in {events}" + (f" and {store.uri}" if exposures.shipped else "")
    what = f"those of experiment {name}" if name else "by the role of the release that answered"
    searches = f"{log.rows:,} search{'' if log.rows == 1 else 'es'}"
    log.notes.append(f"Searches of the server with their clicks, {what}: {searches}.")
    log.traffic, log.warnings = traffic, warnings
    if left_out:
        log.notes.append(f"Replayed or simulated searches, left out since people searched, too: {left_out:,}.")
    if name and (toggled := toggled_within(journal, name, since)):
        log.notes.append(
            f"What servers do was toggled meanwhile: {', '.join(toggled)}. The effect is that of the times before and after"
            " together; a release whose reranker was off was compared without it."
        )
    return log


def _day_before(entry: Entry) -> str:
    """The first day whose files may hold searches by an entry; a day earlier, since the clocks of servers differ."""
    return (datetime.fromisoformat(entry.at).astimezone(UTC).date() - timedelta(days=1)).isoformat()


def toggled_within(journal: Journal, name: str, since: int) -> list[str]:
    """What was toggled while a split ran, from an entry of the journal on; both of its releases were, at the same time."""
    return [
        f"{entry.to} (entry {entry.n})"
        for entry in journal.entries[since:]
        if entry.toggle and entry.routing.split and entry.routing.split.name == name
    ]


def stage_any(
    source: str, events: Path, design: Design | None, overrides: Overrides, scratch: Path, memory: str, since: int = 0
) -> tuple[StagedLog, Overrides]:
    """Stage a log by its place, or the search server's own by the word `server`; and what its columns are."""
    if source.partition(":")[0] == SERVER:
        return stage_own_log(events, design, scratch, memory, since), own_overrides(overrides)
    return stage_log(source, scratch, memory), overrides


def own_overrides(overrides: Overrides) -> Overrides:
    """What the columns of the joined log are; the user's word comes first."""
    fields = {**FIELDS, **overrides.fields}
    outcomes = overrides.outcomes or OUTCOMES
    return Overrides(fields, outcomes, overrides.segments, overrides.declared)


def _belongs(db: "DuckDBPyConnection", exposures: LogFiles, name: str) -> bool:
    row = db.execute(
        f"SELECT count(*) FROM {exposures.relation('experiment', 'variant')}"
        f" WHERE experiment = {literal(name)} AND variant <> ''"
    ).fetchone()
    return bool(row and row[0])


def _kept(name: str, since: int) -> str:
    """The lines that count: of an experiment, or by role."""
    return f"experiment = {literal(name)} AND entry >= {since}" if name else "policy IN ('champion', 'challenger')"


def _select(db: "DuckDBPyConnection", exposures: LogFiles, name: str, since: int, design: Design | None) -> int:
    """Make the table `searches` of those that count, and return how many more no person made, where people made others."""
    variant = "variant" if name else "policy"
    db.execute(
        f"CREATE TABLE searches AS SELECT * REPLACE ({variant} AS variant, coalesce(traffic, 'live') AS traffic)"
        f" FROM {exposures.relation(*EXPOSURE)} WHERE request_id IS NOT NULL AND {_kept(name, since)}"
    )
    if design is not None and design.traffic != "live":
        return 0
    live = "EXISTS (SELECT 1 FROM searches WHERE traffic = 'live')"
    return len(db.execute(f"DELETE FROM searches WHERE traffic <> 'live' AND {live} RETURNING 1").fetchall())


def _check_compared(db: "DuckDBPyConnection", name: str, since: int, left_out: int, warnings: list[str]) -> None:
    """Check that there is something to compare.

    Raises:
        NothingToDo: the searches that count are of one release alone, or there is none.
    """
    more = [f"{left_out:,} replayed or simulated ones are left out"] if left_out else []
    told = "".join(f"; {sentence}" for sentence in [*more, *warnings])
    variants = [str(row[0]) for row in db.execute("SELECT DISTINCT variant FROM searches ORDER BY 1").fetchall()]
    if since and len(variants) < 2:
        answered = f"only by {variants[0]}" if variants else "by none of its releases"
        raise NothingToDo(f"searches of split {name} since journal entry {since} were answered {answered} so far{told}")
    if not variants:
        raise NothingToDo("the log of the search server has no search yet that champion or challenger answered")


def _traffic(db: "DuckDBPyConnection") -> Traffic:
    """What most searches that count are."""
    row = db.execute("SELECT traffic FROM searches GROUP BY traffic ORDER BY count(*) DESC LIMIT 1").fetchone()
    return row[0] if row else "live"


def _unanswered(db: "DuckDBPyConnection", failures: LogFiles, name: str, since: int) -> list[str]:
    """A warning of searches that a release was to answer and did not, by variant; empty: all were answered."""
    variant = "variant" if name else "policy"
    relation = failures.relation("at", "policy", "entry", "reason", "experiment", "variant", "traffic")
    rows = db.execute(
        f"""SELECT variant, coalesce(answered, 0), refused, failed FROM (
            SELECT {variant} AS variant, count_if(reason = 'refused') AS refused, count_if(reason = 'failed') AS failed
            FROM {relation} WHERE "at" IS NOT NULL AND {_kept(name, since)}
                AND coalesce(traffic, 'live') IN (SELECT traffic FROM searches) GROUP BY 1
        ) FULL JOIN (SELECT variant, count(*) AS answered FROM searches GROUP BY 1) USING (variant) ORDER BY 1"""
    ).fetchall()
    if not any(refused or failed for _, _, refused, failed in rows):
        return []
    each = ", ".join(
        f"{variant} {refused or 0:,} refused and {failed or 0:,} failed beside {answered:,} answered"
        for variant, answered, refused, failed in rows
    )
    return [
        f"Searches that a release did not answer are in no metric: {each}. One that does not answer where it would be bad"
        " looks better than it is."
    ]


def _join(db: "DuckDBPyConnection", clicks: LogFiles, target: Path) -> list[str]:
    """Write the searches that count with their clicks, a row for each search; a warning of clicks that can't be theirs."""
    clicked = clicks.relation("request_id", "document", "position")
    db.execute(
        f"CREATE TABLE told AS SELECT DISTINCT c.*, {AS_SHOWN} AS shown FROM {clicked} c JOIN searches e USING (request_id)"
    )
    aside = len(db.execute("DELETE FROM told WHERE NOT shown RETURNING 1").fetchall())
    db.execute("CREATE VIEW clicks AS SELECT request_id, document, position FROM told")
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
    return [f"Clicks on what their search did not show at that position, set aside: {aside:,}."] if aside else []
