"""Features of a table's columns: which name queries, documents, users, grades or times, and so which kind of table it is."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.columns import SampleColumn, SampleTable
from pipelines.collections.schema.grades import infer_scale
from pipelines.collections.schema.name_lists import AGREED, ATTRIBUTES, CODES, FILES, GLUE, QUESTIONS, RATERS, RELEVANCE, VALUES
from pipelines.errors import InputError

Kind = Literal["documents", "queries", "qrels", "interactions", "users", "texts", ""]
"""A role; `texts`: documents or queries; empty: none of them."""
PAIRS = (
    "anchor positive", "query positive", "query pos", "query positivepassages", "question positivectxs", "query negative",
    "anchor negative", "sentence1 sentence2", "sentencea sentenceb", "text1 text2", "texta textb", "question1 question2",
    "premise hypothesis", "prompt chosen",
)  # fmt: skip
"""Columns of pairs of texts."""
TRIPLES = frozenset({"triples", "triplets"})
CANDIDATES = re.compile(r"(^|[/\\])top\d{2,}\b[^/\\]*$", re.IGNORECASE)
"""Files without a header line that list what a system found for queries, such as `top1000.dev.tsv`."""
MOST_GRADES = 15
"""Different values that a column of grades may have."""


def file_name_says(table: SampleTable, kind: str) -> bool:
    """Whether the table's file or folder is called as such tables are."""
    return bool(set(words_of(re.sub(r"[./\\]", " ", table.name)[-200:])) & FILES[kind])


def looks_like_id(column: SampleColumn) -> bool:
    """Whether the values are ids rather than words: in one piece, and with digits."""
    return column.spaced <= 0.02 and column.digits >= 0.8 and not column.listed


@dataclass(frozen=True)
class ColumnFeatures:
    """The columns of a table by their subject."""

    table: SampleTable

    @property
    def columns(self) -> list[SampleColumn]:
        return [column for column in self.table.columns.values() if column.texts]

    @cached_property
    def usual(self) -> list[SampleColumn]:
        """Those that half of the rows fill: what every row must have, such as an id, is among them."""
        return [column for column in self.columns if column.filled >= 0.5]

    def _about(self, subject: str) -> list[SampleColumn]:
        return [column for column in self.usual if column.meaning.subject == subject]

    @cached_property
    def query_subject(self) -> str:
        """Whether columns name a query: `query` for sure, `question` perhaps."""
        return next((subject for subject in ("query", "question") if self._about(subject)), "")

    @cached_property
    def query_id(self) -> str:
        """The column of the queries' ids."""
        about = self._about(self.query_subject) if self.query_subject else []
        ids = [column for column in about if column.meaning.attribute == "id" and column.spaced <= 0.02]
        bare = [column for column in about if column.meaning.attribute in ("", "segment") and looks_like_id(column)]
        return next((column.name for column in [*ids, *bare]), "")

    @cached_property
    def query_text(self) -> str:
        """The column of the queries' texts."""
        about = self._about(self.query_subject) if self.query_subject else []
        fit = [
            column for column in about if column.name != self.query_id and not looks_like_id(column) and column.letters >= 0.3
        ]
        order = ("", "text", "title", "segment") if self.query_subject == "question" else ("", "text", "title")
        ranked = [column for attribute in order for column in fit if column.meaning.attribute == attribute]
        return ranked[0].name if ranked else ""

    @cached_property
    def query(self) -> str:
        return self.query_id or self.query_text

    @cached_property
    def documents(self) -> list[str]:
        """Columns that name a document, the plainest first."""
        ranks = {column.name: _document_rank(column) for column in self.usual if column.name != self.query_id}
        return sorted((name for name, rank in ranks.items() if rank), key=lambda name: -ranks[name])

    @cached_property
    def document(self) -> str:
        """The column that names a document of a certain kind, and not just anything by an `id`."""
        return next((name for name in self.documents if _document_rank(self.table.columns[name]) >= 2), "")

    def rank(self, name: str) -> float:
        """How surely a column names a document."""
        return _document_rank(self.table.columns[name])

    @cached_property
    def users(self) -> list[str]:
        """Columns that name a user."""
        about = self._about("user")
        ids = [column for column in about if column.meaning.attribute == "id"]
        bare = [column for column in about if column.meaning.attribute == "" and column.code]
        short = [column for column in self.usual if column.meaning.words == ("uid",)] if self.document else []
        return [column.name for column in [*ids, *bare, *short]]

    @cached_property
    def grades(self) -> list[str]:
        """Columns of grades, the likeliest first; one that is empty so far waits for judgments and is one all the same."""
        ranks = {column.name: _grade_rank(column) for column in self.table.columns.values()}
        return sorted((name for name, rank in ranks.items() if rank > 0), key=lambda name: -ranks[name])

    @cached_property
    def raters(self) -> bool:
        """Whether several people's grades lie beside each other in a row."""
        return sum(bool(set(words_of(name)) & RATERS) or name[-1:].isdigit() for name in self.grades) >= 2

    @cached_property
    def time(self) -> str:
        """The column of the moment of an interaction."""
        called = [
            column for column in self.usual if column.meaning.attribute == "time" and column.numbers + column.moments > 0.5
        ]
        counted = sorted(called, key=lambda column: column.moments < 0.9 or not column.numbers)  # seconds before dates
        other = [column for column in self.usual if column.moments > 0.9 and column.meaning.attribute == ""]
        return next((column.name for column in [*counted, *other]), "")

    @cached_property
    def value(self) -> str:
        """The column of what an interaction is worth, a number."""
        fit = [column for column in self.usual if column.numbers > 0.9]
        rated = [
            column
            for column in fit
            if set(column.meaning.words) & {"rating", "ratings", "stars", "overall", "rate", "bewertung"}
        ]
        worth = [column for column in fit if set(column.meaning.words) & VALUES or column.meaning.attribute == "grade"]
        return next((column.name for column in [*rated, *worth]), "")

    @cached_property
    def event(self) -> str:
        """The column of the kind of an interaction, a word."""
        return next((column.name for column in self.usual if column.meaning.attribute == "event"), "")

    @cached_property
    def texts(self) -> list[SampleColumn]:
        """Columns of the table's own texts: no query's, no user's."""
        about = ("query", "user")
        query_subject = (self.query_id, self.query_text) if self.query_subject == "query" else ()
        return [
            column
            for column in self.columns
            if column.prose and column.meaning.subject not in about and column.name not in query_subject
        ]

    @property
    def keyed(self) -> bool:
        """Whether it is one object with ids for its keys, which would have to be rows."""
        names = list(self.table.columns)
        return len(self.table.records) == 1 and len(names) >= 5 and not any(set(words_of(name)) & GLUE for name in names)

    @property
    def training(self) -> bool:
        """Whether rows are pairs or triplets of texts, as encoders are trained with."""
        names = {name.lower().replace("_", "") for name in self.table.columns}
        called = TRIPLES & set(words_of(self.table.name)) and sum(column.wordy for column in self.columns) >= 3
        named = names == {"set"} or any(names.issuperset(pair.split()) for pair in PAIRS)
        return not self.documents and (named or bool(called))

    @cached_property
    def ranked(self) -> bool:
        """Whether a system's results are in it, by rank, and no judgments."""
        listed = self.table.files[0].columns and CANDIDATES.search(self.table.name) and sum(c.wordy for c in self.columns) >= 2
        ranked = self.query and not self.grades and any("rank" in column.meaning.words for column in self.columns)
        return bool(listed or ranked)


def _document_rank(column: SampleColumn) -> float:
    meaning = column.meaning
    if column.spaced > 0.1 or column.listed or meaning.subject in ("query", "user"):
        return 0
    if meaning.attribute == "id":
        certain = meaning.subject == "document" or set(meaning.words) & CODES - {"uid"}
        return 3 - min(meaning.unknown, 2) / 4 if certain else 2 if meaning.unknown else 1  # of wine_id, say, and id
    if meaning.subject == "document" and meaning.attribute in ("", "text") and column.code:
        return 2.5
    return 0.5 if meaning.attribute == "link" and column.links > 0.8 else 0


def _grade_rank(column: SampleColumn) -> float:
    words = set(column.meaning.words)
    if column.several or not words & ATTRIBUTES["grade"] or column.meaning.attribute in ("id", "key", "time", "text"):
        return 0
    few = len(column.different) <= MOST_GRADES
    judged = bool(words & RELEVANCE)
    if not column.texts:
        return 0.1 + judged
    if (not few or column.filled < 0.5) and not judged:
        return 0
    rank = 2.0 + judged + 2 * bool(words & AGREED) - 1.5 * bool(words & RATERS)
    return rank + (_order_rank(column) if few else -0.5)


def _order_rank(column: SampleColumn) -> float:
    try:
        infer_scale(column.different)
    except InputError:
        return -1 if column.words < 3 else -9
    return 1


def kind_of(table: SampleTable) -> Kind:
    """What kind of table this is, as far as it says so itself."""
    form = table.files[0].format
    if form.startswith("trec "):
        return {"trec documents": "documents", "trec topics": "queries", "trec qrels": "qrels"}[form]  # type: ignore[return-value]
    features = ColumnFeatures(table)
    if features.ranked or features.keyed or features.training:
        return ""
    for kind, true in (
        ("interactions", _is_interactions),
        ("qrels", _is_judgments),
        ("users", _is_users),
        ("queries", _is_queries),
    ):
        if true(features):
            return kind  # type: ignore[return-value]
    texts = [column for column in features.columns if column.wordy]
    called = ATTRIBUTES["title"] | ATTRIBUTES["text"]
    return "texts" if any(column.words >= 1.2 or called & set(column.meaning.words) for column in texts) else ""


def _is_interactions(features: ColumnFeatures) -> bool:
    """Users and documents in each row; but a listing that names its seller is a document."""
    if not features.users or not features.document or features.query_subject == "query":
        return False
    if file_name_says(features.table, "users") and features.table.columns[features.users[0]].unique > 0.99:
        return False
    once = features.table.columns[features.document].unique > 0.95
    own = [column for column in features.texts if set(column.meaning.words) & {"description", "body"}]
    return not (once and features.texts) if not features.time else bool(features.value or features.event) or not (once and own)


def _is_judgments(features: ColumnFeatures) -> bool:
    """Queries and documents in each row; where the query is called by a word of many meanings, a grade must say so."""
    pairs = len(features.columns) == 2 and features.query_text
    if features.query_subject == "query" and (features.grades or pairs) and features.texts and not features.users:
        return True
    if not features.query or not features.documents or features.users:
        return _is_judgments_by_name(features)
    if features.query_subject == "query":
        return bool(features.document or features.grades)
    repeated = features.table.columns[features.query].unique < 0.9
    own = features.texts and not set(words_of(features.query_text)) & QUESTIONS
    return bool(features.grades and features.document and repeated and not own)


def _is_judgments_by_name(features: ColumnFeatures) -> bool:
    """A file called as judgments are, with two ids and a few numbers in a row."""
    codes = [column for column in features.columns if column.code or column.meaning.attribute == "id"]
    return file_name_says(features.table, "qrels") and len(codes) >= 2 and bool(features.grades) and not features.texts


def _is_users(features: ColumnFeatures) -> bool:
    if features.document or features.texts:
        return False
    called = file_name_says(features.table, "users")
    ids = [
        column for column in features.usual if column.name in features.users or (called and column.meaning.attribute == "id")
    ]
    return any(column.unique > 0.99 for column in ids) and (called or not features.time)


def _is_queries(features: ColumnFeatures) -> bool:
    return features.query_subject == "query" and bool(features.query_text) and not features.texts
