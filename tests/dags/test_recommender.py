"""The DAG build_recommender: the champion's corpus, a recommender, a release, a verdict; without interactions it ends."""

from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import embedded_release
from tests.encoders import static_encoder
from tests.pipelines.collections.movielens import corpus_of_choices, numbered_films, small_ratings


def serve(release):
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))


def test_a_recommender_becomes_a_verdict(run_dag, home):
    corpus = corpus_of_choices(numbered_films(), small_ratings(200), quantile=0.7)
    before = embedded_release(home, corpus, static_encoder())
    serve(before.release)
    built = run_dag("build_recommender", measure="nDCG@10", features=["document_interactions.chosen_30d"])
    assert built.tasks == {
        name: ["success"] for name in ("train_recommender", "choose_stages", "fit_blend", "assemble", "evaluate", "gate")
    }, built.note
    assert built.results["train_recommender"]["index"] == before.index
    assert built.results["assemble"]["stages"].startswith("text: dense; history: ")
    fitted = built.results["fit_blend"]
    assert fitted["sentence"].startswith("History: nDCG@10")
    assert bool(fitted["blend"]) == built.results["assemble"]["stages"].endswith(", blended")
    gate = built.results["gate"]
    assert gate["champion"] == before.release
    assert built.note.partition(":")[0].lower() == gate["outcome"]
    assert built.events == ([("verdict", {"id": gate["verdict"]})] if gate["passed"] else [])


def test_without_interactions_it_ends_green(run_dag, trained):
    serve(trained.release)
    ended = run_dag("build_recommender")
    assert ended.state == "success"
    assert ended.tasks["train_recommender"] == ["success"]
    assert {name: states for name, states in ended.tasks.items() if states != ["skipped"]} == {"train_recommender": ["success"]}
