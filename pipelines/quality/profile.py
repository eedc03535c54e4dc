"""Checks proposed from the profile of a corpus. They count only after a person has reviewed them."""

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from pipelines.quality.language import LEAST_DETECTED

MOST_VALUES = 50
"""Distinct segments or grades up to which a check lists them as its value set."""
RARE = 0.01
"""The share of texts from which on a language is in the proposed value set."""
HEADER = """\
# Proposals from a profile of corpus {corpus}. None of them counts yet.
# Review each: keep it by putting your name in place of `reviewed: false`, as `reviewed_by: NAME`; change its limits, or
# delete it. The shipped checks count beside them; delete `extends` to do without.
"""


@dataclass(frozen=True)
class Proposal:
    """A check that waits for review, with what was observed."""

    table: str
    expectation: str
    kwargs: dict[str, Any]
    observed: str
    why: str
    mostly: float | None = None
    level: Literal["warn", "fail"] = "warn"

    def declared(self) -> dict[str, Any]:
        """The check in the form of a suite file."""
        mostly = {} if self.mostly is None else {"mostly": self.mostly}
        return {
            "expectation": self.expectation,
            "kwargs": self.kwargs,
            "level": self.level,
            **mostly,
            "why": self.why,
            "observed": self.observed,
            "reviewed": False,
        }


def proposed_suite(db: sqlite3.Connection, corpus: str) -> tuple[str, int]:
    """The text of a suite file with the proposals for a staged corpus, and their number."""
    tables: dict[str, list[dict[str, Any]]] = {}
    count = 0
    for proposal in proposals(db):
        tables.setdefault(proposal.table, []).append(proposal.declared())
        count += 1
    content = {"name": f"corpus {corpus[:8]}", "extends": "default", "checks": tables}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return HEADER.format(corpus=corpus) + body, count


def proposals(db: sqlite3.Connection) -> Iterator[Proposal]:
    """The proposals, table by table."""
    yield from _volume(db)
    for table in ("documents", "queries"):
        yield from _lengths(db, table)
        yield from _languages(db, table)
    yield from _presence(db)
    yield from _segments(db)
    yield from _duplicates(db)
    yield from _judgments(db)
    yield from _interaction_values(db)


def _scalar(db: sqlite3.Connection, sql: str) -> Any:
    return db.execute(sql).fetchone()[0]


def _count(db: sqlite3.Connection, table: str, where: str = "1") -> int:
    return int(_scalar(db, f"SELECT count(*) FROM {table} WHERE {where}"))  # noqa: S608  # names of this module, here and below


def _volume(db: sqlite3.Connection) -> Iterator[Proposal]:
    for table in ("documents", "queries", "qrels", "interactions", "users"):
        count = _count(db, table)
        if count:
            limits = {"min_value": math.floor(0.8 * count), "max_value": math.ceil(1.25 * count)}
            yield Proposal(
                table,
                "expect_table_row_count_to_be_between",
                limits,
                f"{count:,} rows",
                "A fifth less or a quarter more is rather a broken source than a change.",
            )


def _lengths(db: sqlite3.Connection, table: str) -> Iterator[Proposal]:
    count = _count(db, table)
    if not count:
        return
    low, middle, high = (
        _scalar(db, f"SELECT characters FROM {table} ORDER BY characters LIMIT 1 OFFSET {int(share * (count - 1))}")  # noqa: S608
        for share in (0.005, 0.5, 0.995)
    )
    limits = {"column": "characters", "min_value": max(1, low // 2), "max_value": 2 * high}
    yield Proposal(
        table,
        "expect_column_values_to_be_between",
        limits,
        f"half of the texts have {middle:,} characters or more, 99 of 100 from {low:,} to {high:,}",
        "Half of the shortest and twice the longest: texts beyond were cut off or run together.",
        mostly=0.98,
    )


def _languages(db: sqlite3.Connection, table: str) -> Iterator[Proposal]:
    detected = _count(db, table, "language IS NOT NULL")
    if detected < LEAST_DETECTED:
        return
    counts = db.execute(f"SELECT language, count(*) FROM {table} WHERE language IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1")  # noqa: S608
    shares = {language: count / detected for language, count in counts if count >= RARE * detected}
    observed = ", ".join(f"{language} {100 * share:.3g} %" for language, share in shares.items())
    yield Proposal(
        table,
        "expect_column_values_to_be_in_set",
        {"column": "language", "value_set": list(shares)},
        f"{observed} of {detected:,} texts",
        "Texts in other languages come from another source, or were cut to pieces.",
        mostly=_lower_limit(sum(shares.values())),
    )


def _presence(db: sqlite3.Connection) -> Iterator[Proposal]:
    """How many documents have a title and a segment."""
    count = _count(db, "documents")
    for column in ("title", "segment"):
        present = _count(db, "documents", f"{column} IS NOT NULL")
        if present:
            yield Proposal(
                "documents",
                "expect_column_values_to_not_be_null",
                {"column": column},
                f"{present:,} of {count:,} documents have one",
                f"A {column} that gets lost is seen here first.",
                mostly=_lower_limit(present / count),
            )


def _segments(db: sqlite3.Connection) -> Iterator[Proposal]:
    count = _scalar(db, "SELECT count(DISTINCT segment) FROM documents")
    if not count:
        return
    if count <= MOST_VALUES:
        values = [
            segment for (segment,) in db.execute("SELECT DISTINCT segment FROM documents WHERE segment IS NOT NULL ORDER BY 1")
        ]
        limits: dict[str, Any] = {"column": "segment", "value_set": values}
        yield Proposal(
            "documents",
            "expect_column_values_to_be_in_set",
            limits,
            f"{count:,} segments",
            "A segment that is not among these is misspelt, or new.",
            mostly=0.99,
        )
    else:
        limits = {"column": "segment", "min_value": math.floor(0.8 * count), "max_value": math.ceil(1.25 * count)}
        yield Proposal(
            "documents",
            "expect_column_unique_value_count_to_be_between",
            limits,
            f"{count:,} segments",
            "Many more segments are no segments any more.",
        )


def _duplicates(db: sqlite3.Connection) -> Iterator[Proposal]:
    share = _scalar(db, "SELECT duplicate_share FROM corpus")
    if share is not None:
        limit = min(1.0, math.ceil(100 * share + 1) / 100)
        yield Proposal(
            "corpus",
            "expect_column_max_to_be_between",
            {"column": "duplicate_share", "max_value": limit},
            f"{100 * share:.3g} % of the documents have a text that another has",
            "Documents with equal texts stand beside each other in every result.",
        )


def _judgments(db: sqlite3.Connection) -> Iterator[Proposal]:
    grades = list(db.execute("SELECT grade, count(*) FROM qrels WHERE grade IS NOT NULL GROUP BY 1 ORDER BY 1"))
    if not grades or len(grades) > MOST_VALUES:
        return
    scale = {"column": "grade", "value_set": [grade for grade, _ in grades]}
    yield Proposal(
        "qrels",
        "expect_column_values_to_be_in_set",
        scale,
        ", ".join(f"grade {grade}: {count:,}" for grade, count in grades),
        "Another grade is of another scale.",
        level="fail",
    )
    judged, queries = _count(db, "queries", "judgments > 0"), _count(db, "queries")
    if judged:
        yield Proposal(
            "queries",
            "expect_column_values_to_be_between",
            {"column": "judgments", "min_value": 1},
            f"{judged:,} of {queries:,} queries are judged",
            "A query that nobody judged measures nothing.",
            mostly=_lower_limit(judged / queries),
        )


def _interaction_values(db: sqlite3.Connection) -> Iterator[Proposal]:
    low, high = db.execute("SELECT min(value), max(value) FROM interactions").fetchone()
    if low is not None:
        yield Proposal(
            "interactions",
            "expect_column_values_to_be_between",
            {"column": "value", "min_value": low, "max_value": high},
            f"values from {low:g} to {high:g}",
            "A value outside is of another scale.",
            level="fail",
        )


def _lower_limit(share: float) -> float:
    """The limit for a share: two points below it, rounded down to a whole percent.

    >>> _lower_limit(1.0), _lower_limit(0.873), _lower_limit(0.004)
    (0.98, 0.85, 0.001)
    """
    return max(0.001, math.floor(100 * share - 2) / 100)
