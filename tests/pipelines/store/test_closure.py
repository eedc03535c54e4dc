"""What a release needs is found whole, and what of it is gone is named with its recipe."""

import pytest

from pipelines.errors import CorruptArtifact
from pipelines.store.artifacts import load_exactly
from pipelines.store.closure import RECIPES, closure, gone_recipe, told
from pipelines.store.gc import Garbage, garbage, sweep
from pipelines.store.objects import open_store


def test_a_verdict_brings_its_release_and_all_that_it_was_made_from(releases):
    store = open_store()
    whole = closure(store, {"verdict": (verdict := releases.verdict(releases.a))})
    release = load_exactly(store, "release", releases.a)
    assert whole.gone == {}
    assert {verdict, releases.a, releases.evaluation(releases.a), *release.inputs.values()} <= set(whole.artifacts)
    assert releases.b not in whole.artifacts
    order = list(whole.artifacts)
    for artifact in whole.artifacts.values():
        assert all(order.index(name) < order.index(artifact.id) for name in artifact.inputs.values() if name in order)


def test_what_gc_took_is_named_with_its_recipe_and_its_inputs_too(releases):
    store = open_store()
    release = load_exactly(store, "release", releases.a)
    index, embeddings = (load_exactly(store, kind, release.inputs[kind]) for kind in ("index", "embeddings"))
    sweep(store, Garbage(artifacts=[index, embeddings]))
    whole = closure(store, {"release": releases.a})
    assert whole.gone == {embeddings.id: "embeddings", index.id: "index"}
    assert list(whole.gone) == [embeddings.id, index.id], "in the order in which they are made again"
    assert gone_recipe(store, index.id) == index.manifest.recipe
    said = told(store, "embeddings", embeddings.id)
    assert said.startswith(
        f"embeddings {embeddings.id}, which `commit_embeddings` makes from corpus {release.inputs['corpus']}"
    )
    assert "variant=onnx-fp32" in said


def test_an_artifact_without_a_file_is_gone_though_its_manifest_is_there(releases):
    store = open_store()
    index = load_exactly(store, "index", load_exactly(store, "release", releases.a).inputs["index"])
    store.delete(f"blobs/{next(iter(index.manifest.files.values())).sha256}")
    assert closure(store, {"release": releases.a}).gone == {index.id: "index"}
    assert "`index` makes from embeddings" in told(store, "index", index.id)


def test_what_no_recipe_is_known_of_is_told(releases):
    store = open_store()
    name = "0123456789abcdef0123"
    assert closure(store, {"lexical": name}).gone == {name: "lexical"}
    assert told(store, "lexical", name) == f"lexical {name}, whose recipe is not known"
    store.create(f"{RECIPES}/{name}.json", b"{}")
    with pytest.raises(CorruptArtifact, match=f"recipe of {name}"):
        told(store, "lexical", name)


def test_recipes_are_no_garbage_and_no_kind(releases):
    store = open_store()
    sweep(store, garbage(store, 10**12, -(10**12)))
    assert store.names(f"{RECIPES}/")
    assert garbage(store, 10**12, 0).artifacts == []
    assert store.names(f"{RECIPES}/")
