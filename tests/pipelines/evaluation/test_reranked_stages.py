"""A reranker among the stages: taken where it beats those before it and the known queries, and the report says so."""

import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.evaluation import reranked_stages
from pipelines.evaluation.stage_choice import Choice, held_out, of_both_kinds
from pipelines.retrieval.stages.card import StageCard
from pipelines.retrieval.stages.table import check_stages
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.pipelines.retrieval.test_stages import retrievers, shop
from tests.rerankers import _reranking_once, reranking

__all__ = ["_reranking_once", "reranking"]
RERANK = StageCard(stage="rerank", artifact="ab", variant="onnx-fp32", candidates=20, weight=0.5, first_stage=10)
STAGES = [StageCard(stage="dense"), RERANK]


def decided(**alone):
    return reranked_stages._decided(Choice([], "dense: the default.", "measured", 60), STAGES, np.full(60, 0.5), alone)


def spread(mean):
    return mean + np.linspace(-0.01, 0.01, 60)


def test_it_is_taken_where_it_beats_the_stages_and_the_known_queries():
    choice = decided(dense=spread(0.4), known=spread(0.45))
    assert choice.stages == STAGES
    assert "The reranker is taken: +0.100 [" in choice.sentence
    assert [row["name"] for row in choice.reranked] == ["dense, 20 reranked", "dense", "known"]
    assert [row["gain"] for row in choice.reranked] == [None, pytest.approx(0.1), pytest.approx(0.05)]


@pytest.mark.parametrize("alone", [{"dense": 0.4, "known": 0.5}, {"dense": 0.5, "known": 0.4}, {"dense": 0.6}])
def test_it_is_not_taken_where_one_of_them_is_as_good(alone):
    choice = decided(**{name: spread(mean) for name, mean in alone.items()})
    assert choice.stages == []
    assert "The reranker is not taken:" in choice.sentence


def test_the_figure_of_a_query_comes_from_weights_fitted_without_its_fold():
    """The first weights are best in all folds but one, where they are worst: that fold pays for it."""
    values = np.array([[0.0 if column % 5 == 0 else 0.6 for column in range(20)], [0.5] * 20])
    honest = held_out(values)
    assert honest[0::5].tolist() == [0.0] * 4
    assert honest[1] == 0.5, "without its own fold the first weights have a mean of 0.45"


def test_a_reranker_that_is_not_better_is_measured_and_left_out(reranking):
    """Its head is random; the known queries are right."""
    _, index = shop(400)
    given = retrievers(index)
    chosen = call("choose_stages", index=index, take="best", reranker=reranking.report, **given)
    without = call("choose_stages", index=index, take="best", **given)
    assert chosen.names == without.names
    assert chosen.sentence.startswith(without.sentence)
    assert "The reranker is not taken: " in chosen.sentence
    report = load(open_store(), "report", chosen.stages)
    assert any(row["name"].endswith("20 reranked") for row in report.facts["reranked"])
    assert report.facts["reranked"][-1]["name"] == "known queries alone"
    assert "The reranker, and what it must beat" in report.path("report.html").read_text()
    with pytest.raises(InputError, match="expected one of choose_reranker"):
        call("choose_stages", index=index, reranker=chosen.stages)


def test_without_enough_dev_queries_it_is_not_taken(reranking):
    chosen = call("choose_stages", index=reranking.index, take="dense", reranker=reranking.report)
    assert "The reranker is not taken: " in chosen.sentence
    assert "fewer than 50" in chosen.sentence


def test_a_refresh_keeps_the_champions_reranker(reranking):
    release = call("assemble", index=reranking.index, reranker=reranking.report).release
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    kept = call("choose_stages", index=reranking.index)
    assert kept.names == "dense, 20 reranked"
    assert call("assemble", index=reranking.index, stages=kept.stages).release == release


def test_it_stays_last_beside_stages_of_histories():
    text = Choice([*STAGES], "t", "measured")
    both = of_both_kinds(text, Choice([StageCard(stage="popularity", artifact="cd")], "h", "measured"))
    assert [card.stage for card in both.stages] == ["dense", "popularity", "rerank"]
    check_stages(both.stages)
