"""Rules for queries and document ids, the same for ingestion, batch scoring and the server."""

import re
import unicodedata

LONGEST_QUERY = 512
"""Characters of a query's text."""
LONGEST_HISTORY = 50
"""Document ids of a query's history."""
LONGEST_ID = 512
"""Characters of an id."""
WHITE_SPACE = re.compile(r"\s")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATES = re.compile(r"[\ud800-\udfff]")


def well_formed(text: str) -> str:
    r"""The text, if it can be written as UTF-8. What JSON writes as `"\ud800"` can't be: it is half of a character.

    Raises:
        ValueError: it has a lone surrogate; the message says what is expected.
    """
    if SURROGATES.search(text):
        raise ValueError(r"well-formed Unicode, without lone surrogates such as \ud800")
    return text


def document_id(text: str) -> str:
    """The text, if it can be the id of a document.

    Raises:
        ValueError: it is empty, too long, or has white space, control characters or lone surrogates; the message says what is
            expected.
    """
    if not 1 <= len(text) <= LONGEST_ID or WHITE_SPACE.search(text):
        raise ValueError(f"ids of 1 to {LONGEST_ID} characters without blanks")
    if CONTROL_CHARACTERS.search(text):
        raise ValueError("ids without control characters")
    return well_formed(text)


def query_too_long(text: str) -> bool:
    """Whether the server would refuse a query as too long; runs of white space count as one character."""
    return len(" ".join(text.split())) > LONGEST_QUERY


def one_line(text: str) -> str:
    r"""A query's text as it is searched: each run of white space becomes one space.

    >>> one_line(" red\n  shoe ")
    'red shoe'

    Raises:
        ValueError: the text has control characters or lone surrogates, is blank or is too long; the message says what is
            expected.
    """
    line = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in line):
        raise ValueError("text without control characters")
    if not 1 <= len(line) <= LONGEST_QUERY:
        raise ValueError(f"1 to {LONGEST_QUERY} characters that are not all blank")
    return well_formed(line)


def folded(text: str) -> str:
    """A query's text as two queries count as one: without case, one blank between words.

    >>> folded(" Red  Shoe")
    'red shoe'
    """
    return " ".join(text.casefold().split())
