"""The DAG build_reranker: judgments, a reranker, its variants, a release and a verdict."""

from pipelines.retrieval.stages.card import RERANK
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.pipelines.models.training.conftest import base, corpus, release  # noqa: F401  # fixtures

FAST = {"learning_rate": 3e-3, "batch_size": 4, "epochs": 4, "patience": 4, "candidates": 8, "threads": 1}
QUICK = {"variants": ["onnx-fp32"], "latency_s": 0}
STEPS = ("train_reranker", "quantize_reranker", "choose_reranker", "fit_blend", "assemble", "evaluate", "gate")


def test_a_reranker_becomes_a_verdict(run_dag, base, release):  # noqa: F811
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    built = run_dag("build_reranker", base=str(base), **FAST, **QUICK)
    assert built.tasks == {name: ["success"] for name in STEPS}, built.note
    trained = built.results["train_reranker"]
    assert trained["release"] == release, "the champion is the first stage"
    made = load(open_store(), "release", built.results["assemble"]["release"])
    stages = made.manifest.recipe.params["stages"]
    assert [stage["stage"] for stage in stages] == ["dense", RERANK]
    assert made.inputs[RERANK] == built.results["quantize_reranker"]["reranker_variants"]
    assert made.inputs["index"] == trained["index"] == load(open_store(), "release", release).inputs["index"]
    verdict = built.results["gate"]
    assert verdict["champion"] == release
    assert built.note == verdict["note"]
    assert built.events == ([("verdict", {"id": verdict["verdict"]})] if verdict["passed"] else [])
    assert Journal(open_store()).routing.champion == release, "nothing is released here"
