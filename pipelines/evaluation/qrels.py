"""The judged queries of an evaluation, and its recorded rule for those without a relevant document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.corpus.documents import Query, documents, qrels, queries
from pipelines.corpus.text_rules import folded
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import canonical, digest

EvaluatedSplit = Literal["train", "test", "all"]
NoRelevant = Literal["exclude", "zero"]
RELEVANT = 1
"""The lowest grade that counts as relevant for measures of binary relevance."""


@dataclass(frozen=True)
class Topics:
    """The queries of one evaluation with their judgments, in the order of query ids."""

    queries: list[Query]
    qrels: dict[str, dict[str, int]]
    unjudged: int
    """How many queries of the split have no judgments and are left out."""
    no_relevant: int
    """How many judged queries have no relevant document; `rule` says whether they are left out."""
    rule: NoRelevant
    split: EvaluatedSplit
    of_other_split: int = 0
    """How many judged queries the corpus has in the split that is not asked."""

    @property
    def synthetic(self) -> int:
        """How many of the queries were made from documents and not asked by people."""
        return sum(query.synthetic for query in self.queries)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that name the queries, the judgments, the split and the rule."""
        judged = [
            [
                query.id,
                query.text,
                sorted(self.qrels[query.id].items()),
                *([query.history, query.time] if query.history else []),
            ]
            for query in self.queries
        ]
        return digest(canonical([self.split, self.rule, judged]))[:12]


def judged_topics(corpus: Artifact, split: EvaluatedSplit, rule: NoRelevant) -> Topics:
    """The judged queries of one split.

    A query whose judged documents are all of grade 0 scores 0 whatever is ranked. Rule `exclude` leaves it out, as users of
    trec_eval mostly do; `zero` keeps it, so that means are comparable with those of tools that keep it.
    """
    judgments = qrels(corpus)
    of_split = sorted(queries(corpus, None if split == "all" else split), key=lambda query: query.id)
    judged = [query for query in of_split if judgments.get(query.id)]
    without = {query.id for query in judged if not has_relevant(judgments[query.id])}
    kept = [query for query in judged if rule == "zero" or query.id not in without]
    return Topics(
        queries=kept,
        qrels={query.id: judgments[query.id] for query in kept},
        unjudged=len(of_split) - len(judged),
        no_relevant=len(without),
        rule=rule,
        split=split,
        of_other_split=len({query for query, grades in judgments.items() if grades} - {query.id for query in of_split}),
    )


def own_documents(corpus: Artifact, split: EvaluatedSplit, rule: NoRelevant) -> dict[str, set[str]]:
    """By query id, the document that the query was made from: one with its id and its text, unjudged for it.

    Such a document is the first answer of every search and would never count as relevant. ArguAna, Quora and other collections
    of duplicates leave it out of the ranking; so do their published figures (BEIR's `ignore_identical_ids`).
    """
    topics = judged_topics(corpus, split, rule)
    texts = {query.id: folded(query.text) for query in topics.queries if not query.history}
    return {
        document.id: {document.id}
        for document in (documents(corpus) if texts else ())
        if document.id in texts
        and document.id not in topics.qrels[document.id]
        and texts[document.id] in folded(f"{document.title} {document.text}")
    }


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether any grade is RELEVANT or above.

    >>> has_relevant({"d1": 0}), has_relevant({"d1": 0, "d2": 3})
    (False, True)
    """
    return any(grade >= RELEVANT for grade in grades.values())


def trec_qrels(judgments: Mapping[str, Mapping[str, int]]) -> str:
    """The judgments as a TREC qrels file.

    >>> trec_qrels({"q1": {"d7": 2}})
    'q1 0 d7 2\\n'
    """
    rows = ((query, document, grade) for query, grades in judgments.items() for document, grade in sorted(grades.items()))
    return "".join(f"{query} 0 {document} {grade}\n" for query, document, grade in rows)
