"""What a release's blend gains on the queries by which the release is measured."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.qrels import Topics
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.blend import Blended, Candidates, StoredValues
from pipelines.retrieval.stages.ranker import StageRankings
from pipelines.statistics.intervals import interval

BLENDED, WITHOUT, POPULARITY = "blended", "without features", "popularity, of the same documents"


def blend_measures(
    topics: Topics, stored: StoredValues, rankings: Mapping[str, StageRankings], confidence: float
) -> list[dict[str, Any]]:
    """A row for the blend, for the stages before it, and for popularity: nDCG@10, and by how much the blend is better.

    Args:
        topics: the judged queries.
        stored: the blend's own values, which know how many users had chosen a document before a time.
        rankings: by query id; those that were not blended are left out.
        confidence: of the intervals.
    """
    times = {query.id: query.time for query in topics.queries}
    blended = {query: ranked for query, ranked in rankings.items() if ranked.blended}
    runs: dict[str, dict[str, Ranking]] = {
        BLENDED: {query: ranked.result for query, ranked in blended.items()},
        WITHOUT: {query: list(ranked.stages.values())[-2] for query, ranked in blended.items()},
        POPULARITY: {
            query: _by_popularity(ranked.blended, stored, times[query]) for query, ranked in blended.items() if ranked.blended
        },
    }
    values = {name: np.array(ndcg_at_10(topics.qrels, run, list(blended))) for name, run in runs.items()}
    return [
        {
            "ranking": name,
            "queries": len(of_run),
            "measure": vars(interval(of_run.tolist(), confidence, least=0)),
            "gain": vars(interval((values[BLENDED] - of_run).tolist(), confidence)),
        }
        for name, of_run in values.items()
    ]


def _by_popularity(blended: Blended, stored: StoredValues, time: int | None) -> Ranking:
    documents = blended.terms.documents
    counts = np.nan_to_num(stored.chosen(Candidates(documents, time)))
    return [(documents[row], float(counts[row])) for row in np.argsort(-counts, kind="stable")]
