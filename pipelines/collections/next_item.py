"""Next-item queries from staged interactions: what did a user choose next, as seen from one moment for everybody?

**One cutoff for all users**, at a quantile of the interactions' times. A split for each user by itself, such as leaving the
last item out, lets a model learn from what others did later, ranks models otherwise, and nobody is ever served that way
(Meng et al., "Exploring data splitting strategies", RecSys 2020; Ji et al., "A critical study on data leakage", TOIS 2023).

**One query for each user** with choices on both sides: the history is the last distinct documents before the cutoff, the
relevant document is the first later one that the user had not chosen before. The first, because it alone is next to what is
known at the cutoff: a later one would be asked with a history that has gaps, all later ones would be another task. What it
costs is named in Gusak et al., "Time to split" (RecSys 2025): the time between the history and the first one varies much.
Documents of that same second are all relevant, because nothing says which of them came first.

A query's id is its user's. Rows stay in SQLite; what is in memory is one user's query at a time.
"""

import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pipelines.corpus.documents import HISTORY_TITLES, Qrel, Query, named

QUANTILE, LONGEST = 0.9, 50
INDEXES = (
    "CREATE INDEX IF NOT EXISTS interactions_in_time ON interactions (user, time, document)",
    "CREATE INDEX IF NOT EXISTS interactions_of_documents ON interactions (user, document, time)",
)
CHOSEN = "coalesce({0}.value, 1) >= :least AND EXISTS (SELECT 1 FROM documents WHERE id = {0}.document)"
NEXT = f"""
SELECT later.user, later.time, later.document FROM interactions AS later
WHERE later.time >= :cutoff AND {CHOSEN.format("later")} AND NOT EXISTS (
    SELECT 1 FROM interactions AS known
    WHERE known.user = later.user AND known.document = later.document AND known.time < :cutoff)
ORDER BY later.user, later.time, later.document
"""  # noqa: S608  # our own names
HISTORY = f"""
SELECT known.document FROM interactions AS known WHERE known.user = :user AND known.time < :cutoff AND {CHOSEN.format("known")}
GROUP BY known.document ORDER BY max(known.time) DESC, known.document DESC LIMIT :longest
"""  # noqa: S608  # our own names


def next_items(
    db: sqlite3.Connection, quantile: float = QUANTILE, longest: int = LONGEST, min_value: float | None = None
) -> Iterator[tuple[Query, list[Qrel]]]:
    """A query for each user with choices on both sides of the cutoff, and what was chosen next; in the order of users.

    Args:
        db: staged `documents` and `interactions`; two indexes are added to it.
        quantile: the part of the interactions that the cutoff has before it, from 0 to 1.
        longest: documents that a history may have.
        min_value: an interaction below it is no choice: it enters no history and is not relevant. What it names was seen
            all the same, and is not asked for again. None: whatever was interacted with was chosen.
    """
    cutoff = time_cutoff(db, quantile)
    if cutoff is None:
        return
    for index in INDEXES:
        db.execute(index)
    least = float("-inf") if min_value is None else min_value
    parameters = {"cutoff": cutoff, "least": least, "longest": longest}
    for user, rows in groupby(db.execute(NEXT, parameters), key=lambda row: str(row[0])):
        relevant = _earliest_documents(rows)
        history = [str(row[0]) for row in db.execute(HISTORY, {**parameters, "user": user})][::-1]
        if history:
            query = Query(id=user, text=_titles(db, history), split="test", history=tuple(history), time=cutoff)
            yield query, [Qrel(query=user, document=document, grade=1) for document in relevant]


def time_cutoff(db: sqlite3.Connection, quantile: float = QUANTILE) -> int | None:
    """The time before which about `quantile` of the interactions lie, and never none; None where all have one time."""
    count, earliest = db.execute("SELECT count(*), min(time) FROM interactions").fetchone()
    if not count:
        return None
    place = min(int(quantile * count), count - 1)
    time = int(db.execute("SELECT time FROM interactions ORDER BY time LIMIT 1 OFFSET ?", (place,)).fetchone()[0])
    if time > earliest:
        return time
    later = db.execute("SELECT min(time) FROM interactions WHERE time > ?", (earliest,)).fetchone()[0]
    return None if later is None else int(later)


def split_facts(
    db: sqlite3.Connection, quantile: float = QUANTILE, longest: int = LONGEST, min_value: float | None = None
) -> dict[str, Any]:
    """How the interactions were split: the rule, the cutoff it gave, and how many interactions lie on each side."""
    cutoff = time_cutoff(db, quantile)
    counted = "SELECT count(*), coalesce(sum(time < ?), 0), coalesce(sum(coalesce(value, 1) < ?), 0) FROM interactions"
    count, before, low = db.execute(counted, (cutoff, float("-inf") if min_value is None else min_value)).fetchone()
    return {
        "quantile": quantile, "history": longest, "min_value": min_value, "cutoff": cutoff,
        "interactions": count, "interactions_before": before, "interactions_below_min_value": low,
    }  # fmt: skip


def _earliest_documents(rows: Iterator[tuple[str, int, str]]) -> list[str]:
    _, earliest = next(groupby(rows, key=lambda row: row[1]))
    return list(dict.fromkeys(str(row[2]) for row in earliest))


def _titles(db: sqlite3.Connection, history: list[str]) -> str:
    """The text of a next-item query, for people and BM25: the titles of the last documents, or how their texts begin."""
    titles = []
    for document in history[-HISTORY_TITLES:]:
        title, text = db.execute("SELECT title, text FROM documents WHERE id = ?", (document,)).fetchone()
        titles.append(named(title or "", text or "") or document)
    return " · ".join(titles)
