"""A release: encoder, embeddings and index as one tuple, judged, promoted, served and rolled back only as a whole."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.corpus.documents import Document, Query, documents
from pipelines.embeddings import layout as embeddings
from pipelines.errors import InputError
from pipelines.index.vector_index import Index, load_index, mean_direction
from pipelines.models.encoder import BOUND, PROBES, Encoder, Vectors, load_encoder
from pipelines.store.artifacts import Artifact, load, load_exactly
from pipelines.store.objects import Store


class ReleaseCard(BaseModel):
    """`release.json`: the parts by id, the variants that encode, and the probe documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    encoder: str
    document_variant: str
    query_variant: str
    embeddings: str
    index: str
    probes: list[str]


@dataclass(frozen=True)
class Parts:
    """A release's artifacts, checked to name each other."""

    corpus: Artifact
    encoder: Artifact
    embeddings: Artifact
    index: Artifact

    @property
    def variant(self) -> str:
        """The encoder variant of the documents."""
        return str(self.embeddings.manifest.recipe.params["variant"])


def check_parts(encoder: Artifact, embedded: Artifact, index: Artifact) -> Parts:
    """The parts of a release, if they were made from each other.

    Raises:
        InputError: they were not; says which part names which other.
    """
    _same("index", index, "embeddings", index.inputs.get("embeddings"), embedded.id)
    _same("embeddings", embedded, "encoder", embedded.inputs.get("encoder"), encoder.id)
    corpus = load_exactly(encoder.store, "corpus", embedded.inputs["corpus"])
    counts = {"corpus": corpus.facts["documents"], "embeddings": embedded.facts["documents"], "index": index.facts["documents"]}
    if len(set(counts.values())) != 1:
        given = ", ".join(f"{part} {count}" for part, count in counts.items())
        raise InputError(f"parts with different numbers of documents: {given}", "one number", "refresh the embeddings")
    return Parts(corpus, encoder, embedded, index)


def _same(part: str, artifact: Artifact, other: str, named: str | None, given: str) -> None:
    if named != given:
        raise InputError(
            f"{part} {artifact.id} with {other} {given}",
            f"{other} {named}, from which {part} {artifact.id} was made",
            f"pass --{other} {named}, or refresh the embeddings with the {other} you want",
        )


@dataclass(frozen=True)
class Release:
    """A release in memory, ready to answer queries."""

    id: str
    card: ReleaseCard
    encoder: Encoder
    index: Index
    documents: dict[str, Document]

    def search(self, queries: list[str], k: int) -> list[list[tuple[str, float]]]:
        """The k best document ids of each query with their cosine, best first."""
        return self.index.search(self.encoder.encode(queries, "query"), k)

    def search_like(
        self, histories: Sequence[Sequence[str]], k: int, left_out: Sequence[Collection[str]] = ()
    ) -> list[list[tuple[str, float]]]:
        """The k documents most like each history, best first, by their cosine to the mean of the history's stored vectors.

        A history of one document asks for what is like it. What stands in a history is not among its results. Ids that the
        release does not have are skipped; a history of such ids alone has no results.

        Args:
            histories: document ids, the latest last.
            k: documents for each history.
            left_out: for each history, more documents that must not be among its results; empty: none.
        """
        without = [{*history, *out} for history, out in zip(histories, left_out or [()] * len(histories), strict=True)]
        known = {number: ids for number, history in enumerate(histories) if (ids := self.known(history))}
        found: list[list[tuple[str, float]]] = [[] for _ in histories]
        for some in _batches(list(known)):
            means = np.stack([mean_direction(self.index.vectors(known[number])) for number in some])
            ranked = self.index.search(means, k, [without[number] for number in some])
            for number, ranking in zip(some, ranked, strict=True):
                found[number] = ranking
        return found

    def known(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are documents of this release, in their order, each once."""
        return [one for one in dict.fromkeys(ids) if one in self.index.rows]

    def rank(
        self, queries: Sequence[Query], k: int, left_out: Mapping[str, Collection[str]], batch_tokens: int = 2048
    ) -> list[list[tuple[str, float]]]:
        """The k best documents of each query: by its history where the release knows any of it, else by its text.

        Args:
            queries: what is asked.
            k: documents for each query.
            left_out: by query id, documents that must not be among its results.
            batch_tokens: tokens that are encoded at once.
        """
        without = [left_out.get(query.id, ()) for query in queries]
        found = self.search_like([query.history for query in queries], k, without)
        rest = [number for number, query in enumerate(queries) if not self.known(query.history)]
        if rest:
            vectors = self.encoder.encode([queries[number].text for number in rest], "query", batch_tokens)
            ranked = self.index.search(vectors, k, [without[number] for number in rest])
            for number, ranking in zip(rest, ranked, strict=True):
                found[number] = ranking
        return found


def _batches(numbers: list[int]) -> list[list[int]]:
    """So many histories are searched at once: each may leave out thousands of documents, below which must be looked."""
    return [numbers[start : start + 256] for start in range(0, len(numbers), 256)]


def load_release(store: Store, release_id: str, threads: int = 0) -> Release:
    """The release, checked as a whole: parts that name each other, and an encoder that still gives the stored vectors.

    Raises:
        InputError: a part is missing, names another, or the probes come out beyond the bound.
        CorruptArtifact: a file was changed.
    """
    artifact = load(store, "release", release_id)
    card = ReleaseCard.model_validate(artifact.json("release.json"))
    parts = _parts(store, card)
    encoder = load_encoder(parts.encoder, card.query_variant, threads)
    index = load_index(parts.index)
    by_id = {document.id: document for document in documents(parts.corpus)}
    check_probes(
        f"release {artifact.id}",
        encoder,
        [by_id[probe] for probe in card.probes],
        stored_vectors(parts.embeddings, card.probes),
        card.document_variant,
    )
    return Release(artifact.id, card, encoder, index, by_id)


def _parts(store: Store, card: ReleaseCard) -> Parts:
    return check_parts(
        load_exactly(store, "encoder", card.encoder),
        load_exactly(store, "embeddings", card.embeddings),
        load_exactly(store, "index", card.index),
    )


def stored_parts(store: Store, release_id: str) -> Parts:
    """The parts of a release that could be served: each in the store, with all its files.

    Raises:
        InputError: a part is missing or names another.
        CorruptArtifact: a file of a part is missing or has another size.
    """
    release = load_exactly(store, "release", release_id)
    parts = _parts(store, ReleaseCard.model_validate(release.json("release.json")))
    for part in (release, parts.corpus, parts.encoder, parts.embeddings, parts.index):
        part.check_files()
    return parts


def probe_ids(documents_: list[Document]) -> list[str]:
    """The ids of the documents that a server re-encodes before it serves: spread by content, at most 32."""
    return [document.id for document in sorted(documents_, key=lambda document: (document.content, document.id))[:PROBES]]


def stored_vectors(embedded: Artifact, ids: list[str]) -> Vectors:
    """The vectors of some documents, float32, in the order of `ids`."""
    position = {row.id: number for number, row in enumerate(embeddings.rows(embedded))}
    return embeddings.vectors_at(embedded, [position[given] for given in ids])


def check_probes(name: str, encoder: Encoder, probes: list[Document], expected: Vectors, stored_by: str = "") -> float:
    """The largest difference between the probes' stored vectors and what the encoder gives now; `name` is whose they are.

    Raises:
        InputError: it is beyond the bound plus the deviations of the variant and of the one that made the stored vectors.
    """
    deviation = float(np.abs(encoder.encode([probe.text for probe in probes], "document") - expected).max())
    variants = {encoder.variant, stored_by or encoder.variant}
    bound = BOUND + sum(encoder.card.variants[variant].deviation for variant in variants)
    if not deviation <= bound:
        raise InputError(
            f"{name}, whose encoder gives vectors that differ by {deviation:.3g} from the stored ones",
            f"at most {bound:.3g} over {len(probes)} documents",
            "check tokenizer, weights and variant, then embed again",
        )
    return deviation
