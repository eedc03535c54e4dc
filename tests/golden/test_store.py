"""A store that an earlier version wrote: everything in it is found, shown, served, judged against and kept."""

import json
import shutil
import tarfile

import pytest

from pipelines.errors import InputError
from pipelines.retrieval.release import load_release
from pipelines.settings import PROJECT
from pipelines.store.artifacts import find
from pipelines.store.gc import garbage
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.golden import write_store
from tests.images.serve.server import running_server

IDS = json.loads(write_store.IDS.read_text())
FIRST, SECOND, GRAPH = (IDS["releases"][name] for name in ("first", "second", "graph"))
EVER = 10**12
GARBAGE = json.loads((write_store.HERE / "garbage.json").read_text())


@pytest.fixture(scope="module")
def _unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(write_store.ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def store(_unpacked, home, monkeypatch):
    shutil.copytree(_unpacked, home)
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("RATCHET_USER", "golden")
    return open_store()


def committed_manifests(store):
    return sorted(one.path for one in store.listed("") if one.path.endswith("manifest.json"))


def test_the_whole_chain_is_found_under_the_same_ids(store):
    before = committed_manifests(store)
    corpora = {name: call("ingest", source=f"tests/golden/collections/{name}") for name in IDS["corpora"]}
    assert {name: done.corpus for name, done in corpora.items()} == {n: ids["corpus"] for n, ids in IDS["corpora"].items()}
    assert all(done.found for done in corpora.values())
    for name, ids in IDS["corpora"].items():
        checked = call("check", corpus=ids["corpus"], previous="none", on="2026-01-31", personal=10)
        assert (checked.found, checked.report) == (True, ids["check"]), name
    for name, corpus, algorithm in (("first", "judged", "auto"), ("second", "changed", "auto"), ("graph", "changed", "hnsw")):
        ids, base = IDS["releases"][name], "" if name == "first" else FIRST["embeddings"]
        parts = {"corpus": IDS["corpora"][corpus]["corpus"], "encoder": IDS["encoder"], "base": base}
        shards = [call("embed", **parts, shard="0/1")]
        embeddings = call("commit_embeddings", **parts, shards=[one.shard for one in shards])
        index = call("index", embeddings=embeddings.embeddings, algorithm=algorithm)
        release = call("assemble", index=index.index)
        against = "none" if name == "first" else FIRST["release"]
        evaluated = call("evaluate", release=release.release, baseline=against)
        assert all(one.found for one in (*shards, embeddings, index, release)), name
        assert not evaluated.found, "`evaluate` has version 3 now: BM25 stems words"
        made = {"shards": [one.shard for one in shards], "embeddings": embeddings.embeddings, "index": index.index}
        made |= {"release": release.release}
        assert made == {key: ids[key] for key in made}, name
    judged = call("gate", evaluation=GRAPH["evaluation"], baseline=GRAPH["baseline"], margin=0.1)
    assert judged.verdict == GRAPH["verdict"]
    planned = call("plan_scores", source="tests/golden/collections/queries.csv")
    parts = {"queries": planned.queries, "release": planned.release, "k": 5}
    shards = [call("score_shard", **parts, shard=shard) for shard in planned.shards]
    scores = call("commit_scores", **parts, shards=[one.shard for one in shards])
    difference = call("diff", a=IDS["corpora"]["judged"]["corpus"], b=IDS["corpora"]["changed"]["corpus"])
    assert (scores.scores, difference.report) == (IDS["scores"]["scores"], IDS["diff"])
    assert all(one.found for one in (planned, *shards, scores, difference))
    made = set(committed_manifests(store)) - set(before)
    assert {path.split("/")[0] for path in made} <= {"report", "evaluation"}, "reports of `ingest`, named by their words"


def test_the_journal_and_every_verdict_are_told(store):
    entries = [[entry.action, entry.to, entry.verdict] for entry in Journal(store).entries]
    assert entries == IDS["journal"]
    told = call("history", limit=100)
    assert told.champion == FIRST["release"]
    for name, ids in IDS["releases"].items():
        why = call("why", release=ids["release"])
        assert (why.verdict, why.outcome) == (ids["verdict"], ids["outcome"]), name


def test_the_pages_are_shown(store):
    pytest.importorskip("airflow")
    from ui.artifact_page import artifact_page
    from ui.releases_page import releases_page
    from ui.report_page import report_page

    from tests import airflow_home  # noqa: F401  # before the first import of Airflow

    page = releases_page().body.decode()
    assert all(ids["release"][:8] in page for ids in IDS["releases"].values())
    for kind, artifact in (("verdict", SECOND["verdict"]), ("evaluation", SECOND["evaluation"]), ("report", IDS["diff"])):
        assert report_page(kind, artifact).status_code == 200
        assert artifact_page(kind, artifact).status_code == 200


def test_every_release_loads_and_two_are_served(store, home):
    for name, ids in IDS["releases"].items():
        assert load_release(store, ids["release"]).search(["red wooden chair"], 3)[0][0][0] == "red-wooden-chair", name
    with running_server(home) as server:
        server.wait(lambda said: set(said["warm"]) >= {FIRST["release"], GRAPH["release"]})
        for release, ids in (("champion", FIRST), ("challenger", GRAPH)):
            answer = server.search("green glass lamp", release=release).json()
            assert (answer["release"], answer["results"][0]["id"]) == (ids["release"], "green-glass-lamp")


def test_a_release_of_today_is_judged_against_an_evaluation_of_then(store):
    planned = call("plan", corpus=IDS["corpora"]["changed"]["corpus"])
    parts = {"corpus": planned.corpus, "encoder": planned.encoder, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    embeddings = call("commit_embeddings", **parts, shards=shards).embeddings
    release = call("assemble", index=call("index", embeddings=embeddings, recall=0.9, algorithm="flat").index).release
    assert release not in {ids["release"] for ids in IDS["releases"].values()}
    evaluated = call("evaluate", release=release)
    assert call("gate", evaluation=evaluated.evaluation, baseline=GRAPH["baseline"], margin=0.1).passed
    assert call("gate", evaluation=evaluated.evaluation, baseline=evaluated.baseline, margin=0.1).passed


def test_gc_names_nothing_more_than_it_did(store):
    found = garbage(store, EVER, -EVER)
    assert sorted(f"{one.kind} {one.id}" for one in found.artifacts) == GARBAGE["artifacts"]
    assert sorted(one.path for one in found.files) == GARBAGE["files"]


def test_gc_refuses_a_store_with_artifacts_of_a_kind_it_does_not_know(store):
    release = find(store, "release", FIRST["release"])
    assert release
    store.create("planet/abcd/manifest.json", release.manifest.model_dump_json().encode())
    with pytest.raises(InputError, match="planet"):
        garbage(store, EVER, -EVER)
    assert garbage_step_refuses()


def garbage_step_refuses():
    with pytest.raises(InputError, match="upgrade"):
        call("gc")
    return True
