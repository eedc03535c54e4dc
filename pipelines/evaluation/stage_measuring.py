"""Dev queries asked of a release's retrievers, so that its stages can be chosen: texts by `text_choice`, histories by
`history_choice`.
"""

from collections.abc import Callable, Mapping

from pipelines.corpus.documents import documents
from pipelines.evaluation import stage_choice
from pipelines.evaluation.dev import dev_histories, past_of
from pipelines.evaluation.stage_choice import Choice
from pipelines.index.vector_index import Index, load_index, mean_direction
from pipelines.models.encoder import load_encoder
from pipelines.retrieval.release import Parts
from pipelines.retrieval.stages.answers import AskedQuery, Retriever
from pipelines.retrieval.stages.collaborative import KIND as RECOMMENDER
from pipelines.retrieval.stages.collaborative import dev_model, load_collaborative
from pipelines.retrieval.stages.known_queries import without_own_queries
from pipelines.retrieval.stages.popularity import load_popularity
from pipelines.retrieval.stages.table import DENSE, RETRIEVERS, load_retrievers
from pipelines.store.artifacts import Artifact


def text_choice(parts: Parts, artifacts: Mapping[str, Artifact], query_variant: str) -> Choice:
    """The best stages for texts on the dev queries, or the default where these are too few.

    Args:
        parts: of the release.
        artifacts: of the retrievers for texts, by their names.
        query_variant: of the encoder.
    """
    ids = {name: artifact.id for name, artifact in artifacts.items()}
    topics = stage_choice.dev_topics(parts.corpus)
    if not artifacts or len(topics.queries) < stage_choice.LEAST_DEV:
        return stage_choice.default_choice(ids, len(topics.queries))
    names = [document.id for document in documents(parts.corpus)]
    retrievers = without_own_queries(load_retrievers(artifacts, load_index(parts.index), names))
    vectors = load_encoder(parts.encoder, query_variant).encode([query.text for query in topics.queries], "query")
    scores = [
        stage_choice.dev_scores(AskedQuery(query, "text", vector=vector), retrievers, topics.qrels[query.id])
        for query, vector in zip(topics.queries, vectors, strict=True)
    ]
    return stage_choice.measured_choice(list(retrievers), ids, scores)


def history_choice(parts: Parts, artifacts: Mapping[str, Artifact]) -> Choice:
    """The best stages for histories on the dev next-item queries, or the default where these are too few.

    The recommender's models of the earlier past rank them, so that none of them was trained on.

    Args:
        parts: of the release.
        artifacts: of the retrievers for histories, by their names; a recommender among them.
    """
    ids = {name: artifact.id for name, artifact in artifacts.items()}
    names = [document.id for document in documents(parts.corpus)]
    asked = dev_histories(past_of(parts.corpus, names))
    if len(asked.queries) < stage_choice.LEAST_DEV:
        return stage_choice.default_choice(ids, len(asked.queries), "history")
    index = load_index(parts.index)
    by_time = {time: retrievers_of_past(artifacts, index, names, time) for time in {query.time or 0 for query in asked.queries}}
    scores = [
        stage_choice.dev_scores(
            AskedQuery(query, "history", query.history, mean_direction(index.vectors(query.history))),
            by_time[query.time or 0],
            asked.qrels[query.id],
            asked.seen[query.id],
        )
        for query in asked.queries
    ]
    return stage_choice.measured_choice([DENSE, *ids], ids, scores, "history")


def measured_stages(parts: Parts, artifacts: Mapping[str, Artifact], query_variant: str, champion: Artifact | None) -> Choice:
    """The best on the dev queries, or the default where these are too few; for texts the champion's, where it is given."""
    if "collaborative" not in artifacts:
        return text_choice(parts, artifacts, query_variant)
    texts = {name: artifact for name, artifact in artifacts.items() if "text" in RETRIEVERS[name].answers}
    histories = {name: artifact for name, artifact in artifacts.items() if "history" in RETRIEVERS[name].answers}
    ids = {name: artifact.id for name, artifact in texts.items()}
    text = stage_choice.champion_text_choice(champion, ids) if champion else text_choice(parts, texts, query_variant)
    return stage_choice.of_both_kinds(text, history_choice(parts, histories))


def retrievers_of_past(artifacts: Mapping[str, Artifact], index: Index, ids: list[str], time: int) -> dict[str, Retriever]:
    """The retrievers of histories, of which a recommender's are as they were before a dev cutoff."""
    timeless = {name: artifact for name, artifact in artifacts.items() if artifact.kind != RECOMMENDER}
    of_past = {name: artifact for name, artifact in artifacts.items() if artifact.kind == RECOMMENDER}
    loaders: Mapping[str, Callable[[Artifact, list[str], str], Retriever]] = {
        "collaborative": load_collaborative,
        "popularity": load_popularity,
    }
    return load_retrievers(timeless, index, ids) | {
        name: loaders[name](artifact, ids, dev_model(time)) for name, artifact in of_past.items()
    }
