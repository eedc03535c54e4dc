"""Text for a terminal: on one line, clipped, without control sequences."""

import unicodedata

WIDTH = 100


def clean(text: str, width: int = WIDTH) -> str:
    r"""A text on one line, clipped to a width, control characters escaped.

    >>> clean("red\n\x1b[31mshoe", 20), clean("abcdef", 4)
    ('red \\x1b[31mshoe', 'abc…')
    """
    signs = [char if char.isprintable() else _escaped(char) for char in " ".join(text[: 4 * width].split())]
    widths = [sum(map(_width, sign)) for sign in signs]
    if sum(widths) <= width:
        return "".join(signs)
    while sum(widths) >= width and signs:
        signs.pop()
        widths.pop()
    return "".join(signs) + "…"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def _width(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrapped(text: str, width: int, first: str, other: str) -> list[str]:
    """A text in lines of a width, of which a long word may take more."""
    lines, line = [], first
    for word in text.split(" "):
        if len(line) + len(word) + 1 > width and line not in (first, other):
            lines.append(line.rstrip())
            line = other
        line += word + " "
    return [*lines, line.rstrip()]
