"""What may be asked, online and in batches alike: one line of words, or ids of documents that the results shall be like."""

import unicodedata

LONGEST_QUERY = 512
LONGEST_HISTORY = 50


def one_line(text: str) -> str:
    r"""The words of a query as they are searched: blanks and line ends become single spaces.

    >>> one_line(" red\n  shoe ")
    'red shoe'

    Raises:
        ValueError: control characters, nothing but blanks, or too long; says what is expected.
    """
    line = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in line):
        raise ValueError("text without control characters")
    if not 1 <= len(line) <= LONGEST_QUERY:
        raise ValueError(f"1 to {LONGEST_QUERY} characters that are not all blank")
    return line
