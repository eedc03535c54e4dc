"""The DAG score_batch on a real release: mapped shards, a second run that finds them, and a mistake in one sentence."""

import pyarrow.parquet

from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.images.serve.conftest import route


def test_a_file_is_scored_and_found_again(run_dag, trained, tmp_path):
    route(trained.release)
    source, target = tmp_path / "asked.csv", tmp_path / "scores.parquet"
    source.write_text("query_id,query\n" + "".join(f"q{number},word {number}\n" for number in range(30)))
    first = run_dag("score_batch", source=str(source), shards=2, k=3, output=str(target))
    assert first.tasks == {"plan_scores": ["success"], "score_shard": ["success"] * 2, "commit_scores": ["success"]}
    rows = pyarrow.parquet.read_table(target).to_pylist()
    assert [(row["query_id"], row["rank"]) for row in rows] == [
        (f"q{number}", rank) for number in range(30) for rank in (1, 2, 3)
    ]
    assert {row["release"] for row in rows} == {trained.release}
    scores = first.results["commit_scores"]["scores"]
    assert load_exactly(open_store(), "scores", scores).facts == {"queries": 30, "answered": 30}
    again = run_dag("score_batch", source=str(source), shards=2, k=3)
    assert again.results["commit_scores"]["scores"] == scores
    assert again.results["commit_scores"]["found"]
    assert len(open_store().names("shard/")) == 1 + 2, "that of the training, and two of scores"


def test_a_missing_column_fails_the_plan_alone(run_dag, trained, tmp_path):
    route(trained.release)
    (tmp_path / "asked.csv").write_text("first,second\na,b\n")
    failed = run_dag("score_batch", source=str(tmp_path / "asked.csv"))
    assert failed.tasks == {
        "plan_scores": ["failed"], "score_shard": ["upstream_failed"], "commit_scores": ["upstream_failed"]
    }  # fmt: skip
