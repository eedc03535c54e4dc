"""The tables that a suite may check. Their names and columns are fixed, so that no name from the data enters SQL."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TableSpec:
    """A table of the staging file."""

    row: str
    """What a row is, in a few words."""
    columns: Mapping[str, str]
    """Column to its SQLite type."""
    keys: tuple[str, ...] = ()
    """The columns by which a report identifies a row."""
    private: frozenset[str] = frozenset()
    """Columns whose values no report, log or message shows: texts and user data."""
    index: tuple[str, ...] = ()
    """Columns with an index, for resolving references."""

    @property
    def definition(self) -> str:
        """The columns in the form of CREATE TABLE."""
        return ", ".join(f"{name} {kind}" for name, kind in self.columns.items())


def _columns(text: str) -> dict[str, str]:
    """Columns from a text of names with the first letter of their SQLite type.

    >>> _columns("id:t characters:i score:r")
    {'id': 'TEXT', 'characters': 'INTEGER', 'score': 'REAL'}
    """
    kinds = {"t": "TEXT", "i": "INTEGER", "r": "REAL"}
    return {name: kinds[kind] for name, kind in (word.split(":") for word in text.split())}


TABLES: Mapping[str, TableSpec] = {
    "documents": TableSpec(
        "a document of the corpus",
        _columns(
            "line:i id:t text:t title:t segment:t characters:i words:i content:t language:t judgments:i"
        ),
        ("id",), frozenset({"text", "title", "content"}), ("id", "content"),
    ),
    "queries": TableSpec(
        "a query of the corpus",
        _columns(
            "line:i id:t text:t split:t characters:i words:i content:t language:t synthetic:i history:i judgments:i relevant:i"
        ),
        ("id",), frozenset({"text", "content"}), ("id", "content"),
    ),
    "qrels": TableSpec(
        "a judgment", _columns("line:i query:t document:t grade:i known_query:i known_document:i"),
        ("query", "document"), frozenset(), ("query", "document"),
    ),
    "interactions": TableSpec(
        "a choice of a user",
        _columns("line:i user:t document:t time:i value:r days_old:r known_user:i known_document:i"),
        ("line",), frozenset({"user"}), ("user",),
    ),
    "users": TableSpec("a user", _columns("line:i id:t fields:i interactions:i"), ("line",), frozenset({"id"}), ("id",)),
    "user_fields": TableSpec(
        "a field of a user", _columns("line:i user:t name:t value:t"), ("line",), frozenset({"user", "name", "value"})
    ),
    "corpus": TableSpec(
        "the corpus as a whole: the table has one row",
        _columns(
            "documents:i queries:i qrels:i interactions:i users:i documents_ratio:r queries_ratio:r qrels_ratio:r"
            " duplicate_share:r judged_share:r language:t language_share:r days_old:r"
        ),
    ),
    "exposures": TableSpec(
        "an answered search of the log",
        _columns(
            "line:i request_id:t at:t days_old:r user:t query:t content:t release:t policy:t entry:i results:i"
            " distinct_positions:i"
        ),
        ("line",), frozenset({"user", "query", "content"}), ("request_id",),
    ),
    "shown": TableSpec(
        "a document as it was shown",
        _columns("line:i request_id:t document:t position:i score:r propensity:r known_document:i"),
        ("line", "position"), frozenset(), ("request_id",),
    ),
    "clicks": TableSpec(
        "a click of the log",
        _columns("line:i request_id:t document:t position:i at:t days_old:r known_exposure:i was_shown:i"),
        ("line",),
    ),
    "files": TableSpec("a file that was read", _columns("name:t lines:i bad:i bad_share:r cut_off:i"), ("name",)),
    "personal": TableSpec(
        "a kind of personal data in one part of what was scanned",
        _columns("part:t kind:t sure:i scanned:i texts:i found:i sure_texts:i"),
        ("part", "kind"),
    ),
}  # fmt: skip


FLAGS = frozenset(
    {"known_query", "known_document", "known_user", "known_exposure", "was_shown", "distinct_positions", "cut_off", "synthetic"}
)
"""Columns that are 1 or 0: reports show failing rows of these without the value."""
