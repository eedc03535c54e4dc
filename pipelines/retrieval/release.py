"""A release: encoder, embeddings, index and stages as one tuple, which is judged, promoted, served and rolled back as a whole.

Without stages a release ranks by its encoder and index alone. With stages, what they find nothing for is ranked so too.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipelines.corpus.document_fields import DocumentFields, Places
from pipelines.corpus.document_file import DocumentFile, Texts
from pipelines.corpus.documents import Document, Query
from pipelines.errors import InputError
from pipelines.index.vector_index import Index, load_index, mean_direction
from pipelines.models.backends import FORMATS
from pipelines.models.encoder import Encoder, Vectors, load_encoder
from pipelines.models.reranker import check_probes as check_reranker
from pipelines.models.reranker import load_reranker
from pipelines.retrieval.probes import check_probes, stored_vectors
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.answers import AskedQuery
from pipelines.retrieval.stages.blend import Blend, FeatureSource, StoredValues, card_of, load_values
from pipelines.retrieval.stages.card import BLEND, RERANK, StageCard
from pipelines.retrieval.stages.ranker import Ranker, StageRankings
from pipelines.retrieval.stages.rerank import Rerank, SharedReranker
from pipelines.retrieval.stages.table import DENSE, POPULARITY, check_stages, load_retrievers, stage_artifacts
from pipelines.retrieval.stages.timing import ENCODE, stage_time
from pipelines.store.artifacts import Artifact, load, load_exactly
from pipelines.store.objects import Store


class ReleaseCard(BaseModel):
    """`release.json`: the ids of the parts, the encoder variants of documents and queries, the probe documents, the stages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    encoder: str
    document_variant: str
    query_variant: str
    embeddings: str
    index: str
    probes: list[str]
    stages: tuple[StageCard, ...] = ()
    """Empty: encoder and index alone."""

    @property
    def parts(self) -> dict[str, str]:
        """The ids of the parts by their names, as stages name what they were made from."""
        return {"corpus": self.corpus, "encoder": self.encoder, "embeddings": self.embeddings, "index": self.index}


@dataclass(frozen=True)
class Parts:
    """A release's artifacts, which were made from each other."""

    corpus: Artifact
    encoder: Artifact
    embeddings: Artifact
    index: Artifact

    @property
    def ids(self) -> dict[str, str]:
        """The parts' ids by their names."""
        return {name: getattr(self, name).id for name in ("corpus", "encoder", "embeddings", "index")}

    @property
    def variant(self) -> str:
        """The encoder variant of the documents."""
        return str(self.embeddings.manifest.recipe.params["variant"])


def check_parts(encoder: Artifact, embedded: Artifact, index: Artifact) -> Parts:
    """The parts of a release, checked to be made from each other.

    Raises:
        InputError: they were not; the message says which part was made from which other.
    """
    _check_made_from("index", index, "embeddings", embedded.id)
    _check_made_from("embeddings", embedded, "encoder", encoder.id)
    corpus = load_exactly(encoder.store, "corpus", embedded.inputs["corpus"])
    counts = {"corpus": corpus.facts["documents"], "embeddings": embedded.facts["documents"], "index": index.facts["documents"]}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{part} {count}" for part, count in counts.items())
        raise InputError(f"parts with different numbers of documents: {listed}", "one number", "refresh the embeddings")
    return Parts(corpus, encoder, embedded, index)


def parts_of_index(store: Store, index_id: str) -> Parts:
    """The parts that an index was made from, down to the corpus.

    Raises:
        InputError: there is no such index, or a part is no longer in the store.
    """
    index = load(store, "index", index_id)
    embedded = load_exactly(store, "embeddings", index.inputs["embeddings"])
    return check_parts(load_exactly(store, "encoder", embedded.inputs["encoder"]), embedded, index)


def _check_made_from(part: str, artifact: Artifact, source: str, source_id: str) -> None:
    recorded = artifact.inputs.get(source)
    if recorded != source_id:
        raise InputError(
            f"{part} {artifact.id} with {source} {source_id}",
            f"{source} {recorded}, from which {part} {artifact.id} was made",
            f"pass --{source} {recorded}, or refresh the embeddings with the {source} you want",
        )


@dataclass(frozen=True)
class Release:
    """A release in memory, ready to answer queries."""

    id: str
    card: ReleaseCard
    encoder: Encoder
    index: Index
    documents: DocumentFile
    """By id, sorted; a document is read when it is asked for."""
    ranker: Ranker | None = None
    """The stages; none: encoder and index alone."""
    fields: DocumentFields = field(default_factory=DocumentFields)
    """Of its documents, by their places in the order of ids."""
    assembled_in: str = ""
    """The `traceparent` of the span in which it was assembled; empty: it was not traced."""

    def search(self, queries: list[str], k: int) -> list[list[tuple[str, float]]]:
        """The k best document ids of each query text with their score, best first; without stages the score is the cosine."""
        return self.rank([query_of(text) for text in queries], k, {})

    def search_like(
        self, histories: Sequence[Sequence[str]], k: int, left_out: Sequence[Collection[str]] = ()
    ) -> list[list[tuple[str, float]]]:
        """The k best documents for each history, best first; without stages by cosine to the mean of its stored vectors.

        A history of one document gives "more like this". A history's own documents are not among its results. Ids that the
        release does not have are ignored; a history without known ids has no results.

        Args:
            histories: document ids, the latest last.
            k: documents for each history.
            left_out: for each history, more documents that must not be among its results; empty: none.
        """
        queries = [query_of(history=history) for history in histories]
        return [ranked.result for ranked in self._rank(queries, k, left_out or [()] * len(queries), 2048)]

    def known(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that are documents of this release, in their order, each once."""
        return [document for document in dict.fromkeys(ids) if document in self.index.rows]

    def rank(
        self, queries: Sequence[Query], k: int, left_out: Mapping[str, Collection[str]], batch_tokens: int = 2048
    ) -> list[list[tuple[str, float]]]:
        """The k best documents of each query: by its history where the release has a document of it, else by its text.

        Args:
            queries: with texts or histories.
            k: documents for each query.
            left_out: by query id, documents that must not be among its results.
            batch_tokens: tokens in one batch.
        """
        return [ranked.result for ranked in self.rank_stages(queries, k, left_out, batch_tokens)]

    def rank_stages(
        self,
        queries: Sequence[Query],
        k: int,
        left_out: Mapping[str, Collection[str]],
        batch_tokens: int = 2048,
        deadline: float | None = None,
        among: Places | None = None,
        reranks: bool = True,
    ) -> list[StageRankings]:
        """As `rank`, with the ranking after each stage; a reranker may take until `deadline`, by `time.monotonic`.

        Where documents are named by `among`, all stages rank these alone, each of which is scored exactly. Unless it `reranks`,
        the stages before the reranker are all.
        """
        excluded = [left_out.get(query.id, ()) for query in queries]
        return self._rank(queries, k, excluded, batch_tokens, deadline, among, reranks)

    @property
    def stored_features(self) -> StoredValues | None:
        """The values that its blend reads, where these are its artifact's own; none without a blend, or with other values."""
        source = self.ranker.blend.source if self.ranker and self.ranker.blend else None
        return source if isinstance(source, StoredValues) else None

    @property
    def counts_choices(self) -> bool:
        """Whether it has a stage that counts how many users chose each document."""
        return self.ranker is not None and POPULARITY in self.ranker.retrievers

    def popular(self, k: int, left_out: Collection[str] = (), among: Places | None = None) -> Ranking:
        """What most users chose, for somebody of whom nothing is known; nothing where the release does not count choices."""
        retriever = self.ranker.retrievers.get(POPULARITY) if self.ranker else None
        answer = retriever.answer(AskedQuery(query_of(), "history")) if retriever else None
        return answer.best(k, left_out, among) if answer else []

    def _rank(
        self,
        queries: Sequence[Query],
        k: int,
        left_out: Sequence[Collection[str]],
        batch_tokens: int,
        deadline: float | None = None,
        among: Places | None = None,
        reranks: bool = True,
    ) -> list[StageRankings]:
        histories = [tuple(self.known(query.history)) for query in queries]
        excluded = [
            {*query.history, *out} if known else out for query, known, out in zip(queries, histories, left_out, strict=True)
        ]
        if self.ranker is None:
            rankings = self._rank_dense(queries, histories, excluded, k, batch_tokens, among)
            return [StageRankings({DENSE: ranking}, ranking) for ranking in rankings]
        asked = self._asked(self.ranker, queries, histories, batch_tokens)
        ranked = self.ranker.rank(asked, k, excluded, deadline, among, reranks)
        without = [number for number, found in enumerate(ranked) if not found.result]
        dense = self._rank_dense(
            [queries[number] for number in without],
            [histories[number] for number in without],
            [excluded[number] for number in without],
            k,
            batch_tokens,
            among,
        )
        for number, ranking in zip(without, dense, strict=True):
            ranked[number] = StageRankings({**ranked[number].stages, DENSE: ranking}, ranking)
        return ranked

    def _asked(
        self, ranker: Ranker, queries: Sequence[Query], histories: Sequence[tuple[str, ...]], batch_tokens: int
    ) -> list[AskedQuery]:
        """The queries with their vectors, where a stage needs these."""
        texts = {
            number: query.text
            for number, (query, history) in enumerate(zip(queries, histories, strict=True))
            if not history and query.text and ranker.uses_vectors("text")
        }
        vectors: dict[int, Vectors] = {}
        if texts:
            with stage_time(ENCODE):
                vectors = dict(zip(texts, self.encoder.encode(list(texts.values()), "query", batch_tokens), strict=True))
        with_mean = ranker.uses_vectors("history")
        return [
            AskedQuery(query, "history", history, mean_direction(self.index.vectors(history)) if with_mean else None)
            if history
            else AskedQuery(query, "text", vector=vectors.get(number))
            for number, (query, history) in enumerate(zip(queries, histories, strict=True))
        ]

    def _rank_dense(
        self,
        queries: Sequence[Query],
        histories: Sequence[tuple[str, ...]],
        excluded: Sequence[Collection[str]],
        k: int,
        batch_tokens: int,
        among: Places | None,
    ) -> list[Ranking]:
        """By encoder and index alone: the nearest to the mean vector of a history, else to the encoded text."""
        results: list[list[tuple[str, float]]] = [[] for _ in queries]
        for batch in _history_batches([number for number, history in enumerate(histories) if history]):
            means = np.stack([mean_direction(self.index.vectors(histories[number])) for number in batch])
            with stage_time(DENSE):
                found = self._nearest(means, k, [excluded[one] for one in batch], among)
            for number, ranking in zip(batch, found, strict=True):
                results[number] = ranking
        by_text = [number for number, query in enumerate(queries) if not histories[number] and query.text]
        if by_text:
            with stage_time(ENCODE):
                vectors = self.encoder.encode([queries[number].text for number in by_text], "query", batch_tokens)
            with stage_time(DENSE):
                found = self._nearest(vectors, k, [excluded[one] for one in by_text], among)
            for number, ranking in zip(by_text, found, strict=True):
                results[number] = ranking
        return results

    def _nearest(self, vectors: Vectors, k: int, excluded: Sequence[Collection[str]], among: Places | None) -> list[Ranking]:
        if among is None:
            return self.index.search(vectors, k, excluded)
        return [self.index.search_among(vector, k, among, out) for vector, out in zip(vectors, excluded, strict=True)]


def query_of(text: str = "", history: Sequence[str] = (), name: str = "") -> Query:
    """A query that is asked now and stands in no corpus: a text, or the documents of a history; `name` is its id."""
    return Query.model_construct(id=name, text=text, split="test", history=tuple(history))


def _history_batches(numbers: list[int]) -> list[list[int]]:
    """Batches of 256: a search is as deep as its longest list of excluded documents, which may have thousands."""
    return [numbers[start : start + 256] for start in range(0, len(numbers), 256)]


def load_release(
    store: Store,
    release_id: str,
    threads: int = 0,
    features: FeatureSource | None = None,
    beside: Iterable[Release] = (),
    rests: float = 0.0,
) -> Release:
    """Load a release and check it as a whole: its parts were made from each other, and its encoder gives the stored vectors.

    Args:
        store: that has it.
        release_id: its id.
        threads: of its encoder; 0: the library's default.
        features: where its blend, if it has one, reads features; none: in the blend's own artifact, which has them as of the
            time of the release.
        beside: releases in memory. Where one has the same encoder, it is shared: a second takes a hundred megabytes, and half
            a second of a core from those who search meanwhile.
        rests: the pauses between its probes, as `check_probes` takes them.

    Raises:
        InputError: a part is missing or was made from another, or a probe's vector or score differs beyond the bound.
        CorruptArtifact: a file was changed.
    """
    artifact = load(store, "release", release_id)
    card = ReleaseCard.model_validate(artifact.json("release.json"))
    parts = _parts(store, card)
    wanted = (card.encoder, card.query_variant)
    shared = next((release.encoder for release in beside if (release.card.encoder, release.card.query_variant) == wanted), None)
    encoder = shared or load_encoder(parts.encoder, card.query_variant, threads)
    index = load_index(parts.index)
    by_id = DocumentFile(parts.corpus)
    check_probes(
        f"release {artifact.id}",
        encoder,
        [by_id[probe] for probe in card.probes],
        stored_vectors(parts.embeddings, card.probes),
        card.document_variant,
        rests,
    )
    ranker = None
    if card.stages:
        check_stages(card.stages)
        artifacts = stage_artifacts(store, card.stages, card.parts)
        rerank, ids = load_rerank(card.stages, artifacts, by_id), list(by_id)
        blend = load_blend(artifacts[BLEND], ids, features) if BLEND in artifacts else None
        ranker = Ranker(card.stages, load_retrievers(artifacts, index, ids), rerank, blend)
    assembled_in = str(artifact.manifest.provenance.get("traceparent", ""))
    return Release(artifact.id, card, encoder, index, by_id, ranker, by_id.fields, assembled_in)


def backends(release: Artifact) -> set[str]:
    """The libraries that a server needs for the release, as formats of variants name them."""
    card = ReleaseCard.model_validate(release.json("release.json"))
    variants = [card.query_variant, *(stage.variant for stage in card.stages if stage.stage == RERANK)]
    return {FORMATS[variant].backend for variant in variants}


def load_rerank(
    stages: Sequence[StageCard], artifacts: Mapping[str, Artifact], documents_: Mapping[str, Document]
) -> Rerank | None:
    """The reranker of the stages, checked by its probes; none where there is none. It computes with a thread for each core.

    Raises:
        InputError: its variant can't run here, or scores the probes otherwise than the trained model does.
    """
    card = next((stage for stage in stages if stage.stage == RERANK), None)
    if card is None:
        return None
    reranker = load_reranker(artifacts[RERANK], card.variant)
    check_reranker(f"reranker {card.artifact}", reranker)
    return Rerank(card, SharedReranker(reranker), Texts(documents_))


def load_blend(artifact: Artifact, ids: Sequence[str], features: FeatureSource | None = None) -> Blend:
    """A blend that reads features where it is told, else in its artifact; `ids` are those of the corpus's documents, sorted."""
    return Blend(card_of(artifact), features or load_values(artifact, ids))


def _parts(store: Store, card: ReleaseCard) -> Parts:
    return check_parts(
        load_exactly(store, "encoder", card.encoder),
        load_exactly(store, "embeddings", card.embeddings),
        load_exactly(store, "index", card.index),
    )


def stored_parts(store: Store, release_id: str) -> Parts:
    """The parts of a release, checked to be in the store with all their files; no file is read.

    Raises:
        InputError: a part is missing or was made from another.
        CorruptArtifact: a file of a part is missing or has another size.
    """
    release = load_exactly(store, "release", release_id)
    card = ReleaseCard.model_validate(release.json("release.json"))
    parts, stages = _parts(store, card), stage_artifacts(store, card.stages, card.parts)
    for part in (release, parts.corpus, parts.encoder, parts.embeddings, parts.index, *stages.values()):
        part.check_files()
    return parts
