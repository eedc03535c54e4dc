"""The tables of a snapshot: documents and queries of a corpus, by samples that are drawn while the rows are streamed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.corpus.documents import Query, documents, read_rows
from pipelines.drift.judging import OUTCOMES
from pipelines.drift.rows import Rows, sketch
from pipelines.drift.sampling import Sample, stratified
from pipelines.drift.snapshot import Table
from pipelines.drift.texts import measure
from pipelines.embeddings.layout import each_row, vectors_at
from pipelines.models.encoder import Encoder, Role, Vectors, check_vectors
from pipelines.store.artifacts import Artifact, committed, load_exactly


def embeddings_of(corpus: Artifact, encoder: str, variant: str) -> Artifact | None:
    """The embeddings of a corpus by a variant of an encoder; none: they were not made."""
    for name in committed(corpus.store, "embeddings"):
        made = load_exactly(corpus.store, "embeddings", name)
        same = made.inputs.get("corpus") == corpus.id and made.inputs.get("encoder") == encoder
        if same and made.manifest.recipe.params.get("variant") == variant:
            return made
    return None


def document_table(
    corpus: Artifact, encoder: Encoder | None, embedded: Artifact | None, most: int, seed: int, batch_tokens: int
) -> Table:
    """The documents of a corpus.

    Args:
        corpus: whose documents.
        encoder: that encodes them; none: no vectors and no tokens.
        embedded: the embeddings of the corpus by this encoder, if they were made.
        most: documents in the sample.
        seed: of the sample.
        batch_tokens: tokens of a batch that is encoded.

    Raises:
        InputError: a vector is not of length 1.
    """
    drawn = stratified(lambda: documents(corpus), lambda row: row.id, lambda row: row.segment, most, seed)
    facets = sorted({name for row in drawn.rows for name in row.facets})
    columns: dict[str, Sequence[str | None]] = {"segment": [row.segment for row in drawn.rows]}
    columns |= {name: [row.facets.get(name) for row in drawn.rows] for name in facets}
    ids, texts = [row.id for row in drawn.rows], [row.text for row in drawn.rows]
    vectors = _vectors(ids, texts, "document", encoder, embedded, batch_tokens)
    shown = [{"id": row.id, "text": row.text, "title": row.title, "picture": row.picture} for row in drawn.rows]
    return _table(measure(texts, ids, columns, encoder and encoder.tokenizer, vectors, "document"), shown, vectors, drawn)


def query_table(corpus: Artifact, encoder: Encoder | None, most: int, seed: int, batch_tokens: int) -> Table | None:
    """The queries of a corpus that are text; none: it has no such queries."""

    def asked() -> Any:
        rows = read_rows(corpus.path("queries.jsonl"), Query, f"corpus/{corpus.id}/queries.jsonl")
        return (row for row in rows if not row.history and not row.synthetic)

    drawn = stratified(asked, lambda row: row.id, lambda row: row.split, most, seed)
    if not drawn.rows:
        return None
    return text_table([(row.id, row.text) for row in drawn.rows], drawn, encoder, batch_tokens)


def text_table(asked: Sequence[tuple[str, str]], drawn: Sample[Any], encoder: Encoder | None, batch_tokens: int) -> Table:
    """A table of queries, each with its user or its own id."""
    units, texts = [unit for unit, _ in asked], [text for _, text in asked]
    vectors = _vectors(units, texts, "query", encoder, None, batch_tokens)
    shown = [{"id": unit, "text": text, "title": text, "picture": ""} for unit, text in asked]
    return _table(measure(texts, units, {}, encoder and encoder.tokenizer, vectors, "query"), shown, vectors, drawn)


def _table(rows: Rows, shown: list[dict[str, str]], vectors: Vectors | None, drawn: Sample[Any]) -> Table:
    return Table(sketch(rows, OUTCOMES), rows, shown, vectors, drawn.sentence)


def _vectors(
    ids: Sequence[str], texts: Sequence[str], role: Role, encoder: Encoder | None, embedded: Artifact | None, batch_tokens: int
) -> Vectors | None:
    if encoder is None or not texts:
        return None
    if embedded is not None:
        wanted = set(ids)
        place = {row.id: number for number, row in enumerate(each_row(embedded)) if row.id in wanted}
        vectors = vectors_at(embedded, [place[one] for one in ids])
    else:
        distinct = list(dict.fromkeys(texts))
        encoded = encoder.encode(distinct, role, batch_tokens)
        number = {text: row for row, text in enumerate(distinct)}
        vectors = encoded[np.array([number[text] for text in texts])]
    check_vectors(vectors, list(ids))
    return vectors
