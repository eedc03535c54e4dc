"""Probes: the judged test queries of a day's corpus, ranked by the release that serves. Their nDCG falls when the release falls
behind the documents or the judgments, though nothing of it changed.
"""

from collections.abc import Mapping

import numpy as np

from pipelines.corpus.documents import documents
from pipelines.drift.judging import OUTCOMES
from pipelines.drift.rows import Rows, column_of, sketch
from pipelines.drift.sampling import stratified, unit_numbers
from pipelines.drift.signals import NDCG
from pipelines.drift.snapshot import Table
from pipelines.evaluation.baselines import past_interactions
from pipelines.evaluation.measures import measured
from pipelines.evaluation.qrels import RELEVANT, judged_topics, own_documents
from pipelines.retrieval.release import load_release
from pipelines.retrieval.run import break_ties
from pipelines.store.artifacts import Artifact

DEPTH = 10
MEASURE = "nDCG@10"
SEVERAL = "(several)"
"""The segment of a query whose relevant documents are of more than one."""


def probe_table(release: Artifact, corpus: Artifact, most: int, seed: int, batch_tokens: int) -> Table | None:
    """The judged queries with their nDCG@10; none: nobody has judged any.

    Args:
        release: that ranks them, as it would answer them: with its own documents.
        corpus: whose queries and judgments.
        most: queries in the sample.
        seed: of the sample.
        batch_tokens: tokens of a batch that is encoded.
    """
    topics = judged_topics(corpus, "test", "exclude")
    judged = [query for query in topics.queries if not query.synthetic]  # a rule makes others of other documents every day
    if not judged:
        return None
    segments = _segments(corpus, topics.qrels)
    drawn = stratified(lambda: judged, lambda row: row.id, lambda row: segments[row.id], most, seed)
    past = past_interactions(corpus, topics)
    left_out = past.seen if past else own_documents(corpus, "test", "exclude")
    ranked = load_release(release.store, release.id).rank(drawn.rows, DEPTH, left_out, batch_tokens)
    run = {query.id: break_ties(ranking) for query, ranking in zip(drawn.rows, ranked, strict=True)}
    values = measured(MEASURE, {query: topics.qrels[query] for query in run}, run)
    ids = [query.id for query in drawn.rows]
    rows = Rows(
        np.fromiter(unit_numbers(ids), np.int64, len(ids)),
        {"segment": column_of(segments[query] for query in ids)},
        {NDCG: np.array([values[query] for query in ids], float)},
    )
    return Table(sketch(rows, OUTCOMES), rows, [], None, drawn.sentence)


def _segments(corpus: Artifact, judgments: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Of each query the segment of its relevant documents."""
    relevant = {
        query: {document for document, grade in grades.items() if grade >= RELEVANT} for query, grades in judgments.items()
    }
    wanted = set().union(*relevant.values())
    own = {row.id: row.segment for row in documents(corpus) if row.id in wanted}
    found = {query: {own[document] for document in several if document in own} for query, several in relevant.items()}
    return {query: SEVERAL if len(segments) > 1 else next(iter(segments), "") for query, segments in found.items()}
