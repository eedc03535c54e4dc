"""Which columns of a table are which fields of its role."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines.collections.schema.column_features import ColumnFeatures
from pipelines.collections.schema.column_names import words_of
from pipelines.collections.schema.columns import MARKUP, SampleColumn, SampleTable, cell_text
from pipelines.collections.schema.name_lists import (
    ADDRESSES,
    ATTRIBUTES,
    GENERAL_TITLES,
    LANGUAGES,
    MAIN_SEGMENTS,
    PERSONS,
    PICTURES,
    REVIEWS,
    SPLIT_NAMES,
)

Fields = dict[str, tuple[str, ...]]
MOST_TEXTS = 3
"""Columns that make a text, beside the title."""
CONTAINED = 0.9
"""A column whose words are to this part in another one adds nothing to it."""
FLAGS = {"0", "1", "0.0", "1.0", "True", "False", "true", "false", "yes", "no", "Y", "N"}
REPEATED = 0.8
"""An id column of which fewer values than this are different names something else."""
NOT_TEXT = ("link", "time", "id", "key", "person", "state", "split", "event")


def document_fields(table: SampleTable, candidates: Sequence[SampleColumn], named: dict[str, float]) -> Fields:
    """id, title, text and segment of documents; no `text`: the table has none that people wrote.

    Args:
        table: all columns.
        candidates: the columns that may be a document's; where each row is a judgment, others are not.
        named: columns to the part of the ids in them that judgments or interactions name.
    """
    fields: Fields = {"id": as_columns(id_column(candidates, named))}
    rest = [column for column in candidates if column.name not in fields["id"]]
    title = title_column(rest)
    texts = text_columns(table, [column for column in rest if column.name != title], title)
    fields["text"] = texts or as_columns(title)
    if title:
        fields["title"] = (title,)
    segment = segment_column([column for column in rest if column.name not in (*fields["text"], title)])
    if segment:
        fields["segment"] = (segment,)
    return fields


def as_columns(name: str) -> tuple[str, ...]:
    """The columns of a field that one column fills; an empty name: none."""
    return (name,) if name else ()


def _best_column(columns: Iterable[SampleColumn], rank: Callable[[SampleColumn], float], least: float) -> str:
    """The first of the columns with the highest rank; empty: none has `least`."""
    ranked = {column.name: rank(column) for column in columns}
    best = max(ranked, key=lambda name: ranked[name], default="")
    return best if best and ranked[best] >= least else ""


def id_column(columns: Sequence[SampleColumn], named: dict[str, float]) -> str:
    """The column of ids: called so, different in every row, in one piece; one that other files name comes first."""

    def rank(column: SampleColumn) -> float:
        rank_ = _id_rank(column)
        share = named.get(column.name, 0)
        return rank_ and rank_ + share * (1 if column.numbers > 0.9 else 3)

    return _best_column(columns, rank, 1)


def _id_rank(column: SampleColumn) -> float:
    meaning = column.meaning
    if (
        column.filled < 0.7
        or column.spaced > 0.1
        or column.listed
        or column.personal
        or meaning.subject in ("query", "user")
        or column.unique < REPEATED
    ):
        return 0
    once = 1 if column.unique >= 0.99 else 0
    if meaning.attribute == "id":
        plain = meaning.words in (("id",), ("document", "id"), ("uid",)) or meaning.subject == "document"
        return 4 + plain - min(meaning.unknown, 2) / 4 - bool(set(meaning.words) & {"ean", "gtin", "upc"}) / 2 + once
    if meaning.attribute == "link":
        address = set(meaning.words) & ADDRESSES and not set(meaning.words) & PICTURES
        return 2.5 if once and column.links > 0.8 and address else 0
    if meaning.attribute in ("", "title") and column.code and column.digits >= 0.8 and not column.moments > 0.5:
        index = not meaning.words or "unnamed" in meaning.words or "index" in meaning.words
        return once * (1.1 if index else 1.5 + (meaning.subject == "document"))
    return 0


def title_column(columns: Sequence[SampleColumn]) -> str:
    """The column of titles, called so; else short words that differ in nearly every row, beside a longer text."""

    def called(column: SampleColumn) -> float:
        meaning = column.meaning
        if (
            meaning.attribute not in ("title", "grade")
            or meaning.subject in ("query", "user")
            or not set(meaning.words) & ATTRIBUTES["title"]
        ):
            return 0
        if column.filled < 0.5 or (not column.wordy and column.letters < 0.3):
            return 0
        general = bool(set(meaning.words) & GENERAL_TITLES)
        few = meaning.attribute == "grade" and column.unique < 0.5
        return 2 + general + (column.words >= 2) / 2 - min(meaning.unknown, 2) / 2 - 3 * few

    def looks(column: SampleColumn) -> float:
        meaning = column.meaning
        fit = (
            meaning.attribute in ("", "text") and meaning.subject not in ("query", "user") and not set(meaning.words) & PERSONS
        )
        short = column.wordy and 1 <= column.words <= 12 and column.unique >= 0.7 and column.filled >= 0.7
        longer = any(other.prose and other.length > 2 * column.length for other in columns)
        return float(fit and short and (longer or column.meaning.subject == "document") and not says_text(column))

    return _best_column(columns, called, 1) or _best_column(columns, looks, 1)


def says_text(column: SampleColumn) -> bool:
    """Whether the name says that it is a text, and nothing else, or it is one."""
    return bool(set(column.meaning.words) & ATTRIBUTES["text"]) and (column.meaning.attribute == "text" or column.prose)


def text_columns(table: SampleTable, columns: Sequence[SampleColumn], title: str) -> tuple[str, ...]:
    """The title and the columns of texts that add to it: those called so, else the longest that people wrote."""
    own = [column for column in columns if column.wordy and column.meaning.subject not in ("query", "user")]
    fit = [column for column in own if not set(column.different) <= FLAGS]
    called = [column for column in fit if says_text(column) and column.meaning.attribute not in ("link", "person", "id", "key")]
    proses = [column for column in fit if column.prose and column.words >= 5 and column.meaning.attribute not in NOT_TEXT]
    likely = _often_filled(_without_reviews(called)) or _often_filled(_longest_columns(proses)) or called
    longer = [
        column
        for column in _without_reviews(proses)
        if column.filled > 0.5 and column.length > max((column.length for column in likely), default=0)
    ]
    texts = _without_contained(table, [*longer, *(column for column in likely if column not in longer)], title)
    whole = bool(title) and any(_begins(table, title, name) >= CONTAINED for name in texts)
    ordered = [name for name in table.columns if name in texts]
    return (*(as_columns(title) if not whole else ()), *ordered)


def _often_filled(columns: list[SampleColumn]) -> list[SampleColumn]:
    return [column for column in columns if column.filled >= 0.3]


def _without_reviews(columns: list[SampleColumn]) -> list[SampleColumn]:
    """Without reviews and comments, where there are other texts."""
    return [column for column in columns if not set(column.meaning.words) & REVIEWS] or columns


def _longest_columns(columns: list[SampleColumn]) -> list[SampleColumn]:
    most = max((column.length for column in columns), default=0)
    return [column for column in columns if column.length >= most / 2]


def _without_contained(table: SampleTable, columns: list[SampleColumn], title: str) -> list[str]:
    """The longest few of the columns, without those that repeat another one, as markup or in another language."""
    kept: list[str] = []
    for column in sorted(
        columns,
        key=lambda column: (
            column.markup > 0.5,
            _language(column.name) not in ("", _language(title)),
            _language(column.name) != "",
            -column.length * column.filled,
        ),
    ):
        others = [*kept, *as_columns(title)]
        twin = any(_base_words(column.name) == _base_words(name) for name in others)
        if (
            len(kept) < MOST_TEXTS
            and not twin
            and not any(_contained(table, column.name, name) >= CONTAINED for name in others)
        ):
            kept.append(column.name)
    return kept


def _language(name: str) -> str:
    """The language that a name ends with; empty: none.

    >>> _language("title_en"), _language("title")
    ('en', '')
    """
    words = words_of(name)
    return words[-1] if words != _base_words(name) else ""


def _base_words(name: str) -> tuple[str, ...]:
    words = words_of(name)
    return words[:-1] if len(words) > 1 and words[-1] in LANGUAGES else words


def _contained(table: SampleTable, inner: str, outer: str) -> float:
    """The part of the words of `inner` that are in `outer` as well, over the rows that have both."""
    shares = []
    for record in table.records[:100]:
        words, around = (set(_plain_text(record.fields.get(name)).split()) for name in (inner, outer))
        if words and around:
            shares.append(len(words & around) / len(words))
    return sum(shares) / len(shares) if len(shares) >= 3 else 0.0


def _begins(table: SampleTable, title: str, text: str) -> float:
    """The part of the rows whose text begins with their title, so that it need not be said twice."""
    pairs = [(_plain_text(record.fields.get(title)), _plain_text(record.fields.get(text))) for record in table.records[:100]]
    both = [text.startswith(title) for title, text in pairs if title and text]
    return sum(both) / len(both) if both else 0.0


def _plain_text(value: Any) -> str:
    return MARKUP.sub(" ", cell_text(value)).strip().lower()


def segment_column(columns: Sequence[SampleColumn]) -> str:
    """The column of short values that repeat, called as groups are; else any words of which there are few."""
    return _best_column(columns, _segment_rank, 1)


def _segment_rank(column: SampleColumn) -> float:
    meaning = column.meaning
    if meaning.subject in ("query", "user") or column.filled < 0.3 or column.personal or not _is_grouping(column):
        return 0
    words = set(meaning.words)
    if meaning.attribute == "segment" or (words & ATTRIBUTES["segment"] and meaning.attribute in ("", "title")):
        plain = meaning.unknown == 0 and not meaning.words[0].startswith("sub")
        repeated = column.unique <= 0.7 or len(column.texts) < 12
        return repeated * (2 + column.filled + plain / 2 + bool(words & MAIN_SEGMENTS) / 4 - column.unique)
    wordy = column.wordy and meaning.attribute in ("", "grade") and column.words <= 4
    return float(wordy and column.filled > 0.9 and column.unique <= 0.25 and len(column.different) <= 50)


def _is_grouping(column: SampleColumn) -> bool:
    numbers = column.listed and column.letters < 0.3
    short = column.length <= 80 and column.objects <= 0.1
    return short and not numbers and len(column.different) > 1 and not set(column.different) <= FLAGS


def item_texts(table: SampleTable, fields: Fields) -> Fields:
    """Items of recommendation data that have a title alone: their genres or categories are a text too."""
    if fields["text"] != fields.get("title"):
        return fields
    segments = [column for column in table.columns.values() if column.meaning.attribute == "segment" and column.wordy]
    groups = [column.name for column in segments if set(column.meaning.words) & (MAIN_SEGMENTS | {"tag", "tags"})]
    return {**fields, "text": (*fields["text"], *groups[:2])}


def columns_of_documents(features: ColumnFeatures, document: str) -> list[SampleColumn]:
    """Of a table with a judgment or choice in each row, the document's columns: what depends on its id, or is called so."""
    own = []
    for column in features.columns:
        meaning = column.meaning
        if meaning.subject in ("query", "user") or column.name in (
            features.query_id,
            features.query_text,
            features.time,
            *features.grades,
            *features.users,
        ):
            continue
        same = features.table.follows(document, column.name) if document else None
        if column.name == document or (same is not None and same >= 0.95) or (same is None and _of_a_document(column)):
            own.append(column)
    return own


def _of_a_document(column: SampleColumn) -> bool:
    meaning = column.meaning
    return meaning.subject == "document" or meaning.attribute == "segment" or "description" in meaning.words


def query_fields(features: ColumnFeatures) -> Fields:
    """id, text and split of queries; no `text`: the table has none."""
    columns = [column for column in features.columns if column.meaning.subject != "user"]
    id_ = (
        features.query_id
        or _best_column(columns, lambda column: _id_rank(column) * (column.meaning.subject != "document"), 1)
        or id_column(columns, {})
    )
    rest = [column for column in columns if column.name != id_ and column.wordy]
    text = features.query_text if features.query_text and features.query_text != id_ else ""
    text = text or _best_column(
        rest, lambda column: 1 + says_text(column) + (column.meaning.attribute == "title") * 1.5 + min(column.words, 8) / 10, 1
    )
    return {"id": as_columns(id_), "text": as_columns(text), **split_fields(features)}


def split_fields(features: ColumnFeatures) -> Fields:
    """The column that says on which side of the split a row is."""
    fit = [
        column
        for column in features.columns
        if column.texts and {text.lower() for text in column.different} <= SPLIT_NAMES.keys()
    ]
    called = [
        column.name for column in fit if column.meaning.attribute == "split" or column.meaning.words in (("set",), ("usage",))
    ]
    return {"split": (called[0],)} if called else {}


def user_fields(features: ColumnFeatures) -> Fields:
    """id and the rest of what is known of users."""
    columns = features.columns
    id_ = next((name for name in features.users if features.table.columns[name].unique > 0.99), "") or id_column(columns, {})
    return {"id": as_columns(id_), "fields": tuple(name for name in features.table.columns if name != id_)}
