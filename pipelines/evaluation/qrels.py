"""The judged queries that an evaluation asks, and the recorded rule for those without a relevant document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.corpus.documents import Query, qrels, queries
from pipelines.store.artifacts import Artifact
from pipelines.store.recipes import canonical, digest

EvaluatedSplit = Literal["train", "test", "all"]
NoRelevant = Literal["exclude", "zero"]
RELEVANT = 1
"""The lowest grade that counts as relevant where a measure knows only relevant or not."""


@dataclass(frozen=True)
class Topics:
    """Queries with their judgments, as one evaluation asks them; in the order of query ids."""

    queries: list[Query]
    qrels: dict[str, dict[str, int]]
    unjudged: int
    """Queries of the split that nobody judged: never asked."""
    no_relevant: int
    """Judged queries without a relevant document: asked or not, by the rule."""
    rule: NoRelevant
    split: EvaluatedSplit

    @property
    def synthetic(self) -> int:
        """How many of the queries were made by a rule, not asked by anybody."""
        return sum(query.synthetic for query in self.queries)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that name the queries, the judgments, the split and the rule."""
        asked = [[query.id, query.text, sorted(self.qrels[query.id].items()), *_past(query)] for query in self.queries]
        return digest(canonical([self.split, self.rule, asked]))[:12]


def _past(query: Query) -> list[object]:
    return [query.history, query.time] if query.history else []


def judged_topics(corpus: Artifact, split: EvaluatedSplit, rule: NoRelevant) -> Topics:
    """The judged queries of one split.

    A query whose judged documents are all of grade 0 can only score 0, whatever is ranked. Rule "exclude" leaves it
    out, as trec_eval users mostly do; "zero" keeps it, so that means compare with those of other tools that do.
    """
    judgments = qrels(corpus)
    asked = sorted(queries(corpus, None if split == "all" else split), key=lambda query: query.id)
    judged = [query for query in asked if judgments.get(query.id)]
    without = [query for query in judged if not has_relevant(judgments[query.id])]
    excluded = {query.id for query in without} if rule == "exclude" else set()
    kept = [query for query in judged if query.id not in excluded]
    return Topics(kept, {query.id: judgments[query.id] for query in kept}, len(asked) - len(judged), len(without), rule, split)


def has_relevant(grades: Mapping[str, int]) -> bool:
    """Whether any document is relevant.

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
