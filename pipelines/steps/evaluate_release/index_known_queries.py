"""index_known_queries: judged training queries become a stage that answers similar queries with their relevant documents."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.logs import log
from pipelines.store.artifacts import produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class IndexKnownQueriesParams(Params):
    index: str = Field(description="Index id; the judged train queries of its corpus are indexed, by its encoder")
    query_variant: str = Field(
        "", description="Encoder variant of queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )


class IndexKnownQueriesResult(Result):
    known_queries: str
    """Empty: the corpus has no judged train query, so there is nothing to index."""
    corpus: str
    encoder: str
    queries: int
    judgments: int
    found: bool


def index_known_queries(params: IndexKnownQueriesParams) -> IndexKnownQueriesResult:
    """Encode the judged train queries, so that a similar query finds what was relevant for them. Nothing is trained."""
    from pipelines.corpus.documents import documents, qrels, queries
    from pipelines.models.encoder import load_encoder
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import parts_of_index
    from pipelines.retrieval.stages.known_queries import KIND, write_known_queries

    store = open_store()
    parts = parts_of_index(store, params.index)
    corpus, encoder = parts.corpus, parts.encoder
    judged = qrels(corpus)
    train = [
        query
        for query in queries(corpus, "train")
        if not query.history and not query.synthetic and any(grade > 0 for grade in judged.get(query.id, {}).values())
    ]
    if not train:
        log().warning("no stage of known queries", reason="no train query has a relevant document", corpus=corpus.id)
        return IndexKnownQueriesResult(
            known_queries="", corpus=corpus.id, encoder=encoder.id, queries=0, judgments=0, found=False
        )
    query_variant = params.query_variant or default_variants(Journal(store), encoder.id).query
    inputs = {"corpus": corpus.id, "encoder": encoder.id}
    recipe = Recipe(
        kind=KIND, step="index_known_queries", version=VERSION, inputs=inputs, params={"query_variant": query_variant}
    )

    def build(folder: Path) -> dict[str, Any]:
        texts = [query.text for query in train]
        vectors = load_encoder(encoder, query_variant).encode(texts, "query")
        ids = [document.id for document in documents(corpus)]
        judgments = write_known_queries(folder, ids, texts, vectors, [judged[query.id] for query in train])
        return {"queries": len(texts), "judgments": judgments}

    built = produce(store, recipe, build)
    return IndexKnownQueriesResult(
        known_queries=built.id, corpus=corpus.id, encoder=encoder.id, found=built.found, **built.facts
    )
