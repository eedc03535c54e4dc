"""Grades: from words or numbers as written to a scale from 0, the worst."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.collections.schema.terminal import clean
from pipelines.errors import InputError

MOST = 1000
"""Grades that a scale may have."""
FRACTIONS = 20
"""Grades that are no whole numbers are a scale if there are at most so many of them."""
LIKERT = 4
"""Whole numbers from 1 to this or more are answers of which 1 is the worst; from 1 to less, the relevant documents alone."""
NONE = "irrelevant|not relevant|nonrelevant|non relevant|unrelated|not related|no match|off topic"
SOME = "partial|partially|partially relevant|partial match|somewhat relevant|somewhat|marginal|marginally relevant|related"
HIGH = "highly relevant|very relevant|perfectly relevant|perfect match|key"
KNOWN = (
    "no,yes", "n,y", "false,true", "f,t", "fail,pass", "incorrect,correct", "wrong,right", "mismatch,match", "dislike,like",
    "negative,positive", "negative,neutral,positive", "low,medium,high", "none,low,medium,high",
    "i|irrelevant,c|complement,s|substitute,e|exact",
    f"{NONE},relevant", f"{NONE},{SOME},relevant|fully relevant|exact|exact match|full match",
    f"{NONE},{SOME},relevant|fairly relevant,{HIGH}", f"{NONE},related,{HIGH},perfectly relevant",
    f"{NONE},{SOME},{HIGH}", f"{NONE},relevant,{HIGH}",
    "bad,fair,good,excellent,perfect", "bad,poor,fair,good,excellent", "poor,fair,good,very good,excellent", "bad,good",
    "nein,ja", "nicht relevant|irrelevant,relevant",
    "nicht relevant|irrelevant,teilweise relevant|teilweise,relevant",
    "non pertinent,partiellement pertinent|peu pertinent,pertinent",
    "no relevante|irrelevante,parcialmente relevante|poco relevante,relevante",
    "nicht relevant|irrelevant,teilweise relevant|teilweise,relevant,sehr relevant",
    "non,oui", "non pertinent,pertinent", "non pertinent,peu pertinent|partiellement pertinent,pertinent,très pertinent",
    "no,sí|si", "no relevante|irrelevante,relevante",
    "no relevante|irrelevante,poco relevante|parcialmente relevante,relevante,muy relevante",
)  # fmt: skip
"""Scales in words, from worst to best: a comma between grades, a bar between words for the same one."""


@dataclass(frozen=True)
class Scale:
    """The grades from worst to best.

    >>> Scale.parse("Irrelevant,Partial,Exact").grade_of("exact"), Scale.parse("3..0").grade_of("2.0")
    (2, 1)
    """

    names: tuple[str, ...]
    places: dict[str, int] = field(repr=False)
    """The grade of each word, in the shape that `plain` gives it."""

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """A declared scale: `0..3`, `3..0` where a smaller number is better, or words as `Irrelevant,Partial,Exact`.

        Raises:
            InputError: it is no scale.
        """
        ends = re.fullmatch(r"\s*(-?\d{1,9})\s*\.\.\s*(-?\d{1,9})\s*", text)
        names = _integers_between(int(ends[1]), int(ends[2])) if ends else [word.strip() for word in text.split(",")]
        places = {normalized_grade(name): place for place, name in enumerate(names)}
        if not 2 <= len(names) == len(places) <= MOST or "" in places or (".." in text and not ends):
            raise InputError(
                f"--grades {text[:80]!r}",
                f"two to {MOST} different grades from worst to best",
                "pass --grades 0..3, --grades 3..0 where 0 is the best, or --grades Irrelevant,Partial,Exact",
            )
        return cls(tuple(names), places)

    @property
    def turned(self) -> str:
        """The same scale the other way round, as `--grades` takes it.

        >>> Scale.parse("0..3").turned, Scale.parse("no,yes").turned
        ('3..0', 'yes,no')
        """
        if self._numbered:
            return f"{self.names[-1]}..{self.names[0]}"
        return ",".join(reversed(self.names))

    @property
    def _numbered(self) -> bool:
        return all(re.fullmatch(r"-?\d+", name) for name in self.names)

    def grade_of(self, value: Any) -> int | None:
        """The grade of a value as it was written; None: it is not on the scale."""
        return self.places.get(normalized_grade(value))

    @property
    def shown(self) -> str:
        """The scale with its direction, for people.

        >>> Scale.parse("1..5").shown, Scale.parse("no,yes").shown
        ('1..5, 5 is the best', 'no < yes')
        """
        if self._numbered:
            return f"{self.names[0]}..{self.names[-1]}, {self.names[-1]} is the best"
        return " < ".join(self.names)


def _integers_between(first: int, last: int) -> list[str]:
    if abs(last - first) >= MOST:
        return []
    step = 1 if last >= first else -1
    return [str(number) for number in range(first, last + step, step)]


def normalized_grade(value: Any) -> str:
    """A grade without case, blanks and trailing zeros.

    >>> normalized_grade("2.0"), normalized_grade(" Not_Relevant "), normalized_grade(True)
    ('2', 'not relevant', 'true')
    """
    number = _number(value)
    if number is None:
        return " ".join(re.split(r"[\s_-]+", str(value).casefold()[:200])).strip()
    return str(int(number)) if number.is_integer() else repr(number)


def _number(value: Any) -> float | None:
    text = str(value).strip()
    return float(text) if re.fullmatch(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)", text) else None


def infer_scale(written: Iterable[Any]) -> Scale:
    """The scale that grades seem to be on, when nobody declared one; a larger number is taken to be better.

    Whole numbers keep their value, because 0 says "not at all" and files often hold the relevant documents alone. From 1 to 4
    or more they are answers on a scale whose worst is 1. Numbers below 0 count as 0, as TREC counts them. A word that most
    others don't go with is not on the scale.

    >>> infer_scale(["3", "0"]).shown, infer_scale(["1", "5"]).grade_of("1"), infer_scale(["E", "I"]).shown
    ('0..3, 3 is the best', 0, 'I < C < S < E')

    Raises:
        InputError: they have no order that is known.
    """
    words = sorted({normalized_grade(word): str(word).strip()[:40] for word in written if normalized_grade(word)}.items())
    numbers = sorted(number for number in (_number(word) for word, _ in words) if number is not None)
    if numbers and 2 * len(numbers) >= len(words):
        return _numeric_scale(numbers)
    scale = _known_scale([word for word, _ in words], dict(words))
    if scale is None:
        raise InputError(
            f"grades {clean(', '.join(name for _, name in words)) or 'that are all empty'}",
            "whole numbers, or words whose order is known, such as Irrelevant, Partial, Exact",
            "say them from worst to best: --grades worst,…,best, or name another column: --column qrels.grade=COLUMN",
        )
    return scale


def _numeric_scale(numbers: list[float]) -> Scale:
    """One fraction among many whole numbers is a slip; a quarter of them are a scale."""
    whole = [int(number) for number in numbers if number.is_integer()]
    fractions = len(numbers) - len(whole)
    if 4 * fractions < len(numbers) and max(*whole, 0) - min(*whole, 0) < MOST:
        return _integer_scale(min(whole), max(whole))
    if fractions and 2 <= len(numbers) <= FRACTIONS:
        return Scale.parse(",".join(normalized_grade(number) for number in numbers))
    raise InputError(
        f"{len(numbers)} different grades from {numbers[0]:g} to {numbers[-1]:g}",
        f"whole numbers below {MOST}, or at most {FRACTIONS} fractions",
        "name the column of grades: --column qrels.grade=COLUMN",
    )


def _integer_scale(low: int, high: int) -> Scale:
    first = 1 if low == 1 and high >= LIKERT else 0
    names = [str(number) for number in range(first, max(high, 1) + 1)]
    places = {name: place for place, name in enumerate(names)} | {str(number): 0 for number in range(low, 0)}
    return Scale(tuple(names), places)


def _known_scale(words: list[str], written: dict[str, str]) -> Scale | None:
    """The shortest of the known scales that most of the words are on, in the spelling that was seen."""
    fitting: list[tuple[int, int, int, Scale]] = []
    for known in KNOWN:
        levels = [level.split("|") for level in known.split(",")]
        places = {word: place for place, level in enumerate(levels) for word in level}
        here = sum(word in places for word in words)
        if here and 2 * here >= len(words) and (here > 1 or len(words) == 1):
            names = tuple(
                next((written[word] for word in level if word in written), _unseen_name(level, written)) for level in levels
            )
            fitting.append((-here, len(levels), len(fitting), Scale(names, places)))
    return min(fitting, key=lambda fit: fit[:3])[3] if fitting else None


def _unseen_name(level: list[str], written: dict[str, str]) -> str:
    """A grade that was not seen, spelled as the others are."""
    if all(len(word) == 1 for word in written):
        return level[0].upper()
    name = level[0] if len(level[0]) > 1 else level[1]
    return name.capitalize() if all(word[:1].isupper() for word in written.values()) else name
