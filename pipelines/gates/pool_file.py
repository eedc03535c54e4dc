"""The pool of a verdict that can't compare: the documents whose judgments would tell most, as a CSV for people to judge."""

from pathlib import Path

from pipelines.collections import POOL, write_safe_csv
from pipelines.evaluation.record import baseline_names
from pipelines.gates.evidence import Evidence
from pipelines.gates.pool import informative_pairs
from pipelines.wording import clipped

POOL_FILE = "pool.csv"
CELL = 30_000
"""Characters of a document's text: Excel puts what is beyond 32,767 into another cell."""


def write_informative_pool(path: Path, evidence: Evidence) -> int:
    """Write the unjudged documents of a release, of the champion and of the baselines; returns how many pairs."""
    evaluation = evidence.evaluation
    others = [evaluation.run(f"{name.lower()}.trec") for name in baseline_names(evaluation.summary)]
    others += [evidence.champion.run()] if evidence.champion else []
    documents = evaluation.documents()
    texts = {row["query"]: row["text"] for row in evaluation.rows}
    pairs = [
        (query, documents[name])
        for query, name in informative_pairs(evaluation.run(), others, evaluation.judgments)
        if name in documents
    ]
    rows = ((query, texts[query], one.id, one.title, clipped(one.text, CELL), "") for query, one in pairs)
    write_safe_csv(path, POOL, rows)
    return len(pairs)
