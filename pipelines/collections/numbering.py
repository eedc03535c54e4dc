"""Whether judgments name the queries and documents that they mean: by the ids that are known, and by the words of both."""

import re
import sqlite3
from collections.abc import Callable, Sequence
from statistics import fmean
from unicodedata import normalize

from pipelines.errors import InputError

LEAST_KNOWN = 0.5
"""Of the ids that judgments or interactions name, the part that must be there; below it the files don't belong together."""
PAIRS = 500
"""Judgments that are looked at, spread over all; and as many that name something unknown."""
LEAST_PAIRS = 10
BETTER = 0.15
"""How much more of a query's words must be in the documents of another numbering, by which more ids are known."""
Pair = tuple[str, str]


NUMBERINGS = {
    "count from 0 where the ids count from 1": "SELECT ? + 1",
    "count from 1 where the ids count from 0": "SELECT ? - 1",
    "are places in the file, counted from 1": "SELECT id FROM {target} ORDER BY rowid LIMIT 1 OFFSET max(? - 1, 0)",
    "are places in the file, counted from 0": "SELECT id FROM {target} ORDER BY rowid LIMIT 1 OFFSET ?",
}
"""Other ways to read a number that judgments name a query or document by."""


def check_numbering(db: sqlite3.Connection, column: str, target: str) -> str:
    """Refuse judgments of which more ids are known, and whose texts share more words, by another numbering.

    Returns a note instead where all ids are known; empty: nothing speaks for another numbering.

    Args:
        db: the staging file, with `judged` as it was read.
        column: of `judged`, `query` or `document`.
        target: the table of what it names.

    Raises:
        InputError: says how the ids seem to count.
    """
    unknown = f"SELECT query, document FROM judged WHERE {column} NOT IN (SELECT id FROM {target}) LIMIT {PAIRS}"  # noqa: S608
    missing = db.execute(unknown).fetchall()
    pairs = [*missing, *sampled(db, "judged")]
    place = ("query", "document").index(column)
    if len(pairs) < LEAST_PAIRS or not all(re.fullmatch(r"[0-9]{1,9}", pair[place]) for pair in pairs):
        return ""
    given = fmean(shared_words(db, pairs) or [0])
    for how, other in NUMBERINGS.items():
        rows = {pair[place]: db.execute(other.format(target=target), (int(pair[place]),)).fetchone() for pair in pairs}
        ids = {id_: str(row[0]) if row else "" for id_, row in rows.items()}
        shared = shared_words(db, [tuple(ids[id_] if at == place else id_ for at, id_ in enumerate(pair)) for pair in pairs])
        if len(shared) >= max(LEAST_PAIRS, 0.95 * len(pairs)) and fmean(shared) > given + BETTER:
            words = f"{fmean(shared):.0%} of a query's words are in its documents then, not {given:.0%}"
            turned = f"write these ids into the judgments, as {next(iter(ids.values()))} for {next(iter(ids))}"
            error = InputError(f"judgments whose {target} {how} ({words})", f"the ids of the {target}", turned)
            if missing:
                raise error
            return f"Perhaps these are {error.given}: then {error.next_action}."
    return ""


def sampled(db: sqlite3.Connection, table: str, condition: str = "1") -> list[Pair]:
    """About PAIRS pairs of query and document, spread over all that fulfil the condition."""
    count = db.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()[0]  # noqa: S608
    pairs = db.execute(f"SELECT query, document FROM {table} WHERE {condition} ORDER BY query, document")  # noqa: S608
    return [pair for place, pair in enumerate(pairs) if place % max(1, count // PAIRS) == 0]


def shared_words(db: sqlite3.Connection, pairs: Sequence[Sequence[str]]) -> list[float]:
    """The part of a query's words that are in a document's text, for each pair of which both are there."""
    shares = []
    for pair in pairs:
        texts = [
            db.execute(f"SELECT text FROM {table} WHERE id = ?", (id_,)).fetchone()  # noqa: S608  # our own names
            for table, id_ in zip(("queries", "documents"), pair, strict=True)
        ]
        if all(texts):
            words, others = (set(re.findall(r"\w+", row[0].lower())) for row in texts)
            shares.append(len(words & others) / max(1, len(words)))
    return shares


def shared_note(db: sqlite3.Connection) -> str:
    """A warning where relevant documents share no more words with their query than those of other queries; else empty."""
    pairs = sampled(db, "qrels", "grade > 0")
    half = len(pairs) // 2
    others = [(query, pairs[(place + half) % len(pairs)][1]) for place, (query, _) in enumerate(pairs)]
    if half < LEAST_PAIRS or len({query for query, _ in pairs}) < LEAST_PAIRS:
        return ""
    own, other = fmean(shared_words(db, pairs)), fmean(shared_words(db, others))
    said = f"{own:.0%} of a query's words are in its relevant documents, and {other:.0%} in those of other queries"
    return "" if own > other + 0.01 else f"{said}: check that judgments name the queries and documents that they mean."


def _digits(id_: str) -> str:
    return re.sub(r"\D", "", id_)


SPELLINGS: tuple[tuple[str, Callable[[str], list[str]]], ...] = (
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
"""How two files may write the ids of the same things, tried in this order."""


def numbering_difference(unknown: list[str], there: Callable[[str], bool]) -> str:
    """How unknown ids seem to differ from those that are there; empty: in no way that is known.

    >>> numbering_difference(["301.0", "302.0"], {"301", "302"}.__contains__)
    'which look like the same ids written as floats'
    """
    for words, others in SPELLINGS:
        matching = sum(any(other and there(other) for other in others(id_)) for id_ in unknown)
        if matching > LEAST_KNOWN * len(unknown):
            return f"which look like the same ids {words}"
    return ""
