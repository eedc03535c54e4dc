"""The DAG materialize_features on ml-100k: views become rows and go online, parity holds, and the release gets its service."""

import sqlite3

import pytest

from pipelines.features.online import open_online
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.pipelines.collections.movielens import ml_100k

__all__ = ["ml_100k"]


@pytest.fixture
def champion(home, ml_100k):
    corpus = call("ingest", source=str(ml_100k)).corpus
    made = embedded_release(home, corpus, static_encoder())
    Journal(open_store()).append("deploy", made.release, "test", Routing(champion=made.release))
    return made


def test_views_go_online_and_agree(run_dag, champion):
    run = run_dag("materialize_features", end="1998-04-20", history=3)
    assert run.tasks == {
        "plan_features": ["success"], "materialize_view": ["success"] * 3, "check_parity": ["success"],
    }, run.note  # fmt: skip
    assert run.results["plan_features"]["start"] == "1998-04-19T00:00:00+00:00", "no part of the dag run's own interval"
    result = run.results["check_parity"]
    assert run.note == result["note"]
    assert result["service"] == f"release_{champion.release}"
    assert result["entities"] == 1000 + 1000 + 943
    assert load_exactly(open_store(), "report", result["report"]).facts["passed"]
    with sqlite3.connect(open_online().path) as db:
        (chosen,) = db.execute(
            "SELECT count(*) FROM ratchet_document_interactions WHERE feature_name = 'chosen_30d'"
        ).fetchone()
    assert chosen >= 1600


def test_without_a_champion_nothing_is_materialized(run_dag, home):
    run = run_dag("materialize_features")
    assert (run.state, set(map(tuple, run.tasks.values()))) == ("success", {("skipped",)})
