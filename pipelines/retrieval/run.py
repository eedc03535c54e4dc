"""A run: the ranked documents of each query, by any retriever, and its TREC file."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

Ranking = list[tuple[str, float]]
"""Document ids with scores, best first."""
Run = dict[str, Ranking]
"""Rankings by query id."""


def break_ties(ranking: Sequence[tuple[str, float]]) -> Ranking:
    """The ranking with strictly decreasing float32 scores: a score not below the previous becomes the next lower float32.

    Tools break ties by document id in opposite directions (trec_eval descending, others ascending), and some compare
    in float32. Without ties every tool sees the same order.

    >>> [score for _, score in break_ties([("a", 1.0), ("b", 1.0), ("c", 0.5)])]
    [1.0, 0.9999999403953552, 0.5]
    """
    scores = np.array([score for _, score in ranking], np.float32)
    if not (scores[1:] < scores[:-1]).all():
        for rank in range(1, len(scores)):
            scores[rank] = min(scores[rank], np.nextafter(scores[rank - 1], np.float32(-np.inf)))
    return list(zip((document for document, _ in ranking), scores.tolist(), strict=True))


def write_run(path: Path, run: Mapping[str, Ranking], tag: str) -> None:
    """Write a TREC run file: query, Q0, document, rank, score, tag."""
    with path.open("w", encoding="utf-8") as file:
        for query, ranking in run.items():
            file.writelines(
                f"{query} Q0 {document} {rank} {score:.9g} {tag}\n" for rank, (document, score) in enumerate(ranking, 1)
            )


def read_run(path: Path) -> Run:
    """A TREC run file that `write_run` wrote."""
    run: Run = {}
    with path.open(encoding="utf-8") as file:
        for query, _, document, _, score, _ in (line.split() for line in file):
            run.setdefault(query, []).append((document, float(score)))
    return run


def exclude(ranking: Iterable[tuple[str, float]], left_out: Collection[str], depth: int) -> Ranking:
    """The first `depth` of a ranking's documents that are not in `left_out`.

    >>> exclude([("a", 3.0), ("b", 2.0), ("c", 1.0)], {"a"}, 1)
    [('b', 2.0)]
    """
    return list(islice((pair for pair in ranking if pair[0] not in left_out), depth))
