"""Latency, memory and start-up of a release beside another: measured on two real servers at once, written, read again.

Both servers of a start get the same queries, one request at a time, the two requests of a pair in random order: what slows the
machine down slows both, and only their ratio counts. Several starts, since each process has its own luck with memory.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import numpy as np

from pipelines.corpus.documents import documents, queries
from pipelines.errors import InputError
from pipelines.evaluation.measurement import Measurement
from pipelines.evaluation.served_release import ServedRelease, wait_until_ready
from pipelines.logs import progress
from pipelines.statistics.intervals import Floats
from pipelines.statistics.ratios import Ratio, paired_ratio, quantile_ratio
from pipelines.store.artifacts import Artifact

BLOCK = 100
"""Requests of one server in a block."""
WARM_UP = 50
"""Requests of each server after its start that do not count."""
DEPTH = 10
MOST_QUERIES = 2000
SIDES = ("release", "champion")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
OF_STARTS = {"rss": "memory_mb", "startup": "startup_s"}
"""By measure: the name of its numbers in `latency.json`."""
MEASURES = (*QUANTILES, *OF_STARTS)


@dataclass(frozen=True)
class Latency(Measurement):
    """A stored measurement."""

    SUMMARY = "latency.json"
    """Machine, counts, quantiles in milliseconds by side, memory and start-up of each start."""

    @property
    def champion(self) -> str:
        """The release that it was measured beside."""
        return self.artifact.inputs["champion"]

    @cached_property
    def blocks(self) -> dict[str, Floats]:
        """By side: milliseconds of each request, shape (blocks, BLOCK), in the order of time."""
        content = self.artifact.json("requests.json")
        return {side: np.asarray(content[side], float) for side in SIDES}

    def ratio(self, measure: str, confidence: float) -> Ratio | None:
        """See `ratio_of`."""
        return ratio_of(self.summary, self.blocks, measure, confidence)


def ratio_of(summary: Mapping[str, Any], blocks: Mapping[str, Floats], measure: str, confidence: float) -> Ratio | None:
    """The release's value of one of MEASURES divided by the champion's; None where this system does not tell it.

    Args:
        summary: as `latency.json` has it.
        blocks: by side, milliseconds of shape (blocks, BLOCK).
        measure: one of MEASURES.
        confidence: of the interval, two-sided.
    """
    if measure in QUANTILES:
        return quantile_ratio(blocks["release"], blocks["champion"], QUANTILES[measure], confidence)
    ours, theirs = (summary[side][OF_STARTS[measure]] for side in SIDES)
    return None if None in (*ours, *theirs) else paired_ratio(ours, theirs, confidence)


def targets(of_releases: Sequence[Artifact], corpus: Artifact) -> list[str]:
    """What is asked: test queries of a corpus as paths of the search API, in a drawn order; of a corpus without, its titles.

    Args:
        of_releases: the corpora of the releases; a history counts if they know its documents.
        corpus: whose queries are asked.

    Raises:
        InputError: there is nothing that could be asked.
    """
    asked = [query for query in queries(corpus, "test") if query.text or query.history]
    known = set.intersection(*({document.id for document in documents(one)} for one in of_releases)) if asked else set()
    parameters = [
        {"like": list(query.history)} if query.history else {"q": query.text}
        for query in asked
        if known.issuperset(query.history)
    ]
    if not parameters:
        parameters = [{"q": " ".join((document.title or document.text).split())[:500]} for document in documents(corpus)]
    if not parameters:
        raise InputError(f"corpus {corpus.id} without queries and documents", "something to ask", "ingest a collection")
    order = np.random.default_rng(0).permutation(len(parameters))[:MOST_QUERIES]
    return [f"/v1/search?{urlencode({**parameters[place], 'k': DEPTH}, doseq=True)}" for place in order]


def measure(releases: dict[str, str], asked: Sequence[str], requests: int, starts: int, wait_s: float) -> dict[str, Any]:
    """Milliseconds of every request, memory and start-up, by side.

    Args:
        releases: the release's id by side.
        asked: paths, taken in turn.
        requests: of each side, over all starts.
        starts: how often both servers are started.
        wait_s: seconds that a start may take.

    Returns:
        By side: `blocks` (blocks × BLOCK), `memory_mb` and `startup_s` of each start.
    """
    measured: dict[str, Any] = {side: {"blocks": [], "memory_mb": [], "startup_s": []} for side in SIDES}
    random, blocks = np.random.default_rng(1), requests // BLOCK
    place = 0
    with TemporaryDirectory(prefix="ratchet-latency-") as scratch:
        for start in progress(range(starts), starts, "starts"):
            servers: dict[str, ServedRelease] = {}
            try:
                for side in SIDES[:: 1 if start % 2 else -1]:  # neither is always the first
                    servers[side] = ServedRelease(releases[side], Path(scratch) / f"{side}-{start}")
                wait_until_ready(list(servers.values()), wait_s)
                _ask(servers, asked[:WARM_UP], random)
                for _ in range(start * blocks // starts, (start + 1) * blocks // starts):
                    turn = [asked[(place + number) % len(asked)] for number in range(BLOCK)]
                    place += BLOCK
                    for side, took in _ask(servers, turn, random).items():
                        measured[side]["blocks"].append(took)
                for side, server in servers.items():
                    measured[side]["memory_mb"].append(server.memory_mb())
                    measured[side]["startup_s"].append(round(server.startup_s, 3))
            finally:
                for server in servers.values():
                    server.stop()
    return measured


def _ask(servers: dict[str, ServedRelease], asked: Sequence[str], random: np.random.Generator) -> dict[str, list[float]]:
    """Each path once from both servers, in random order; milliseconds by side."""
    took: dict[str, list[float]] = {side: [] for side in servers}
    for target, turned in zip(asked, random.integers(0, 2, len(asked)), strict=True):
        for side in SIDES[:: 1 if turned else -1]:
            took[side].append(round(servers[side].search(target), 4))
    return took


def summary_of(measured: dict[str, Any], asked: int) -> dict[str, Any]:
    """The content of `latency.json`, without the release's ids."""
    sides = {}
    for side in SIDES:
        values = np.asarray(measured[side]["blocks"])
        quantiles = {name: round(float(np.quantile(values, level)), 3) for name, level in QUANTILES.items()}
        sides[side] = {**quantiles, **{name: measured[side][name] for name in OF_STARTS.values()}}
    blocks = len(measured["release"]["blocks"])
    counts = {"requests": blocks * BLOCK, "block": BLOCK, "starts": len(measured["release"]["startup_s"]), "queries": asked}
    return {**sides, **counts, "machine": machine_name()}


def machine_name() -> str:
    """This machine in a few words: its cores and the name of its processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}"


def write_measurement(folder: Path, measured: dict[str, Any], summary: dict[str, Any]) -> None:
    """Write latency.json and requests.json."""
    (folder / "latency.json").write_text(json.dumps(summary, indent=1, sort_keys=True), encoding="utf-8")
    blocks = {side: measured[side]["blocks"] for side in SIDES}
    (folder / "requests.json").write_text(json.dumps(blocks, sort_keys=True), encoding="utf-8")
