"""Whether the direction of the grades agrees with BM25: better documents should not rank below worse ones."""

import hashlib
import math
import sqlite3
from dataclasses import dataclass

from pipelines.retrieval.lexical import bm25_run
from pipelines.statistics.intervals import interval

QUERIES = 500
"""Queries that are ranked, sampled by the hash of their ids."""
DOCUMENTS = 200
"""Judged documents of a query that are ranked."""
FEW = 0.25
"""Where the worst grade has at most this part of the judgments, they may be mined negatives, which share many words."""
CONFIDENCE = 0.99
"""So a scale that has nothing to do with words is called reversed once in 200 times."""


@dataclass(frozen=True)
class GradeDirection:
    """The mean over queries of Kendall's tau-b between grades and BM25's scores, with its interval."""

    queries: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def reversed(self) -> bool:
        """Whether documents of worse grades rank better, beyond chance."""
        return self.high is not None and self.high < 0


def grade_direction(db: sqlite3.Connection, above: int = -1) -> GradeDirection:
    """How grades and BM25 agree over the judged documents of each query that has two grades or more.

    BM25 ranks the judged documents alone: memory depends on the judgments asked, not on the corpus. Kendall's tau-b
    (M. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945) takes tied grades into account.

    Args:
        db: the staging file, with `documents`, `queries` and `qrels` filled.
        above: judgments of this grade and worse are left out.
    """
    queries = _graded_queries(db, above)
    judgments = "SELECT document, grade FROM qrels WHERE query = ? AND grade > ? ORDER BY document LIMIT ?"
    grades = {query: dict(db.execute(judgments, (query, above, DOCUMENTS))) for query in queries}
    names = sorted({document for judged in grades.values() for document in judged})
    texts = {name: db.execute("SELECT text FROM documents WHERE id = ?", (name,)).fetchone()[0] for name in names}
    taus = _taus_by_query(queries, grades, texts)
    if not taus:
        return GradeDirection(0)
    estimate = interval(taus, CONFIDENCE)
    return GradeDirection(estimate.n, estimate.mean, estimate.low, estimate.high)


def few_worst(db: sqlite3.Connection) -> bool:
    """Whether grades but the worst agree with BM25 and few judgments have that one: mined negatives, and no scale reversed."""
    worst, count, graded = db.execute(
        "SELECT min(grade), sum(grade = (SELECT min(grade) FROM qrels)), count(*) FROM qrels"
    ).fetchone()
    return bool(count <= FEW * graded) and not grade_direction(db, worst).reversed


def _graded_queries(db: sqlite3.Connection, above: int) -> dict[str, str]:
    """Queries by id with more than one grade among their judgments: the first by the hash of their ids."""
    mixed = "SELECT query FROM qrels WHERE grade > ? GROUP BY query HAVING min(grade) < max(grade)"
    db.create_function("hashed", 1, lambda query: hashlib.sha256(query.encode()).hexdigest(), deterministic=True)
    rows = db.execute(f"SELECT id, text FROM queries WHERE id IN ({mixed}) ORDER BY hashed(id) LIMIT ?", (above, QUERIES))  # noqa: S608
    return dict(rows.fetchall())


def _taus_by_query(queries: dict[str, str], grades: dict[str, dict[str, int]], texts: dict[str, str]) -> list[float]:
    from scipy.stats import kendalltau

    if not queries:
        return []
    taus = []
    for query, ranking in bm25_run(texts, queries, len(texts)).items():
        scores = dict(ranking)
        judged = grades[query]
        tau = float(kendalltau(list(judged.values()), [scores.get(document, 0.0) for document in judged]).statistic)
        if not math.isnan(tau):  # not a number where no document shares a word with the query
            taus.append(tau)
    return taus
