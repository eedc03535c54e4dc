"""The conservation laws of embeddings, checked before they may appear, and the layout of what passes them.

Each document has exactly one vector, of its own content; no vector is left over; |new| = |old| − |deleted| + |added|, where
|new| and |old| are what the corpus's and the base's manifests say and the rest was counted; fresh vectors are finite and of
length 1. A vector that is kept is not touched: its file is named again, or its bytes are copied.
"""

from array import array
from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from pipelines.corpus.documents import Document
from pipelines.embeddings.layout import CHUNK, EmbeddedRow, Places, each_row, in_chunks, places, segments
from pipelines.embeddings.refresh import Aligned, Change
from pipelines.errors import InputError
from pipelines.models.encoder import PROBES, check_vectors
from pipelines.store.artifacts import Artifact

Sampled = tuple[str, str, Document, int]


class IntegrityCheck:
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
                self._assign(one, one.document)
                yield EmbeddedRow(id=one.id, content=one.content)

    def _assign(self, one: Aligned, document: Document) -> None:
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
            raise _violation(f"{count} {problem}, {found} documents in all", count, examples)
        balance = before - change.deleted + change.added
        if not found == expected == balance:
            examples = change.examples.get("deleted", []) + change.examples.get("added", [])
            raise _violation(
                f"{found} vectors for a corpus of {expected} documents, "
                f"{before} before − {change.deleted} deleted + {change.added} added = {balance}",
                change.deleted + change.added,
                examples[:5],
            )


def _violation(given: str, count: int, ids: list[str]) -> InputError:
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
        raise _violation(f"{part.kind} {part.id} with {len(where)} vectors for {listed} documents", 0, [])
