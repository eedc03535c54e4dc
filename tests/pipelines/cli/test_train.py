"""The whole train in one process, and the three harms of the demo's second act."""

import json
import shutil

import pytest

from demo.harms import copied_store, lost_vectors, refusal, swapped_tokenizer, worse_ranking
from pipelines.errors import InputError
from pipelines.store.artifacts import load_exactly
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.train import train
from tests.encoders import static_encoder
from tests.planted import planted_corpus

FAILING_SUITE = """
name: more documents than there are
checks:
  documents:
    - expectation: expect_table_row_count_to_be_between
      kwargs: {min_value: 1000000}
      level: fail
      why: A test.
"""


def forward_passes(store):
    return {
        kind: {name: load_exactly(store, kind, name).facts.get("forward_passes") for name in store.names(f"{kind}/")}
        for kind in ("shard", "evaluation")
    }


def test_first_release_is_served_and_says_that_there_was_no_champion(served):
    journal = Journal(served.store)
    assert journal.routing.champion == served.release
    assert [entry.action for entry in journal.entries] == ["promote", "deploy"]
    verdict = load_exactly(served.store, "verdict", journal.entries[0].verdict)
    assert verdict.facts["outcome"] == "passed"
    assert "no champion" in verdict.facts["sentence"]
    measures = load_exactly(served.store, "evaluation", verdict.inputs["evaluation"]).facts["measures"]
    ndcg = measures["nDCG@10"]
    assert ndcg["low"] < ndcg["mean"] < ndcg["high"]
    assert 0.39 < ndcg["mean"] < 0.44  # dense alone 0.360; with known queries 0.420 over another split
    assert load_exactly(served.store, "release", served.release).json("release.json")["stages"][1]["stage"] == "known_queries"


RULES = """
name: shop
description: What a release of the shop must pass.
rules:
  - {name: quality, measure: nDCG@10, comparison: champion, margin: 0.1}
"""


def test_an_environment_is_judged_and_served_by_its_own_rules(home, tmp_path, monkeypatch):
    rules = tmp_path / "shop.yaml"
    rules.write_text(RULES)
    staging = {"store": f"file://{tmp_path}/staging", "gate_file": str(rules)}
    monkeypatch.setenv("RATCHET_ENVIRONMENTS", json.dumps({"staging": staging}))
    monkeypatch.setenv("RATCHET_ENVIRONMENT", "staging")
    static_encoder()
    answer = train(corpus=planted_corpus())
    assert answer["served"], answer
    store = open_store()
    assert store.uri == staging["store"]
    verdict = load_exactly(store, "verdict", Journal(store).entries[0].verdict)
    assert verdict.manifest.tuning["gate_file"] == str(rules)


def test_nothing_changed_nothing_done(served):
    before = forward_passes(served.store)
    answer = train()
    assert answer["outcome"] == "not run"
    assert answer["served"]
    assert forward_passes(served.store) == before
    assert len(Journal(served.store).entries) == 2


def checks_of(store):
    reports = [load_exactly(store, "report", name) for name in store.names("report/")]
    return [report for report in reports if report.manifest.recipe.step == "check"]


def test_the_corpus_is_checked_as_its_dag_does(served):
    (report,) = checks_of(served.store)
    assert report.inputs["corpus"] == served.corpus
    assert report.facts["failed"] == 0


def test_a_failed_check_ends_the_train(home, tmp_path, monkeypatch):
    suite = tmp_path / "suite.yaml"
    suite.write_text(FAILING_SUITE)
    monkeypatch.setenv("RATCHET_SUITE", str(suite))
    with pytest.raises(InputError, match="of which 1 check failed"):
        train()
    assert open_store().names("shard/") == []


def test_without_the_extra_quality_a_log_line_says_that_nothing_is_checked(served, monkeypatch, capsys):
    (checked,) = checks_of(served.store)
    shutil.rmtree(served.home / "store/report" / checked.id)
    monkeypatch.setattr("pipelines.train.missing_packages", lambda extra: ["great-expectations"])
    assert train()["served"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "data is not checked" in line]
    assert [(line["level"], line["missing"]) for line in lines] == [("warning", ["great-expectations"])]
    assert "quality" in lines[0]["fix"]
    assert checks_of(served.store) == []


def test_a_harm_that_nothing_refused_is_told(served):
    with pytest.raises(AssertionError, match="no verdict rejects"):
        worse_ranking(lambda conf: None, served.store)
    with pytest.raises(AssertionError, match="accepted it"):
        refusal("index", embeddings=served.embeddings)


def test_harms_need_a_store_to_copy(tmp_path):
    with pytest.raises(InputError, match="unset RATCHET_STORE"):
        copied_store(tmp_path / "nowhere", tmp_path / "copy")


def test_three_harms_are_refused(served, tmp_path, monkeypatch):
    sentence = worse_ranking(lambda conf: train(**conf), served.store)
    assert sentence.startswith("rejected: nDCG@10 −0.")
    monkeypatch.setenv("RATCHET_STORE", "")
    assert "was made" in swapped_tokenizer(copied_store(served.home, tmp_path / "first"), tmp_path)
    sentence = lost_vectors(copied_store(served.home, tmp_path / "second"), tmp_path)
    assert "19 documents without a vector, 1886 documents in all" in sentence
    assert Journal(served.store).routing.champion == served.release
