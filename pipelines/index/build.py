"""Builds the files of an index from embeddings: exact for few documents, else by incremental update, else by selection."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import move
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pipelines.embeddings.layout import EmbeddedRow, rows, vectors
from pipelines.index.incremental import drift_of, update
from pipelines.index.selection import GroundTruth, IndexMeasurement, recall_queries, select
from pipelines.index.vector_index import build_flat, write_ids, write_index
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load_exactly


@dataclass(frozen=True)
class IndexOptions:
    """How to make an index; the step `index` declares the options with their bounds and defaults."""

    algorithm: str
    recall: float
    flat_below: int
    query_variant: str
    threads: int
    device: Literal["auto", "cpu"]


@dataclass(frozen=True)
class _BuiltIndex:
    """An index on disk: the document ids of its rows, its measurements, and facts about how it was made."""

    file: Path
    ids: list[str]
    table: list[IndexMeasurement]
    """The measurement of this index first, then those of other candidates."""
    history: dict[str, Any]


def build_index(embedded: Artifact, base: Artifact | None, options: IndexOptions, folder: Path) -> dict[str, Any]:
    """Write `index.faiss` and `ids.json` of the embeddings into `folder`; returns the facts for the manifest.

    Args:
        embedded: the embeddings.
        base: an index of earlier embeddings by the same encoder variant, made with the same options; None: build anew.
        options: how to make it.
        folder: where the files go.

    Raises:
        InputError: there are too few documents to train the algorithm, or it does not reach the recall.
    """
    import faiss

    if options.threads:
        faiss.omp_set_num_threads(options.threads)
    embedded_rows, embedded_vectors = rows(embedded), vectors(embedded)
    ids = [row.id for row in embedded_rows]
    facts = {"documents": len(ids), "dimensions": embedded_vectors.shape[1]}
    if options.algorithm == "flat" or (options.algorithm == "auto" and len(ids) < options.flat_below):
        write_index(folder, build_flat(embedded_vectors), ids)
        return {**facts, "algorithm": "flat", "effort": 0, "recall_at_10": 1.0, "measured_on": "nothing: it is exact"}
    queries = recall_queries(embedded, ids, embedded_vectors, options.query_variant, options.threads)
    truth = GroundTruth(embedded_vectors, queries)
    with TemporaryDirectory(prefix="ratchet-candidates-") as scratch:
        built = _update(base, embedded_rows, truth, options.recall, Path(scratch)) if base else None
        built = built or _select(embedded_rows, truth, options, Path(scratch))
        move(built.file, folder / "index.faiss")
    write_ids(folder, built.ids)
    measured = built.table[0]
    facts |= {"algorithm": measured.algorithm, "effort": measured.effort, "recall_at_10": measured.recall_at_10}
    table = [asdict(measurement) for measurement in built.table]
    return {**facts, "measured_on": queries.source, "table": table, **built.history}


def updated_in_place(index: Artifact) -> bool:
    """Whether an index was made by an update of an earlier one, whose lists or graph it has; an exact one never was."""
    return str(index.facts.get("made", "anew")) != "anew"


def _select(after: Sequence[EmbeddedRow], truth: GroundTruth, options: IndexOptions, scratch: Path) -> _BuiltIndex:
    """A new index by the algorithm that selection takes."""
    import faiss

    gpus = faiss.get_num_gpus() if options.device == "auto" else 0
    file, table = select(options.algorithm, truth, options.recall, scratch, gpus)
    inverted = table[0].algorithm.startswith("ivf")
    drift = drift_of(faiss.read_index(str(file)), truth.vectors) if inverted else 0.0
    history = {"made": "anew", "trained": {"documents": len(after), "drift": drift}}
    return _BuiltIndex(file, [row.id for row in after], table, history)


def _update(
    base: Artifact, after: Sequence[EmbeddedRow], truth: GroundTruth, least: float, scratch: Path
) -> _BuiltIndex | None:
    """The base, updated incrementally; None where it must be built anew, or its recall is below `least`."""
    import faiss

    if "trained" not in base.facts:  # an exact index
        return None
    started = time.monotonic()
    contents = {row.id: row.content for row in rows(load_exactly(base.store, "embeddings", base.inputs["embeddings"]))}
    before = [EmbeddedRow(id=document, content=contents[document]) for document in base.json("ids.json")]
    index = faiss.read_index(str(base.path("index.faiss")))
    updated = update(index, before, after, truth.vectors, base.facts["trained"])
    if updated is None:
        log().info("built anew", base=base.id, why="drift, growth or deletions that a graph can't follow")
        return None
    seconds, algorithm, file = time.monotonic() - started, base.facts["algorithm"], scratch / "updated.faiss"
    measured = truth.measure(algorithm, (updated.index, None), least, seconds, file, updated.order)
    counts = {"added": updated.added, "removed": updated.removed, "drift": updated.drift}
    log().info("changed in place", base=base.id, **counts, **asdict(measured))
    if not measured.reaches(least):
        return None
    history = {"made": f"in place of {base.id}", "trained": base.facts["trained"], **counts}
    return _BuiltIndex(file, updated.ids, [measured], history)
