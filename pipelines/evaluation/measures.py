"""Measures of a run against qrels, through ir_measures and under the field's names."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.retrieval.run import Ranking

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP", "P@10", "Judged@10")
CONDENSED = "nDCG(judged_only=True)@10"
"""nDCG@10 over condensed lists: unjudged documents are taken out first (Sakai, SIGIR 2007)."""

PerQuery = dict[str, dict[str, float]]


def per_query(judgments: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> PerQuery:
    """Each measure of each judged query: query id to measure to value from 0 to 1.

    A query for which nothing was retrieved has 0 in every measure.
    """
    names = [*MEASURES, CONDENSED]
    scored = {query: dict(ranking) for query, ranking in run.items() if ranking}
    found: PerQuery = {query: dict.fromkeys(names, 0.0) for query in judgments}
    if judgments:
        for metric in _calculated(judgments, scored, names):
            found[metric.query_id][str(metric.measure)] = float(metric.value)
    return found


def _calculated(
    judgments: Mapping[str, Mapping[str, int]], scored: dict[str, dict[str, float]], names: list[str]
) -> Iterable[Any]:
    import ir_measures

    asked = [ir_measures.parse_measure(name) for name in names]
    plain = {query: dict(grades) for query, grades in judgments.items()}
    found: Iterable[Any] = ir_measures.iter_calc(asked, plain, scored)
    return found


def label(measure: str) -> str:
    """A measure as people read it.

    >>> label("nDCG(judged_only=True)@10")
    'nDCG@10, judged only'
    """
    return measure.replace("(judged_only=True)@10", "@10, judged only")
