"""Dev next-item queries: what came next before the test began. By them a recommender and the stages of histories are chosen.

The test cutoff is the time at which the corpus's next-item queries are asked. The dev cutoffs lie before it, at quantiles of
the interactions before the test cutoff: several, because at one moment few users have choices on both sides. Each user is asked
once, by the rules of the test queries (`pipelines.collections`), at the latest dev cutoff that has choices on both sides; a
model that answers was trained on what was before that cutoff. Nothing at or after the test cutoff is seen. These queries are
derived wherever they are needed and stored nowhere, so no corpus changes its id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipelines.corpus.documents import Query, queries
from pipelines.corpus.interaction_arrays import InteractionArrays, interaction_arrays, time_at
from pipelines.evaluation.baselines import RECENT_SHARE
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest

DEV_QUANTILES = (0.6, 0.7, 0.8, 0.9)
LONGEST = 50
"""Documents that a history may have, where the corpus does not say."""
MOST = 2_000
"""Dev histories that are asked; of more, those with the lowest hashes of their users' ids."""


@dataclass(frozen=True)
class DevHistories:
    """Next-item queries of the dev cutoffs, in the order of users; the `time` of each is its cutoff."""

    queries: list[Query] = field(default_factory=list)
    qrels: dict[str, dict[str, int]] = field(default_factory=dict)
    seen: dict[str, set[str]] = field(default_factory=dict)
    """By query id: every document that its user had interacted with. No ranking holds these."""


@dataclass(frozen=True)
class PastOfCorpus:
    """What may be learnt from a corpus's interactions: those before its test queries."""

    interactions: InteractionArrays
    test_cutoff: int | None
    """None: no next-item query is asked."""
    dev_cutoffs: tuple[int, ...]
    """Ascending; empty: all interactions are of one time."""
    longest: int = LONGEST


def past_of(corpus: Artifact, document_ids: list[str]) -> PastOfCorpus:
    """The interactions of a corpus before its test cutoff, and the dev cutoffs within them.

    Args:
        corpus: with or without interactions.
        document_ids: of the corpus, sorted.
    """
    times = [query.time for query in queries(corpus) if query.history and query.time is not None]
    test_cutoff = min(times) if times else corpus.facts.get("cutoff")
    past = interaction_arrays(corpus, document_ids).before(test_cutoff)
    longest = corpus.facts.get("history") or LONGEST
    cutoffs = {time_at(past.times, quantile) for quantile in DEV_QUANTILES} - {None}
    return PastOfCorpus(past, test_cutoff, tuple(sorted(time for time in cutoffs if time is not None)), longest)


def dev_histories(past: PastOfCorpus) -> DevHistories:
    """A query for each user with choices on both sides of a dev cutoff; of at most MOST users."""
    asked: dict[str, tuple[Query, list[str], set[str]]] = {}
    for cutoff in past.dev_cutoffs:  # the latest that asks a user stays
        asked |= {query.id: (query, relevant, seen) for query, relevant, seen in _asked_at(past, cutoff)}
    users = sorted(asked)
    if len(users) > MOST:
        users = sorted(sorted(users, key=lambda user: digest(f"dev {user}".encode()))[:MOST])
    return DevHistories(
        [asked[user][0] for user in users],
        {user: dict.fromkeys(asked[user][1], 1) for user in users},
        {user: asked[user][2] for user in users},
    )


def _asked_at(past: PastOfCorpus, cutoff: int) -> Iterator[tuple[Query, list[str], set[str]]]:
    """The query of each user with choices on both sides of a cutoff, the documents that came next, and those seen before."""
    rows, ids = past.interactions, past.interactions.document_ids
    later = rows.times >= cutoff
    begins = np.flatnonzero(np.r_[True, rows.users[1:] != rows.users[:-1]]) if len(rows) else np.zeros(0, np.int64)
    for start, end in pairwise([*begins.tolist(), len(rows)]):
        if later[start] or not later[end - 1]:
            continue
        split = start + int(np.searchsorted(rows.times[start:end], cutoff))
        seen = set(rows.documents[start:split].tolist())
        known = rows.documents[start:split][rows.chosen[start:split]]
        history = list(dict.fromkeys(known[::-1].tolist()))[: past.longest][::-1]
        following = [place for place in range(split, end) if rows.chosen[place] and rows.documents[place] not in seen]
        if history and following:
            first = rows.times[following[0]]
            relevant = sorted({ids[rows.documents[place]] for place in following if rows.times[place] == first})
            names = tuple(ids[document] for document in history)
            query = Query(id=rows.user_ids[rows.users[start]], text=names[-1], split="train", history=names, time=cutoff)
            yield query, relevant, {ids[document] for document in seen}


def recent(interactions: InteractionArrays) -> InteractionArrays:
    """The last tenth of the interactions, as the popularity baseline counts them."""
    ordered = np.sort(interactions.times)
    start = ordered[int((1 - RECENT_SHARE) * len(ordered))] if len(ordered) else 0
    return interactions.where(interactions.times >= start)
