"""What rows say of each other: judgments name queries and documents, interactions name documents."""

import re
import sqlite3
from collections.abc import Callable
from typing import NamedTuple
from unicodedata import normalize

from pipelines.collections.numbering import check_numbering
from pipelines.collections.record import BadRow, Role
from pipelines.collections.staging import Staging
from pipelines.errors import InputError

LEAST_KNOWN = 0.5
"""Of the ids that judgments or interactions name, the part that must be there; below it the files don't belong together."""


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
        f"give the {target} that belong to these {role}, or name the column of the ids with --column",
    )


def _has_id(db: sqlite3.Connection, target: Role, id_: str) -> bool:
    return db.execute(f"SELECT 1 FROM {target} WHERE id = ?", (id_,)).fetchone() is not None  # noqa: S608  # our own names


def _digits(id_: str) -> str:
    return re.sub(r"\D", "", id_)


NUMBERINGS: tuple[tuple[str, Callable[[str], list[str]]], ...] = (
    ("written as floats", lambda one: [one.removesuffix(".0"), f"{one}.0"]),
    ("written in another case", lambda one: [one.lower(), one.upper()]),
    ("in another Unicode form", lambda id_: [normalize("NFC", id_), normalize("NFD", id_)]),
    ("padded with zeros", lambda one: [one.lstrip("0"), *(one.zfill(width) for width in range(2, 13))]),
    ("with another prefix", lambda one: [_digits(one), *(f"{prefix}{_digits(one)}" for prefix in "dqDQ")]),
    (
        "counted from another start",
        lambda one: [str(int(one) + 1), str(int(one) - 1)] if one.isascii() and one.isdigit() else [],
    ),
)
"""How two files may number the same things, tried in this order."""


def numbering_difference(unknown: list[str], there: Callable[[str], bool]) -> str:
    """How unknown ids seem to differ from those that are there; empty: in no way that is known.

    >>> numbering_difference(["301.0", "302.0"], {"301", "302"}.__contains__)
    'which look like the same ids written as floats'
    """
    for words, others in NUMBERINGS:
        matching = sum(any(other and there(other) for other in others(id_)) for id_ in unknown)
        if matching > LEAST_KNOWN * len(unknown):
            return f"which look like the same ids {words}"
    return ""


def _quarantine_unknown(staging: Staging, reference: Reference) -> None:
    table, column, target, role = reference
    unknown = f"{column} NOT IN (SELECT id FROM {target})"  # noqa: S608  # our own names
    noun = {"queries": "query", "documents": "document"}[target]
    for named, file, line in staging.db.execute(f"SELECT {column}, file, line FROM {table} WHERE {unknown}"):  # noqa: S608
        staging.quarantine.add(role, BadRow(file, line, f"names an unknown {noun}", str(named)))
    staging.db.execute(f"DELETE FROM {table} WHERE {unknown}")  # noqa: S608  # our own names
