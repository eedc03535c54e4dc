"""The DAGs on a small real corpus, in one process: full, unchanged, delete-only and add-only refreshes, and a gate's no."""

import re

import pytest

from pipelines.store.artifacts import load
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.dags.conftest import third
from tests.encoders import static_encoder

EVALUATED = (
    "index_lexical", "index_known_queries", "train_recommender", "choose_stages", "fit_blend", "assemble", "evaluate",
    "perturb", "measure_robustness", "measure_latency", "gate",
)  # fmt: skip
ASKED = {"ask": ["skipped"], "waive": ["skipped"]}
"""The rules decided, so nobody was asked."""


@pytest.fixture
def refresh(run_dag, icons_folder, trained):
    """Ingest the icons that `keep` keeps, in this process, and refresh them; the dag run."""

    def run(name, keep, **answers):
        corpus = call("ingest", folder=str(icons_folder(name, keep=keep))).corpus
        return run_dag("refresh_embeddings", corpus=corpus, **answers)

    return run


def few(name: str) -> bool:
    return name < "ar"


def more(name: str) -> bool:
    return name < "b"


def test_refreshes(refresh):
    full = refresh("full", few, shards=2)
    assert full.tasks == {name: ["success"] for name in ("plan", "commit_embeddings", "index")} | {"embed": ["success"] * 2}
    base = full.results["commit_embeddings"]["embeddings"]
    assert full.results["commit_embeddings"]["kept"] == 0
    assert full.events == [("index", {"id": full.results["index"]["index"]})]

    unchanged = refresh("unchanged", few, base=base)
    assert unchanged.state == "success"
    assert unchanged.tasks["embed"] == ["skipped"]
    assert unchanged.tasks["commit_embeddings"] == unchanged.tasks["index"] == ["success"]
    assert unchanged.results["commit_embeddings"]["embeddings"] == base
    assert unchanged.results["commit_embeddings"]["found"]

    asked = refresh("asked", more, base=base, dry_run=True)
    assert asked.state == "success"
    assert asked.tasks == {"plan": ["success"], **{name: ["skipped"] for name in ("embed", "commit_embeddings", "index")}}
    assert re.fullmatch(r"DRY RUN: (\d+) of \d+ documents, ~\d+ s, 1 pod", asked.note)
    assert f": {asked.results['plan']['added']} of {asked.results['plan']['documents']} " in asked.note
    assert (full.note, asked.events) == (None, [])

    added = refresh("added", more, base=base)
    committed = added.results["commit_embeddings"]
    assert set(added.tasks["embed"]) == {"success"}
    assert committed["kept"] == full.results["commit_embeddings"]["documents"]
    assert committed["encoded"] == added.results["plan"]["added"] > 0

    deleted = refresh("deleted", lambda name: few(name) and name > "ae", base=base)
    committed = deleted.results["commit_embeddings"]
    assert deleted.tasks["embed"] == ["skipped"]
    assert deleted.results["plan"]["deleted"] > 0
    assert (committed["encoded"], committed["kept"]) == (0, committed["documents"])


def exchanged(icons):
    """Every second icon gets the label of another."""
    names = sorted(icons)[::2]
    labels = [icons[name]["label"] for name in names]
    for name, label in zip(names, labels[1:] + labels[:1], strict=True):
        icons[name]["label"] = label


def few_requests(dag):
    """Latency is measured as always, by fewer requests: how sure it is of itself is no matter here."""
    dag.get_task("measure_latency").step_params |= {"requests": 200, "starts": 2}


def test_a_gates_no_is_green_and_stops_the_chain(run_dag, home, icons_folder):
    """Exchanged labels rank worse than those that are right: judged against the champion, that is refused."""
    encoder = static_encoder()
    corpus = call("ingest", folder=str(icons_folder("right", keep=third))).corpus
    index = embedded_release(home, corpus, encoder).index
    first = run_dag("evaluate_release", index=index)
    assert first.tasks == {name: ["success"] for name in EVALUATED} | ASKED
    assert first.results["choose_stages"]["dev_queries"] >= 50
    assert first.results["assemble"]["stages"] == first.results["choose_stages"]["names"]
    assert first.note.startswith("PASSED: no champion yet")
    assert first.results["measure_robustness"]["robustness"] == "", "the default gate file has no perturbed rule"
    verdict = first.results["gate"]["verdict"]
    assert first.events == [("verdict", {"id": verdict})]

    promoted = run_dag("promote_release", verdict=verdict, who="somebody else")
    assert promoted.tasks == {"ask": ["success"], "promote": ["success"], "reconcile": ["skipped"]}  # no MLflow is set here
    release = first.results["assemble"]["release"]
    assert promoted.events == [("challenger", {"id": release})]
    assert Journal(open_store()).entries[-1].who == "dag_test", "who acts is told by Airflow, not by the form"
    deployed = run_dag("deploy_release", release=release)
    assert deployed.results["deploy"]["outcome"] == "deployed"
    assert deployed.events == [("champion", {"id": release})]

    corpus = call("ingest", folder=str(icons_folder("wrong", keep=third, edit=exchanged))).corpus
    index = embedded_release(home, corpus, encoder).index
    worse = run_dag("evaluate_release", few_requests, index=index, gate_file="full")
    assert worse.state == "success"
    assert worse.tasks == {name: ["success"] for name in EVALUATED} | ASKED
    assert worse.results["choose_stages"]["names"] == first.results["choose_stages"]["names"], "the champion's stages are kept"
    assert worse.results["gate"]["outcome"] == "rejected"
    assert worse.note.startswith("REJECTED: ")
    assert "nDCG@10" in worse.note
    rules = load(open_store(), "verdict", worse.results["gate"]["verdict"]).json("verdict.json")["rules"]
    typed = next(rule for rule in rules if rule["name"] == "typed differently")
    assert typed["n"] > 50, typed["sentence"]
    assert worse.events == []


def test_an_error_is_the_steps_one_sentence_and_not_retried(run_dag, home):
    failed = run_dag("promote_release", verdict="abcdef")
    assert failed.state == "failed"
    assert failed.tasks == {"ask": ["success"], "promote": ["failed"], "reconcile": ["upstream_failed"]}
