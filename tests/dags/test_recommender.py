"""The DAG build_recommender: the champion's corpus, a recommender, a release, a verdict; without interactions it ends."""

from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.blended import FEATURE, planted_shop
from tests.conftest import embedded_release
from tests.encoders import static_encoder


def serve(release):
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))


def test_a_recommender_becomes_a_verdict(run_dag, home):
    before = embedded_release(home, planted_shop(), static_encoder())
    serve(before.release)
    built = run_dag("build_recommender", measure="nDCG@10", features=[FEATURE])
    assert built.tasks == {
        name: ["success"] for name in ("train_recommender", "choose_stages", "fit_blend", "assemble", "evaluate", "gate")
    }, built.note
    assert built.results["train_recommender"]["index"] == before.index
    assert built.results["assemble"]["stages"].startswith("text: dense; history: ")
    assert built.results["assemble"]["stages"].endswith(", blended")
    summary = load(open_store(), "evaluation", built.results["evaluate"]["evaluation"]).json("measures.json")
    gains = {row["ranking"]: row["gain"]["low"] for row in summary["blend"]}
    assert gains.pop("blended") == 0
    assert all(low > 0 for low in gains.values()), "the rate tells what is relevant, and neither text nor popularity does"
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
