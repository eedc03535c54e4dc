"""Ratings: the pairs of a day's corpus that were judged more than once, and how well their grades agree."""

import math

import numpy as np

from pipelines.corpus.documents import ratings
from pipelines.drift.rows import Rows, sketch
from pipelines.drift.sampling import unit_numbers
from pipelines.drift.signals import AGREED
from pipelines.drift.snapshot import Table
from pipelines.statistics.agreement import same_share, weighted_kappa
from pipelines.store.artifacts import Artifact
from pipelines.wording import counted


def rating_table(corpus: Artifact, most: int, seed: int) -> Table | None:
    """A row for each judgment of a pair that had one already: 1 if the grade is the same; none: each pair has one.

    Nobody knows which rating of one corpus is which of another, so none is the same row on both sides of a permutation.

    Args:
        corpus: whose ratings.
        most: rows in the sample.
        seed: of the sample.
    """
    counts = ratings(corpus)
    if not counts:
        return None
    agreed = np.repeat([float(one == other) for one, other in counts], list(counts.values()))
    (own,) = unit_numbers([corpus.id])
    rows = Rows(np.arange(len(agreed)) + (own << 31), numbers={AGREED: agreed})
    drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    return Table(sketch(rows), rows.take(drawn), [], None, f"{len(drawn):,} of {len(rows):,}, seed {seed}")


def agreement(corpus: Artifact) -> str:
    """How well the raters of a corpus agree, as a sentence."""
    counts = ratings(corpus)
    if not counts:
        return "Agreement of raters: not measured, one rating for each pair."
    kappa = weighted_kappa(counts)
    said = "all grades are equal" if math.isnan(kappa) else f"weighted kappa {kappa:.2f}"
    again = counted(sum(counts.values()), "further rating")
    return f"Agreement of raters: {100 * same_share(counts):.1f} % of {again} have the pair's first grade; {said}."
