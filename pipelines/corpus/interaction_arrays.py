"""The interactions of a corpus as arrays: who met which document when, and whether that was a choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.documents import interactions
from pipelines.store.artifacts import Artifact

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class InteractionArrays:
    """Interactions with documents of the corpus, in the order of users, times and documents."""

    users: Numbers
    """Place in `user_ids`, (interactions,)."""
    documents: Numbers
    """Place in `document_ids`, (interactions,)."""
    times: Numbers
    """Seconds since 1970, (interactions,)."""
    chosen: NDArray[np.bool_]
    """Whether the value is at least the corpus's `min_value`, (interactions,). What is not chosen was seen all the same."""
    user_ids: Sequence[str]
    document_ids: Sequence[str]
    """Of all documents of the corpus, sorted."""

    def __len__(self) -> int:
        return len(self.users)

    def where(self, kept: NDArray[np.bool_]) -> "InteractionArrays":
        """Those interactions for which `kept`, (interactions,), is true."""
        parts = {name: getattr(self, name)[kept] for name in ("users", "documents", "times", "chosen")}
        return replace(self, **parts)

    def before(self, time: int | None) -> "InteractionArrays":
        """Those before a time; all where there is none."""
        return self if time is None else self.where(self.times < time)

    def choices(self) -> "InteractionArrays":
        """Those that were choices."""
        return self.where(self.chosen)


def interaction_arrays(corpus: Artifact, document_ids: Sequence[str]) -> InteractionArrays:
    """The interactions of a corpus; those with a document that it does not have are left out.

    Args:
        corpus: whose fact `min_value` says from which value on an interaction is a choice; none: every one is.
        document_ids: of the corpus, sorted.
    """
    least = corpus.facts.get("min_value")
    place = {document: number for number, document in enumerate(document_ids)}
    user_ids: dict[str, int] = {}
    rows: list[tuple[int, int, int, bool]] = []
    for row in interactions(corpus):
        if row.document in place:
            user = user_ids.setdefault(row.user, len(user_ids))
            rows.append((user, place[row.document], row.time, least is None or row.value >= least))
    table = np.array(rows, np.int64).reshape(-1, 4)
    order = np.lexsort((table[:, 1], table[:, 2], table[:, 0]))
    users, documents, times, chosen = table[order].T
    return InteractionArrays(users, documents, times, chosen.astype(bool), list(user_ids), document_ids)


def time_at(times: Numbers, quantile: float) -> int | None:
    """The time before which about `quantile` of the times lie, and never none of them; none where all are one.

    >>> time_at(np.arange(100), 0.9), time_at(np.array([5, 5, 5, 7]), 0.5), time_at(np.array([5, 5]), 0.9)
    (90, 7, None)
    """
    ordered = np.sort(times)
    if not len(ordered) or ordered[0] == ordered[-1]:
        return None
    time = ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
    return int(time if time > ordered[0] else ordered[np.searchsorted(ordered, ordered[0], side="right")])
