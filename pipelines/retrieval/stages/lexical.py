"""Lexical retrieval: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009).

bm25s builds the index: for each word, the documents that have it with their finished scores, so that a search adds a few
columns of a sparse matrix. Searching needs NumPy and the stemmer alone. The artifact holds `scores.npz` (the matrix, by CSC),
`words.json` (the words and their columns) and `analysis.json` (language, stop words, settings).
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import InputError
from pipelines.retrieval.stages.answers import AskedQuery, DocumentScorer, DocumentScores, Scores
from pipelines.store.artifacts import Artifact

KIND = "lexical"
K1, B, METHOD = 1.5, 0.75, "lucene"
"""bm25s' defaults, untuned."""
STOP_WORDS = {
    "danish": "DANISH", "dutch": "DUTCH", "english": "EN", "french": "FRENCH", "german": "GERMAN", "italian": "ITALIAN",
    "norwegian": "NORWEGIAN", "portuguese": "PORTUGUESE", "russian": "RUSSIAN", "spanish": "SPANISH", "swedish": "SWEDISH",
    "turkish": "TURKISH",
}  # fmt: skip
"""Languages with a list of stop words in bm25s, by the end of its name there."""
WORD = re.compile(r"\w\w+")
SAMPLE, LEAST_SHARE = 2000, 0.05
"""Documents that tell the language, and the least share of their words that must be stop words of it."""


@dataclass(frozen=True)
class Analysis:
    """How a text becomes words: lower case, words of two letters or more, without stop words, stemmed by Snowball."""

    language: str
    """A Snowball language, or `none`: no stop words, no stemming."""
    stop_words: tuple[str, ...] = ()

    @cached_property
    def _stop(self) -> frozenset[str]:
        return frozenset(self.stop_words)

    @cached_property
    def _stemmer(self) -> Any:
        if self.language == "none":
            return None
        import Stemmer

        return Stemmer.Stemmer(self.language)

    def words(self, text: str) -> list[str]:
        """The words of a text, in their order.

        >>> Analysis("english", ("the",)).words("The running dogs")
        ['run', 'dog']
        """
        kept = [word for word in WORD.findall(text.lower()) if word not in self._stop]
        return self._stemmer.stemWords(kept) if self._stemmer else kept


def analysis_for(language: str, texts: Iterable[str] = ()) -> Analysis:
    """The analysis of a language.

    Args:
        language: a Snowball language, `none`, or `auto`: the language of most stop words in the texts, else English.
        texts: of documents, which `auto` looks at.

    Raises:
        InputError: there is no stemmer for the language.
    """
    import Stemmer

    if language == "auto":
        language = language_of(texts)
    if language != "none" and language not in Stemmer.algorithms():
        raise InputError(
            f"language {language!r}, for which there is no stemmer",
            f"auto, none, or one of {', '.join(sorted(Stemmer.algorithms()))}",
            "pass --language none to search words as they are written",
        )
    return Analysis(language, _stop_words(language))


def language_of(texts: Iterable[str]) -> str:
    """The language whose stop words are the largest share of the texts' words; English where that share is below 5 %.

    >>> language_of(["Der Hund und die Katze sind in dem Haus", "Das ist ein Haus"]), language_of(["oak tree"])
    ('german', 'english')
    """
    words = [word for text in islice(texts, SAMPLE) for word in WORD.findall(text.lower())]
    if not words:
        return "english"
    shares = {
        language: np.mean([word in stop for word in words]) for language in STOP_WORDS if (stop := set(_stop_words(language)))
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= LEAST_SHARE and shares[best] > shares["english"] else "english"


def _stop_words(language: str) -> tuple[str, ...]:
    import bm25s.stopwords

    name = STOP_WORDS.get(language)
    return tuple(sorted(getattr(bm25s.stopwords, f"STOPWORDS_{name}"))) if name else ()


@dataclass(frozen=True)
class Lexical(DocumentScorer):
    """A BM25 index of documents."""

    analysis: Analysis
    columns: dict[str, int]
    """Column by word."""
    starts: NDArray[np.int64]
    """Where the documents of each word begin in `rows`; one more at the end."""
    rows: NDArray[np.int32]
    scores: Scores
    bounded: ClassVar[bool] = False
    uses_vectors: ClassVar[bool] = False

    def answer(self, asked: AskedQuery) -> DocumentScores:
        """BM25 scores of the query's text; a document that shares no word with it has 0."""
        return self.search(asked.query.text)

    def search(self, text: str) -> DocumentScores:
        """BM25 scores of all documents for a text; a word that occurs twice counts twice."""
        scores = np.zeros(len(self.ids), np.float32)
        for word in self.analysis.words(text):
            column = self.columns.get(word)
            if column is not None:
                found = slice(self.starts[column], self.starts[column + 1])
                scores[self.rows[found]] += self.scores[found]  # a document is once in a column
        return self.scored(scores)


def build_lexical(ids: Sequence[str], texts: Sequence[str], analysis: Analysis, k1: float = K1, b: float = B) -> Lexical:
    """Index documents.

    Args:
        ids: document ids, sorted.
        texts: of the documents, in the order of ids.
        analysis: of texts and queries.
        k1: how soon a word's frequency saturates.
        b: how much long documents are marked down, from 0 to 1.
    """
    import bm25s

    words = [analysis.words(text) for text in texts]
    if not any(words):
        return Lexical(ids, analysis, {}, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    ranker = bm25s.BM25(k1=k1, b=b, method=METHOD)
    ranker.index(words, show_progress=False)
    matrix, columns = ranker.scores, {word: column for word, column in ranker.vocab_dict.items() if word}
    return Lexical(
        ids, analysis, columns, matrix["indptr"].astype(np.int64), matrix["indices"].astype(np.int32), matrix["data"]
    )


def write_lexical(folder: Path, index: Lexical, k1: float, b: float) -> None:
    """Write the artifact's files."""
    np.savez(folder / "scores.npz", starts=index.starts, rows=index.rows, scores=index.scores)
    words = sorted(index.columns, key=lambda word: index.columns[word])
    numbers = [index.columns[word] for word in words]
    (folder / "words.json").write_text(json.dumps([words, numbers], ensure_ascii=False), encoding="utf-8")
    settings = {**asdict(index.analysis), "k1": k1, "b": b, "method": METHOD}
    (folder / "analysis.json").write_text(json.dumps(settings, ensure_ascii=False, indent=1), encoding="utf-8")


def load_lexical(artifact: Artifact, ids: Sequence[str]) -> Lexical:
    """Load the artifact.

    Args:
        artifact: of kind `lexical`.
        ids: document ids of its corpus, sorted.

    Raises:
        InputError: this environment has no stemmer for its language.
    """
    settings = artifact.json("analysis.json")
    analysis = Analysis(settings["language"], tuple(settings["stop_words"]))
    try:
        analysis.words("check")
    except (ImportError, KeyError) as error:
        raise InputError(
            f"lexical index {artifact.id} in language {analysis.language}, without a stemmer here ({error})",
            "the package PyStemmer with this language",
            "install the extra `serve` or `steps`",
        ) from None
    words, numbers = artifact.json("words.json")
    with np.load(artifact.path("scores.npz"), allow_pickle=False) as arrays:
        return Lexical(
            ids, analysis, dict(zip(words, numbers, strict=True)), arrays["starts"], arrays["rows"], arrays["scores"]
        )
