"""The conservation laws of embeddings, checked before they may appear, and the layout of what passes them.

Each document has exactly one vector, of its own content; no vector is left over; |new| = |old| − |deleted| + |added|, where
|new| and |old| are what the corpus's and the base's manifests say and the rest was counted; fresh vectors are finite and of
length 1. A vector that is kept is not touched: its file is named again, or its bytes are copied.
"""

from array import array
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import Artifact
from pipelines.errors import InputError
from pipelines.ranking.corpus import Document
from pipelines.ranking.embeddings import CHUNK, EmbeddedRow, Places, each_row, in_chunks, places, segments, write_vectors
from pipelines.ranking.encoder import PROBES, check_vectors
from pipelines.ranking.refresh import Aligned, Change

Sampled = tuple[str, str, Document, int]


class Settlement:
    """Gives each document its vector; `check` refuses what broke a law. Holds 8 bytes for each document, and five ids."""

    def __init__(self) -> None:
        self.change = Change()
        self.encoded = 0
        self._places = array("I")
        self._broken: dict[str, tuple[int, list[str]]] = {}
        self._sampled: dict[str, list[Sampled]] = {"fresh": [], "kept": []}

    def rows(self, by_id: Iterable[Aligned]) -> Iterator[EmbeddedRow]:
        """The rows of the embeddings, one for each document."""
        for one in by_id:
            self.change.count(one)
            stray = len(one.fresh) - sum(vector.content == one.content for vector in one.fresh)
            self._note("vectors of documents that the corpus does not have", one.id, stray)
            if one.document:
                self._settle(one, one.document)
                yield EmbeddedRow(id=one.id, content=one.content)

    def _settle(self, one: Aligned, document: Document) -> None:
        usable = one.usable
        self._note("documents without a vector", one.id, not usable)
        self._note("documents with two vectors", one.id, len(usable) > 1)
        row = len(self._places) // 2
        self._places.extend((usable[0].segment, usable[0].row) if usable else (0, 0))
        fresh = bool(usable) and usable[0] in one.fresh
        self.encoded += fresh
        self._sample("fresh" if fresh else "kept", PROBES if fresh else PROBES // 4, (one.content, one.id, document, row))

    def _note(self, problem: str, key: str, times: int) -> None:
        if times:
            count, examples = self._broken.get(problem, (0, []))
            self._broken[problem] = (count + times, [*examples, key][:5])

    def _sample(self, kind: str, most: int, candidate: Sampled) -> None:
        chosen = self._sampled[kind]
        if len(chosen) < most or candidate[:2] < chosen[-1][:2]:
            insort(chosen, candidate, key=lambda one: one[:2])
            del chosen[most:]

    @property
    def places(self) -> Places:
        """For each row the artifact its vector comes from, counted as `aligned` does, and its row there: uint32, (rows, 2)."""
        return np.frombuffer(self._places, np.uint32).reshape(-1, 2)

    @property
    def sample(self) -> tuple[list[Document], list[int]]:
        """What to encode once more, and its rows: up to 32 documents with fresh vectors and 8 with kept ones.

        Chosen by content, so that they are spread over the corpus and the same in every run.
        """
        chosen = [*self._sampled["fresh"], *self._sampled["kept"]]
        return [document for _, _, document, _ in chosen], [row for *_, row in chosen]

    def check(self, expected: int, before: int) -> None:
        """Refuse a broken law.

        Args:
            expected: documents that the corpus has.
            before: documents that the base has.

        Raises:
            InputError: gives the counts and five document ids.
        """
        found, change = len(self.places), self.change
        for problem, (count, examples) in self._broken.items():
            raise _law(f"{count} {problem}, {found} documents in all", count, examples)
        balance = before - change.deleted + change.added
        if not found == expected == balance:
            examples = change.examples.get("deleted", []) + change.examples.get("added", [])
            raise _law(
                f"{found} vectors for a corpus of {expected} documents, "
                f"{before} before − {change.deleted} deleted + {change.added} added = {balance}",
                change.deleted + change.added,
                examples[:5],
            )


def _law(given: str, count: int, ids: list[str]) -> InputError:
    examples = f": {', '.join(ids)}{', …' if count > len(ids) else ''}" if ids else ""
    return InputError(given + examples, "exactly one vector for each document", "run plan and embed again, then commit")


def check_fresh(part: Artifact) -> None:
    """Refuse a shard whose vectors can't be searched, or that has not one for each of its rows.

    Raises:
        InputError: gives the counts and five document ids.
    """
    where = places(part)
    names = (row.id for row in each_row(part))
    for chunk in in_chunks(segments(part), where):
        check_vectors(chunk, (list(islice(names, CHUNK)) + [f"row {row}" for row in range(len(chunk))])[: len(chunk)])
    listed = sum(1 for _ in each_row(part))
    if listed != len(where):
        raise _law(f"{part.kind} {part.id} with {len(where)} vectors for {listed} documents", 0, [])


def lay_out(folder: Path, where: Places, sources: Sequence[Artifact], most: int) -> dict[str, Any]:
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


def vectors_of(where: Places, sources: Sequence[Artifact], rows: list[int]) -> Any:
    """The vectors of some rows, before they are laid out: float32, (rows, dimensions)."""
    from pipelines.ranking.embeddings import vectors_at

    return np.stack([vectors_at(sources[number], [row])[0] for number, row in where[rows].tolist()])
