"""The DAG build_encoder: judgments, a tuned encoder, embeddings and an index beside the champion's."""

from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.pipelines.models.training.conftest import base, corpus, release  # noqa: F401  # fixtures

FAST = {"learning_rate": 3e-3, "batch_size": 4, "epochs": 2, "threads": 1}


def test_a_tuned_encoder_becomes_an_index(run_dag, base, release, corpus):  # noqa: F811
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    built = run_dag("build_encoder", model=str(base), **FAST)
    assert built.tasks == {name: ["success"] for name in ("tune_encoder", "plan", "embed", "commit_embeddings", "index")}, (
        built.note
    )
    tuned = built.results["tune_encoder"]
    assert tuned["corpus"] == corpus, "the champion's"
    assert built.note.startswith("On 9 dev queries better than its base")
    assert built.results["plan"]["mode"] == "encoder change"
    assert built.results["plan"]["encoder"] == tuned["encoder"]
    assert built.events == [("index", {"id": built.results["index"]["index"]})]
    embedded = load(open_store(), "embeddings", built.results["commit_embeddings"]["embeddings"])
    assert embedded.inputs["encoder"] == tuned["encoder"]
    assert Journal(open_store()).routing.champion == release, "nothing is released here"


def test_training_asks_for_the_profile_of_the_setting(bag, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    def profiles(dag):
        return {task.task_id: task.profile for task in dag.tasks if not task.is_mapped}

    assert set(profiles(bag.dags["build_encoder"]).values()) == {"cpu"} == {settings().training_profile}
    monkeypatch.setenv("RATCHET_TRAINING_PROFILE", "gpu")
    asked = profiles(DagBag().dags["build_encoder"])
    assert {name for name, profile in asked.items() if profile == "gpu"} == {"tune_encoder"}
