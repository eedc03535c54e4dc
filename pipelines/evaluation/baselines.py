"""Baselines that rank the same queries as a release: BM25 for text queries; popularity, then BM25, for next-item queries.

Popularity is counted before the time of each query, since what is popular afterwards is not known then. It is counted over all
earlier interactions and over the most recent ones alone, because popularity drifts: on MovieLens the two differ widely (Ji et
al., "A re-visit of the popularity baseline in recommender systems", SIGIR 2020). The better of the two is the baseline.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.documents import interactions
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.qrels import Topics
from pipelines.retrieval.lexical import bm25_run
from pipelines.retrieval.run import Ranking, Run, break_ties, exclude
from pipelines.store.artifacts import Artifact

Window = Literal["all time", "recent"]
RECENT_SHARE = 0.1
"""The most recent share of the interactions before a query that recent popularity counts."""


@dataclass(frozen=True)
class PastInteractions:
    """The interactions before the times of next-item queries."""

    seen: dict[str, set[str]]
    """By query id: every document its user had interacted with. Every ranking leaves these out, the baselines' too."""
    all_time: dict[int, Counter[str]]
    """By query time: by document id, how many users had interacted with it before."""
    recent: dict[int, Counter[str]]
    """The same over the last tenth of the interactions before that time."""


def past_interactions(corpus: Artifact, topics: Topics) -> PastInteractions | None:
    """The interactions before next-item queries; None if any query is a text query, or the corpus has no interactions."""
    times = {query.id: query.time for query in topics.queries if query.history and query.time is not None}
    if not times or len(times) < len(topics.queries) or "interactions.jsonl" not in corpus.manifest.files:
        return None
    all_times = np.sort(np.fromiter((row.time for row in interactions(corpus)), np.int64))
    starts = {time: _recent_start(all_times[: np.searchsorted(all_times, time)]) for time in times.values()}
    past = PastInteractions({}, {time: Counter() for time in starts}, {time: Counter() for time in starts})
    for user, rows in groupby(interactions(corpus), key=attrgetter("user")):
        events = [(row.document, row.time) for row in rows]
        for before, start in starts.items():
            past.all_time[before].update({document for document, time in events if time < before})
            past.recent[before].update({document for document, time in events if start <= time < before})
        if user in times:
            past.seen[user] = {document for document, time in events if time < times[user]}
    return past


def _recent_start(earlier: NDArray[np.int64]) -> int:
    """The time at which the last RECENT_SHARE of sorted times begins; 0 if there are none."""
    return int(earlier[int((1 - RECENT_SHARE) * len(earlier))]) if len(earlier) else 0


def baseline_runs(
    documents: Mapping[str, str],
    topics: Topics,
    past: PastInteractions | None,
    depth: int,
    left_out: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Run]:
    """The baselines' runs by name; the release is compared with the first.

    Args:
        documents: text by document id.
        topics: the judged queries.
        past: the interactions before next-item queries; None for text queries.
        depth: documents kept for each query.
        left_out: by id of a text query, documents that its ranking leaves out.
    """
    texts = {query.id: query.text for query in topics.queries}
    bm25 = bm25_run(documents, texts, depth, past.seen if past else left_out)
    return {"popularity": popularity_run(documents, topics, past, depth), "BM25": bm25} if past else {"BM25": bm25}


def popularity_run(documents: Collection[str], topics: Topics, past: PastInteractions, depth: int) -> Run:
    """Documents by how many users had interacted with them, of all time or recently: the one with the higher mean nDCG@10."""
    runs: dict[Window, Run] = {"all time": {}, "recent": {}}
    for window, run in runs.items():
        ranked = {time: _by_popularity(documents, past, time, window) for time in past.all_time}
        for query in topics.queries:
            if query.time is not None:
                run[query.id] = break_ties(exclude(ranked[query.time], past.seen.get(query.id, ()), depth))
    return max(runs.values(), key=lambda run: sum(row["nDCG@10"] for row in per_query(topics.qrels, run).values()))


def _by_popularity(documents: Collection[str], past: PastInteractions, time: int, window: Window) -> Ranking:
    """All documents by their count of users in the window; equal recent counts by the count of all time, then by id."""
    all_time, recent = past.all_time[time], past.recent[time]
    above = 1 + max(all_time.values(), default=0)
    scores = {
        document: (recent[document] + count / above if window == "recent" else float(count))
        for document, count in all_time.items()
    }
    return sorted(
        ((document, score) for document, score in scores.items() if document in documents), key=lambda pair: (-pair[1], pair[0])
    )
