"""Language identification by py3langid (M. Lui and T. Baldwin, "langid.py", ACL 2012), whose model is in its package."""

from functools import cache
from typing import Any

from pipelines.quality.staging import StagingFile

LANGUAGES = [
    "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu",
    "id", "it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "sw", "ta",
    "th", "tr", "uk", "ur", "vi", "zh",
]  # fmt: skip
"""The candidate languages. The model has a hundred others, which it confuses with short English product names."""
SHORTEST, LEAST_PROBABILITY = 20, 0.3
"""Characters of a text and probability of its language below which it counts as not detected."""
PREFIX = 400
"""Characters of a text that are classified."""
MOST_TEXTS = 100_000
"""Texts of a table that are classified at most; of more, the first by the hash of their content."""
LEAST_DETECTED = 20
"""Documents with a detected language that a corpus needs for a main language."""


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None: the text is too short, or no language probable enough.

    >>> language_of("Die Katze sitzt auf dem Dach."), language_of("HP 4250")
    ('de', None)
    """
    if len(text) < SHORTEST:
        return None
    language, probability = _identifier().classify(text[:PREFIX])
    return str(language) if probability >= LEAST_PROBABILITY else None


def detect_languages(staged: StagingFile) -> None:
    """Fill the columns `language` of documents and queries, and the corpus's main language with its share."""
    for table in ("documents", "queries"):
        select = f"SELECT rowid, text FROM {table} WHERE characters >= {SHORTEST} ORDER BY content LIMIT {MOST_TEXTS}"  # noqa: S608
        rows = staged.db.execute(select)
        while batch := rows.fetchmany(1000):
            detected = [(language_of(text), row) for row, text in batch]
            staged.db.executemany(f"UPDATE {table} SET language = ? WHERE rowid = ?", detected)  # noqa: S608
    counts = language_counts(staged)
    total = sum(counts.values())
    if total >= LEAST_DETECTED:
        main = max(counts, key=lambda language: (counts[language], language))
        staged.db.execute("UPDATE corpus SET language = ?, language_share = ?", (main, counts[main] / total))


def language_counts(staged: StagingFile) -> dict[str, int]:
    """Number of documents by detected language, the most frequent first."""
    select = "SELECT language, count(*) FROM documents WHERE language IS NOT NULL GROUP BY language ORDER BY 2 DESC, 1"
    return dict(staged.db.execute(select))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
