"""How messages, reports and verdicts write values: counts with their noun, measures, differences, cut and escaped texts."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, whose plural takes an s.

    >>> counted(1, "check"), counted(1200, "check")
    ('1 check', '1,200 checks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clipped(text: str, longest: int) -> str:
    """The text, cut to `longest` characters.

    >>> clipped("a long text", 6), clipped("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: object, longest: int = 64) -> str:
    """A text from outside on one line, cut to `longest` characters: unprintable characters are escaped.

    >>> print(printable("a\\nb\\u2028c \\x1b[31m é"))
    a\\nb\\u2028c \\x1b[31m é
    """
    escaped = repr(str(text)[: longest + 1])[1:-1].replace("\\\\", "\\")
    return clipped(escaped, longest)


def value(number: float | None) -> str:
    """A measure's value with three digits; a dash for none.

    >>> value(0.3572), value(None)
    ('0.357', '–')
    """
    return "–" if number is None else f"{number:.3f}"


def signed(number: float | None) -> str:
    """A difference with its sign, three digits and a minus sign instead of a hyphen; a dash for none.

    >>> signed(-0.0312), signed(0.0312), signed(0.0), signed(None)
    ('−0.031', '+0.031', '0.000', '–')
    """
    if number is None:
        return "–"
    text = f"{number:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
