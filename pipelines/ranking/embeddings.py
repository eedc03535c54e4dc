"""Embeddings: one vector for each document of a corpus, by one variant of one encoder.

The artifact holds `vectors.npy` (float32, documents × dimensions) and `rows.jsonl` (document id and content, in row order).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.artifacts import Artifact, Recipe
from pipelines.errors import InputError
from pipelines.ranking.corpus import Document, read_rows
from pipelines.ranking.encoder import PROBES, Vectors


class EmbeddedRow(BaseModel):
    """Which document, with which content, a row of `vectors.npy` stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    content: str


@dataclass(frozen=True)
class Change:
    """What a corpus asks of embeddings that were made for an earlier one."""

    added: list[Document]
    changed: list[Document]
    deleted: list[str]
    kept: int

    @property
    def to_encode(self) -> list[Document]:
        """The documents without a vector, in the corpus's order of ids."""
        return sorted([*self.added, *self.changed], key=lambda document: document.id)


def rows(embedded: Artifact) -> list[EmbeddedRow]:
    """The rows of embeddings or of a shard, in the order of its vectors."""
    return list(read_rows(embedded.path("rows.jsonl"), EmbeddedRow, f"{embedded.kind}/{embedded.id}/rows.jsonl"))


def vectors(embedded: Artifact) -> Vectors:
    """The vectors of embeddings or of a shard: float32, (rows, dimensions), read-only from disk."""
    loaded: Vectors = np.load(embedded.path("vectors.npy"), mmap_mode="r", allow_pickle=False)
    return loaded


def compare(documents: Sequence[Document], base: Sequence[EmbeddedRow]) -> Change:
    """What changed between the documents and the rows of earlier embeddings, by id and content."""
    before = {row.id: row.content for row in base}
    added = [document for document in documents if document.id not in before]
    changed = [document for document in documents if before.get(document.id, document.content) != document.content]
    present = {document.id for document in documents}
    deleted = [row.id for row in base if row.id not in present]
    return Change(added, changed, deleted, len(documents) - len(added) - len(changed))


def shard_slice(documents: Sequence[Document], shard: str) -> list[Document]:
    """The documents of shard `i/n`: every n-th after sorting by length, so that shards weigh the same.

    >>> [document.id for document in shard_slice([Document(id=c, text=c * n) for n, c in enumerate("abcd", 1)], "1/2")]
    ['b', 'd']

    Raises:
        InputError: there is no such shard.
    """
    index, count = map(int, shard.split("/"))
    if index >= count:
        raise InputError(f"shard {shard}", f"0/{count} to {count - 1}/{count}", "pass a shard that plan gave")
    by_length = sorted(documents, key=lambda document: (len(document.text), document.id))
    return sorted(by_length[index::count], key=lambda document: document.id)


def place_vectors(
    wanted: Sequence[EmbeddedRow], base: Sequence[Artifact], parts: Sequence[Artifact]
) -> tuple[Vectors, NDArray[np.bool_]]:
    """One vector for each wanted row, float32, and for each row whether its vector was copied from `base`.

    The conservation laws: every wanted row gets a vector of its own content, from one part only; nothing is left over.

    Raises:
        InputError: a vector is missing, doubled or not asked for; gives the counts and five document ids.
    """
    position = {(row.id, row.content): number for number, row in enumerate(wanted)}
    sources = [(part, rows(part), vectors(part)) for part in [*base, *parts]]
    if not sources:
        raise _law("no vectors at all", [row.id for row in wanted])
    merged = np.zeros((len(wanted), sources[0][2].shape[1]), np.float32)
    times = np.zeros(len(wanted), np.int64)
    kept, stray = np.zeros(len(wanted), np.bool_), []
    for part, part_rows, part_vectors in sources:
        if len(part_rows) != len(part_vectors):
            raise _law(f"{part.kind} {part.id} with {len(part_vectors)} vectors for {len(part_rows)} documents", [])
        found = [(position.get((row.id, row.content)), number) for number, row in enumerate(part_rows)]
        matched = [(target, number) for target, number in found if target is not None]
        stray += [] if part.kind == "embeddings" else [part_rows[number].id for target, number in found if target is None]
        targets = [target for target, _ in matched]
        kept[targets] |= part.kind == "embeddings"
        merged[targets] = part_vectors[[number for _, number in matched]]
        np.add.at(times, targets, 1)  # `times[targets] += 1` counts a document once that one part has twice
    for problem, ids in (
        ("documents without a vector", [wanted[row].id for row in np.flatnonzero(times == 0).tolist()]),
        ("documents with two vectors", [wanted[row].id for row in np.flatnonzero(times > 1).tolist()]),
        ("vectors of documents that the corpus does not have", stray),
    ):
        if ids:
            raise _law(f"{len(ids)} {problem}, {len(wanted)} documents in all", ids)
    return merged, kept


def sample(wanted: Sequence[EmbeddedRow], kept: NDArray[np.bool_]) -> list[int]:
    """The rows to encode once more before a commit: up to 32 that were encoded now and 8 that were kept.

    Chosen by content, so that they are spread over the corpus and the same in every run.
    """
    by_content = sorted(range(len(wanted)), key=lambda row: (wanted[row].content, wanted[row].id))
    fresh = [row for row in by_content if not kept[row]][:PROBES]
    return fresh + [row for row in by_content if kept[row]][: PROBES // 4]


def _law(given: str, ids: list[str]) -> InputError:
    examples = f": {', '.join(ids[:5])}{', …' if len(ids) > 5 else ''}" if ids else ""
    return InputError(given + examples, "exactly one vector for each document", "run plan and embed again, then commit")


def recipe_of(corpus_id: str, encoder_id: str, variant: str, version: int) -> Recipe:
    """Embeddings are named by corpus and encoder variant, whatever their history or sharding; `version` is the step's."""
    inputs = {"corpus": corpus_id, "encoder": encoder_id}
    return Recipe(kind="embeddings", step="commit_embeddings", version=version, inputs=inputs, params={"variant": variant})
