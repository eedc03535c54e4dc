"""Which queries a model learns from, and by which it is stopped: the train queries of a corpus, parted into training and dev.

Judgments of test queries are never read. A train query with the text of a test query, in whatever case, is in neither part, and
one with the text of a dev query is not learned from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.corpus.documents import Document, Query, documents, queries
from pipelines.corpus.text_rules import folded
from pipelines.errors import InputError
from pipelines.evaluation.measures import ndcg_at_10
from pipelines.evaluation.qrels import RELEVANT, judged_topics
from pipelines.evaluation.stage_choice import dev_topics
from pipelines.models.encoder import Role, Vectors
from pipelines.models.training.examples import Found, TrainingQuery
from pipelines.retrieval.run import Ranking
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import digest

DEPTH = 10
"""Documents that the measure looks at."""
Encode = Callable[[Sequence[str], Role], Vectors]


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained with."""

    texts: dict[str, str]
    """Of documents by id: all judged ones, and others as far as they are wanted."""
    training: list[TrainingQuery]
    dev: list[Query]
    dev_qrels: dict[str, dict[str, int]]
    """By query id: grades by document."""


def training_data(corpus: Artifact, most_documents: int = 0, most_dev: int = 0) -> TrainingData:
    """The training and the dev queries of a corpus.

    Args:
        corpus: with judgments.
        most_documents: the judged documents and, up to this number, those with the lowest hashes of their ids; 0: all.
        most_dev: of more dev queries, those with the lowest hashes of their texts are asked; 0: all.

    Raises:
        InputError: no train query of text has a judgment, or none has a relevant document, or one of the parts is empty.
    """
    judged = judged_topics(corpus, "train", "zero")
    asked = [query for query in judged.queries if not query.history and not query.synthetic]
    if not asked:
        raise InputError(
            f"corpus {corpus.id} without judged train queries", "judgments to learn from", "ingest a corpus that has some"
        )
    topics = dev_topics(corpus)
    test = {folded(query.text) for query in queries(corpus, "test") if not query.history}
    dev = [query for query in topics.queries if folded(query.text) not in test]
    held_out = test | {folded(query.text) for query in topics.queries}
    relevant = {
        query.id: {document for document, grade in judged.qrels[query.id].items() if grade >= RELEVANT} for query in asked
    }
    if not any(relevant.values()):
        raise InputError(
            f"corpus {corpus.id}, whose {len(asked)} judged train queries have no relevant document",
            "judgments of both kinds",
            "check --grades of ingest",
        )
    by_id = {document.id: document for document in documents(corpus)}
    training = [
        TrainingQuery(query.id, query.text, relevant[query.id] & by_id.keys())
        for query in asked
        if folded(query.text) not in held_out
    ]
    training = [query for query in training if query.relevant]
    if not training or not dev:
        raise InputError(
            f"corpus {corpus.id} with {len(training)} training and {len(dev)} dev queries whose texts are no test queries",
            "at least one of each",
            "ingest more judged queries: one train query of five is a dev query",
        )
    needed = {document for query in training for document in query.relevant} | {
        document for query in dev for document in topics.qrels[query.id]
    }
    chosen = _drawn(by_id, needed, most_documents)
    dev_queries = sorted(dev, key=lambda query: digest(query.text.encode()))[: most_dev or None]
    return TrainingData(
        {document: by_id[document].text for document in chosen},
        training,
        dev_queries,
        {query.id: topics.qrels[query.id] for query in dev_queries},
    )


def _drawn(by_id: Mapping[str, Document], needed: set[str], most: int) -> list[str]:
    """All ids, sorted, or the needed ones and others with the lowest hashes."""
    if not most or len(by_id) <= most:
        return sorted(by_id)
    others = sorted(by_id.keys() - needed, key=lambda document: digest(document.encode()))
    return sorted({*(needed & by_id.keys()), *others[: max(0, most - len(needed))]})


def nearest(encode: Encode, texts: Mapping[str, str], queries: Mapping[str, str], depth: int) -> dict[str, Ranking]:
    """The nearest documents of each query by cosine, exactly: by query id, best first.

    Args:
        encode: gives unit vectors.
        texts: of documents by id.
        queries: texts by query id.
        depth: documents for each query.
    """
    ids = list(texts)
    vectors = encode(list(texts.values()), "document")
    asked = encode(list(queries.values()), "query")
    found: dict[str, Ranking] = {}
    for start in range(0, len(queries), 256):  # a block of cosines, not all at once
        cosines = asked[start : start + 256] @ vectors.T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :depth]
        for name, row, order in zip(list(queries)[start : start + 256], cosines, best, strict=True):
            found[name] = [(ids[place], float(row[place])) for place in order]
    return found


def dev_ndcg(data: TrainingData, found: Mapping[str, Found]) -> list[float]:
    """nDCG@10 of each dev query, in their order, for rankings of documents."""
    return ndcg_at_10(
        data.dev_qrels, {name: list(ranking) for name, ranking in found.items()}, [query.id for query in data.dev]
    )


def dev_values(encode: Encode, data: TrainingData) -> list[float]:
    """nDCG@10 of each dev query, in their order, of exact search by an encoder."""
    return dev_ndcg(data, nearest(encode, data.texts, {query.id: query.text for query in data.dev}, DEPTH))


def dev_measure(encode: Encode, data: TrainingData) -> float:
    """Mean nDCG@10 over the dev queries of exact search by an encoder."""
    return float(np.mean(dev_values(encode, data)))
