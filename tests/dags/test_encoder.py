"""The DAG build_encoder: judgments, a tuned encoder, embeddings and an index beside the champion's."""

from pipelines.corpus.documents import Document
from pipelines.settings import settings
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.pipelines.models.training.conftest import base, corpus, documents, release, topics  # noqa: F401  # fixtures

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


def test_other_judgments_start_the_trainings(run_dag, release, corpus, home):  # noqa: F811
    """The first deployment has nothing before it, and one with the same judgments has nothing new to learn from."""
    asked, judged = topics()
    judged = [*judged[:-1], judged[-1].replace("-blue", "-red")]
    one_more = Document(id="one-more", text="one more", title="one")
    corpora = [write_corpus(documents(), asked, judged), write_corpus([*documents(), one_more], asked, judged)]
    rejudged, grown = (embedded_release(home, name, static_encoder()).release for name in corpora)
    expected = {release: "", rejudged: corpora[0], grown: ""}
    for deployed, judgments in expected.items():
        routing = Journal(open_store()).routing.model_copy(update={"challenger": deployed})
        Journal(open_store()).append("promote", deployed, "test", routing)
        events = run_dag("deploy_release", release=deployed).events
        assert events == [("champion", {"id": deployed}), *([("judgments", {"id": judgments})] if judgments else [])]


def test_training_asks_for_the_profile_of_the_setting(bag, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    def profiles(dag):
        return {task.task_id: task.profile for task in dag.tasks if not task.is_mapped}

    assert set(profiles(bag.dags["build_encoder"]).values()) == {"cpu"} == {settings().training_profile}
    monkeypatch.setenv("RATCHET_TRAINING_PROFILE", "gpu")
    asked = profiles(DagBag(str(PROJECT / "dags/build_encoder.py")).dags["build_encoder"])
    assert {name for name, profile in asked.items() if profile == "gpu"} == {"tune_encoder"}
