"""Rankings of searches that were asked before. A key names the release, so that no ranking outlives what serves."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from pipelines.retrieval.stages.ranker import StageRankings


class RankingCache:
    """The rankings that were used last, `most` at most. Used by several threads.

    `hits` and `misses` count the rankings that were asked for, and were there or not; without a cache nothing is counted.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self.hits = self.misses = 0
        self._rankings: OrderedDict[Hashable, StageRankings] = OrderedDict()

    def get(self, key: Hashable) -> StageRankings | None:
        """The ranking by its key; None: it was never kept, or it is long ago."""
        if not self._most:
            return None
        with self._lock:
            ranked = self._rankings.get(key)
            if ranked is None:
                self.misses += 1
            else:
                self.hits += 1
                self._rankings.move_to_end(key)
            return ranked

    def keep(self, key: Hashable, ranked: StageRankings) -> None:
        """Keep a ranking, unless its reranker or its features had too little time: the next search may have more."""
        if (ranked.reranked and ranked.reranked.late) or (ranked.blended and ranked.blended.terms.late):
            return
        with self._lock:
            self._rankings[key] = ranked
            self._rankings.move_to_end(key)
            forget(self._rankings, self._most)


def forget(kept: OrderedDict[Any, Any], most: int) -> None:
    """Drop the first entries, so that at most `most` are left."""
    while len(kept) > most:
        kept.popitem(last=False)
