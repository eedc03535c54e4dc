"""Corpus, encoder, embeddings, index and release through their steps: invariants and refused inputs."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contract import step_modules
from pipelines.corpus.documents import documents, qrels, queries
from pipelines.embeddings.layout import rows, vectors
from pipelines.errors import CorruptArtifact, InputError
from pipelines.index.vector_index import Index, load_index
from pipelines.models.encoder import batch_by_tokens, check_vectors, load_encoder
from pipelines.retrieval.release import load_release
from pipelines.store.artifacts import load_exactly, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder

WORDS = st.text(alphabet="abcdefg", min_size=1, max_size=4)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1000))
def test_batches_hold_every_row_once_and_keep_the_budget(lengths, budget):
    batches = batch_by_tokens(lengths, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len({lengths[row] for row in batch}) == 1 for batch in batches), "nothing is padded"
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)


def test_a_shard_that_there_is_none_of(trained):
    parts = {"corpus": trained.corpus, "encoder": trained.encoder}
    with pytest.raises(InputError, match=r"given shard 5/3; expected 0/3 to 2/3; next: pass a shard that plan gave"):
        call("embed", **parts, shard="5/3")
    assert len(open_store().names("shard/")) == 1, "only that of the training"


def shard_of_another_encoder():

    def build(folder):
        np.save(folder / "vectors.npy", np.eye(1, 384, dtype=np.float32))
        (folder / "rows.jsonl").write_text('{"id":"a","content":"a"}\n')
        return {"documents": 1}

    inputs = {"encoder": "another-encoder", "documents": "a"}
    recipe = Recipe(kind="shard", step="embed", version=1, inputs=inputs, params={"variant": "onnx-fp32"})
    return produce(open_store(), recipe, build)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, np.nan, np.inf, 2.0]), min_size=1, max_size=6))
def test_vectors_that_cannot_be_searched(values):
    bad = np.zeros((len(values), 4), np.float32)
    bad[:, 0] = values
    with pytest.raises(InputError, match=f"{len(values)} of {len(values)} vectors"):
        check_vectors(bad, [str(number) for number in range(len(values))])


def test_icons_collection(trained):
    corpus = load_exactly(trained.store, "corpus", trained.corpus)
    texts = {one.id: one for one in documents(corpus)}
    questions = queries(corpus)
    assert len(texts) == 1885
    assert {query.split for query in questions} == {"train", "test"}
    assert 0.35 < len(queries(corpus, "test")) / len(questions) < 0.45
    judged = qrels(corpus)
    assert set(judged) == {query.id for query in questions}
    by_id = {query.id: query.text.lower() for query in questions}
    assert not [1 for query, grades in judged.items() for document in grades if texts[document].title.lower() == by_id[query]]


def test_ingest_again_finds(trained):
    again = call("ingest")
    assert again.found
    assert again.corpus == trained.corpus


def test_an_empty_corpus_is_refused(home, icons_folder):
    with pytest.raises(InputError, match="without documents"):
        call("ingest", folder=str(icons_folder("empty", keep=lambda name: False)))
    assert not list(home.rglob("manifest.json"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda icons: icons.update(broken={}),
        lambda icons: icons.update(broken="text"),
        lambda icons: icons["0"].update(label=""),
        lambda icons: icons["0"].update(free=[]),
        lambda icons: icons["0"]["search"].update(terms=None),
        lambda icons: icons.update({"two words": icons["0"]}),
    ],
)
def test_a_collection_of_another_shape_is_refused(home, icons_folder, edit):
    folder = icons_folder("odd", keep=lambda name: name in "0123", edit=edit)
    with pytest.raises(InputError):
        call("ingest", folder=str(folder))
    assert not list(home.rglob("manifest.json"))


def test_encoder_matches_its_weights_and_is_batch_invariant(trained):
    encoder = load_exactly(trained.store, "encoder", trained.encoder)
    assert encoder.facts["deviation"] <= 1e-5
    loaded = load_encoder(encoder, "onnx-fp32")
    texts = [f"word {number} " * (number % 40 + 1) for number in range(60)]
    together = loaded.encode(texts, "document", 512)
    alone = np.concatenate([loaded.encode([text], "document") for text in texts])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5


def test_unknown_variant(trained):
    with pytest.raises(InputError, match="int3"):
        load_encoder(load_exactly(trained.store, "encoder", trained.encoder), "int3")


def test_sharding_does_not_change_embeddings(trained, home, icons_folder):
    corpus = call("ingest", folder=str(icons_folder("few", keep=lambda name: name < "c"))).corpus
    parts = {"corpus": corpus, "encoder": trained.encoder}
    planned = call("plan", **parts, shards=3, mode="full")
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    embedded = load_exactly(trained.store, "embeddings", call("commit_embeddings", **parts, shards=shards[::-1]).embeddings)
    whole = load_exactly(trained.store, "embeddings", trained.embeddings)
    of_whole = dict(zip([row.id for row in rows(whole)], vectors(whole), strict=True))
    assert (
        max(np.abs(of_whole[row.id] - vector).max() for row, vector in zip(rows(embedded), vectors(embedded), strict=True))
        <= 1e-5
    )


def test_incremental_refresh_keeps_bytes_and_encodes_only_the_rest(trained, icons_folder):
    def edit(icons):
        icons["house"]["label"] = "Dwelling"
        icons["brand-addition"] = {**icons["0"], "label": "Entirely new"}

    folder = icons_folder("next", keep=lambda name: name != "beer-mug-empty", edit=edit)
    corpus = call("ingest", folder=str(folder)).corpus
    planned = call("plan", corpus=corpus, encoder=trained.encoder, base=trained.embeddings)
    assert (planned.added, planned.changed, planned.deleted, planned.kept) == (1, 1, 1, 1883)
    parts = {"corpus": corpus, "encoder": trained.encoder, "base": trained.embeddings}
    shard = call("embed", **parts, shard=planned.shards[0])
    assert (shard.documents, shard.forward_passes) == (2, 2), "one pass for each length"
    answer = call("commit_embeddings", **parts, shards=[shard.shard])
    assert (answer.documents, answer.kept, answer.encoded) == (1885, 1883, 2)
    old, new = (load_exactly(trained.store, "embeddings", name) for name in (trained.embeddings, answer.embeddings))
    before = dict(zip([row.id for row in rows(old)], vectors(old), strict=True))
    kept = [
        (row.id, vector)
        for row, vector in zip(rows(new), vectors(new), strict=True)
        if row.id not in ("house", "brand-addition")
    ]
    assert all(before[key].tobytes() == vector.tobytes() for key, vector in kept)


def test_delete_only_refresh_needs_no_forward_pass(trained, icons_folder):
    corpus = call("ingest", folder=str(icons_folder("less", keep=lambda name: name > "b"))).corpus
    planned = call("plan", corpus=corpus, encoder=trained.encoder, base=trained.embeddings)
    assert planned.shards == []
    assert planned.deleted > 0
    answer = call("commit_embeddings", corpus=corpus, encoder=trained.encoder, base=trained.embeddings)
    assert answer.encoded == 0


def test_vectors_of_two_encoders_are_never_mixed(trained, home):
    foreign = shard_of_another_encoder()
    with pytest.raises(InputError, match="another-encoder"):
        call("commit_embeddings", corpus=trained.corpus, encoder=trained.encoder, shards=[trained.shard, foreign.id])


def test_ties_are_in_the_order_of_ids():
    built = faiss.IndexFlatIP(2)
    built.add(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    assert Index(built, ["b", "a", "c"]).search(np.array([[1, 0]], np.float32), 3)[0] == [("a", 1.0), ("b", 1.0), ("c", 0.0)]


def test_release_refuses_parts_that_do_not_name_each_other(trained, icons_folder):
    corpus = call("ingest", folder=str(icons_folder("half", keep=lambda name: name < "m"))).corpus
    half = embedded_release(trained.home, corpus, trained.encoder)
    with pytest.raises(InputError, match=trained.embeddings):
        call("assemble", index=half.index, embeddings=trained.embeddings)
    other = static_encoder()
    with pytest.raises(InputError, match=other):
        call("assemble", index=trained.index, encoder=other)


def test_release_refuses_an_encoder_that_gives_other_vectors(trained):
    release = load_release(trained.store, trained.release)
    assert release.search(["beach"], 3)[0][0][0] == "umbrella-beach"
    index = load_index(load_exactly(trained.store, "index", trained.index))
    assert index.faiss_index.ntotal == 1885


def test_flipped_byte_is_named(trained):
    path = load_exactly(trained.store, "embeddings", trained.embeddings).path("vectors.npy")
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.unlink()
    path.write_bytes(body)
    with pytest.raises(CorruptArtifact, match=f"embeddings/{trained.embeddings}/vectors.npy"):
        load_release(trained.store, trained.release)


def test_vectors_of_other_texts_are_refused_before_they_appear(trained, icons_folder):
    """New documents whose vectors are of the right length and count, but are not theirs."""

    def edit(icons):
        icons.update({f"new-{number}": {**icons["0"], "label": f"Entirely new {number}"} for number in range(40)})

    corpus = call("ingest", folder=str(icons_folder("garbage", edit=edit))).corpus
    parts = {"corpus": corpus, "encoder": trained.encoder, "base": trained.embeddings}
    good = load_exactly(trained.store, "shard", call("embed", **parts, shard="0/1").shard)
    random = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)

    def build(folder):
        np.save(folder / "vectors.npy", random / np.linalg.norm(random, axis=1, keepdims=True))
        (folder / "rows.jsonl").write_bytes(good.path("rows.jsonl").read_bytes())
        return {"documents": 40}

    recipe = good.manifest.recipe.model_copy(update={"inputs": {**good.inputs, "documents": "garbage"}})
    with pytest.raises(InputError, match="these shards, whose encoder gives vectors that differ by"):
        call("commit_embeddings", **parts, shards=[produce(trained.store, recipe, build).id])
    assert call("commit_embeddings", **parts, shards=[good.id]).encoded == 40


@pytest.mark.parametrize("step", ["embed", "commit_embeddings", "index", "assemble"])
def test_raising_a_steps_version_makes_its_work_anew(trained, monkeypatch, step):
    values = {
        "embed": {"corpus": trained.corpus, "encoder": trained.encoder},
        "commit_embeddings": {"corpus": trained.corpus, "encoder": trained.encoder, "shards": [trained.shard]},
        "index": {"embeddings": trained.embeddings},
        "assemble": {"index": trained.index},
    }[step]
    assert call(step, **values).found
    monkeypatch.setattr(f"{step_modules()[step]}.VERSION", 99)
    assert not call(step, **values).found
