"""Embeddings: one vector for each document of a corpus, by one variant of one encoder.

The artifact holds `rows.jsonl` (document id and content, in the order of ids) and its vectors in one of two layouts:

1. `vectors.npy`: float32, documents × dimensions, in the order of the rows. A shard looks the same.
2. `segment-<number>.npy`, each float32, and `places.npy`: uint32, documents × 2, for each row its segment and its row there.
   Segments are other artifacts' vectors, stored once under their sha256: a refresh adds its own and names the rest.

Both say the same; layout, history and sharding are no part of the identity.
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
CHUNK = 8192
"""Rows that are in memory at once where vectors are copied or checked."""


class EmbeddedRow(BaseModel):
    """Which document, with which content, a row of the vectors stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content: str


def rows(embedded: Artifact) -> list[EmbeddedRow]:
    """The rows of embeddings or of a shard, in the order of its vectors."""
    return list(each_row(embedded))


def each_row(embedded: Artifact) -> Iterator[EmbeddedRow]:
    """As `rows`, one at a time."""
    return read_rows(embedded.path("rows.jsonl"), EmbeddedRow, f"{embedded.kind}/{embedded.id}/rows.jsonl")


def vectors(embedded: Artifact) -> Vectors:
    """The vectors of embeddings or of a shard: float32, (rows, dimensions); of one segment, read-only from disk."""
    if "places.npy" not in embedded.manifest.files:
        whole: Vectors = _mapped(embedded.path("vectors.npy"))
        return whole
    parts = segments(embedded)
    gathered = np.empty((len(places(embedded)), _mapped(parts[0]).shape[1]), np.float32)
    start = 0
    for chunk in in_chunks(parts, places(embedded)):
        gathered[start : start + len(chunk)] = chunk
        start += len(chunk)
    return gathered


def vectors_at(embedded: Artifact, chosen: Sequence[int]) -> Vectors:
    """The vectors of some rows: float32, (chosen, dimensions), in their order; the others are not read."""
    parts = [_mapped(part) for part in segments(embedded)]
    wanted = places(embedded)[list(chosen)]
    return np.array([parts[segment][row] for segment, row in wanted.tolist()], np.float32)


def segments(embedded: Artifact) -> list[Path]:
    """The verified files of the vectors.

    Raises:
        CorruptArtifact: one is missing, was changed, or does not hold float32 vectors.
    """
    single = "vectors.npy" in embedded.manifest.files
    names = ["vectors.npy"] if single else sorted(name for name in embedded.manifest.files if name.startswith("segment-"))
    return [embedded.path(name) for name in names]


def places(embedded: Artifact) -> Places:
    """For each row its segment and its row there: uint32, (rows, 2)."""
    if "places.npy" in embedded.manifest.files:
        found: Places = np.load(embedded.path("places.npy"), allow_pickle=False)
        return found
    count = len(_mapped(embedded.path("vectors.npy")))
    return np.stack([np.zeros(count, np.uint32), np.arange(count, dtype=np.uint32)], 1)


def in_chunks(parts: Sequence[Path], wanted: Places) -> Iterator[Vectors]:
    """The vectors at `wanted`, float32, a chunk at a time; read, not mapped, so that memory holds one chunk.

    Within a segment, rows must ascend (as ids do): then a chunk reads one window of each.
    """
    opened = [_mapped(part) for part in parts]
    for start in range(0, len(wanted), CHUNK):
        some = wanted[start : start + CHUNK]
        chunk = np.empty((len(some), opened[0].shape[1]), np.float32)
        for number in np.unique(some[:, 0]).tolist():
            here = some[:, 0] == number
            inside = some[here, 1]
            low, high = int(inside.min()), int(inside.max()) + 1
            chunk[here] = _window(parts[number], opened[number], low, high)[inside - low]
        yield chunk


def _window(path: Path, opened: Any, low: int, high: int) -> Vectors:
    width = opened.shape[1]
    flat = np.fromfile(path, np.float32, (high - low) * width, offset=opened.offset + low * width * 4)
    return flat.reshape(high - low, width)


def _mapped(path: Path) -> Any:
    """An array on disk, of which nothing is read yet."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _unreadable(path, str(error)) from None
    if found.dtype != np.float32 or found.ndim != 2 or not found.flags.c_contiguous:
        raise _unreadable(path, f"{found.dtype} of {found.ndim} dimensions")
    return found


def _unreadable(path: Path, reason: str) -> CorruptArtifact:
    return CorruptArtifact(f"{path}: {reason}", "float32 vectors as numpy writes them", "embed this shard again")


def write_vectors(path: Path, chunks: Iterable[Vectors], shape: tuple[int, int]) -> None:
    """Write vectors that come in chunks as numpy's `save` would write them whole, byte for byte."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, np.float32).data)


def recipe_of(corpus_id: str, encoder_id: str, variant: str, version: int) -> Recipe:
    """Embeddings are named by corpus and encoder variant, whatever their history or sharding; `version` is the step's."""
    inputs = {"corpus": corpus_id, "encoder": encoder_id}
    return Recipe(kind="embeddings", step="commit_embeddings", version=version, inputs=inputs, params={"variant": variant})


def write_layout(folder: Path, where: Places, sources: Sequence[Artifact], most: int) -> dict[str, Any]:
    """Write the vectors at `where` into `folder`: as links to the segments they lie in, or compacted into one file.

    They are compacted where there would be more than `most` segments, or where most of what the segments hold is dead.

    Args:
        where: for each row the number of its source and its row there.
    """
    files, lengths, resolved = _resolved(where, sources)
    used, renumbered = np.unique(resolved[:, 0], return_inverse=True)
    files = [files[number] for number in used]
    stored = sum(lengths[number] for number in used)
    resolved = np.stack([renumbered.astype(np.uint32), resolved[:, 1]], 1)
    if len(files) == 1 and np.array_equal(resolved[:, 1], np.arange(stored)):
        _name_again(files[0], folder / "vectors.npy")
    elif len(files) > most or 2 * len(where) < stored:
        width = np.load(files[0], mmap_mode="r", allow_pickle=False).shape[1]
        write_vectors(folder / "vectors.npy", in_chunks(files, resolved), (len(where), width))
        return {"dimensions": width, "segments": 1, "compacted": True}
    else:
        np.save(folder / "places.npy", resolved)
        for number, file in enumerate(files):
            _name_again(file, folder / f"segment-{number:05d}.npy")
    return {"dimensions": np.load(files[0], mmap_mode="r", allow_pickle=False).shape[1], "segments": len(files)}


def _name_again(file: Path, target: Path) -> None:
    """A second name for a stored file, which outlasts the first where both are on one disk."""
    try:
        target.hardlink_to(file)
    except OSError:
        target.symlink_to(file)


def _resolved(where: Places, sources: Sequence[Artifact]) -> tuple[list[Path], list[int], Places]:
    """All segments of the sources, how many rows each has, and `where` in terms of these segments."""
    files: list[Path] = []
    resolved = np.empty_like(where)
    for number, source in enumerate(sources):
        mine = where[:, 0] == number
        resolved[mine] = places(source)[where[mine, 1]] + np.array([len(files), 0], np.uint32)
        files += segments(source)
    return files, [len(np.load(file, mmap_mode="r", allow_pickle=False)) for file in files], resolved


def gather_vectors(where: Places, sources: Sequence[Artifact], rows: list[int]) -> Any:
    """The vectors of some rows, before they are laid out: float32, (rows, dimensions)."""
    from pipelines.embeddings.layout import vectors_at

    return np.stack([vectors_at(sources[number], [row])[0] for number, row in where[rows].tolist()])
