"""Features for the blend of a release, out of the online store, within a time: what is late or missing has its default."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np

from pipelines.features.online import OnlineStore, open_online, read_features
from pipelines.logs import log
from pipelines.retrieval.stages.blend import BlendFeature, Candidates, FeatureValues, Floats

LOGGED_S = 60.0
"""Seconds between two lines of the log about a store that does not answer."""


class OnlineFeatures:
    """Reads features for several threads at once.

    Args:
        within_s: seconds that a read may take; 0: as long as it needs.
        workers: reads at once; one that does not end in time keeps its thread until the store gives up on it.
    """

    def __init__(self, within_s: float, workers: int) -> None:
        self._within_s, self._pool = within_s, ThreadPoolExecutor(workers, "features")
        self._lock, self._logged_at = threading.Lock(), -LOGGED_S
        started = threading.Barrier(workers)  # now: later they would have the priority of whoever asks first
        for _ in range(workers):
            self._pool.submit(started.wait)

    @cached_property
    def _store(self) -> OnlineStore:
        return open_online()

    def read(self, features: Sequence[BlendFeature], searches: Sequence[Candidates]) -> list[FeatureValues]:
        """The values as of now of each search's documents. See `FeatureSource`."""
        documents = list(dict.fromkeys(document for search in searches for document in search.documents))
        reading = self._pool.submit(self._values, features, documents)
        try:
            values = reading.result(self._within_s or None)
        except TimeoutError:
            self._not_read(reading, f"they did not come within {self._within_s:g} s")
        except Exception as error:  # noqa: BLE001  # no search fails for want of a feature
            self._not_read(reading, str(error))
        else:
            place = {document: row for row, document in enumerate(documents)}
            return [FeatureValues(values[[place[document] for document in search.documents]]) for search in searches]
        return [FeatureValues(np.full((len(search.documents), len(features)), np.nan), late=True) for search in searches]

    def _values(self, features: Sequence[BlendFeature], documents: Sequence[str]) -> Floats:
        """(documents, features); NaN where there is no value, or one that is older than its view allows."""
        values, now = np.full((len(documents), len(features)), np.nan), datetime.now(UTC)
        for view in dict.fromkeys(feature.view for feature in features):
            columns = {place: feature for place, feature in enumerate(features) if feature.view == view}
            first = next(iter(columns.values()))
            names = [feature.feature for feature in columns.values()]
            rows = read_features(self._store, view, first.key, names, documents, now, timedelta(seconds=first.ttl_s))
            for row, found in enumerate(rows):
                for place, name in zip(columns, names, strict=True):
                    value = (found or {}).get(name)
                    if isinstance(value, int | float):
                        values[row, place] = value
        return values

    def _not_read(self, reading: "Future[Floats]", why: str) -> None:
        reading.cancel()  # where it waits for a thread, nobody needs it any more
        with self._lock:
            due = time.monotonic() - self._logged_at >= LOGGED_S
            self._logged_at = time.monotonic() if due else self._logged_at
        if due:
            log().warning("features were not read: defaults stand in", why=why)
