"""Dev next-item queries follow the rules of the test queries, and see nothing of the test."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.collections.next_item import next_items, time_cutoff
from pipelines.corpus.documents import Document
from pipelines.corpus.interaction_arrays import InteractionArrays, interaction_arrays, time_at
from pipelines.evaluation import dev
from pipelines.evaluation.dev import PastOfCorpus, dev_histories, past_of
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.pipelines.collections.movielens import corpus_of_choices, small_films, small_ratings, staged

ITEMS = [Document(id=name, text=name) for name in "abcdef"]


def arrays(choices, least):
    ids, users = list("abcdef"), sorted({one[0] for one in choices})
    rows = sorted((users.index(user), time, ids.index(document), value >= least) for user, document, time, value in choices)
    table = np.array(rows, np.int64).reshape(-1, 4)
    return InteractionArrays(table[:, 0], table[:, 2], table[:, 1], table[:, 3].astype(bool), users, ids)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdef"), st.integers(0, 30), st.integers(1, 5)), max_size=80),
    st.floats(0.05, 0.95), st.integers(1, 6), st.sampled_from([None, 3.0]),
)  # fmt: skip
def test_they_are_the_test_queries_of_an_earlier_cutoff(choices, quantile, longest, min_value):
    db = staged(ITEMS, choices)
    cutoff = time_cutoff(db, quantile)
    rows = arrays(choices, min_value or float("-inf"))
    assert time_at(rows.times, quantile) == cutoff
    asked = dev_histories(PastOfCorpus(rows, None, () if cutoff is None else (cutoff,), longest))
    expected = {
        query.id: (query.history, query.time, {qrel.document for qrel in qrels})
        for query, qrels in next_items(db, quantile, longest, min_value)
    }
    assert {one.id: (one.history, one.time, set(asked.qrels[one.id])) for one in asked.queries} == expected
    for query in asked.queries:
        earlier = {document for user, document, time, _ in choices if user == query.id and time < cutoff}
        assert asked.seen[query.id] == earlier


def test_the_latest_cutoff_that_asks_a_user_stays(home):
    past = past_of(load(open_store(), "corpus", corpus_of_choices(small_films(), small_ratings(200))), small_ids())
    asked = dev_histories(past)
    assert len(past.dev_cutoffs) == 4
    alone = [
        {one.id: one for one in dev_histories(replace(past, dev_cutoffs=(cutoff,))).queries} for cutoff in past.dev_cutoffs
    ]
    assert {one.id for one in asked.queries} == set().union(*alone)
    assert len(asked.queries) > max(map(len, alone))
    for query in asked.queries:
        assert query == next(found[query.id] for found in alone[::-1] if query.id in found)


def small_ids():
    return [film.id for film in small_films()]


def test_nothing_since_the_test_cutoff_is_seen(home):
    choices = small_ratings(120)
    corpus = load(open_store(), "corpus", corpus_of_choices(small_films(), choices))
    past = past_of(corpus, small_ids())
    assert past.test_cutoff == corpus.facts["cutoff"]
    assert past.interactions.times.max() < past.test_cutoff
    assert max(past.dev_cutoffs) < past.test_cutoff
    chance = random.Random(3)
    later = [(user, f"m{chance.randrange(120):03}", time, 1.0) if time >= past.test_cutoff else (user, document, time, value)
             for user, document, time, value in choices]  # fmt: skip
    other = past_of(load(open_store(), "corpus", corpus_of_choices(small_films(), later)), small_ids())
    assert other.test_cutoff == past.test_cutoff
    assert dev_histories(other) == dev_histories(past)


def test_low_values_are_seen_and_not_chosen(home):
    corpus = load(open_store(), "corpus", corpus_of_choices(small_films(), small_ratings(), min_value=4.0))
    found = interaction_arrays(corpus, small_ids())
    assert 0 < found.chosen.sum() < len(found) == len(small_ratings())
    assert found.chosen.sum() == sum(value >= 4 for *_, value in small_ratings())


def test_many_users_are_sampled_by_their_ids(home, monkeypatch):
    past = past_of(load(open_store(), "corpus", corpus_of_choices(small_films(), small_ratings(200))), small_ids())
    every = {one.id: one for one in dev_histories(past).queries}
    monkeypatch.setattr(dev, "MOST", 20)
    drawn = dev_histories(past)
    assert len(drawn.queries) == len(drawn.qrels) == len(drawn.seen) == 20
    assert all(every[one.id] == one for one in drawn.queries)
    assert [one.id for one in drawn.queries] == sorted(one.id for one in drawn.queries)


@pytest.mark.parametrize("choices", [[], [("ann", "a", 5, 1.0), ("bob", "b", 5, 1.0)]], ids=["none", "one time"])
def test_without_two_times_nobody_is_asked(choices):
    assert dev_histories(PastOfCorpus(arrays(choices, 0), None, ())).queries == []
    assert time_at(arrays(choices, 0).times, 0.9) is None
