"""A refresh that names no variant goes on with the champion's: its vectors are kept, and its queries are encoded as before."""

import pytest

from pipelines.corpus.documents import Document
from pipelines.retrieval.champion_variants import Variants, default_variants
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.corpora import write_corpus
from tests.golden.encoder import tiny_encoder

DOCUMENTS = {f"d{number}": f"red chair made of wood {number}" for number in range(6)}
OTHERS = {"variant": "onnx-int8-weights", "query_variant": "onnx-int8"}


def corpus_of(texts):
    return write_corpus([Document(id=key, text=text) for key, text in sorted(texts.items())])


def refreshed(corpus, variant="", query_variant="", **named):
    """The ids of a release of a corpus, and its plan; where nothing is named, every step finds out for itself."""
    planned = call("plan", corpus=corpus, variant=variant, **named)
    parts = {"corpus": corpus, "encoder": planned.encoder, "base": planned.base, "variant": variant}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    committed = call("commit_embeddings", **parts, shards=shards)
    index = call("index", embeddings=committed.embeddings, query_variant=query_variant).index
    return planned, committed, index, call("assemble", index=index, query_variant=query_variant).release


def deployed(release):
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release), who="test")


def params_of(kind, artifact):
    return load(open_store(), kind, artifact).manifest.recipe.params


@pytest.fixture
def encoder(home):
    return tiny_encoder(list(OTHERS.values()))


def test_a_refresh_of_a_champion_by_another_variant_encodes_no_kept_document_again(encoder):
    *_, release = refreshed(corpus_of(DOCUMENTS), **OTHERS)
    deployed(release)
    planned, committed, index, after = refreshed(corpus_of({**DOCUMENTS, "e": "blue lamp"}))
    assert (planned.variant, planned.kept, planned.added, planned.changed) == (OTHERS["variant"], 6, 1, 0)
    assert (committed.kept, committed.encoded) == (6, 1)
    assert params_of("embeddings", committed.embeddings)["variant"] == OTHERS["variant"]
    assert params_of("index", index)["query_variant"] == params_of("release", after)["query_variant"] == OTHERS["query_variant"]


def test_without_a_champion_and_with_another_encoder_it_is_fp32_and_the_recipe_says_so(encoder):
    planned, committed, index, release = refreshed(corpus_of(DOCUMENTS))
    assert planned.variant == params_of("embeddings", committed.embeddings)["variant"] == "onnx-fp32"
    assert params_of("index", index)["query_variant"] == params_of("release", release)["query_variant"] == "onnx-fp32"
    *_, other = refreshed(corpus_of(DOCUMENTS), **OTHERS)
    deployed(other)
    assert default_variants(Journal(open_store()), encoder) == Variants(*OTHERS.values())
    assert default_variants(Journal(open_store()), tiny_encoder()) == Variants("onnx-fp32", "onnx-fp32")
    assert call("plan", corpus=planned.corpus, variant="onnx-fp32").mode == "encoder change"
