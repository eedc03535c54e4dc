"""What a column or file is called, and what that says: its name in words, and whom and what those words speak of."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from pipelines.collections.schema.name_lists import (
    ALIASES,
    ATTRIBUTES,
    CODES,
    GLUE,
    IDS,
    LANGUAGES,
    OTHERS,
    PERSONS,
    SPLIT_NAMES,
    STATES,
    SUBJECTS,
    Attribute,
    Subject,
)


@dataclass(frozen=True)
class Meaning:
    """What a column's name says."""

    words: tuple[str, ...]
    subject: Subject
    attribute: Attribute
    unknown: int
    """Words that say nothing here: of two names, the one with fewer is the plainer."""


@cache
def words_of(name: str) -> tuple[str, ...]:
    """A name in words: lower case, without accents, words that were written together apart.

    >>> words_of("corpus-id"), words_of("ReviewerID"), words_of("Produktbezeichnung"), words_of("user_id:token")
    (('corpus', 'id'), ('reviewer', 'id'), ('produkt', 'bezeichnung'), ('user', 'id'))
    """
    name = re.sub(r":(token|float)(_seq)?$", "", name.strip()[:200])
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char)).lower()
    words = re.findall(r"[^\W_]+", plain)
    return tuple(part for word in words for part in (_alias(word, len(words)) or _apart(word)))


def _alias(word: str, beside: int) -> tuple[str, ...]:
    """What a short name stands for; a single letter only where it is the whole name."""
    return ALIASES.get(word, ()) if len(word) > 1 or beside == 1 else ()


@cache
def _apart(word: str) -> tuple[str, ...]:
    """A word in the known words that it was written together from, or as it is."""
    if word in GLUE or len(word) < 5:
        return (word,)
    for cut in range(len(word) - 2, 2, -1):
        rest = word[cut:]
        if word[:cut] in GLUE and (rest in GLUE and (len(rest) > 2 or cut > 2)):
            return (word[:cut], rest)
    return (word,)


@cache
def meaning(name: str) -> Meaning:
    """What a column's name says, whatever the order of its words.

    >>> [meaning(name).attribute for name in ("product_title", "nom_produit", "brand_name", "category_id", "esci_label")]
    ['title', 'title', 'segment', 'key', 'grade']
    """
    words = words_of(".".join(name.split(".")[-2:]))  # of a nested object, what it is in says the most: category.name
    known = set(words)
    whole = set(words_of(name))
    subject = next((subject for subject, vocabulary in SUBJECTS.items() if whole & vocabulary), "")
    if "search" in known and known & {"term", "phrase", "string", "text", "id"}:
        subject = "query"
    unknown = sum(word not in GLUE | LANGUAGES | CODES for word in words)
    return Meaning(words, subject, _attribute(words, known, subject), unknown)


def _attribute(words: tuple[str, ...], known: set[str], subject: Subject) -> Attribute:
    if known & CODES or (words[-1:] and (words[-1] in IDS or words[0] in IDS - {"no", "num", "code", "ref", "key"})):
        return "key" if known & OTHERS and not known & CODES else "id"
    if known & STATES and subject != "query":
        return "state"
    attribute_ = next((attribute for attribute, vocabulary in ATTRIBUTES.items() if known & vocabulary), "")
    return "person" if attribute_ == "title" and known & PERSONS else attribute_


def split_of_path(path: str) -> str:
    """The side of a split that a path names: train, dev, test, or none.

    >>> [split_of_path(path) for path in ("qrels/test.tsv", "queries.dev.tsv", "testimonials.csv", "u1.base")]
    ['test', 'dev', '', '']
    """
    return next((SPLIT_NAMES[word] for word in reversed(re.findall(r"[a-z]+", path.lower())) if word in SPLIT_NAMES), "")
