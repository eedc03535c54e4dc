"""The language of texts, by py3langid, whose model is in its package."""

from functools import cache
from typing import Any

from pipelines.quality.loading import Staged

LANGUAGES = [
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu",
    "id", "it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "sw", "ta",
    "th", "tr", "uk", "ur", "vi", "zh",
]  # fmt: skip
"""The languages that are told apart. The model knows a hundred more, for which it takes short English product names."""
SHORTEST, SURE = 20, 0.3
"""Characters that a text must have, and the probability that its language must have, to be told at all."""
LONGEST = 400
"""Characters that are looked at."""
MOST = 100_000
"""Texts of a table that are looked at: all of them, or of more those that come first by their content."""
LEAST = 20
"""Texts whose language was told, from which on something is said about a corpus."""


def language_of(text: str) -> str | None:
    """The language of a text as two letters; None: it is too short, or nothing is sure.

    >>> language_of("Die Katze sitzt auf dem Dach."), language_of("HP 4250")
    ('de', None)
    """
    if len(text) < SHORTEST:
        return None
    language, probability = _identifier().classify(text[:LONGEST])
    return str(language) if probability >= SURE else None


def tell_languages(staged: Staged) -> None:
    """Fill in the languages of documents and queries, and the one that most documents have."""
    for table in ("documents", "queries"):
        chosen = f"SELECT rowid, text FROM {table} WHERE characters >= {SHORTEST} ORDER BY content LIMIT {MOST}"  # noqa: S608
        rows = staged.db.execute(chosen)
        while some := rows.fetchmany(1000):
            told = [(language_of(text), row) for row, text in some]
            staged.db.executemany(f"UPDATE {table} SET language = ? WHERE rowid = ?", told)  # noqa: S608  # our own names
    counts = languages(staged)
    told_of = sum(counts.values())
    if told_of >= LEAST:
        main = max(counts, key=lambda language: (counts[language], language))
        staged.db.execute("UPDATE corpus SET language = ?, language_share = ?", (main, counts[main] / told_of))


def languages(staged: Staged) -> dict[str, int]:
    """How many documents have which language, of those whose language was told; the most common first."""
    counted = "SELECT language, count(*) FROM documents WHERE language IS NOT NULL GROUP BY language ORDER BY 2 DESC, 1"
    return dict(staged.db.execute(counted))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
