"""Recommenders give what their formulas say, computed here in another way."""

from itertools import groupby, pairwise

import numpy as np
import pytest

from pipelines.corpus.interaction_arrays import InteractionArrays
from pipelines.models.recommenders import ALGORITHMS, RecommenderOptions, ease, item_knn, markov, user_counts
from tests.pipelines.collections.movielens import small_films, small_ratings

FREE = RecommenderOptions(neighbours=1_000, regularization=3.0, shrinkage=2.0)


def arrays(choices, documents):
    """The interactions of `choices` (user, document, time, value), each of them a choice."""
    ids = sorted(documents)
    users = sorted({choice[0] for choice in choices})
    rows = sorted((users.index(user), time, ids.index(document)) for user, document, time, _ in choices)
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return InteractionArrays(columns[0], columns[2], columns[1], np.ones(len(rows), bool), users, ids)


@pytest.fixture(scope="module")
def shop():
    return arrays(small_ratings(), [film.id for film in small_films()])


def dense(choices):
    matrix = np.zeros((len(choices.user_ids), len(choices.document_ids)))
    matrix[choices.users, choices.documents] = 1
    return matrix


def test_ease_is_the_ridge_regression_of_each_document_on_all_others(shop):
    chosen = dense(shop)
    found = ease(shop, FREE).toarray()
    assert (np.diag(found) == 0).all()
    for column in (0, 17, 60, 119):
        others = np.delete(np.arange(120), column)
        gram = chosen[:, others].T @ chosen[:, others] + 3.0 * np.eye(119)
        expected = np.linalg.solve(gram, chosen[:, others].T @ chosen[:, column])
        assert np.allclose(found[others, column], expected, atol=1e-9)


def test_ease_of_the_most_chosen_is_ease_of_their_columns_alone(shop):
    counts = user_counts(shop)
    most = np.sort(np.argsort(-counts, kind="stable")[:30])
    found = ease(shop, RecommenderOptions(neighbours=1_000, regularization=3.0, most_items=30)).toarray()
    assert not np.delete(found, most, 0).any()
    inverse = np.linalg.inv(dense(shop)[:, most].T @ dense(shop)[:, most] + 3.0 * np.eye(30))
    assert np.allclose(found[np.ix_(most, most)] + np.eye(30), np.eye(30) * 2 - inverse / np.diag(inverse), atol=1e-9)


def test_item_knn_is_the_shrunk_cosine(shop):
    chosen, found = dense(shop), item_knn(shop, FREE).toarray()
    for one in (0, 5, 77):
        for other in range(120):
            both = (chosen[:, one] * chosen[:, other]).sum()
            lengths = np.sqrt(chosen[:, one].sum() * chosen[:, other].sum())
            assert found[one, other] == pytest.approx(0 if one == other else both / (lengths + 2.0))


def test_markov_counts_what_came_next(shop):
    counts, starts = np.zeros((120, 120)), np.zeros(120)
    rows = list(zip(shop.users.tolist(), shop.times.tolist(), shop.documents.tolist(), strict=True))
    for _, of_user in groupby(rows, key=lambda row: row[0]):
        moments = [sorted({row[2] for row in of_time}) for _, of_time in groupby(of_user, key=lambda row: row[1])]
        for now, then in pairwise(moments):
            for one in now:
                starts[one] += 1
                counts[one, then] += 1 / len(then)
    expected = counts / (starts[:, None] + 2.0)
    np.fill_diagonal(expected, 0)
    assert any(len(set(shop.times[shop.users == user])) < (shop.users == user).sum() for user in range(60)), "some at one time"
    assert np.allclose(markov(shop, FREE).toarray(), expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_row_keeps_its_largest_entries(shop, name):
    whole = ALGORITHMS[name](shop, FREE).toarray()
    cut = ALGORITHMS[name](shop, RecommenderOptions(neighbours=7, regularization=3.0, shrinkage=2.0)).toarray()
    for row in range(120):
        kept = np.flatnonzero(cut[row])
        assert len(kept) == min(7, np.count_nonzero(whole[row]))
        assert np.array_equal(cut[row][kept], whole[row][kept])
        rest = np.delete(np.abs(whole[row]), kept)
        assert len(kept) == 0 or rest.max(initial=0) <= np.abs(cut[row][kept]).min()


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    "choices",
    [[], [("ann", "m001", 5, 1.0)], [("ann", "m001", 5, 1.0)] * 3, [(user, "m001", 5, 1.0) for user in "abc"]],
    ids=["none", "one", "one thrice", "one document"],
)
def test_too_little_to_learn_from_gives_an_empty_matrix(name, choices):
    matrix = ALGORITHMS[name](arrays(choices, [film.id for film in small_films()]), FREE)
    assert (matrix.shape, matrix.nnz) == ((120, 120), 0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_document_that_nobody_chose_is_neither_recommended_nor_heard(name):
    choices = [choice for choice in small_ratings() if choice[1] != "m008"]
    matrix = ALGORITHMS[name](arrays(choices, [film.id for film in small_films()]), FREE).toarray()
    assert not matrix[8].any()
    assert not matrix[:, 8].any()
    assert matrix.any()


def test_users_are_counted_once(shop):
    twice = shop.where(np.r_[np.arange(len(shop)), np.arange(len(shop))])
    assert np.array_equal(user_counts(twice), dense(shop).sum(0))
