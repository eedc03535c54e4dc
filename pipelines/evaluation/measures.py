"""Measures of a run against qrels, by ir_measures and under its names (S. MacAvaney, C. Macdonald and I. Ounis, "Streamlining
evaluation with ir-measures", ECIR 2022).
"""

from collections.abc import Mapping

from pipelines.retrieval.run import Ranking

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP", "P@10", "Judged@10")
CONDENSED = "nDCG(judged_only=True)@10"
"""nDCG@10 over condensed lists: unjudged documents are removed first (T. Sakai, "Alternatives to bpref", SIGIR 2007)."""

PerQuery = dict[str, dict[str, float]]
"""Query id to measure to value."""


def per_query(judgments: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> PerQuery:
    """Each measure of each judged query, from 0 to 1.

    A query for which nothing was retrieved has 0 in every measure.

    Args:
        judgments: grade by query id and document id.
        run: ranking by query id.
    """
    import ir_measures

    names = [*MEASURES, CONDENSED]
    values: PerQuery = {query: dict.fromkeys(names, 0.0) for query in judgments}
    if not judgments:
        return values
    measures = [ir_measures.parse_measure(name) for name in names]
    qrels = {query: dict(grades) for query, grades in judgments.items()}
    scores = {query: dict(ranking) for query, ranking in run.items() if ranking}
    for metric in ir_measures.iter_calc(measures, qrels, scores):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    return values


def label(measure: str) -> str:
    """A measure's name for reports.

    >>> label("nDCG(judged_only=True)@10")
    'nDCG@10, judged only'
    """
    return measure.replace("(judged_only=True)@10", "@10, judged only")
