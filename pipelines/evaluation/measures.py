"""Measures of a run against qrels, by ir_measures and under its names (S. MacAvaney, C. Macdonald and I. Ounis, "Streamlining
evaluation with ir-measures", ECIR 2022).
"""

import re
from collections.abc import Mapping, Sequence
from subprocess import SubprocessError

from pipelines.retrieval.run import Ranking, break_ties
from pipelines.wording import printable

MEASURES = ("nDCG@10", "RR@10", "R@100", "AP", "P@10", "Judged@10")
CONDENSED = "nDCG(judged_only=True)@10"
"""nDCG@10 over condensed lists: unjudged documents are removed first (T. Sakai, "Alternatives to bpref", SIGIR 2007)."""

BOUNDED = frozenset(
    ("nDCG", "RR", "R", "P", "AP", "Judged", "Success", "Rprec", "Bpref", "infAP", "IPrec", "SetP", "SetR", "SetF", "Compat")
)
"""The measures of ir_measures that are from 0 to 1 and need no other program; a cutoff that is no number ends the process."""
SPELLED = re.compile(r"([A-Za-z]+)(?:\([^()@]{1,80}\))?(?:@[1-9][0-9]{0,4}|@0\.[0-9]{1,3})?")

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


def ndcg_at_10(judgments: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking], queries: Sequence[str]) -> list[float]:
    """nDCG@10 of each of these queries, in their order; ties in a ranking stay in the order that they have.

    >>> ndcg_at_10({"q": {"a": 1}, "r": {"a": 1}}, {"q": [("b", 1.0), ("a", 1.0)]}, ["r", "q"])
    [0.0, 0.6309297535714575]
    """
    values = per_query(
        {query: judgments[query] for query in queries}, {query: break_ties(run.get(query, ())) for query in queries}
    )
    return [values[query]["nDCG@10"] for query in queries]


def check_measure(name: str) -> None:
    """Refuse a name that is no measure from 0 to 1 of `ir_measures` that can be computed here.

    Raises:
        ValueError: says what was expected.

    >>> check_measure("nDCG@10")
    >>> check_measure("P(rel=2)@5")
    >>> check_measure("CTR")
    Traceback (most recent call last):
    ...
    ValueError: a measure of ir_measures from 0 to 1, such as nDCG@10, RR@10, R@100, AP or P(rel=2)@5; not CTR
    """
    if name in (*MEASURES, CONDENSED):
        return
    parts = SPELLED.fullmatch(name)
    try:
        known = parts is not None and parts[1] in BOUNDED and bool(measured(name, {"q": {"d": 1}}, {"q": [("d", 1.0)]}))
    except ValueError:
        known = False
    if not known:
        expected = "a measure of ir_measures from 0 to 1, such as nDCG@10, RR@10, R@100, AP or P(rel=2)@5"
        raise ValueError(f"{expected}; not {printable(name)}")


def measured(name: str, judgments: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> dict[str, float]:
    """One measure of each judged query; 0 where nothing was retrieved.

    Args:
        name: as ir_measures spells it, such as `nDCG@20` or `P(rel=2)@5`.
        judgments: grade by query id and document id.
        run: ranking by query id.

    Raises:
        ValueError: ir_measures does not know it, or no installed library computes it.
    """
    import ir_measures

    scores = {query: dict(ranking) for query, ranking in run.items() if ranking}
    qrels = {query: dict(grades) for query, grades in judgments.items()}
    try:
        found = list(ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, scores))
    except (ArithmeticError, AssertionError, LookupError, NameError, OSError, RuntimeError, SubprocessError, SyntaxError,
            AttributeError, TypeError, ValueError) as error:  # fmt: skip  # whatever its libraries answer to a wrong parameter
        raise ValueError(f"measure {name}: {error}") from None
    return dict.fromkeys(judgments, 0.0) | {metric.query_id: float(metric.value) for metric in found}


def label(measure: str) -> str:
    """A measure's name for reports.

    >>> label("nDCG(judged_only=True)@10")
    'nDCG@10, judged only'
    """
    return measure.replace("(judged_only=True)@10", "@10, judged only")
