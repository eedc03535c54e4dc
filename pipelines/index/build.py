"""Embeddings become the files of an index: exact where that is quick, else changed in place, else chosen by measurement."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import move
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pipelines.embeddings.layout import EmbeddedRow, rows, vectors
from pipelines.index.incremental import changed, drift_of
from pipelines.index.selection import GroundTruth, IndexMeasurement, choose, recall_queries
from pipelines.index.vector_index import build_flat, write_ids, write_index
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load_exactly


@dataclass(frozen=True)
class IndexOptions:
    """How an index is to be made. The step `index` declares what each option means, its bounds and its default."""

    algorithm: str
    recall: float
    flat_below: int
    query_variant: str
    threads: int
    device: Literal["auto", "cpu"]


@dataclass(frozen=True)
class _Built:
    """An index on disk: its rows, what was measured, and how it came about."""

    file: Path
    ids: list[str]
    table: list[IndexMeasurement]
    how: dict[str, Any]


def build_index(embedded: Artifact, base: Artifact | None, wanted: IndexOptions, folder: Path) -> dict[str, Any]:
    """Write `index.faiss` and `ids.json` of the embeddings into `folder`; the facts for the manifest.

    Args:
        embedded: the embeddings.
        base: an index of earlier embeddings by the same encoder variant, made with the same options; None: build anew.
        wanted: what is asked.
        folder: where the files go.

    Raises:
        InputError: the wanted algorithm can't be trained by so few documents, or does not reach the wanted recall.
    """
    import faiss

    if wanted.threads:
        faiss.omp_set_num_threads(wanted.threads)
    after, given = rows(embedded), vectors(embedded)
    ids = [row.id for row in after]
    facts = {"documents": len(ids), "dimensions": given.shape[1]}
    if wanted.algorithm == "flat" or (wanted.algorithm == "auto" and len(ids) < wanted.flat_below):
        write_index(folder, build_flat(given), ids)
        return {**facts, "algorithm": "flat", "effort": 0, "recall_at_10": 1.0, "measured_on": "nothing: it is exact"}
    asked = recall_queries(embedded, ids, given, wanted.query_variant, wanted.threads)
    with TemporaryDirectory(prefix="ratchet-candidates-") as scratch:
        yardstick = GroundTruth(given, asked)
        made = _update(base, after, yardstick, wanted.recall, Path(scratch)) if base else None
        made = made or _build(after, yardstick, wanted, Path(scratch))
        move(made.file, folder / "index.faiss")
    write_ids(folder, made.ids)
    chosen = made.table[0]
    said = {"algorithm": chosen.algorithm, "effort": chosen.effort, "recall_at_10": chosen.recall_at_10}
    return {**facts, **said, "measured_on": asked.source, "table": [asdict(one) for one in made.table], **made.how}


def _build(after: Sequence[EmbeddedRow], yardstick: GroundTruth, wanted: IndexOptions, scratch: Path) -> _Built:
    import faiss

    gpus = faiss.get_num_gpus() if wanted.device == "auto" else 0
    file, table = choose(wanted.algorithm, yardstick, wanted.recall, scratch, gpus)
    lists = table[0].algorithm.startswith("ivf")
    drift = drift_of(faiss.read_index(str(file)), yardstick.vectors) if lists else 0.0
    how = {"made": "anew", "trained": {"documents": len(after), "drift": drift}}
    return _Built(file, [row.id for row in after], table, how)


def _update(base: Artifact, after: Sequence[EmbeddedRow], yardstick: GroundTruth, least: float, scratch: Path) -> _Built | None:
    """The base with the rows that went and came; None where it no longer fits, or no longer finds enough."""
    import faiss

    if "trained" not in base.facts:  # an exact one
        return None
    started = time.monotonic()
    contents = {row.id: row.content for row in rows(load_exactly(base.store, "embeddings", base.inputs["embeddings"]))}
    before = [EmbeddedRow(id=one, content=contents[one]) for one in base.json("ids.json")]
    index = faiss.read_index(str(base.path("index.faiss")))
    change = changed(index, before, after, yardstick.vectors, base.facts["trained"])
    if change is None:
        log().info("built anew", base=base.id, why="drift, growth or deletions that a graph can't follow")
        return None
    seconds, algorithm = time.monotonic() - started, base.facts["algorithm"]
    measured = yardstick.measure(algorithm, (change.index, None), least, seconds, scratch / "in-place.faiss", change.order)
    counts = {"added": change.added, "removed": change.removed, "drift": change.drift}
    log().info("changed in place", base=base.id, **counts, **asdict(measured))
    if not measured.reaches(least):
        return None
    how = {"made": f"in place of {base.id}", "trained": base.facts["trained"], **counts}
    return _Built(scratch / "in-place.faiss", change.ids, [measured], how)
