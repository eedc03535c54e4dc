"""The layout of embeddings: one vector for each document of a corpus, by one variant of one encoder, in numpy files.

The artifact holds `rows.jsonl` (document id and content, sorted by id) and its vectors in one of two layouts:

1. `vectors.npy`: float32, documents × dimensions, in the order of the rows. A shard has the same layout.
2. `segment-<number>.npy`, each float32, and `places.npy`: uint32, documents × 2, for each row the number of its segment and
   its row there. Segments are vector files of other artifacts, stored once under their sha256: an incremental refresh adds a
   segment of its own and names the others again, so that untouched vectors are not copied.

Layout, history and sharding are no part of the artifact's identity: its id is that of `recipe_of`.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.corpus.documents import read_rows
from pipelines.errors import CorruptArtifact
from pipelines.models.encoder import Vectors
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import Recipe

Places = NDArray[np.uint32]
"""For each row the number of a segment, or of an artifact, and the row there: (rows, 2)."""
CHUNK = 8192
"""Rows in memory at once where vectors are copied or checked."""


class EmbeddedRow(BaseModel):
    """The document, and the sha256 of its text, to which a row of the vectors belongs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content: str


def recipe_of(corpus_id: str, encoder_id: str, variant: str, version: int) -> Recipe:
    """The recipe of embeddings: corpus and encoder variant, whatever their history or sharding; `version` is the step's."""
    inputs = {"corpus": corpus_id, "encoder": encoder_id}
    return Recipe(kind="embeddings", step="commit_embeddings", version=version, inputs=inputs, params={"variant": variant})


def rows(embedded: Artifact) -> list[EmbeddedRow]:
    """The rows of embeddings or of a shard, in the order of its vectors."""
    return list(each_row(embedded))


def each_row(embedded: Artifact) -> Iterator[EmbeddedRow]:
    """As `rows`, one at a time."""
    return read_rows(embedded.path("rows.jsonl"), EmbeddedRow, f"{embedded.kind}/{embedded.id}/rows.jsonl")


def vectors(embedded: Artifact) -> Vectors:
    """All vectors of embeddings or of a shard: float32, (rows, dimensions); a single file is mapped read-only from disk."""
    if "places.npy" not in embedded.manifest.files:
        mapped: Vectors = _mapped(embedded.path("vectors.npy"))
        return mapped
    files = segments(embedded)
    gathered = np.empty((len(places(embedded)), _mapped(files[0]).shape[1]), np.float32)
    start = 0
    for chunk in in_chunks(files, places(embedded)):
        gathered[start : start + len(chunk)] = chunk
        start += len(chunk)
    return gathered


def vectors_at(embedded: Artifact, row_numbers: Sequence[int]) -> Vectors:
    """The vectors of some rows: float32, (rows, dimensions), in the order of `row_numbers`; no others are read."""
    files = [_mapped(file) for file in segments(embedded)]
    return np.array([files[segment][row] for segment, row in places(embedded)[list(row_numbers)].tolist()], np.float32)


def gather_vectors(where: Places, sources: Sequence[Artifact], row_numbers: Sequence[int]) -> Vectors:
    """The vectors of some rows that are not yet written: float32, (rows, dimensions).

    Args:
        where: for each row the number of its source and its row there.
        sources: embeddings and shards.
        row_numbers: rows of `where`, at least one.
    """
    return np.stack([vectors_at(sources[number], [row])[0] for number, row in where[list(row_numbers)].tolist()])


def segments(embedded: Artifact) -> list[Path]:
    """The verified vector files, in the order of their numbers.

    Raises:
        CorruptArtifact: a file is missing or was changed.
    """
    single = "vectors.npy" in embedded.manifest.files
    names = ["vectors.npy"] if single else sorted(name for name in embedded.manifest.files if name.startswith("segment-"))
    return [embedded.path(name) for name in names]


def places(embedded: Artifact) -> Places:
    """For each row the number of its segment and its row there: uint32, (rows, 2)."""
    if "places.npy" in embedded.manifest.files:
        stored: Places = np.load(embedded.path("places.npy"), allow_pickle=False)
        return stored
    count = len(_mapped(embedded.path("vectors.npy")))
    return np.stack([np.zeros(count, np.uint32), np.arange(count, dtype=np.uint32)], 1)


def in_chunks(files: Sequence[Path], where: Places) -> Iterator[Vectors]:
    """The vectors at `where`, float32, CHUNK rows at a time; read, not mapped, so that memory holds one chunk.

    Within a segment, rows must ascend (as ids do): then a chunk reads one contiguous range of each file.

    Raises:
        CorruptArtifact: a file does not hold float32 vectors.
    """
    mapped = [_mapped(file) for file in files]
    for start in range(0, len(where), CHUNK):
        chunk_places = where[start : start + CHUNK]
        chunk = np.empty((len(chunk_places), mapped[0].shape[1]), np.float32)
        for number in np.unique(chunk_places[:, 0]).tolist():
            in_segment = chunk_places[:, 0] == number
            segment_rows = chunk_places[in_segment, 1]
            low, high = int(segment_rows.min()), int(segment_rows.max()) + 1
            chunk[in_segment] = _read_range(files[number], mapped[number], low, high)[segment_rows - low]
        yield chunk


def _read_range(path: Path, mapped: Any, low: int, high: int) -> Vectors:
    """Rows `low` up to `high` of a vector file."""
    width = mapped.shape[1]
    flat = np.fromfile(path, np.float32, (high - low) * width, offset=mapped.offset + low * width * 4)
    return flat.reshape(high - low, width)


def _mapped(path: Path) -> Any:
    """The vectors of a file, mapped from disk.

    Raises:
        CorruptArtifact: the file does not hold float32 vectors.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _unreadable(path, str(error)) from None
    if mapped.dtype != np.float32 or mapped.ndim != 2 or not mapped.flags.c_contiguous:
        raise _unreadable(path, f"{mapped.dtype} of {mapped.ndim} dimensions")
    return mapped


def _unreadable(path: Path, reason: str) -> CorruptArtifact:
    return CorruptArtifact(f"{path}: {reason}", "float32 vectors as numpy writes them", "embed this shard again")


def write_layout(folder: Path, where: Places, sources: Sequence[Artifact], most: int) -> dict[str, Any]:
    """Write the vectors at `where` into `folder`: as links to the segments that hold them, or compacted into one file.

    They are compacted where there would be more than `most` segments, or where fewer than half of the segments' rows are used.

    Args:
        folder: where the files go.
        where: for each row the number of its source and its row there.
        sources: embeddings and shards.
        most: segments, at most.

    Returns:
        facts for the manifest: `dimensions`, `segments` and, where it is so, `compacted`.
    """
    files, resolved = _resolved(where, sources)
    used, renumbered = np.unique(resolved[:, 0], return_inverse=True)
    files = [files[number] for number in used]
    shapes = [np.load(file, mmap_mode="r", allow_pickle=False).shape for file in files]
    stored, dimensions = sum(shape[0] for shape in shapes), shapes[0][1]
    resolved = np.stack([renumbered.astype(np.uint32), resolved[:, 1]], 1)
    if len(files) == 1 and np.array_equal(resolved[:, 1], np.arange(stored)):
        _link(files[0], folder / "vectors.npy")
    elif len(files) > most or 2 * len(where) < stored:
        write_vectors(folder / "vectors.npy", in_chunks(files, resolved), (len(where), dimensions))
        return {"dimensions": dimensions, "segments": 1, "compacted": True}
    else:
        np.save(folder / "places.npy", resolved)
        for number, file in enumerate(files):
            _link(file, folder / f"segment-{number:05d}.npy")
    return {"dimensions": dimensions, "segments": len(files)}


def _resolved(where: Places, sources: Sequence[Artifact]) -> tuple[list[Path], Places]:
    """All segments of the sources, and `where` in terms of these segments."""
    files: list[Path] = []
    resolved = np.empty_like(where)
    for number, source in enumerate(sources):
        of_source = where[:, 0] == number
        resolved[of_source] = places(source)[where[of_source, 1]] + np.array([len(files), 0], np.uint32)
        files += segments(source)
    return files, resolved


def _link(file: Path, target: Path) -> None:
    """A hard link where both are on one disk, so that the target outlives the file; else a symbolic link."""
    try:
        target.hardlink_to(file)
    except OSError:
        target.symlink_to(file)


def write_vectors(path: Path, chunks: Iterable[Vectors], shape: tuple[int, int]) -> None:
    """Write vectors that come in chunks, byte for byte as `numpy.save` would write them whole."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, np.float32).data)
