"""Stored runs are scored again by the judgments of the corpus."""

from typing import Any

from pipelines.errors import CorruptArtifact
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.qrels import judged_topics
from pipelines.evaluation.record import Evaluation, baseline_names, summary_of
from pipelines.store.artifacts import load_exactly

TOLERANCE = 1e-7
"""Of a measure: means are stored with nine decimals."""


def check_scores(evaluation: Evaluation) -> int:
    """Whether an evaluation's queries, judgments, values and means follow from its runs and its corpus; how many queries.

    Raises:
        CorruptArtifact: one does not; the message names it.
    """
    corpus = load_exactly(evaluation.artifact.store, "corpus", evaluation.artifact.inputs["corpus"])
    topics = judged_topics(corpus, evaluation.split, evaluation.summary["no_relevant"]["rule"])
    _check(evaluation, "the queries", topics.digest, evaluation.summary["queries_digest"])
    queries = [row["query"] for row in evaluation.rows]
    _check(evaluation, "per_query.jsonl, its queries", [query.id for query in topics.queries], queries)
    _check(evaluation, "qrels.txt", topics.qrels, evaluation.judgments)
    sides = {"release": "run.trec"} | {name: f"{name.lower()}.trec" for name in baseline_names(evaluation.summary)}
    scores = {side: per_query(topics.qrels, evaluation.run(file)) for side, file in sides.items()}
    for row in evaluation.rows:
        for side, values in scores.items():
            of_query = {measure: values[row["query"]].get(measure) for measure in row[side.lower()]}
            _check(evaluation, f"per_query.jsonl, query {row['query']} of {side}", of_query, row[side.lower()])
    means = summary_of(topics, scores, evaluation.summary["confidence"])["measures"]
    for measure, stored in evaluation.summary["measures"].items():
        _check(evaluation, f"measures.json, {measure}", means.get(measure), stored)
        _check(evaluation, f"the manifest's {measure}", stored["release"], evaluation.artifact.facts["measures"].get(measure))
    return len(topics.queries)


def _check(evaluation: Evaluation, what: str, derived: Any, stored: Any) -> None:
    if difference := first_difference(derived, stored):
        raise CorruptArtifact(
            f"{what} of evaluation {evaluation.id}: {difference}",
            "what its stored runs and its corpus give",
            "find who changed it; then delete the evaluation and run `evaluate` again",
        )


def first_difference(derived: Any, stored: Any, place: str = "") -> str:
    """The first place where two values of JSON differ by more than TOLERANCE, in words; empty: nowhere.

    >>> first_difference({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]})
    'a 1 is stored as 2.5 and comes out as 2.0'
    >>> first_difference({"a": 0.1 + 0.2}, {"a": 0.3})
    ''
    """
    if isinstance(derived, dict) and isinstance(stored, dict) and derived.keys() == stored.keys():
        pairs = [(f"{place} {key}".strip(), derived[key], stored[key]) for key in derived]
    elif isinstance(derived, list | tuple) and isinstance(stored, list | tuple) and len(derived) == len(stored):
        pairs = [(f"{place} {n}".strip(), *both) for n, both in enumerate(zip(derived, stored, strict=True))]
    else:
        numbers = isinstance(derived, int | float) and isinstance(stored, int | float)
        same = abs(derived - stored) <= TOLERANCE if numbers else derived == stored
        return "" if same else f"{place} is stored as {str(stored)[:80]} and comes out as {str(derived)[:80]}".strip()
    return next((difference for pair in pairs if (difference := first_difference(pair[1], pair[2], pair[0]))), "")
