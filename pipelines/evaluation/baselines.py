"""What a release is measured beside: BM25 for queries of text; for next-item queries popularity, which BM25 follows.

A recommender must beat what everybody chooses. Popularity is counted before the queries' moment, because at that moment nobody
knows what will be popular, both ever and lately, because what is popular changes: on MovieLens the two are far apart (Ji et
al., "A re-visit of the popularity baseline in recommender systems", SIGIR 2020). The stronger of both is the yardstick.
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

Counted = Literal["ever", "lately"]
LATELY = 0.1
"""The last part of the interactions before a moment, by which is known what is popular then."""


@dataclass(frozen=True)
class Past:
    """What had happened before the moments of next-item queries."""

    seen: dict[str, set[str]]
    """By query: all that its user had interacted with. It is left out of every ranking, on whichever side."""
    ever: dict[int, Counter[str]]
    """By moment: how many users had interacted with each document."""
    lately: dict[int, Counter[str]]
    """The same of the last tenth of the interactions before the moment."""


def past_of(corpus: Artifact, topics: Topics) -> Past | None:
    """The past of next-item queries; None where a query is of another kind, or the corpus has no interactions."""
    moments = {query.id: query.time for query in topics.queries if query.history and query.time is not None}
    if not moments or len(moments) < len(topics.queries) or "interactions.jsonl" not in corpus.manifest.files:
        return None
    times = np.sort(np.fromiter((row.time for row in interactions(corpus)), np.int64))
    starts = {moment: _start(times[: np.searchsorted(times, moment)]) for moment in moments.values()}
    past = Past({}, {moment: Counter() for moment in starts}, {moment: Counter() for moment in starts})
    for user, rows in groupby(interactions(corpus), key=attrgetter("user")):
        chosen = [(row.document, row.time) for row in rows]
        for moment, start in starts.items():
            past.ever[moment].update({document for document, time in chosen if time < moment})
            past.lately[moment].update({document for document, time in chosen if start <= time < moment})
        if user in moments:
            past.seen[user] = {document for document, time in chosen if time < moments[user]}
    return past


def _start(earlier: NDArray[np.int64]) -> int:
    """From when on "lately" is, of sorted times."""
    return int(earlier[int((1 - LATELY) * len(earlier))]) if len(earlier) else 0


def baseline_runs(documents: Mapping[str, str], topics: Topics, past: Past | None, depth: int) -> dict[str, Run]:
    """The runs by the name of what made them; the first is what the release is compared with.

    Args:
        documents: text by document id.
        topics: what is asked.
        past: of next-item queries what had happened before, else None.
        depth: documents kept for each query.
    """
    texts = {query.id: query.text for query in topics.queries}
    bm25 = bm25_run(documents, texts, depth, past.seen if past else {})
    return {"popularity": popularity_run(documents, topics, past, depth), "BM25": bm25} if past else {"BM25": bm25}


def popularity_run(documents: Collection[str], topics: Topics, past: Past, depth: int) -> Run:
    """What most users had interacted with, ever or lately: whichever has the higher mean nDCG@10 on these queries."""
    runs: dict[Counted, Run] = {"ever": {}, "lately": {}}
    for counted, run in runs.items():
        ranked = {moment: _ranked(documents, past, moment, counted) for moment in past.ever}
        for query in topics.queries:
            if query.time is not None:
                run[query.id] = break_ties(exclude(ranked[query.time], past.seen.get(query.id, ()), depth))
    return max(runs.values(), key=lambda run: sum(found["nDCG@10"] for found in per_query(topics.qrels, run).values()))


def _ranked(documents: Collection[str], past: Past, moment: int, counted: Counted) -> Ranking:
    """All documents by how many users had them; of those that as many had lately, what more had ever comes first."""
    ever, lately = past.ever[moment], past.lately[moment]
    most = 1 + max(ever.values(), default=0)
    scores = {one: (lately[one] + count / most if counted == "lately" else float(count)) for one, count in ever.items()}
    return sorted(((one, score) for one, score in scores.items() if one in documents), key=lambda pair: (-pair[1], pair[0]))
