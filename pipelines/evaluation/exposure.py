"""Exposure: how the attention of a ranking is shared among providers, such as suppliers, brands or categories.

A document at rank r has the exposure 1 / log2(r + 1), as in DCG (A. Singh and T. Joachims, "Fairness of exposure in rankings",
KDD 2018). A provider's is the sum over its documents in the first ten of every judged query. The Gini coefficient of the
providers' exposure is 0 where all have the same, and near 1 where one has everything.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.corpus.documents import Document
from pipelines.errors import InputError
from pipelines.evaluation.record import Evaluation
from pipelines.evaluation.segments import document_fields, document_values
from pipelines.retrieval.run import Run, read_run
from pipelines.statistics.concentration import Floats, gini
from pipelines.wording import counted

CUTOFF = 10
"""Ranks that are taken to be seen."""
RESAMPLES = 2000


@dataclass(frozen=True)
class ProviderShare:
    """A provider's share of the documents, of the reference's exposure and of the release's."""

    provider: str
    documents: float
    reference: float
    release: float


@dataclass(frozen=True)
class ExposureComparison:
    """The exposure by a release and by its reference, on the same queries."""

    field: str
    queries: int
    shares: list[ProviderShare]
    """The largest loss of share first."""
    reference: float
    """Gini coefficient of the reference's exposure over providers."""
    release: float
    low: float
    high: float
    """Bounds of the rise, release − reference."""

    @property
    def rise(self) -> float:
        """Release − reference of the Gini coefficient: above 0 the exposure is more concentrated."""
        return self.release - self.reference


def compare_exposure(
    evaluation: Evaluation,
    reference: Run,
    documents: Mapping[str, Document],
    field: str,
    confidence: float = 0.95,
    seed: int = 0,
) -> ExposureComparison:
    """Compare a release with a reference on the same queries.

    The interval is of the percentile bootstrap over queries; both sides of a query are drawn together.

    Args:
        evaluation: of the release that is judged, with one query or more.
        reference: ranked documents for the same queries.
        documents: those of both sides, by id.
        field: whose values are the providers: `segment`, or a facet of the documents.
        confidence: of the interval.
        seed: of the resamples.

    Raises:
        InputError: the documents have no such field, or fewer than two providers.
    """
    values = document_values(documents, field)
    providers = sorted(set(values.values()))
    if len(providers) < 2:
        raise InputError(
            f"exposure by {field!r}, which has {counted(len(providers), 'value')}",
            f"two providers or more: one of {', '.join(document_fields(documents.values())) or 'no field'}",
            "name one of these, or ingest the documents with --column facet=COLUMN",
        )
    queries = [row["query"] for row in evaluation.rows]
    runs = read_run(evaluation.artifact.path("run.trec")), reference
    sides = [_by_query(run, queries, values, providers) for run in runs]
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(queries), np.full(len(queries), 1 / len(queries)), RESAMPLES).astype(np.float32)
    ours, theirs = (gini((drawn @ side.astype(np.float32)).astype(float)) for side in sides)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ours - theirs, [tail, 1 - tail])
    return ExposureComparison(
        field=field,
        queries=len(queries),
        shares=_shares(values, providers, *sides),
        reference=float(gini(sides[1].sum(0))),
        release=float(gini(sides[0].sum(0))),
        low=float(low),
        high=float(high),
    )


def _by_query(run: Run, queries: Sequence[str], values: Mapping[str, str], providers: Sequence[str]) -> Floats:
    """The exposure of each provider by each query: shape (queries, providers)."""
    places = {provider: place for place, provider in enumerate(providers)}
    exposure = np.zeros((len(queries), len(providers)))
    for number, query in enumerate(queries):
        for rank, (document, _) in enumerate(run.get(query, [])[:CUTOFF], 1):
            if document in values:
                exposure[number, places[values[document]]] += 1 / np.log2(rank + 1)
    return exposure


def _shares(values: Mapping[str, str], providers: Sequence[str], release: Floats, reference: Floats) -> list[ProviderShare]:
    counts = Counter(values.values())
    ours, theirs = (side.sum(0) / max(side.sum(), 1e-12) for side in (release, reference))
    rows = [
        ProviderShare(provider, counts[provider] / len(values), float(theirs[place]), float(ours[place]))
        for place, provider in enumerate(providers)
    ]
    return sorted(rows, key=lambda row: (row.release - row.reference, row.provider))
