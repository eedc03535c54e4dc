"""The measures of each stage of a release, on the queries by which the release is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipelines.evaluation.measures import PerQuery, per_query
from pipelines.evaluation.qrels import Topics
from pipelines.retrieval.run import break_ties
from pipelines.retrieval.stages.card import FUSION, QueryKind, StageCard
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.statistics.intervals import interval

SHOWN = ("nDCG@10", "R@100")


def stage_measures(
    topics: Topics,
    stages: Sequence[StageCard],
    rankings: Mapping[str, StageRankings],
    release: PerQuery,
    confidence: float,
) -> list[dict[str, Any]]:
    """A row for each stage: its weight, its measures, and by how much the release is better in nDCG@10.

    A retriever is measured alone; the fusion as the ranking of all stages up to it. A stage counts over those queries that it
    is for, such as queries of text.

    Args:
        topics: the judged queries.
        stages: of the release, in order.
        rankings: by query id.
        release: the measures of the release's own run.
        confidence: of the intervals.
    """
    histories = {query.id for query in topics.queries if query.history}
    kinds: dict[str, set[QueryKind]] = {}
    for query, ranked in rankings.items():
        for name in ranked.stages:
            kinds.setdefault(name, set()).add("history" if query in histories else "text")
    rows = []
    for name in dict.fromkeys(name for ranked in rankings.values() for name in ranked.stages):
        asked = {query: ranked.stages[name] for query, ranked in rankings.items() if name in ranked.stages}
        judgments = {query: topics.qrels[query] for query in asked}
        values = per_query(judgments, {query: break_ties(ranking) for query, ranking in asked.items()})
        card = next((stage for stage in stages if stage.stage == name and any(map(stage.answers, kinds[name]))), None)
        measures = {
            measure: asdict(interval([row[measure] for row in values.values()], confidence, least=0)) for measure in SHOWN
        }
        gains = [release[query][SHOWN[0]] - values[query][SHOWN[0]] for query in values]
        rows.append(
            {
                "stage": name,
                "artifact": card.artifact if card else "",
                "weight": card.weight if card and name != FUSION else None,
                "queries": len(asked),
                "measures": measures,
                "release_gain": asdict(interval(gains, confidence)),
            }
        )
    return rows
