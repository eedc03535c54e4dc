"""The one frame of all reports: verdict, one sentence, pictures, numbers, method, provenance; as HTML and as JSON.

The page is one file without scripts or outside resources; every text that is not ours is escaped.
"""


def clipped(text: str, longest: int) -> str:
    """The text, cut to `longest` characters.

    >>> clipped("a long text", 6), clipped("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def value(number: float | None) -> str:
    """A measure's value with three digits.

    >>> value(0.3572), value(None)
    ('0.357', '–')
    """
    return "–" if number is None else f"{number:.3f}"


def signed(number: float | None) -> str:
    """A difference with its sign, three digits and a real minus.

    >>> signed(-0.0312), signed(0.0312), signed(0.0), signed(None)
    ('−0.031', '+0.031', '0.000', '–')
    """
    if number is None:
        return "–"
    text = f"{number:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
