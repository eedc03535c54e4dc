"""What rows say of each other: judgments name queries and documents, interactions name documents."""

import sqlite3
from typing import NamedTuple
from unicodedata import normalize

from pipelines.collections.numbering import LEAST_KNOWN, check_numbering, numbering_difference
from pipelines.collections.record import BadRow, Role
from pipelines.collections.staging import Staging
from pipelines.errors import InputError


class Reference(NamedTuple):
    """A column of a table that names rows of another."""

    table: str
    column: str
    target: Role
    role: Role
    """Whose rows these are, for the quarantine."""


REFERENCES = (
    Reference("judged", "query", "queries", "qrels"),
    Reference("judged", "document", "documents", "qrels"),
    Reference("interactions", "document", "documents", "interactions"),
)


def check_references(staging: Staging) -> None:
    """Put rows that name unknown ids into the quarantine.

    Raises:
        InputError: most of the ids are unknown, so these files don't belong together or number differently.
    """
    for reference in REFERENCES:
        if staging.count(reference.table):
            if reference.column == "query":
                _join_by_text(staging)
            _check_overlap(staging.db, reference)
            if reference.table == "judged":
                staging.notes += filter(None, [check_numbering(staging.db, reference.column, reference.target)])
            _quarantine_unknown(staging, reference)


def _join_by_text(staging: Staging) -> None:
    """Let judgments that name a query by its text name it also in another case, Unicode form or spacing."""
    staging.db.create_function("folded", 1, lambda text: " ".join(normalize("NFKC", str(text)).casefold().split()))
    folds = "SELECT folded(text) AS fold, min(id) AS id FROM queries GROUP BY 1 HAVING count(*) = 1"
    joined = staging.db.execute(
        f"UPDATE judged SET query = folds.id FROM judged_texts, ({folds}) AS folds WHERE judged_texts.id = judged.query"  # noqa: S608
        " AND folds.fold = folded(judged_texts.text) AND judged.query NOT IN (SELECT id FROM queries)"
    )
    if joined.rowcount > 0:
        staging.notes.append(f"{joined.rowcount:,} judgments write their query in another case, Unicode form or spacing.")


def _check_overlap(db: sqlite3.Connection, reference: Reference) -> None:
    table, column, target, role = reference
    named = f"SELECT DISTINCT {column} AS id FROM {table}"  # noqa: S608  # our own names
    known, count = db.execute(f"SELECT count(t.id), count(*) FROM ({named}) n LEFT JOIN {target} t ON t.id = n.id").fetchone()  # noqa: S608
    if known >= LEAST_KNOWN * count:
        return
    unknown = f"SELECT n.id FROM ({named}) n LEFT JOIN {target} t ON t.id = n.id WHERE t.id IS NULL ORDER BY n.id LIMIT 1000"  # noqa: S608
    unknown_ids = [str(row[0]) for row in db.execute(unknown)]
    there = [str(row[0]) for row in db.execute(f"SELECT id FROM {target} ORDER BY id LIMIT 3")]  # noqa: S608
    how = numbering_difference(unknown_ids, lambda id_: _has_id(db, target, id_))
    raise InputError(
        f"{role} that name {count:,} {target}, of which {known:,} are there: "
        f"{', '.join(unknown_ids[:3])} beside {', '.join(there) or 'none'}{', ' + how if how else ''}",
        f"one numbering, with at least {LEAST_KNOWN:.0%} of the ids in both",
        f"write the ids of these {role} as the {target} have them"
        if how
        else f"give the {target} that belong to these {role}, or name the column of the ids with --column",
    )


def _has_id(db: sqlite3.Connection, target: Role, id_: str) -> bool:
    return db.execute(f"SELECT 1 FROM {target} WHERE id = ?", (id_,)).fetchone() is not None  # noqa: S608  # our own names


def _quarantine_unknown(staging: Staging, reference: Reference) -> None:
    table, column, target, role = reference
    unknown = f"{column} NOT IN (SELECT id FROM {target})"  # noqa: S608  # our own names
    noun = {"queries": "query", "documents": "document"}[target]
    for named, file, line in staging.db.execute(f"SELECT {column}, file, line FROM {table} WHERE {unknown}"):  # noqa: S608
        staging.quarantine.add(role, BadRow(file, line, f"names an unknown {noun}", str(named)))
    staging.db.execute(f"DELETE FROM {table} WHERE {unknown}")  # noqa: S608  # our own names
