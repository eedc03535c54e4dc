"""Limits and normalization of queries, the same for the server and for batch scoring."""

import unicodedata

LONGEST_QUERY = 512
"""Characters of a query's text."""
LONGEST_HISTORY = 50
"""Document ids of a query's history."""


def one_line(text: str) -> str:
    r"""A query's text as it is searched: each run of white space becomes one space.

    >>> one_line(" red\n  shoe ")
    'red shoe'

    Raises:
        ValueError: the text has control characters, is blank or is too long; the message says what is expected.
    """
    line = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in line):
        raise ValueError("text without control characters")
    if not 1 <= len(line) <= LONGEST_QUERY:
        raise ValueError(f"1 to {LONGEST_QUERY} characters that are not all blank")
    return line
