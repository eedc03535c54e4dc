"""From judgments as written to qrels: grades on one scale, one judgment per pair, and the split of each query."""

import math
import sqlite3

from pipelines.collections.record import BadRow
from pipelines.collections.schema.grades import Scale, infer_scale
from pipelines.collections.staging import Staging
from pipelines.corpus.documents import split_of
from pipelines.errors import InputError
from pipelines.statistics.agreement import same_share, weighted_kappa

MOST_GRADES = 1000
"""More different grades than this are no grades."""


def grade_judgments(staging: Staging, declared: str) -> Scale | None:
    """Give every judgment its grade, 0 being the worst; None: there are no judgments.

    Args:
        staging: with `judged` filled; `qrels` is filled from it.
        declared: the grades from worst to best, as the user or the layout says; empty: as they are seen.

    Raises:
        InputError: the grades have no order that is known.
    """
    words = [row[0] for row in staging.db.execute("SELECT DISTINCT grade FROM judged LIMIT ?", (MOST_GRADES + 1,))]
    if not words:
        return None
    if len(words) > MOST_GRADES and not declared:
        raise InputError(
            f"more than {MOST_GRADES:,} different grades such as {words[0][:40]!r}",
            "a few",
            "name the column of grades: --column qrels.grade=COLUMN",
        )
    scale = Scale.parse(declared) if declared else infer_scale(words)
    rows = staging.db.execute("SELECT query, document, grade, file, line FROM judged ORDER BY rowid")
    for query, document, grade, file, line in rows:
        _grade_judgment(staging, scale, (query, document, grade), file, line)
    return scale


def _grade_judgment(staging: Staging, scale: Scale, judged: tuple[str, str, str], file: str, line: int) -> None:
    query, document, written = judged
    grade = scale.grade_of(written)
    if grade is None:
        staging.quarantine.add("qrels", BadRow(file, line, f"grade outside the scale {scale.shown}", written))
        return
    insert = "INSERT OR IGNORE INTO qrels VALUES (?, ?, ?)"
    if not staging.db.execute(insert, (query, document, grade)).rowcount:
        (before,) = staging.db.execute("SELECT grade FROM qrels WHERE query = ? AND document = ?", (query, document)).fetchone()
        staging.rated_again[min(before, grade), max(before, grade)] += 1
        if before != grade:
            staging.quarantine.add("qrels", BadRow(file, line, "a second judgment with another grade", f"{query} {document}"))


def agreement_note(staging: Staging) -> str:
    """How well the ratings agree of pairs that were judged more than once; empty: none was."""
    counts = staging.rated_again
    if not counts:
        return ""
    kappa = weighted_kappa(counts)
    beyond = "" if math.isnan(kappa) else f", weighted kappa {kappa:.2f}"
    return (
        f"{counts.total():,} judgments are of pairs that had one: {100 * same_share(counts):.1f} % have the same grade{beyond}."
    )


def assign_splits(staging: Staging, held_out: bool) -> None:
    """Set the split of each query: as its row or its judgments' file says, else by the hash of its text.

    Args:
        staging: with `queries` and `judged` filled.
        held_out: whether queries that no file puts on a side are all test queries.
    """
    side = "SELECT max(split) FROM judged WHERE judged.query = queries.id"  # 'train' > 'test' > 'dev' > ''
    tested = "SELECT 1 FROM judged WHERE judged.query = queries.id AND split = 'test'"
    staging.db.execute("CREATE INDEX judged_query ON judged (query)")
    staging.db.execute(
        f"UPDATE queries SET split = CASE WHEN EXISTS ({tested}) THEN 'test' ELSE coalesce(({side}), '') END WHERE split = ''"  # noqa: S608
    )
    staging.db.create_function("side", 1, lambda text: "test" if held_out else split_of(text), deterministic=True)
    staging.db.execute("UPDATE queries SET split = side(text) WHERE split = ''")
    staging.db.execute("UPDATE queries SET split = 'train', dev = 1 WHERE split = 'dev'")


def untested_note(db: sqlite3.Connection) -> str:
    """That no judged query is a test query; empty: one is, or none is judged."""
    judged, tested = db.execute(
        "SELECT count(*), sum(split = 'test') FROM queries WHERE id IN (SELECT query FROM qrels)"
    ).fetchone()
    noun = "the judged query is a train query" if judged == 1 else f"all {judged:,} judged queries are train queries"
    return (
        f"No quality can be measured: {noun}; --held-out true makes all queries test queries." if judged and not tested else ""
    )


def own_document_note(db: sqlite3.Connection) -> str:
    """That queries are documents themselves, which their rankings leave out; empty: none is."""
    (count,) = db.execute(
        "SELECT count(*) FROM queries JOIN documents USING (id) WHERE instr(documents.text, queries.text) AND NOT EXISTS"
        " (SELECT 1 FROM qrels WHERE query = queries.id AND document = queries.id)"
    ).fetchone()
    left_out = "an evaluation leaves that document out of the query's ranking, as published figures of ArguAna and Quora do"
    return f"{count:,} queries have the id and the text of a document, unjudged: {left_out}." if count else ""
