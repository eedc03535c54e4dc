"""Fidelity: agreement with fp32's ranking by hand-computed values, what is refused, and which queries are asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.corpus.documents import Document, Query, queries
from pipelines.corpus.text_rules import LONGEST_QUERY
from pipelines.errors import InputError
from pipelines.evaluation.fidelity import (
    DEPTH,
    TIE,
    Fidelity,
    FidelityQuery,
    fidelity_at_10,
    measure_fidelity,
    sample_queries,
    why_unfaithful,
)
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.corpora import write_corpus

IDEAL = sum((11 - rank) / np.log2(rank + 1) for rank in range(1, 11))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def vectors(count, dimensions=64, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, dimensions)))


def noisy(rows, scale, seed=9):
    return unit(rows + scale * np.random.default_rng(seed).normal(size=rows.shape) / np.sqrt(rows.shape[1]))


def of_one(reference, variant, own=-1):
    fidelity, overlap = fidelity_at_10(np.array([reference]), np.array([variant]), [own])
    return float(fidelity[0]), float(overlap[0])


def falling(count):
    return np.linspace(0.9, 0.1, count)


def test_equal_rankings_are_1():
    pair = vectors(100, seed=1), vectors(500)
    found = measure_fidelity(pair, pair, [-1] * 100)
    assert found == Fidelity(100, 500, 1.0, 1.0, 1.0, 1.0)
    assert why_unfaithful(found) == ""


def test_the_tenth_document_lost_costs_its_gain():
    reference = falling(20)
    variant = reference.copy()
    variant[9] = 0.0
    fidelity, overlap = of_one(reference, variant)
    assert fidelity == pytest.approx(1 - 1 / np.log2(11) / IDEAL)
    assert overlap == 0.9
    assert fidelity < 0.995, "so that losing the least of ten in every query is refused"


def test_the_first_two_swapped():
    reference = falling(20)
    variant = reference.copy()
    variant[[0, 1]] = variant[[1, 0]]
    fidelity, overlap = of_one(reference, variant)
    assert fidelity == pytest.approx((IDEAL - (10 + 9 / np.log2(3)) + (9 + 10 / np.log2(3))) / IDEAL)
    assert overlap == 1


def test_a_wholly_other_ranking_is_0():
    reference = falling(20)
    assert of_one(reference, -reference)[0] == 0
    assert of_one(reference, -reference)[1] == 0


@pytest.mark.parametrize(("difference", "tied"), [(0.9 * TIE, True), (1.2 * TIE, False), (1e-4, False)])
def test_only_documents_within_the_tie_share_their_gain(difference, tied):
    reference = falling(20)
    reference[4] = reference[3] - difference
    variant = reference.copy()
    variant[[3, 4]] = variant[[4, 3]]
    assert (of_one(reference, variant)[0] == pytest.approx(1, abs=1e-12)) == tied


def test_a_chain_of_near_scores_is_not_one_tie():
    """Each is within the tie of the next, the last is not within the tie of the first."""
    reference = falling(20)
    reference[:4] = 0.9 - 0.7 * TIE * np.arange(4)
    variant = reference.copy()
    variant[[0, 3]] = variant[[3, 0]]
    assert of_one(reference, variant)[0] < 1
    variant = reference.copy()
    variant[[0, 1]] = variant[[1, 0]]
    assert of_one(reference, variant)[0] == pytest.approx(1, abs=1e-12)


def test_ties_across_the_tenth_rank_share_its_gain():
    """Of three that tie at ranks 10 to 12 any may be tenth; each has a third of the gain."""
    reference = falling(20)
    reference[9:12] = 0.5
    reference[12:] = 0.1
    for last in (9, 10, 11):
        variant = reference.copy()
        variant[last] += 0.01
        assert of_one(reference, variant)[0] == pytest.approx(1, abs=1e-12)
    variant = reference.copy()
    variant[15] = 0.55
    third = 1 / 3 / np.log2(11)
    assert of_one(reference, variant)[0] == pytest.approx(1 - third / (IDEAL - 2 * third))


def test_all_documents_equal():
    assert of_one(np.full(30, 0.5), np.linspace(0, 1, 30))[0] == pytest.approx(1, abs=1e-12)


def test_a_query_s_own_document_is_left_out_on_both_sides():
    reference, variant = falling(20), falling(20)
    reference[7], variant[7] = 2.0, -2.0
    assert of_one(reference, variant, own=7) == (1.0, 1.0)
    assert of_one(reference, variant)[0] < 0.9
    without = np.delete(reference, 7), np.delete(variant[::-1].copy(), 12)
    assert of_one(reference, np.insert(without[1], 7, 9.0), own=7) == of_one(*without)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11])
def test_fewer_than_ten_documents(count):
    reference = falling(count)
    assert of_one(reference, reference) == (1.0, 1.0)
    fidelity, overlap = of_one(reference, -reference)
    assert (fidelity < 1) == (count > 1)
    assert overlap == (1 if count <= DEPTH else 0.9)


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, (2, 14), elements=st.sampled_from([0.1, 0.2, 0.3, 0.3000001, 0.5])), st.integers(-1, 13))
def test_fidelity_is_a_part_of_1_and_1_for_itself(scores, own):
    (fidelity,), (overlap,) = fidelity_at_10(scores[:1], scores[1:], [own])
    assert 0 <= fidelity <= 1 + 1e-12
    assert 0 <= overlap <= 1
    assert fidelity_at_10(scores[:1], scores[:1], [own])[0][0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("side", ["fp32", "the variant"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(side, value):
    pair = {name: (vectors(5, seed=1), vectors(50)) for name in ("fp32", "the variant")}
    pair[side][1][3, 0] = value
    with pytest.raises(InputError, match=rf"scores by {side} that are NaN or infinite for 5 of 5 queries; expected finite"):
        measure_fidelity(pair["fp32"], pair["the variant"], [-1] * 5)


def test_nothing_to_rank_or_to_ask_is_refused():
    with pytest.raises(InputError, match="a query over 1 documents; expected a document besides its own"):
        of_one([0.5], [0.5], own=0)
    with pytest.raises(InputError, match="no queries; expected at least two"):
        measure_fidelity((vectors(0), vectors(3)), (vectors(0), vectors(3)), [])
    with pytest.raises(ValueError, match="shapes"):
        fidelity_at_10(np.ones((2, 3)), np.ones((2, 4)), [-1, -1])


def test_noise_that_loses_one_result_in_ten_is_refused():
    """Noise that changes no ranking by more than near-ties is not."""
    fp32 = vectors(2000, seed=1), vectors(3000)
    reasons, found = {}, {}
    for scale in (0.001, 0.05):
        found[scale] = measure_fidelity(fp32, (noisy(fp32[0], scale), noisy(fp32[1], scale)), [-1] * 2000)
        reasons[scale] = why_unfaithful(found[scale])
    assert 0.88 < found[0.05].overlap_at_10 < 0.92
    assert found[0.05].low < found[0.05].mean < 0.995
    assert reasons[0.05].startswith(f"fidelity {found[0.05].mean:.4f}, at least {found[0.05].low:.4f} over 2,000 queries and")
    assert reasons[0.001] == ""
    assert found[0.001].low > 0.995


def test_the_lower_bound_decides_not_the_mean():
    fp32 = vectors(40, seed=1)[:3], vectors(500)
    variant = noisy(vectors(40, seed=1), 0.02)[:3], noisy(fp32[1], 0.02)
    few = measure_fidelity(fp32, variant, [-1] * 3, 0.999)
    assert few.low < 0.995 <= few.mean
    assert why_unfaithful(few) != ""
    one = fp32[0][:1], fp32[1]
    single = measure_fidelity(one, one, [-1])
    assert why_unfaithful(single) == "fidelity of 1 query, at least two needed"


@pytest.mark.parametrize(
    ("high", "reason"), [(None, ""), (0.99, ""), (0.9899, "keeps at most 98.99 % of nDCG@10, 99 % needed")]
)
def test_retention_must_not_be_significantly_below(high, reason):
    assert why_unfaithful(Fidelity(2000, 100, 0.999, 0.998, 1.0, 0.99), high) == reason


def corpus_of(documents, queries=(), judged=()):
    return load(
        open_store(), "corpus", write_corpus(documents, queries, [f"{query} 0 {documents[0].id} 1" for query in judged])
    )


DOCUMENTS = [
    Document(id=f"d{number:03}", text=f"text {number}", title=f"Title {number} of many words") for number in range(100)
]
QUERIES = [
    Query(id="a", text="two words", split="train"),
    Query(id="b", text="another pair", split="train"),
    Query(id="c", text="title 5", split="test"),
    Query(id="d", text="unjudged query", split="train"),
    Query(id="e", text="with history", split="train", history=("d001",), time=1),
]


def test_train_queries_come_first_then_titles_of_their_length(home):
    sampled = sample_queries(corpus_of(DOCUMENTS, QUERIES, "abce"), 50)
    assert {query.text for query in sampled[:2]} == {"two words", "another pair"}
    assert [query.own for query in sampled[:2]] == ["", ""]
    assert len(sampled) == 50
    assert all(query.text == f"Title {int(query.own[1:])}" for query in sampled[2:])
    assert sample_queries(corpus_of(DOCUMENTS, QUERIES, "abce"), 50) == sampled
    assert sample_queries(corpus_of(DOCUMENTS, QUERIES, "abce"), 1) == sampled[:1]


def test_test_queries_are_never_asked(home):
    everything = sample_queries(corpus_of(DOCUMENTS, QUERIES, "abce"), 1000)
    texts = {query.text.lower() for query in everything}
    assert len(everything) == 2 + 99, "one title is a test query's text"
    assert not texts & {"title 5", "unjudged query", "with history"}
    copied = [*QUERIES, Query(id="f", text="Two Words", split="test")]
    assert "two words" not in {query.text for query in sample_queries(corpus_of(DOCUMENTS, copied, "abcef"), 1000)}


def test_without_train_queries_titles_alone(home):
    documents = [Document(id="a", text="a lamp of blue glass"), Document(id="b", text="x", title="A Lamp  of"), DOCUMENTS[0]]
    sampled = sample_queries(corpus_of(documents))
    assert set(sampled) == {FidelityQuery("a lamp of", "a"), FidelityQuery("Title 0 of", "d000")}, "equal titles count once"


def test_of_the_icons_2000_are_asked(home):
    corpus = load(open_store(), "corpus", call("ingest").corpus)
    sampled = sample_queries(corpus)
    test = {query.text for query in queries(corpus, "test")}
    assert len({query.text for query in sampled}) == 2000
    assert not {query.text.lower() for query in sampled} & test


def test_no_title_is_asked_that_the_server_would_refuse_as_too_long(home):
    sampled = sample_queries(corpus_of([Document(id="a", text="灯" * 2000), Document(id="b", text="灯 光")]))
    assert {query.text for query in sampled} == {"灯" * LONGEST_QUERY, "灯 光"}
