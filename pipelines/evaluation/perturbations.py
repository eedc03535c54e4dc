"""Perturbations: the same query as somebody else types it. Equal query, seed and sources give equal bytes, on every machine.

Typos, casing, word order and a dropped word are what happens at a keyboard, so nothing filters them. A paraphrase (a synonym, a
translation there and back) may change what is meant: it is kept only where a model that ranks nothing finds it alike.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pipelines.corpus.documents import Query
from pipelines.errors import InputError
from pipelines.evaluation.word_sources import BackTranslator, MeaningJudge, Misspellings, Unavailable, WordNet
from pipelines.store.recipes import digest

Item = TypeVar("Item")
WORD = re.compile(r"[^\W\d_]+")
SHORTEST = 3
"""Letters of a word that may get a typo or a synonym: shorter ones often become another word, or are a sign."""
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""The rows of letters; each is shifted by half a key against the one above."""


class Chance:
    """Choices that follow from words and numbers alone, so that they are equal in every process and every version of Python."""

    def __init__(self, *names: object) -> None:
        self._names, self._drawn = names, 0

    def pick(self, options: Sequence[Item]) -> Item:
        """One of the options, each equally likely."""
        self._drawn += 1
        return options[int(digest(repr((*self._names, self._drawn)).encode())[:16], 16) % len(options)]


def neighbours(letter: str) -> str:
    """The letters beside, above and below a letter on the keyboard, in alphabetical order; empty for other characters.

    >>> neighbours("s"), neighbours("q"), neighbours("é")
    ('adewxz', 'aw', '')
    """
    for row, keys in enumerate(KEYBOARD):
        place = keys.find(letter)
        if place >= 0:
            beside = {keys[at] for at in (place - 1, place + 1) if 0 <= at < len(keys)}
            above = set(KEYBOARD[row - 1][place : place + 2]) if row else set()
            below = set(KEYBOARD[row + 1][max(0, place - 1) : place + 1]) if row + 1 < len(KEYBOARD) else set()
            return "".join(sorted(beside | above | below))
    return ""


def typo(text: str, chance: Chance, sources: Mapping[str, Any]) -> str:
    """One word as people misspell it; where no misspelling of it is known, one letter becomes its neighbour on the keyboard."""
    misspellings: Misspellings = sources["misspellings"]
    words = _words(text)
    if not words:
        return ""
    chosen = chance.pick(words)
    known = misspellings.by_word.get(chosen[0].lower())
    return _replaced(text, chosen, chance.pick(known) if known else _slip(chosen[0].lower(), chance))


def _words(text: str) -> list[re.Match[str]]:
    return [word for word in WORD.finditer(text) if len(word[0]) >= SHORTEST]


def _slip(word: str, chance: Chance) -> str:
    """The word with one letter, not the first, as its neighbour; as it was where no letter is on the keyboard."""
    places = [place for place in range(1, len(word)) if neighbours(word[place])]
    if not places:
        return word
    place = chance.pick(places)
    return word[:place] + chance.pick(neighbours(word[place])) + word[place + 1 :]


def _replaced(text: str, word: re.Match[str], by: str) -> str:
    """The text with a word replaced, in the word's case."""
    cased = by.upper() if word[0].isupper() and len(word[0]) > 1 else by.capitalize() if word[0][0].isupper() else by
    return text[: word.start()] + cased + text[word.end() :]


def word_order(text: str, chance: Chance, _: Mapping[str, Any]) -> str:
    """Two words that stand side by side change places."""
    words = text.split()
    places = [place for place in range(len(words) - 1) if words[place] != words[place + 1]]
    if not places:
        return ""
    place = chance.pick(places)
    return " ".join([*words[:place], words[place + 1], words[place], *words[place + 2 :]])


def casing(text: str, chance: Chance, _: Mapping[str, Any]) -> str:
    """The text in capitals, in small letters, or with a capital at each word."""
    options = [cased for cased in (text.upper(), text.lower(), text.title()) if cased != text]
    return chance.pick(options) if options else ""


def dropped_word(text: str, chance: Chance, _: Mapping[str, Any]) -> str:
    """The text of two words or more without one of them."""
    words = text.split()
    if len(words) < 2:
        return ""
    place = chance.pick(range(len(words)))
    return " ".join([*words[:place], *words[place + 1 :]])


def synonym(text: str, chance: Chance, sources: Mapping[str, Any]) -> str:
    """One word becomes another of its most frequent sense."""
    wordnet: WordNet = sources["wordnet"]
    options = [(word, others) for word in _words(text) if (others := wordnet.synonyms(word[0].lower()))]
    if not options:
        return ""
    word, others = chance.pick(options)
    return _replaced(text, word, chance.pick(others))


def back_translation(text: str, _: Chance, sources: Mapping[str, Any]) -> str:
    """The text in another language and back, in small letters where it was, since case is a perturbation of its own."""
    translator: BackTranslator = sources["translator"]
    back = " ".join(translator.there_and_back(text).split()).rstrip(".")
    return back.lower() if text == text.lower() else back


@dataclass(frozen=True)
class Perturbation:
    """A way to change a query: what does it, the sources it needs, and whether it may change what is meant."""

    change: Callable[[str, Chance, Mapping[str, Any]], str]
    sources: tuple[str, ...] = ()
    paraphrases: bool = False
    varies: bool = True
    """Whether a second copy can differ from the first."""


PERTURBATIONS: Mapping[str, Perturbation] = {
    "typo": Perturbation(typo, ("misspellings",)),
    "casing": Perturbation(casing),
    "word_order": Perturbation(word_order),
    "dropped_word": Perturbation(dropped_word),
    "synonym": Perturbation(synonym, ("wordnet", "judge"), paraphrases=True),
    "back_translation": Perturbation(back_translation, ("translator", "judge"), paraphrases=True, varies=False),
}
"""Every perturbation by its name. One that is added here is known everywhere."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The named perturbations in the order of PERTURBATIONS.

    Raises:
        InputError: a name is none of them, or there is none.
    """
    unknown = [name for name in names if name not in PERTURBATIONS]
    if unknown or not names:
        given = f"perturbation {unknown[0]!r}" if unknown else "no perturbation"
        raise InputError(given, f"some of {', '.join(PERTURBATIONS)}", "name some of these")
    return tuple(name for name in PERTURBATIONS if name in names)


@dataclass(frozen=True)
class PerturbedQuery:
    """A copy of a query. `meaning` is the judged similarity of a paraphrase to the query's text."""

    perturbation: str
    query: str
    copy: int
    text: str
    original: str
    meaning: float | None = None


Status = Literal["made", "not run"]


@dataclass
class Made:
    """What became of one perturbation."""

    status: Status = "made"
    reason: str = ""
    """Why it was not run."""
    copies: list[PerturbedQuery] = field(default_factory=list)
    not_applicable: int = 0
    """Queries that it can't change: too short, or not in the thesaurus."""
    filtered: int = 0
    """Paraphrases that were left out, since they may mean something else."""

    @property
    def queries(self) -> int:
        """How many queries have a copy."""
        return len({copy.query for copy in self.copies})


def perturb_queries(
    queries: Sequence[Query], name: str, copies: int, seed: int, least_meaning: float, sources: Mapping[str, Any]
) -> Made:
    """The copies of queries under one perturbation.

    Args:
        queries: text queries; those of a history have no text that anybody typed, and are left out.
        name: of PERTURBATIONS.
        copies: of each query, at most; equal ones are one.
        seed: another gives other copies.
        least_meaning: the similarity from which a paraphrase is kept.
        sources: by name, each source that the perturbation needs, or the Unavailable that says why it is not there.
    """
    perturbation = PERTURBATIONS[name]
    missing = [str(source) for key in perturbation.sources if isinstance(source := sources[key], Unavailable)]
    if missing:
        return Made("not run", "; ".join(missing))
    texts = [query for query in queries if not query.history]
    if not texts:
        return Made("not run", "no judged text queries" if queries else "no judged queries")
    made = Made()
    try:
        for query in texts:
            made.copies += _distinct(query, name, copies if perturbation.varies else 1, seed, sources)
        made.not_applicable = len(texts) - made.queries
        if perturbation.paraphrases:
            _filter_by_meaning(made, sources["judge"], least_meaning)
    except Unavailable as reason:  # a file of it is damaged
        return Made("not run", str(reason))
    if not made.copies:
        return Made("not run", f"it changes none of the {len(texts):,} queries", [], made.not_applicable, made.filtered)
    return made


def _distinct(query: Query, name: str, copies: int, seed: int, sources: Mapping[str, Any]) -> Iterator[PerturbedQuery]:
    """The copies of one query that differ from it and from each other."""
    seen = {query.text, ""}
    for copy in range(copies):
        text = PERTURBATIONS[name].change(query.text, Chance(seed, name, query.id, copy), sources)
        if text not in seen:
            seen.add(text)
            yield PerturbedQuery(name, query.id, copy, text, query.text)


def _filter_by_meaning(made: Made, judge: MeaningJudge, least: float) -> None:
    similarities = judge.similarities([copy.original for copy in made.copies], [copy.text for copy in made.copies])
    judged = [
        PerturbedQuery(**{**vars(copy), "meaning": similarity})
        for copy, similarity in zip(made.copies, similarities, strict=True)
    ]
    made.copies = [copy for copy in judged if copy.meaning is not None and copy.meaning >= least]
    made.filtered = len(judged) - len(made.copies)
