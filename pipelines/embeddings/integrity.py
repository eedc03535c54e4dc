"""Integrity checks of embeddings, before they are committed.

- Each document of the corpus has exactly one vector, of its own content, and no vector is left over.
- |new| = |old| − |deleted| + |added|: |new| and |old| from the manifests of the corpus and of the base, the rest counted.
- New vectors are finite and of length 1. Kept vectors are byte for byte those of the base (`layout.write_layout`).
- A sample is encoded again; its caller compares the vectors (`retrieval.probes.check_probes`).
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

Candidate = tuple[str, str, Document, int]
"""A document that may be sampled: content, id, document, row."""


class IntegrityCheck:
    """Assigns each document its vector, then checks the result. Memory: 8 bytes for each document.

    Consume `rows`, then call `check`; afterwards `places`, `sample`, `change` and `encoded` describe the new embeddings.
    """

    def __init__(self) -> None:
        self.change = Change()
        self.encoded = 0
        """Documents with a new vector."""
        self._places = array("I")
        self._violations: dict[str, tuple[int, list[str]]] = {}
        self._sampled: dict[str, list[Candidate]] = {"fresh": [], "kept": []}

    def rows(self, by_id: Iterable[Aligned]) -> Iterator[EmbeddedRow]:
        """The rows of the embeddings, one for each document, from what `refresh.aligned` gives."""
        for entry in by_id:
            self.change.count(entry)
            stray = len(entry.fresh) - sum(vector.content == entry.content for vector in entry.fresh)
            self._note("vectors of documents that the corpus does not have", entry.id, stray)
            if entry.document:
                self._assign(entry, entry.document)
                yield EmbeddedRow(id=entry.id, content=entry.content)

    def _assign(self, entry: Aligned, document: Document) -> None:
        usable = entry.usable
        self._note("documents without a vector", entry.id, not usable)
        self._note("documents with two vectors", entry.id, len(usable) > 1)
        row = len(self._places) // 2
        self._places.extend((usable[0].segment, usable[0].row) if usable else (0, 0))
        fresh = bool(usable) and usable[0] in entry.fresh
        self.encoded += fresh
        self._sample("fresh" if fresh else "kept", PROBES if fresh else PROBES // 4, (entry.content, entry.id, document, row))

    def _note(self, problem: str, document_id: str, times: int) -> None:
        if times:
            count, examples = self._violations.get(problem, (0, []))
            self._violations[problem] = (count + times, [*examples, document_id][:5])

    def _sample(self, kind: str, most: int, candidate: Candidate) -> None:
        """Keep the `most` candidates with the lowest content and id."""
        sampled = self._sampled[kind]
        if len(sampled) < most or candidate[:2] < sampled[-1][:2]:
            insort(sampled, candidate, key=lambda each: each[:2])
            del sampled[most:]

    @property
    def places(self) -> Places:
        """For each row the number of the artifact that holds its vector, as `aligned` counts them, and the row there.

        uint32, (rows, 2).
        """
        return np.frombuffer(self._places, np.uint32).reshape(-1, 2)

    @property
    def sample(self) -> tuple[list[Document], list[int]]:
        """Documents to encode again, and their rows: up to 32 with new vectors and 8 with kept ones.

        Those with the lowest sha256 of their text: spread over the corpus and the same in every run.
        """
        sampled = [*self._sampled["fresh"], *self._sampled["kept"]]
        return [document for _, _, document, _ in sampled], [row for *_, row in sampled]

    def check(self, expected: int, before: int) -> None:
        """Check what `rows` has counted.

        Args:
            expected: documents of the corpus.
            before: documents of the base; 0 without one.

        Raises:
            InputError: a check failed; the message gives the counts and up to five document ids.
        """
        assigned, change = len(self.places), self.change
        for problem, (count, examples) in self._violations.items():
            raise _violation(f"{count} {problem}, {assigned} documents in all", count, examples)
        balance = before - change.deleted + change.added
        if not assigned == expected == balance:
            examples = change.examples.get("deleted", []) + change.examples.get("added", [])
            raise _violation(
                f"{assigned} vectors for a corpus of {expected} documents, "
                f"{before} before − {change.deleted} deleted + {change.added} added = {balance}",
                change.deleted + change.added,
                examples[:5],
            )


def _violation(given: str, count: int, ids: list[str]) -> InputError:
    examples = f": {', '.join(ids)}{', …' if count > len(ids) else ''}" if ids else ""
    return InputError(given + examples, "exactly one vector for each document", "run plan and embed again, then commit")


def check_fresh(shard: Artifact) -> None:
    """Check that a shard has one vector for each of its rows, each finite and of length 1.

    Raises:
        InputError: a check failed; the message gives the counts and up to five document ids.
    """
    where = places(shard)
    ids = (row.id for row in each_row(shard))
    for chunk in in_chunks(segments(shard), where):
        check_vectors(chunk, (list(islice(ids, CHUNK)) + [f"row {row}" for row in range(len(chunk))])[: len(chunk)])
    listed = sum(1 for _ in each_row(shard))
    if listed != len(where):
        raise _violation(f"{shard.kind} {shard.id} with {len(where)} vectors for {listed} documents", 0, [])
