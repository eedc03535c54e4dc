"""Recommenders in closed form: from choices to one sparse matrix, document by document.

All serve alike: the scores of a history are the sum of the rows of its documents, so that a user whom the model never saw is
answered without training it again. A row keeps its `neighbours` largest entries by absolute value. A document that nobody
chose has an empty row and an empty column: it is neither recommended nor does it say anything.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv
from scipy.sparse import coo_array, csr_array, vstack

from pipelines.corpus.interaction_arrays import InteractionArrays

BLOCK = 512
"""Rows of the matrix that are counted at a time, so that memory does not grow with the square of the documents."""


@dataclass(frozen=True)
class RecommenderOptions:
    """What the closed forms can be told."""

    neighbours: int = 200
    """Documents that a row keeps."""
    regularization: float = 200.0
    """Of EASE: the L2 penalty of a weight."""
    shrinkage: float = 10.0
    """Of the others: how many more choices a document is counted with, so that rare ones do not lead by chance."""
    most_items: int = 8_000
    """Of EASE: the most chosen documents that enter; its matrix is dense and is inverted."""


def ease(choices: InteractionArrays, options: RecommenderOptions) -> csr_array:
    """EASE^R: the item-by-item regression without self-similarity whose solution is B = I - P diag(P)^-1, P = (X'X + λI)^-1.

    H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
    """
    chosen = _users_by_documents(choices)
    counts = np.asarray(chosen.sum(axis=0)).ravel()
    popular = np.sort(np.argsort(-counts, kind="stable")[: options.most_items])
    popular = popular[counts[popular] > 0]
    part = chosen[:, popular]
    gram = (part.T @ part).toarray()
    gram[np.diag_indices_from(gram)] += options.regularization
    weights = inv(gram, overwrite_a=True, check_finite=False)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0)
    kept = vstack([_largest(csr_array(weights[rows]), options.neighbours) for rows in _blocks(len(popular))]).tocoo()
    shape = (chosen.shape[1],) * 2
    return coo_array((kept.data, (popular[kept.row], popular[kept.col])), shape=shape).tocsr()


def item_knn(choices: InteractionArrays, options: RecommenderOptions) -> csr_array:
    """The cosine of two documents' users, shrunk: |both| / (sqrt(|one| |other|) + shrinkage).

    M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms", ACM TOIS 22(1), 2004.
    """
    chosen = _users_by_documents(choices)
    lengths = np.sqrt(np.asarray(chosen.sum(axis=0)).ravel())

    def similarity(block: csr_array, rows: slice) -> csr_array:
        pairs = block.tocoo()
        pairs.data /= lengths[rows][pairs.row] * lengths[pairs.col] + options.shrinkage
        pairs.data[pairs.row + rows.start == pairs.col] = 0
        return pairs.tocsr()

    return _by_blocks(chosen, chosen, similarity, options.neighbours)


def markov(choices: InteractionArrays, options: RecommenderOptions) -> csr_array:
    """How often users went from one document to another next: |one, then other| / (|one, then any| + shrinkage).

    A first-order Markov chain, as in G. Shani, D. Heckerman and R. Brafman, "An MDP-based recommender system", JMLR 6, 2005.
    Documents of one user and one second have no order: all are next to those of the second before, in equal parts of one.
    """
    steps = np.stack([choices.users, choices.times], 1)
    starts = np.flatnonzero(np.r_[True, (steps[1:] != steps[:-1]).any(1)]) if len(choices) else np.zeros(0, np.int64)
    moment = np.searchsorted(starts, np.arange(len(choices)), side="right") - 1
    shape = (len(starts), len(choices.document_ids))
    chosen = _ones(moment, choices.documents, shape)
    user = choices.users[starts]
    goes_on = np.flatnonzero(user[1:] == user[:-1])
    first, second = chosen[goes_on], chosen[goes_on + 1]
    sizes = np.repeat(np.diff(second.indptr), np.diff(second.indptr))
    after = csr_array((second.data / sizes, second.indices, second.indptr), shape=second.shape)
    seen = np.asarray(first.sum(axis=0)).ravel() + options.shrinkage

    def share(block: csr_array, rows: slice) -> csr_array:
        pairs = block.tocoo()
        pairs.data /= seen[rows][pairs.row]
        pairs.data[pairs.row + rows.start == pairs.col] = 0
        return pairs.tocsr()

    return _by_blocks(first, after, share, options.neighbours)


Trainer = Callable[[InteractionArrays, RecommenderOptions], csr_array]
ALGORITHMS: Mapping[str, Trainer] = {"ease": ease, "item-knn": item_knn, "markov": markov}
"""Every algorithm by its name. It gets choices alone and gives the matrix, (documents, documents)."""


def user_counts(interactions: InteractionArrays) -> NDArray[np.int64]:
    """By document, how many users had an interaction with it, (documents,)."""
    pairs = np.unique(np.stack([interactions.users, interactions.documents], 1), axis=0)
    return np.bincount(pairs[:, 1], minlength=len(interactions.document_ids))


def _users_by_documents(choices: InteractionArrays) -> csr_array:
    return _ones(choices.users, choices.documents, (len(choices.user_ids), len(choices.document_ids)))


def _ones(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """1 where a pair occurs, however often."""
    matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    matrix.data[:] = 1
    return matrix


def _by_blocks(left: csr_array, right: csr_array, score: Callable[[csr_array, slice], csr_array], neighbours: int) -> csr_array:
    """left' right, of which each block of rows is scored, then cut to its largest entries."""
    transposed = left.T.tocsr()
    blocks = _blocks(transposed.shape[0])
    return vstack([_largest(score(transposed[rows] @ right, rows), neighbours) for rows in blocks], format="csr")


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)] or [slice(0, 0)]


def _largest(matrix: csr_array, neighbours: int) -> csr_array:
    """The `neighbours` largest entries of each row by absolute value."""
    matrix.eliminate_zeros()
    matrix.sort_indices()
    kept = np.concatenate([np.zeros(0, np.int64), *_kept(matrix, neighbours)])
    lengths = np.minimum(np.diff(matrix.indptr), neighbours)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _kept(matrix: csr_array, neighbours: int) -> Iterator[NDArray[np.int64]]:
    for start, end in pairwise(matrix.indptr):
        order = np.argsort(-np.abs(matrix.data[start:end]), kind="stable")[:neighbours]
        yield np.sort(order) + start
