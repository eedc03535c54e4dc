from itertools import pairwise
from math import log2

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.measures import CONDENSED, MEASURES, per_query
from pipelines.retrieval.lexical import bm25_run
from pipelines.retrieval.run import break_ties, write_run

GRADES = {"q1": {"a": 3, "b": 0, "c": 1}}
RUN = {"q1": [("b", 4.0), ("a", 3.0), ("x", 2.0), ("c", 1.0)]}
IDEAL = 3 / log2(2) + 1 / log2(3)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("nDCG@10", (3 / log2(3) + 1 / log2(5)) / IDEAL),
        ("RR@10", 1 / 2),
        ("R@100", 1.0),
        ("AP", (1 / 2 + 2 / 4) / 2),
        ("P@10", 2 / 10),
        ("Judged@10", 3 / 4),
        (CONDENSED, (3 / log2(3) + 1 / log2(4)) / IDEAL),
    ],
)
def test_each_measure_on_a_case_computed_by_hand(measure, expected):
    assert per_query(GRADES, RUN)["q1"][measure] == pytest.approx(expected, abs=1e-9)


def test_cutoffs_cut():
    run = {"q1": [(f"x{number:03}", 200.0 - number) for number in range(10)] + [("a", 1.0), ("c", 0.5)]}
    found = per_query(GRADES, run)["q1"]
    assert (found["nDCG@10"], found["RR@10"], found["P@10"], found["Judged@10"]) == (0, 0, 0, 0)
    assert found["R@100"] == 1
    assert found["AP"] == pytest.approx((1 / 11 + 2 / 12) / 2)


def test_a_query_without_results_has_zero_in_every_measure():
    found = per_query({**GRADES, "q2": {"a": 1}}, {**RUN, "q2": []})
    assert found["q2"] == dict.fromkeys([*MEASURES, CONDENSED], 0.0)
    assert found["q1"]["RR@10"] == 0.5


def test_no_queries_no_values():
    assert per_query({}, {}) == {}


def test_ties_keep_our_order_in_every_tool(tmp_path):
    """With equal scores trec_eval would put z first (RR 1), MS MARCO's script a (RR 1/2): ours is written into the scores."""
    tied = {"q1": break_ties([("a", 0.5), ("m", 0.5), ("z", 0.5)])}
    write_run(tmp_path / "run.trec", tied, "t")
    read = list(ir_measures.read_trec_run(str(tmp_path / "run.trec")))
    for measure, provider in (("RR", ir_measures.pytrec_eval), ("RR@10", ir_measures.msmarco)):
        wanted = [ir_measures.parse_measure(measure)]
        for document, rank in (("a", 1), ("m", 2), ("z", 3)):
            (metric,) = provider.iter_calc(wanted, {"q1": {document: 1}}, read)
            assert metric.value == pytest.approx(1 / rank)


@given(st.lists(st.floats(-40, 40, width=32) | st.sampled_from([0.0, 1.0, 0.5]), max_size=40))
def test_untied_falls_strictly_and_hardly_moves(scores):
    ordered = sorted(scores, reverse=True)
    found = [score for _, score in break_ties([(str(rank), score) for rank, score in enumerate(ordered)])]
    assert all(one > after for one, after in pairwise(found))
    assert all(np.float32(score) == score for score in found)
    assert np.abs(np.array(found) - ordered).max(initial=0) < 1e-3


def test_bm25_ranks_the_rarer_word_first_and_leaves_out_what_shares_none():
    documents = {"d3": "blue car", "d1": "red car", "d2": "red house", "d4": "green tree"}
    run = bm25_run(documents, {"q1": "red house", "q2": "car", "q3": "boat", "q4": "the"}, depth=10)
    assert [document for document, _ in run["q1"]] == ["d2", "d1"]
    assert [document for document, _ in run["q2"]] == ["d1", "d3"], "equal scores in the order of ids"
    assert run["q3"] == run["q4"] == []
    assert len(bm25_run(documents, {"q2": "car"}, depth=1)["q2"]) == 1


def test_bm25_over_texts_without_a_word():
    assert bm25_run({"d1": "!", "d2": "?"}, {"q1": "car"}, 10) == {"q1": []}
