"""Who saw which pod encode what: what every pod says is read while it lives, since pods that end are deleted."""

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
EXACT_TO = timedelta(seconds=1)
"""A manifest tells its time in whole seconds."""


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
            self._watching.result()  # a witness that failed has seen nothing

    def encodings(self) -> list[dict[str, Any]]:
        """The lines with which pods told that they began to encode a shard, and how much of it."""
        return [line for log in self.logs.values() for line in told(log) if line["event"] == "encoding"]

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            for pod in self.cluster.pods(task_id="embed"):
                self.logs[pod.metadata.name] = self.cluster.log(pod.metadata.name) or self.logs.get(pod.metadata.name, "")


def told(log: str) -> Iterable[dict[str, Any]]:
    """The structured lines of a step's log."""
    for text in log.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "event" in line:
            yield line


def redone(store: Store, encodings: Iterable[dict[str, Any]]) -> list[str]:
    """The shards that a pod began to encode although they were committed by then."""
    return [one["shard"] for one in encodings if one["texts"] and _was_committed(store, one["shard"], one["timestamp"])]


def _was_committed(store: Store, shard: str, then: str) -> bool:
    try:
        manifest = json.loads(store.read(f"shard/{shard}/manifest.json"))
    except FileNotFoundError:
        return False
    return datetime.fromisoformat(then) > datetime.fromisoformat(manifest["provenance"]["at"]) + EXACT_TO
