"""Records which pod encoded which shard: the logs of all pods are read while they run, since finished pods are deleted."""

import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from cluster.local import Cluster
from pipelines.store.objects import Store

EVERY_S = 0.5
PRECISION = timedelta(seconds=1)
"""The time in a manifest is in whole seconds."""


class Witness:
    """Reads the log of every pod of `embed` until the block ends."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.logs = cluster, dict[str, str]()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "Witness":
        self._watching = self._pool.submit(self._watch)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._pool.shutdown()
        if error is None:
            self._watching.result()  # without this an error in the thread would look like an empty record

    def encodings(self) -> list[dict[str, Any]]:
        """The log entries `encoding`, with the shard and the number of texts that a pod began to encode."""
        return [line for log in self.logs.values() for line in log_entries(log) if line["event"] == "encoding"]

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            for pod in self.cluster.pods(task_id="embed"):
                self.logs[pod.metadata.name] = self.cluster.log(pod.metadata.name) or self.logs.get(pod.metadata.name, "")


def log_entries(log: str) -> Iterable[dict[str, Any]]:
    """The JSON lines of a step's log that are log entries."""
    for text in log.splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if isinstance(entry, dict) and "event" in entry:
            yield entry


def redone(store: Store, encodings: Iterable[dict[str, Any]]) -> list[str]:
    """The shards that a pod began to encode after they had been committed."""
    return [
        entry["shard"] for entry in encodings if entry["texts"] and _was_committed(store, entry["shard"], entry["timestamp"])
    ]


def _was_committed(store: Store, shard: str, then: str) -> bool:
    try:
        manifest = json.loads(store.read(f"shard/{shard}/manifest.json"))
    except FileNotFoundError:
        return False
    return datetime.fromisoformat(then) > datetime.fromisoformat(manifest["provenance"]["at"]) + PRECISION
