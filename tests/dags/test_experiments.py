"""The DAG analyze_experiment: every file of a folder is analyzed, and one that can't be read stops no other."""

from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.pipelines.experiments.conftest import ON, declared, units, written


def test_every_experiment_of_a_folder_gets_its_report(run_dag, home, tmp_path):
    written(tmp_path / "button.csv", units(3000))
    written(tmp_path / "button.yaml", declared(log="button.csv"))
    written(tmp_path / "other.jsonl", units(3000, effect=0.1))
    done = run_dag("analyze_experiment", folder=str(tmp_path), on=ON)
    assert (done.state, done.tasks) == ("success", {"find_experiments": ["success"], "analyze": ["success"] * 2})
    ids = open_store().names("experiment/")
    verdicts = {(a.facts["name"], a.facts["verdict"]) for a in (load_exactly(open_store(), "experiment", name) for name in ids)}
    assert verdicts == {("button", "do not ship"), ("other", "ship")}


def test_a_bad_file_is_red_alone(run_dag, home, tmp_path):
    written(tmp_path / "good.csv", units(2000))
    written(tmp_path / "bad.csv", [{"a": 1, "b": "x"}] * 5)
    failed = run_dag("analyze_experiment", folder=str(tmp_path), on=ON)
    assert sorted(failed.tasks["analyze"]) == ["failed", "success"]
    assert len(open_store().names("experiment/")) == 1


def test_without_a_folder_it_is_skipped(run_dag, home):
    assert run_dag("analyze_experiment").tasks == {"find_experiments": ["skipped"], "analyze": ["skipped"]}
