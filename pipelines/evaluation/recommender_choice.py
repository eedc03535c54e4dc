"""The training of a recommender: by which algorithm and which window of popularity, chosen by dev next-item queries.

EASE and recent popularity are the defaults. Another replaces them only where the interval of its paired difference in nDCG@10
lies above 0, at a confidence that allows for the number of candidates (Bonferroni); of those, the one with the highest mean is
taken. With fewer than 50 dev queries nothing is chosen by measuring.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.interaction_arrays import InteractionArrays
from pipelines.evaluation.dev import DevHistories, PastOfCorpus, dev_histories, recent
from pipelines.evaluation.measures import per_query
from pipelines.evaluation.stage_choice import CONFIDENCE, LEAST_DEV
from pipelines.models.recommenders import ALGORITHMS, RecommenderOptions, user_counts
from pipelines.retrieval.run import break_ties
from pipelines.retrieval.stages.answers import AskedQuery, Retriever, Scores
from pipelines.retrieval.stages.collaborative import SERVED, Collaborative, dev_model, write_model
from pipelines.retrieval.stages.popularity import Popularity
from pipelines.statistics.intervals import interval
from pipelines.wording import signed, value

WINDOWS = ("recent", "all time")
"""Of popularity: the last tenth of the interactions, or all; the first is the default."""
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """Which candidate was taken, why, and the figures of all."""

    taken: str
    why: str
    rows: Table


def popularity(interactions: InteractionArrays, window: str) -> Scores:
    """By document, how many users chose it in the window; equal recent counts by the count of all time. float32."""
    choices = interactions.choices()
    all_time = user_counts(choices)
    if window == "all time":
        return all_time.astype(np.float32)
    latest = recent(interactions).choices()
    return np.asarray(user_counts(latest) + all_time / (1 + all_time.max(initial=0)), np.float32)


def write_recommender(folder: Path, past: PastOfCorpus, algorithm: str, options: RecommenderOptions) -> dict[str, Any]:
    """Write the artifact's files; returns its facts.

    Args:
        folder: to write into.
        past: the interactions before the test.
        algorithm: a name of `ALGORITHMS`, or `auto`: chosen by the dev queries.
        options: of the algorithms.
    """
    asked, ids = dev_histories(past), list(past.interactions.document_ids)
    enough = len(asked.queries) >= LEAST_DEV
    names = list(ALGORITHMS) if algorithm == "auto" and enough else ["ease" if algorithm == "auto" else algorithm]
    pasts = {cutoff: past.interactions.before(cutoff) for cutoff in past.dev_cutoffs}
    dev = {name: {time: _collaborative(ids, rows, name, options) for time, rows in pasts.items()} for name in names}
    counts = {window: {time: Popularity(ids, popularity(rows, window)) for time, rows in pasts.items()} for window in WINDOWS}
    chosen, window = measured(dev, asked), measured(counts, asked)
    models = {dev_model(time): (dev[chosen.taken][time], rows) for time, rows in pasts.items()}
    served = _collaborative(ids, past.interactions, chosen.taken, options)
    for name, (matrix, rows) in (models | {SERVED: (served, past.interactions)}).items():
        write_model(folder, name, matrix.starts, matrix.columns, matrix.weights, popularity(rows, window.taken))
    return {
        "algorithm": chosen.taken,
        "window": window.taken,
        "sentence": f"{chosen.taken} {chosen.why if algorithm == 'auto' else '(named by hand)'}; "
        f"popularity: {window.taken} {window.why}.",
        "interactions": len(past.interactions),
        "choices": int(past.interactions.chosen.sum()),
        "users": len(np.unique(past.interactions.users)),
        "documents": int((user_counts(past.interactions.choices()) > 0).sum()),
        "entries": len(served.weights),
        "dev_queries": len(asked.queries),
        "test_cutoff": past.test_cutoff,
        "dev_cutoffs": list(past.dev_cutoffs),
        "algorithms": chosen.rows,
        "windows": window.rows,
    }


def _collaborative(ids: list[str], interactions: InteractionArrays, name: str, options: RecommenderOptions) -> Collaborative:
    matrix = ALGORITHMS[name](interactions.choices(), options)
    return Collaborative(ids, matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))


def measured(candidates: Mapping[str, Mapping[int, Retriever]], asked: DevHistories) -> Measured:
    """The first candidate, unless another ranks the dev queries better beyond chance.

    Args:
        candidates: by name, the default first; each by dev cutoff.
        asked: dev queries.
    """
    default, *others = candidates
    if len(asked.queries) < LEAST_DEV:
        few = f"({len(asked.queries)} dev queries, fewer than {LEAST_DEV}: the default)"
        return Measured(default, few, [])
    values = {name: _values(candidate, asked) for name, candidate in candidates.items()}
    strict = 1 - (1 - CONFIDENCE) / max(len(others), 1)
    against = {name: interval((values[name] - values[default]).tolist(), strict) for name in candidates}
    better = [name for name in others if (against[name].low or 0) > 0]
    taken = max(better, key=lambda name: values[name].mean()) if better else default
    rows = [
        {"name": name, "mean": round(float(values[name].mean()), 9), "difference": against[name].mean,
         "difference_low": against[name].low, "difference_high": against[name].high, "taken": name == taken}
        for name in sorted(candidates, key=lambda name: -values[name].mean())
    ]  # fmt: skip
    figures = f"nDCG@10 {value(float(values[taken].mean()))} over {len(asked.queries):,} dev queries"
    gain = against[taken]
    why = f"{signed(gain.mean)} [{signed(gain.low)}, {signed(gain.high)}] against {default}" if taken != default else "default"
    return Measured(taken, f"({figures}, {why})", rows)


def _values(candidate: Mapping[int, Retriever], asked: DevHistories) -> NDArray[np.float64]:
    run = {}
    for query in asked.queries:
        answer = candidate[query.time or 0].answer(AskedQuery(query, "history", query.history))
        run[query.id] = break_ties(answer.best(10, asked.seen[query.id]) if answer else [])
    found = per_query(asked.qrels, run)
    return np.array([found[query.id]["nDCG@10"] for query in asked.queries])
