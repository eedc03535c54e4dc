"""The release answers stored queries again, as its stored run says it did."""

from pipelines.errors import CorruptArtifact
from pipelines.evaluation.baselines import past_interactions
from pipelines.evaluation.qrels import judged_topics, own_documents
from pipelines.evaluation.record import Evaluation
from pipelines.retrieval.release import load_release
from pipelines.retrieval.run import Ranking
from pipelines.store.artifacts import Artifact, load_exactly

TOP = 10
"""First documents that are compared."""
TIE = 1e-4
"""Documents whose scores differ by less may change places: other machines round otherwise."""


def check_answers(release: Artifact, evaluation: Evaluation, most: int) -> str:
    """Whether a release ranks at most so many evaluated queries, evenly spread, as the stored run does; a sentence.

    Raises:
        InputError: the release can't be loaded: a part was made from another, or its encoder gives other vectors.
        CorruptArtifact: it ranks otherwise.
    """
    corpus = load_exactly(release.store, "corpus", evaluation.artifact.inputs["corpus"])
    rule = evaluation.summary["no_relevant"]["rule"]
    topics = judged_topics(corpus, evaluation.split, rule)
    step = max(1, -(-len(topics.queries) // most))
    asked = topics.queries[::step]
    past = past_interactions(corpus, topics)
    left_out = past.seen if past else own_documents(corpus, evaluation.split, rule)
    loaded = load_release(release.store, release.id)
    stored = evaluation.run()
    for query, ranking in zip(asked, loaded.rank(asked, evaluation.summary["depth"], left_out), strict=True):
        if not alike(ranking[:TOP], stored.get(query.id, [])[:TOP]):
            raise CorruptArtifact(
                f"release {release.id}, which answers query {query.id} otherwise than run.trec of evaluation {evaluation.id}",
                "the answer that was judged",
                "find whether the index, a stage or the run was changed; then evaluate again",
            )
    return f"{len(asked)} of {len(topics.queries):,} evaluated queries answered again as they were judged"


def alike(ranking: Ranking, stored: Ranking) -> bool:
    """Whether two rankings are the same up to ties.

    >>> alike([("a", 0.5), ("b", 0.4)], [("a", 0.5), ("b", 0.4)]), alike([("a", 0.5)], [("b", 0.4)])
    (True, False)
    >>> alike([("b", 0.50001), ("a", 0.5)], [("a", 0.5), ("b", 0.49999)])
    True
    """
    if len(ranking) != len(stored):
        return False
    pairs = zip(ranking, stored, strict=True)
    return all(_near(score, other) and _within(document, score, stored) for (document, score), (_, other) in pairs)


def _within(document: str, score: float, stored: Ranking) -> bool:
    """Whether a document has this score in the stored ranking, or fell off its end by a tie."""
    scores = dict(stored)
    return _near(score, scores.get(document, stored[-1][1]))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TIE * max(1.0, abs(one))
