"""What people see of a drift: the documents that moved most, clusters and words that came and went, values that shifted.

All are from the samples of two snapshots, and none decides: the tests do.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pipelines.drift.rows import Sketch, random_features
from pipelines.models.encoder import Vectors
from pipelines.statistics.intervals import Floats

WORD = re.compile(r"[^\W\d_]{2,}")
NEIGHBOURS = 10
FOLDS = 5
SHOWN = 8
COMPONENTS = 32
"""Principal components that are looked at one by one."""
MOVED = 0.1
"""A component's distance, in standard deviations of the reference, from which on Evidently counts it as moved."""
LEAST_SHARE = 0.01
"""Of the rows of one side that a cluster needs to be told of."""
Shown = Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """Rows that are alike, and their share on each side."""

    words: str
    before: float
    now: float
    examples: list[Shown]


class Method(NamedTuple):
    """How far apart the sides' vectors are by a method that Evidently has for embeddings."""

    name: str
    score: float
    threshold: float
    """Evidently's own, above which it says drift."""


@dataclass(frozen=True)
class Examples:
    """What of a table changed, from the samples of the reference and the current snapshot."""

    auc: float | None = None
    """How well a classifier tells the sides apart: 0.5 not at all, 1 always; none: there are no vectors of one encoder."""
    centroid: float | None = None
    """1 − cosine of the two mean vectors."""
    neighbours: float | None = None
    """The part of the ten nearest that rows of both sides kept, among these rows."""
    moved: list[tuple[Shown, float]] = field(default_factory=list)
    """Rows of both sides by the cosine of their vectors, the least first; else new rows, by that to their nearest."""
    clusters: list[Cluster] = field(default_factory=list)
    terms: list[tuple[str, float, float]] = field(default_factory=list)
    """Words with the share of the rows that have them, before and now; the clearest changes first."""
    methods: list[Method] = field(default_factory=list)
    """How far apart the vectors are, by several methods."""


def examples(
    before: tuple[Sequence[Shown], Vectors | None],
    now: tuple[Sequence[Shown], Vectors | None],
    alike: bool,
    same_rows: bool = True,
) -> Examples:
    """Compare two samples.

    Args:
        before, now: the texts of each sample, and the vectors if there are any.
        alike: whether the vectors are of one encoder; others are not compared.
        same_rows: whether rows of one id are the same row on both sides; ids of searches are users.
    """
    terms = changed_terms([row["text"] for row in before[0]], [row["text"] for row in now[0]])
    if not alike or before[1] is None or now[1] is None or min(len(before[1]), len(now[1])) < 10 * FOLDS:
        return Examples(terms=terms)
    first, second = np.asarray(before[1], np.float64), np.asarray(now[1], np.float64)
    means = [side.mean(0) for side in (first, second)]
    cosine = float(means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1])))
    place = {row["id"]: number for number, row in enumerate(before[0])}
    pairs = [(place[row["id"]], number) for number, row in enumerate(now[0]) if same_rows and row["id"] in place]
    groups = [*(row["id"] for row in before[0]), *(row["id"] for row in now[0])]
    auc = domain_auc(first, second, groups)
    return Examples(
        auc,
        max(0.0, 1 - cosine),
        kept_neighbours(first, second, pairs),
        _moved(first, second, pairs, now[0], same_rows),
        changed_clusters(first, second, [*before[0], *now[0]]),
        terms,
        vector_methods(first, second, auc),
    )


def domain_auc(before: Floats, now: Floats, groups: Sequence[str]) -> float:
    """The area under the ROC curve of a classifier that says which side a row is of (D. Lopez-Paz, M. Oquab, "Revisiting
    classifier two-sample tests", ICLR 2017): logistic regression of scikit-learn, judged on folds that it was not fitted to.

    Args:
        before, now: vectors, (rows, dimensions).
        groups: of each row, before and now; rows of one group are in one fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    sides = np.concatenate([np.zeros(len(before)), np.ones(len(now))])
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    model = LogisticRegression(max_iter=200)
    said = cross_val_predict(
        model, np.concatenate([before, now]), sides, groups=list(groups), cv=folds, method="decision_function"
    )
    return float(roc_auc_score(sides, said))


def vector_methods(before: Floats, now: Floats, auc: float) -> list[Method]:
    """The methods of Evidently 0.7 for embeddings, with its thresholds; on whole vectors, but for the components.

    Its maximum mean discrepancy takes half a minute for some hundred rows: here it is estimated as for the alarms, from random
    Fourier features of a Gaussian kernel, without what the number of rows adds.

    Args:
        before, now: vectors, (rows, dimensions).
        auc: of the classifier that tells the sides apart.
    """
    from scipy.stats import wasserstein_distance

    both = np.concatenate([before, now])
    directions = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:COMPONENTS].T
    pairs = zip((before @ directions).T, (now @ directions).T, strict=True)
    moved = [wasserstein_distance(then, later) / max(then.std(), 1e-3) >= MOVED for then, later in pairs]
    means = [np.asarray(random_features(side.astype(np.float32)).mean(0), np.float64) for side in (before, now)]
    noise = sum((1 - float(mean @ mean)) / (len(side) - 1) for mean, side in zip(means, (before, now), strict=True))
    discrepancy = max(0.0, float(((means[0] - means[1]) ** 2).sum()) - noise)
    return [
        Method("model: ROC AUC of a classifier", auc, 0.55),
        Method("mmd: squared maximum mean discrepancy", discrepancy, 0.015),
        Method(f"ratio: part of {len(moved)} components that moved by {MOVED:g} or more", float(np.mean(moved)), 0.2),
        Method("distance: of the mean vectors", float(np.linalg.norm(before.mean(0) - now.mean(0))), 0.2),
    ]


def kept_neighbours(before: Floats, now: Floats, pairs: Sequence[tuple[int, int]]) -> float | None:
    """Of rows that both sides have: the mean part of the ten nearest of them that stayed; none: there are too few."""
    if len(pairs) <= 2 * NEIGHBOURS:
        return None
    nearest = []
    for vectors, side in ((before, 0), (now, 1)):
        chosen = vectors[[pair[side] for pair in pairs]]
        cosines = chosen @ chosen.T
        np.fill_diagonal(cosines, -2)
        nearest.append(np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    kept = [len(set(first) & set(second)) for first, second in zip(nearest[0].tolist(), nearest[1].tolist(), strict=True)]
    return float(np.mean(kept)) / NEIGHBOURS


def _moved(
    before: Floats, now: Floats, pairs: Sequence[tuple[int, int]], rows: Sequence[Shown], same_rows: bool
) -> list[tuple[Shown, float]]:
    cosines = [(float(before[first] @ now[second]), second) for first, second in pairs]
    moved = sorted((cosine, row) for cosine, row in cosines if cosine < 1 - 1e-4)
    if not moved:
        known = {second for _, second in pairs}
        moved = sorted((float((before @ now[row]).max()), row) for row in range(len(now)) if row not in known)
    if not same_rows:  # a query is asked by many users: each text once
        moved = list({rows[row]["text"]: (cosine, row) for cosine, row in reversed(moved)}.values())[::-1]
    return [(rows[row], cosine) for cosine, row in moved[:SHOWN]]


def changed_clusters(before: Floats, now: Floats, rows: Sequence[Shown]) -> list[Cluster]:
    """Clusters (k-means of scikit-learn over both sides) of which one side has three times the share of the other."""
    from sklearn.cluster import MiniBatchKMeans

    both = np.concatenate([before, now])
    count = max(2, min(25, len(both) // 40))
    labels = MiniBatchKMeans(count, random_state=0, n_init=3, batch_size=1024).fit_predict(both)
    is_now = np.arange(len(both)) >= len(before)
    found = []
    words = [set(WORD.findall(row["text"].lower())) for row in rows]
    everywhere = Counter(word for one in words for word in one)
    for label in range(count):
        members = np.flatnonzero(labels == label)
        shares = [float((~is_now[members]).sum()) / len(before), float(is_now[members].sum()) / len(now)]
        if max(shares) >= LEAST_SHARE and max(shares) >= 3 * min(shares):
            own = Counter(word for row in members for word in words[row])
            best = sorted(own, key=lambda word: (-(own[word] ** 2) / everywhere[word], word))[:4]
            of_larger = members[is_now[members] == (shares[1] >= shares[0])]
            found.append(Cluster(" ".join(best), shares[0], shares[1], [rows[row] for row in of_larger[:4]]))
    return sorted(found, key=lambda cluster: -abs(cluster.now - cluster.before))[:SHOWN]


def changed_terms(before: Sequence[str], now: Sequence[str]) -> list[tuple[str, float, float]]:
    """Words whose share of the rows changed most clearly, by the test of two proportions.

    >>> changed_terms(["red shoe"] * 9, ["red scarf"] * 9)
    [('scarf', 0.0, 1.0), ('shoe', 1.0, 0.0)]
    """
    counts = [Counter(word for text in side for word in set(WORD.findall(text.lower()))) for side in (before, now)]
    clear: list[tuple[float, str, float, float]] = []
    for word in counts[0].keys() | counts[1].keys():
        then, later = counts[0][word] / max(1, len(before)), counts[1][word] / max(1, len(now))
        share = (counts[0][word] + counts[1][word]) / (len(before) + len(now))
        error = (share * (1 - share) * (1 / max(1, len(before)) + 1 / max(1, len(now)))) ** 0.5
        if counts[0][word] + counts[1][word] >= 5 and error and abs(later - then) / error >= 3:
            clear.append((-abs(later - then) / error, word, then, later))
    return [(word, then, later) for _, word, then, later in sorted(clear)[:20]]


def changed_values(before: Sketch, now: Sketch, column: str) -> list[tuple[str, float, float]]:
    """The values of a column with their shares before and now, the largest changes first."""
    then, later = before.columns.get(column, {}), now.columns.get(column, {})
    totals = [max(1, sum(side.values())) for side in (then, later)]
    rows = [(value, then.get(value, 0) / totals[0], later.get(value, 0) / totals[1]) for value in {*then, *later}]
    return sorted(rows, key=lambda row: (-abs(row[2] - row[1]), row[0]))[:SHOWN]


def differing_columns(before: Mapping[str, Sketch], now: Mapping[str, Sketch]) -> list[str]:
    """What only one side has, as sentences: tables and columns."""
    said = [f"The reference has no {table}." for table in now if table not in before]
    said += [f"Today has no {table}." for table in before if table not in now]
    for table in now.keys() & before.keys():
        names: list[tuple[str, Any]] = [("column", lambda one: one.columns), ("number", lambda one: one.numbers)]
        for kind, get in names:
            then, later = set(get(before[table])), set(get(now[table]))
            said += [f"New {kind} of {table}, not compared: {name}." for name in sorted(later - then)]
            said += [f"Missing {kind} of {table}, not compared: {name}." for name in sorted(then - later)]
    return said
