"""Segments of queries, by any field of the query or of its relevant documents, and two releases compared in each of them.

A mean over all queries hides a segment that broke. The worst of many segments is too bad by chance, though, so the intervals of
all segments hold at once (`pipelines.statistics.multiplicity`), and segments with few queries are listed but not judged.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.corpus.document_fields import SEGMENT
from pipelines.corpus.documents import Document
from pipelines.errors import InputError
from pipelines.evaluation.record import Evaluation
from pipelines.statistics.intervals import Floats, Interval, interval
from pipelines.statistics.multiplicity import Members, benjamini_hochberg, means_below_zero, simultaneous_confidence
from pipelines.statistics.power import detectable

LONGEST_LENGTH = 4
"""Words from which queries are one segment."""
HEAD_SHARE = 0.5
"""The share of all relevant judgments that the head's documents have."""
BANDS = 4
"""Segments that the numbers of a field are divided into, equally many documents in each."""

Row = Mapping[str, Any]
Groups = dict[str, set[str]]
"""By query id, the segments that the query is part of."""


def query_length(rows: Sequence[Row], _: Mapping[str, Document]) -> Groups:
    """How many words a query has."""

    def name(text: str) -> str:
        words = len(text.split())
        return f"{LONGEST_LENGTH} words or more" if words >= LONGEST_LENGTH else f"{words} word{'s' if words > 1 else ''}"

    return {row["query"]: {name(row["text"])} for row in rows}


def head_tail(rows: Sequence[Row], _: Mapping[str, Document]) -> Groups:
    """Whether a query's relevant documents are among those that are relevant most often and have half of all judgments."""
    counted = Counter(document["id"] for row in rows for document in row["relevant"])
    head, seen, half = set(), 0, HEAD_SHARE * counted.total()
    for document, count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        if seen >= half:
            break
        head.add(document)
        seen += count
    return {row["query"]: {"head" if document["id"] in head else "tail" for document in row["relevant"]} for row in rows}


QUERY_FIELDS: Mapping[str, Callable[[Sequence[Row], Mapping[str, Document]], Groups]] = {
    "query_length": query_length,
    "head_tail": head_tail,
}
"""Fields that follow from a query and its judgments, by name. Every other field is one of the relevant documents."""


def document_values(documents: Mapping[str, Document], field: str) -> dict[str, str]:
    """A field's value by document id, where it has one; many different numbers become bands of equally many documents."""
    values = {document.id: _value(document, field) for document in documents.values()}
    values = {document: value for document, value in values.items() if value}
    numbers = {document: number for document, value in values.items() if (number := _number(value)) is not None}
    if len(numbers) < len(values) or len(set(numbers.values())) <= 2 * BANDS:
        return values
    edges = np.quantile(list(numbers.values()), [band / BANDS for band in range(BANDS + 1)])
    places = np.clip(np.searchsorted(edges, list(numbers.values()), side="right") - 1, 0, BANDS - 1)
    return {
        document: f"{edges[place]:,.6g} to {edges[place + 1]:,.6g}" for document, place in zip(numbers, places, strict=True)
    }


def _value(document: Document, field: str) -> str:
    return document.segment if field == SEGMENT else document.facets.get(field, "")


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def document_fields(documents: Iterable[Document]) -> list[str]:
    """The fields that some of these documents have, sorted."""
    names: set[str] = set()
    for document in documents:
        names |= {*document.facets} | ({SEGMENT} if document.segment else set())
    return sorted(names)


def segments_of(evaluation: Evaluation, field: str, documents: Mapping[str, Document]) -> Groups:
    """The segments of each query; one with relevant documents in several is part of each.

    Args:
        evaluation: whose queries.
        field: of QUERY_FIELDS, `segment`, or a facet of the documents.
        documents: by id.

    Raises:
        InputError: neither queries nor documents have such a field.
    """
    if field in QUERY_FIELDS:
        return QUERY_FIELDS[field](evaluation.rows, documents)
    values = document_values(documents, field)
    if not values:
        raise InputError(
            f"segments by {field!r}",
            f"one of {', '.join(sorted({*QUERY_FIELDS, *document_fields(documents.values())}))}",
            "name one of these, or ingest the documents with --column facet=COLUMN",
        )
    return {
        row["query"]: {values[document["id"]] for document in row["relevant"] if document["id"] in values}
        for row in evaluation.rows
    }


@dataclass(frozen=True)
class SegmentDifference:
    """One segment: means of the release and of its reference, and their difference; all segments' intervals hold at once."""

    segment: str
    queries: int
    reference: float
    release: float
    difference: Interval
    holds: float
    """The margin that a release equal to its reference would pass."""
    worse: bool
    """Named as worse: with the stated confidence no segment is named falsely."""
    qvalue: float
    """Benjamini and Hochberg's adjusted p-value that it is worse: of those below q at most a share of q is so by chance."""


@dataclass(frozen=True)
class SegmentComparison:
    """The comparison of a release with a reference, by a field."""

    field: str
    judged: list[SegmentDifference]
    """The worst lower bound first."""
    too_small: dict[str, int]
    """Queries of each segment that has fewer than `least_queries`."""
    without: int
    """Queries in no segment."""

    @property
    def worst(self) -> SegmentDifference:
        """The segment with the lowest lower bound."""
        return self.judged[0]

    def gap(self, side: str) -> float:
        """The difference between the best and the worst segment's mean of a side, `release` or `reference`."""
        means = [getattr(row, side) for row in self.judged]
        return float(max(means) - min(means))


def compare_segments(
    evaluation: Evaluation,
    reference: Sequence[float],
    field: str,
    measure: str,
    confidence: float = 0.95,
    power: float = 0.8,
    least_queries: int = 30,
) -> SegmentComparison:
    """Compare a release with a reference on the same queries, in each segment.

    Args:
        evaluation: of the release that is judged.
        reference: what the measure is compared with, for each query in the order of query ids.
        field: by which the queries are divided.
        measure: of ranking quality.
        confidence: of all intervals together.
        power: with which a release equal to its reference must pass in all segments.
        least_queries: queries that a segment must have to be judged, two or more.

    Raises:
        InputError: there is no such field.
    """
    groups = segments_of(evaluation, field, evaluation.documents())
    sizes = Counter(segment for segments in groups.values() for segment in segments)
    names = sorted(segment for segment, count in sizes.items() if count >= least_queries)
    values = np.asarray(evaluation.values(measure)), np.asarray(reference)
    members = np.array([[name in groups[row["query"]] for name in names] for row in evaluation.rows], bool)
    judged = _judged(names, *values, members, confidence, power) if names else []
    return SegmentComparison(
        field=field,
        judged=judged,
        too_small={name: sizes[name] for name in sorted(sizes) if sizes[name] < least_queries},
        without=sum(not segments for segments in groups.values()),
    )


def _judged(
    names: Sequence[str], release: Floats, reference: Floats, members: Members, confidence: float, power: float
) -> list[SegmentDifference]:
    differences = release - reference
    each = simultaneous_confidence(differences, members, confidence)
    power_each = 1 - (1 - power) / len(names)
    worse = set(means_below_zero(differences, members, confidence))
    qvalues = benjamini_hochberg([_pvalue(interval(differences[inside])) for inside in members.T])
    rows = [
        SegmentDifference(
            segment=name,
            queries=int(inside.sum()),
            reference=float(reference[inside].mean()),
            release=float(release[inside].mean()),
            difference=interval(differences[inside], each),
            holds=float(detectable(differences[inside], each, power_each)),
            worse=column in worse,
            qvalue=qvalues[column],
        )
        for column, (name, inside) in enumerate(zip(names, members.T, strict=True))
    ]
    return sorted(rows, key=lambda row: (row.difference.low or 0, row.segment))


def _pvalue(difference: Interval) -> float:
    """One-sided, by Student's t: how often a segment that is not worse would look this bad."""
    from scipy.special import stdtr

    assert difference.mean is not None
    if not difference.sd:
        return 1.0 if difference.mean >= 0 else 0.0
    return float(stdtr(difference.n - 1, difference.mean / difference.sd * difference.n**0.5))
