"""Next-item queries: one cutoff for all users, nothing of the future in a history, and sensible answers to odd data."""

import random
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.collections.next_item import next_items, split_facts, time_cutoff
from pipelines.corpus.documents import Document
from tests.conftest import PROJECT
from tests.pipelines.collections.movielens import before, films, ml_100k, ratings, small_films, small_ratings, staged

__all__ = ["ml_100k"]
ITEMS = [Document(id=name, text=f"about {name}", title=f"Title {name}") for name in "abcdefgh"]
CROWD = [(f"old-{number}", "h", number % 90, 1.0) for number in range(880)] + [
    (f"new-{number}", "h", 100, 1.0) for number in range(100)
]
"""So many, with one choice each, that the cutoff at 0.9 is the time 100, whatever a few more choose."""


def asked(*choices, **rule):
    """Queries by user, where the cutoff is 100: history and what is relevant."""
    db = staged(ITEMS, [*CROWD, *choices])
    assert time_cutoff(db) == 100
    made = next_items(db, **rule)
    return {query.id: ("".join(query.history), {qrel.document for qrel in qrels}) for query, qrels in made}


def choices_of(user, documents, start=0, value=1.0):
    return [(user, document, start + place, value) for place, document in enumerate(documents)]


@pytest.mark.parametrize(("quantile", "cutoff"), [(0.9, 90), (0.5, 50), (0.1, 10), (0.999, 99), (0.001, 1)])
def test_the_cutoff_is_a_quantile_of_the_times_and_has_something_on_each_side(quantile, cutoff):
    times = random.Random(0).sample(range(100), 100)
    assert time_cutoff(staged(ITEMS, [("ann", "a", time, 1.0) for time in times]), quantile) == cutoff


def test_history_before_next_after():
    made = asked(*choices_of("ann", "abc", 50), *choices_of("ann", "def", 100), *choices_of("bob", "ab"))
    assert made == {"ann": ("abc", {"d"})}


def test_the_cutoff_itself_is_the_future():
    assert asked(("ann", "a", 99, 1.0), ("ann", "b", 100, 1.0), ("ann", "c", 101, 1.0)) == {"ann": ("a", {"b"})}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdef"), st.integers(0, 30), st.integers(1, 5)), max_size=80),
    st.floats(0.05, 0.95), st.integers(1, 6), st.sampled_from([None, 3.0]),
)  # fmt: skip
def test_nothing_of_the_future_enters_and_all_is_accounted_for(choices, quantile, longest, min_value):
    rule = {"quantile": quantile, "longest": longest, "min_value": min_value}
    db = staged(ITEMS, choices)
    cutoff, made = time_cutoff(db, quantile), list(next_items(db, **rule))
    assert (cutoff is None) == (len({time for _, _, time, _ in choices}) < 2)
    liked = [one for one in choices if min_value is None or one[3] >= min_value]
    seen = {} if cutoff is None else before(choices, cutoff)
    expected = {}
    for user in sorted({one[0] for one in choices}) if cutoff is not None else ():
        past = {one[1]: one[2] for one in sorted(liked, key=lambda one: one[2]) if one[0] == user and one[2] < cutoff}
        future = [one for one in liked if one[0] == user and one[2] >= cutoff and one[1] not in seen.get(user, ())]
        if past and future:
            first = min(one[2] for one in future)
            history = sorted(past, key=lambda document: (past[document], document))[-longest:]
            expected[user] = (tuple(history), sorted({one[1] for one in future if one[2] == first}))
    assert {query.id: (query.history, [qrel.document for qrel in qrels]) for query, qrels in made} == expected
    assert all(query.time == cutoff and query.split == "test" for query, _ in made)


def test_order_of_rows_says_nothing():
    choices = small_ratings()
    shuffled = random.Random(1).sample(choices, len(choices))
    assert list(next_items(staged(small_films(), choices))) == list(next_items(staged(small_films()[::-1], shuffled)))
    made = [query.id for query, _ in next_items(staged(small_films(), choices))]
    assert len(made) > 5
    assert all(one < after for one, after in pairwise(made))


def test_a_repeat_is_no_next_item_and_counts_where_it_was_last():
    made = asked(*choices_of("ann", "abca", 50), *choices_of("ann", "bcadd", 100))
    assert made == {"ann": ("bca", {"d"})}
    assert asked(*choices_of("ann", "ab", 50), *choices_of("ann", "ba", 100)) == {}, "nothing that the user had not chosen"


def test_what_fell_out_of_a_long_history_is_no_next_item_either():
    made = asked(*choices_of("ann", "abcdef", 50), *choices_of("ann", "ag", 100), longest=2)
    assert made == {"ann": ("ef", {"g"})}


def test_documents_of_one_second_are_all_next():
    made = asked(("ann", "a", 5, 1.0), *[("ann", one, 200, 1.0) for one in "edc"], ("ann", "f", 201, 1.0))
    assert made == {"ann": ("a", {"c", "d", "e"})}


def test_a_history_of_one_second_is_in_the_order_of_ids():
    choices = [("ann", one, 5, 1.0) for one in "cabd"]
    assert asked(*choices, ("ann", "e", 100, 1.0)) == {"ann": ("abcd", {"e"})}
    assert asked(*choices, ("ann", "e", 100, 1.0), longest=2) == {"ann": ("cd", {"e"})}


def test_low_values_are_seen_but_not_chosen():
    liked, bad, later = ("ann", "a", 1, 5.0), ("ann", "b", 2, 1.0), ("ann", "b", 100, 5.0)
    choices = [liked, bad, later, ("ann", "c", 101, 2.0), ("ann", "d", 102, 4.0)]
    assert asked(*choices)["ann"] == ("ab", {"c"})
    assert asked(*choices, min_value=4.0) == {"ann": ("a", {"d"})}
    assert asked(*choices, ("bob", "a", 3, 1.0), ("bob", "d", 101, 5.0), min_value=4.0).keys() == {"ann"}, "bob liked nothing"
    db = staged(ITEMS, [*CROWD, *choices])
    facts = split_facts(db, min_value=4.0)
    assert (facts["min_value"], facts["cutoff"], facts["interactions"], facts["interactions_before"]) == (4.0, 100, 985, 882)
    assert facts["interactions_below_min_value"] == 980 + 2
    assert (split_facts(db)["min_value"], split_facts(db)["interactions_below_min_value"]) == (None, 0)


def test_unknown_documents_are_skipped():
    made = asked(("ann", "gone", 5, 1.0), ("ann", "a", 6, 1.0), ("ann", "missing", 100, 1.0), ("ann", "b", 101, 1.0))
    assert made == {"ann": ("a", {"b"})}
    assert asked(("bob", "gone", 5, 1.0), ("bob", "b", 101, 1.0)) == {}


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [("ann", "a", 5, 1.0)],
        [(user, document, 5, 1.0) for user in ("ann", "bob") for document in "abc"],
        [("ann", "a", 1, 1.0), ("bob", "b", 2, 1.0), ("eve", "c", 3, 1.0)],
    ],
    ids=["none", "one", "all at one time", "one of each user"],
)
def test_data_without_a_next_item(choices):
    db = staged(ITEMS, choices)
    assert list(next_items(db)) == []
    assert split_facts(db)["interactions"] == len(choices)


def test_most_at_the_earliest_time_leaves_the_rest_after():
    choices = [(f"u{number}", "a", 0, 1.0) for number in range(95)]
    choices += [(f"u{number}", "b", 7 + number, 1.0) for number in range(5)]
    db = staged(ITEMS, choices)
    assert time_cutoff(db) == 7
    assert {query.id for query, _ in next_items(db)} == {f"u{number}" for number in range(5)}


def test_the_text_names_the_last_documents():
    documents = [
        Document(id="a", text="text a " * 50), Document(id="b", text="t", title="  "),
        Document(id="c", text="t", title="C" * 99),
        *[Document(id=f"x{number}", text="t", title=f"X{number}") for number in range(4)], Document(id="h", text="h"),
    ]  # fmt: skip
    choices = [*choices_of("short", "ab"), *choices_of("long", ["a", "b", "x0", "x1", "x2", "x3", "c"])]
    later = [(user, "h", 100, 1.0) for user in ("short", "long")]
    made = {query.id: query.text for query, _ in next_items(staged(documents, [*CROWD, *choices, *later]))}
    assert made == {"short": ("text a " * 50)[:80] + " · t", "long": "X0 · X1 · X2 · X3 · " + "C" * 80}


def test_ml_100k_has_users_on_both_sides(ml_100k):
    db = staged(films(ml_100k), ratings(ml_100k))
    facts, made = split_facts(db), list(next_items(db))
    assert (facts["interactions"], len(made)) == (100_000, 90)
    assert 0.899 < facts["interactions_before"] / facts["interactions"] <= 0.9
    seen = before(ratings(ml_100k), facts["cutoff"])
    for query, qrels in made:
        assert set(query.history) <= seen[query.id]
        assert len(query.history) == min(50, len(seen[query.id]))
        assert not {qrel.document for qrel in qrels} & seen[query.id]


MEASURE = """
import random, resource, sys, tracemalloc
from pipelines.collections.next_item import next_items
from tests.pipelines.collections.movielens import staged
from pipelines.corpus.documents import Document
rows, path = int(sys.argv[1]), sys.argv[2]
chance = random.Random(3)
films = (Document(id=f"m{number}", text="t", title=f"film {number}") for number in range(5_000))
def choices():
    for number in range(rows):
        user = 0 if number % 10 == 0 else chance.randrange(rows // 50)
        yield f"u{user}", f"m{chance.randrange(5_000)}", number, 1.0
db = staged(films, choices(), path)
db.execute("COMMIT")
tracemalloc.start()
made = sum(1 for _ in next_items(db))
print(made, tracemalloc.get_traced_memory()[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured(rows, path):
    command = [sys.executable, "-c", MEASURE, str(rows), str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=120)
    return [int(word) for word in done.stdout.split()]


def test_memory_stays_flat(tmp_path):
    """Ten times the rows, and a user who has a tenth of them all: Python's own objects, and the whole process."""
    few, many = measured(20_000, tmp_path / "few.db"), measured(200_000, tmp_path / "many.db")
    assert many[0] > 8 * few[0] > 0
    assert many[1] <= 1.2 * few[1] + 100_000, (few, many)
    assert many[2] <= 1.2 * few[2], (few, many)
