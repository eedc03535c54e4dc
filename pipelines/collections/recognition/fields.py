"""Which columns of a table are which fields of its role."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipelines.collections.recognition.column_features import ColumnFeatures
from pipelines.collections.recognition.column_names import words_of
from pipelines.collections.recognition.columns import MARKUP, Column, Table, text_of
from pipelines.collections.recognition.name_lists import (
    ADDRESSES,
    ATTRIBUTES,
    GENERAL_TITLES,
    LANGUAGES,
    MAIN_SEGMENTS,
    PERSONS,
    PICTURES,
    REVIEWS,
    SIDES,
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


def document_fields(table: Table, theirs: Sequence[Column], named: dict[str, float]) -> Fields:
    """id, title, text and segment of documents; no `text`: the table has none that people wrote.

    Args:
        table: all columns.
        theirs: those that may be a document's; where each row is a judgment, others are not.
        named: columns to the part of the ids in them that judgments or interactions name.
    """
    found: Fields = {"id": _only(id_of(theirs, named))}
    rest = [column for column in theirs if column.name not in found["id"]]
    title = title_of(rest)
    texts = texts_of(table, [column for column in rest if column.name != title], title)
    found["text"] = texts or _only(title)
    if title:
        found["title"] = (title,)
    segment = segment_of([column for column in rest if column.name not in (*found["text"], title)])
    if segment:
        found["segment"] = (segment,)
    return found


def _only(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _best(columns: Iterable[Column], rank: Callable[[Column], float], least: float) -> str:
    """The first of the columns with the highest rank; empty: none has `least`."""
    ranked = {column.name: rank(column) for column in columns}
    best = max(ranked, key=lambda name: ranked[name], default="")
    return best if best and ranked[best] >= least else ""


def id_of(columns: Sequence[Column], named: dict[str, float]) -> str:
    """The column of ids: called so, different in every row, in one piece; one that other files name comes first."""

    def rank(column: Column) -> float:
        found = _id_rank(column)
        share = named.get(column.name, 0)
        return found and found + share * (1 if column.numbers > 0.9 else 3)

    return _best(columns, rank, 1)


def _id_rank(column: Column) -> float:
    said = column.meaning
    if (
        column.filled < 0.7
        or column.spaced > 0.1
        or column.listed
        or said.subject in ("query", "user")
        or column.unique < REPEATED
    ):
        return 0
    once = 1 if column.unique >= 0.99 else 0
    if said.attribute == "id":
        plain = said.words in (("id",), ("document", "id"), ("uid",)) or said.subject == "document"
        return 4 + plain - min(said.unknown, 2) / 4 - bool(set(said.words) & {"ean", "gtin", "upc"}) / 2 + once
    if said.attribute == "link":
        address = set(said.words) & ADDRESSES and not set(said.words) & PICTURES
        return 2.5 if once and column.links > 0.8 and address else 0
    if said.attribute in ("", "title") and column.code and column.digits >= 0.8 and not column.moments > 0.5:
        index = not said.words or "unnamed" in said.words or "index" in said.words
        return once * (1.1 if index else 1.5 + (said.subject == "document"))
    return 0


def title_of(columns: Sequence[Column]) -> str:
    """The column of titles, called so; else short words that differ in nearly every row, beside a longer text."""

    def called(column: Column) -> float:
        said = column.meaning
        if (
            said.attribute not in ("title", "grade")
            or said.subject in ("query", "user")
            or not set(said.words) & ATTRIBUTES["title"]
        ):
            return 0
        if column.filled < 0.5 or (not column.wordy and column.letters < 0.3):
            return 0
        general = bool(set(said.words) & GENERAL_TITLES)
        few = said.attribute == "grade" and column.unique < 0.5
        return 2 + general + (column.words >= 2) / 2 - min(said.unknown, 2) / 2 - 3 * few

    def looks(column: Column) -> float:
        said = column.meaning
        fit = said.attribute in ("", "text") and said.subject not in ("query", "user") and not set(said.words) & PERSONS
        short = column.wordy and 1 <= column.words <= 12 and column.unique >= 0.7 and column.filled >= 0.7
        longer = any(other.prose and other.length > 2 * column.length for other in columns)
        return float(fit and short and (longer or column.meaning.subject == "document") and not says_text(column))

    return _best(columns, called, 1) or _best(columns, looks, 1)


def says_text(column: Column) -> bool:
    """Whether the name says that it is a text, and nothing else, or it is one."""
    return bool(set(column.meaning.words) & ATTRIBUTES["text"]) and (column.meaning.attribute == "text" or column.prose)


def texts_of(table: Table, columns: Sequence[Column], title: str) -> tuple[str, ...]:
    """The title and the columns of texts that add to it: those called so, else the longest that people wrote."""
    own = [column for column in columns if column.wordy and column.meaning.subject not in ("query", "user")]
    fit = [column for column in own if not set(column.different) <= FLAGS]
    called = [column for column in fit if says_text(column) and column.meaning.attribute not in ("link", "person", "id", "key")]
    proses = [column for column in fit if column.prose and column.words >= 5 and column.meaning.attribute not in NOT_TEXT]
    found = _often(_about_it(called)) or _often(_longest(proses)) or called
    longer = [
        column
        for column in _about_it(proses)
        if column.filled > 0.5 and column.length > max((one.length for one in found), default=0)
    ]
    chosen = _adding(table, [*longer, *(column for column in found if column not in longer)], title)
    whole = bool(title) and any(_begins(table, title, name) >= CONTAINED for name in chosen)
    ordered = [name for name in table.columns if name in chosen]
    return (*(_only(title) if not whole else ()), *ordered)


def _often(columns: list[Column]) -> list[Column]:
    return [column for column in columns if column.filled >= 0.3]


def _about_it(columns: list[Column]) -> list[Column]:
    """Without what people said of a document, where something else is there."""
    return [column for column in columns if not set(column.meaning.words) & REVIEWS] or columns


def _longest(columns: list[Column]) -> list[Column]:
    most = max((column.length for column in columns), default=0)
    return [column for column in columns if column.length >= most / 2]


def _adding(table: Table, columns: list[Column], title: str) -> list[str]:
    """The longest few of the columns, without those that repeat another one, as markup or in another language."""
    chosen: list[str] = []
    for column in sorted(
        columns, key=lambda one: (one.markup > 0.5, words_of(one.name) != _base(one.name), -one.length * one.filled)
    ):
        others = [*chosen, *_only(title)]
        twin = any(_base(column.name) == _base(name) for name in others)
        if (
            len(chosen) < MOST_TEXTS
            and not twin
            and not any(_contained(table, column.name, name) >= CONTAINED for name in others)
        ):
            chosen.append(column.name)
    return chosen


def _base(name: str) -> tuple[str, ...]:
    """A name without the language at its end."""
    words = words_of(name)
    return words[:-1] if len(words) > 1 and words[-1] in LANGUAGES else words


def _contained(table: Table, inner: str, outer: str) -> float:
    """The part of the words of `inner` that are in `outer` as well, over the rows that have both."""
    shares = []
    for record in table.records[:100]:
        words, around = (set(_bare(record.fields.get(name)).split()) for name in (inner, outer))
        if words and around:
            shares.append(len(words & around) / len(words))
    return sum(shares) / len(shares) if len(shares) >= 3 else 0.0


def _begins(table: Table, title: str, text: str) -> float:
    """The part of the rows whose text begins with their title, so that it need not be said twice."""
    pairs = [(_bare(record.fields.get(title)), _bare(record.fields.get(text))) for record in table.records[:100]]
    both = [text.startswith(title) for title, text in pairs if title and text]
    return sum(both) / len(both) if both else 0.0


def _bare(value: Any) -> str:
    """A text to compare: without markup, in small letters."""
    return MARKUP.sub(" ", text_of(value)).strip().lower()


def segment_of(columns: Sequence[Column]) -> str:
    """The column of short values that repeat, called as groups are; else any words of which there are few."""
    return _best(columns, _segment_rank, 1)


def _segment_rank(column: Column) -> float:
    said = column.meaning
    if said.subject in ("query", "user") or column.filled < 0.3 or not _groups(column):
        return 0
    words = set(said.words)
    if said.attribute == "segment" or (words & ATTRIBUTES["segment"] and said.attribute in ("", "title")):
        plain = said.unknown == 0 and not said.words[0].startswith("sub")
        repeated = column.unique <= 0.7 or len(column.texts) < 12
        return repeated * (2 + column.filled + plain / 2 + bool(words & MAIN_SEGMENTS) / 4 - column.unique)
    wordy = column.wordy and said.attribute in ("", "grade") and column.words <= 4
    return float(wordy and column.filled > 0.9 and column.unique <= 0.25 and len(column.different) <= 50)


def _groups(column: Column) -> bool:
    """Whether the values are short and few enough to be groups, and more than yes and no."""
    numbers = column.listed and column.letters < 0.3
    short = column.length <= 80 and column.objects <= 0.1
    return short and not numbers and len(column.different) > 1 and not set(column.different) <= FLAGS


def item_texts(table: Table, fields: Fields) -> Fields:
    """Items of recommendation data that have a title alone: their genres or categories are a text too."""
    if fields["text"] != fields.get("title"):
        return fields
    segments = [column for column in table.columns.values() if column.meaning.attribute == "segment" and column.wordy]
    groups = [column.name for column in segments if set(column.meaning.words) & (MAIN_SEGMENTS | {"tag", "tags"})]
    return {**fields, "text": (*fields["text"], *groups[:2])}


def beside_judgments(clues: ColumnFeatures, document: str) -> list[Column]:
    """Of a table with a judgment or choice in each row, the document's columns: what depends on its id, or is called so."""
    own = []
    for column in clues.columns:
        said = column.meaning
        if said.subject in ("query", "user") or column.name in (
            clues.query_id,
            clues.query_text,
            clues.time,
            *clues.grades,
            *clues.users,
        ):
            continue
        same = clues.table.follows(document, column.name) if document else None
        if column.name == document or (same is not None and same >= 0.95) or (same is None and _of_a_document(column)):
            own.append(column)
    return own


def _of_a_document(column: Column) -> bool:
    said = column.meaning
    return said.subject == "document" or said.attribute == "segment" or "description" in said.words


def query_fields(clues: ColumnFeatures) -> Fields:
    """id, text and split of queries; no `text`: the table has none."""
    columns = [column for column in clues.columns if column.meaning.subject != "user"]
    id_ = (
        clues.query_id
        or _best(columns, lambda column: _id_rank(column) * (column.meaning.subject != "document"), 1)
        or id_of(columns, {})
    )
    rest = [column for column in columns if column.name != id_ and column.wordy]
    text = clues.query_text if clues.query_text and clues.query_text != id_ else ""
    text = text or _best(
        rest, lambda column: 1 + says_text(column) + (column.meaning.attribute == "title") * 1.5 + min(column.words, 8) / 10, 1
    )
    return {"id": _only(id_), "text": _only(text), **split_fields(clues)}


def split_fields(clues: ColumnFeatures) -> Fields:
    """The column that says on which side of the split a row is."""
    fit = [column for column in clues.columns if column.texts and {text.lower() for text in column.different} <= SIDES.keys()]
    called = [
        column.name for column in fit if column.meaning.attribute == "split" or column.meaning.words in (("set",), ("usage",))
    ]
    return {"split": (called[0],)} if called else {}


def user_fields(clues: ColumnFeatures) -> Fields:
    """id and the rest of what is known of users."""
    columns = clues.columns
    id_ = next((name for name in clues.users if clues.table.columns[name].unique > 0.99), "") or id_of(columns, {})
    return {"id": _only(id_), "fields": tuple(name for name in clues.table.columns if name != id_)}
