"""Blend: the first documents of the stages before are ordered by a weighted sum of their scores and of features.

The terms are the score of the stages before the reranker, the reranker's, and numbers of feature views. What a release takes of
which view, in which unit and with which weight is in its blend's `blend.json`, so nothing of it changes while the release
serves. A value that is missing, too old or late counts as its default.

`values.npz` has the values as of some moments. Whatever ranks without a server ranks by them: it says the same tomorrow, and a
query with a time sees nothing from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import CorruptArtifact
from pipelines.retrieval.run import Ranking
from pipelines.retrieval.stages.card import QueryKind
from pipelines.store.artifacts import Artifact

KIND = "blend"
CARD, VALUES = "blend.json", "values.npz"
RETRIEVER, RERANKER = "retriever", "reranker"
"""The terms that are no features: the score of the stages before the reranker, and the reranker's own."""
Floats = NDArray[np.float64]


class BlendFeature(BaseModel):
    """A number of a feature view, as the weights were fitted to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    view: str
    feature: str
    key: str
    """The column that names the entity."""
    definition: str
    """The sha256 of what decides the view's values: a changed view is another one."""
    ttl_s: float
    """Seconds after which a value is too old."""
    unit: Literal["number", "logarithm"]
    """Logarithm: of 1 + the value, as counts are read."""
    default: float
    """What a missing value counts as."""
    mean: float
    deviation: float = Field(gt=0)
    """Mean and deviation, in the unit, of the values that the weights were fitted to."""

    @property
    def name(self) -> str:
        """The term's name."""
        return f"{self.view}.{self.feature}"

    def scaled(self, values: Floats) -> Floats:
        """Values as they are weighted; NaN: the default.

        >>> of = {"view": "v", "feature": "f", "key": "k", "definition": "", "ttl_s": 1, "unit": "number"}
        >>> BlendFeature(**of, default=1, mean=1, deviation=2).scaled(np.array([5, np.nan])).tolist()
        [2.0, 0.0]
        """
        known = np.where(np.isnan(values), self.default, values)
        return (in_unit(known, self.unit) - self.mean) / self.deviation


def in_unit(values: Floats, unit: str) -> Floats:
    """Numbers, or the logarithms of 1 + these, with their signs."""
    return np.sign(values) * np.log1p(np.abs(values)) if unit == "logarithm" else values


class BlendCard(BaseModel):
    """`blend.json`: what is read, and how much each term counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    candidates: int = Field(ge=1, le=1000)
    """How many first documents are ordered anew."""
    features: tuple[BlendFeature, ...]
    log: str = ""
    """server: the values are of the search server's log; empty: of the corpus's interactions."""
    weights: Mapping[QueryKind, Mapping[str, float]]
    """By kind of query the weight of each term; a kind without weights is not blended."""


@dataclass(frozen=True)
class FeatureValues:
    """The values of some documents' features, (documents, features); NaN: there is none."""

    values: Floats
    late: bool = False
    """Whether they did not come in time, so that there are none."""


@dataclass(frozen=True)
class Candidates:
    """Documents whose features are wanted, as of a time in seconds since 1970; none: as of now."""

    documents: Sequence[str]
    time: int | None = None


class FeatureSource(Protocol):
    """Where features are read."""

    def read(self, features: Sequence[BlendFeature], searches: Sequence[Candidates]) -> list[FeatureValues]:
        """The values of each search's documents. It never raises for a store that does not answer: then all are late."""


@dataclass(frozen=True)
class StoredValues:
    """The values as of some cuts, which a blend's artifact has."""

    places: Mapping[str, int]
    """By document its row."""
    cuts: NDArray[np.int64]
    """Seconds since 1970, ascending."""
    values: Floats
    """(cuts, documents, features)"""
    choices: Floats
    """(cuts, documents): how many users had chosen a document before, which popularity would rank by."""

    @classmethod
    def of(cls, ids: Sequence[str], cuts: Sequence[int] | NDArray[np.int64], values: Floats, choices: Floats) -> "StoredValues":
        """The values of documents by their ids, in the order of the rows."""
        places = {document: row for row, document in enumerate(ids)}
        return cls(places, np.array(cuts, np.int64), values, choices)

    def read(self, features: Sequence[BlendFeature], searches: Sequence[Candidates]) -> list[FeatureValues]:
        """See `FeatureSource`; as of the last cut that is not after the time, and of the last one of all without a time."""
        return [FeatureValues(self._of(self.values, search, len(features))) for search in searches]

    def chosen(self, search: Candidates) -> Floats:
        """How many users had chosen each document, (documents,)."""
        return self._of(self.choices[..., None], search, 1)[:, 0]

    def _of(self, table: Floats, search: Candidates, width: int) -> Floats:
        cut = len(self.cuts) if search.time is None else int(np.searchsorted(self.cuts, search.time, side="right"))
        if not cut:
            return np.full((len(search.documents), width), np.nan)
        return np.asarray(table[cut - 1, [self.places[document] for document in search.documents]])


def load_values(artifact: Artifact, ids: Sequence[str]) -> StoredValues:
    """The values that a blend has.

    Args:
        artifact: of kind `blend`.
        ids: document ids of its corpus, sorted.

    Raises:
        CorruptArtifact: they are not those of the card's features and these documents.
    """
    with np.load(artifact.path(VALUES), allow_pickle=False) as arrays:
        cuts, values, choices = arrays["cuts"], arrays["values"], arrays["choices"]
    expected = (len(cuts), len(ids), len(card_of(artifact).features))
    if values.shape != expected or choices.shape != expected[:2] or not len(cuts):
        raise CorruptArtifact(f"blend {artifact.id} with values {values.shape}", f"{expected}", "fit it again with fit_blend")
    return StoredValues.of(ids, cuts, values, choices)


def card_of(artifact: Artifact) -> BlendCard:
    """What a blend reads and how it weighs."""
    return BlendCard.model_validate(artifact.json(CARD))


@dataclass(frozen=True)
class Found:
    """What the stages before the blend made of a query."""

    kind: QueryKind
    ranking: Ranking
    """Of the last of them."""
    retriever: Mapping[str, float]
    """By document the score of the stages before the reranker, in a scale that is the same for every query."""
    reranker: Mapping[str, float]
    """By document the reranker's score; of those alone that it had time for."""
    time: int | None = None


@dataclass(frozen=True)
class Terms:
    """The terms of a query's candidates."""

    documents: Sequence[str]
    names: Sequence[str]
    scaled: Floats
    """(documents, terms): what is weighted."""
    values: Floats
    """(documents, terms): scores and features as they were read; NaN: a default stands in."""
    late: bool

    @property
    def defaulted(self) -> int:
        """How many documents lack a feature."""
        return int(np.isnan(self.values).any(1).sum())


@dataclass(frozen=True)
class Blended:
    """What the blend made of a search, and of what."""

    terms: Terms
    weights: Mapping[str, float]
    """By term; one that is not there counts nothing."""

    @property
    def counts(self) -> dict[str, Any]:
        """How many documents were ordered, how many of these with a default, and whether no feature came in time."""
        return {"candidates": len(self.terms.documents), "defaulted": self.terms.defaulted, "late": self.terms.late}

    def explained(self, document: str) -> dict[str, dict[str, float | None]]:
        """By term what it added to a document's score; a value that is none was missing, and the default stood in."""
        if document not in self.terms.documents:
            return {}
        row = list(self.terms.documents).index(document)
        of_document = zip(self.terms.names, self.terms.values[row].tolist(), self.terms.scaled[row].tolist(), strict=True)
        return {
            name: {
                "value": None if np.isnan(value) else value,
                "weight": self.weights[name],
                "score": self.weights[name] * scaled,
            }
            for name, value, scaled in of_document
            if name in self.weights
        }


@dataclass(frozen=True)
class Blend:
    """The stage, loaded."""

    card: BlendCard
    source: FeatureSource

    def depth(self, kind: QueryKind) -> int:
        """How many documents must be found for it to order; 0: queries of this kind are not blended."""
        return self.card.candidates if self.card.weights.get(kind) else 0

    def rank_together(self, found: Sequence[Found]) -> list[tuple[Ranking, Blended]]:
        """Each ranking with its candidates ordered anew, ties in their first order; all features are read together."""
        return [self._blended(*both) for both in zip(found, self.terms(found), strict=True)]

    def terms(self, found: Sequence[Found]) -> list[Terms]:
        """The terms of each query's candidates."""
        candidates = [[document for document, _ in one.ranking[: self.card.candidates]] for one in found]
        searches = [Candidates(documents, one.time) for documents, one in zip(candidates, found, strict=True)]
        read = self.source.read(self.card.features, searches)
        return [self._terms(*three) for three in zip(found, candidates, read, strict=True)]

    def _terms(self, found: Found, documents: Sequence[str], read: FeatureValues) -> Terms:
        lowest = min(found.reranker.values(), default=0.0)  # of those that it had no time for
        columns = [[found.retriever[name] for name in documents], [found.reranker.get(name, lowest) for name in documents]]
        scores = np.array(columns, float).T.reshape(len(documents), 2)
        features = [feature.scaled(read.values[:, place]) for place, feature in enumerate(self.card.features)]
        return Terms(
            documents,
            [RETRIEVER, RERANKER, *(feature.name for feature in self.card.features)],
            np.column_stack([scores, *features]),
            np.column_stack([scores, read.values]),
            read.late,
        )

    def _blended(self, found: Found, terms: Terms) -> tuple[Ranking, Blended]:
        weights = self.card.weights[found.kind]
        scores = terms.scaled @ np.array([weights.get(name, 0.0) for name in terms.names])
        order = np.argsort(-scores, kind="stable")
        first = [(terms.documents[row], float(scores[row])) for row in order]
        rest = found.ranking[len(first) :]
        if rest:  # they follow in their order, below the last that was blended
            lowest, start = first[-1][1], found.ranking[len(first) - 1][1]
            rest = [(document, lowest - max(0.0, start - score)) for document, score in rest]
        return first + rest, Blended(terms, weights)


def write_blend(folder: Path, card: BlendCard, stored: StoredValues) -> None:
    """Write the artifact's files."""
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    np.savez(folder / VALUES, cuts=stored.cuts, values=stored.values, choices=stored.choices)
