"""Incremental refresh: what it counts, how it balances shards, its integrity checks, and both layouts of vectors."""

import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.corpus.documents import Document, write_rows
from pipelines.embeddings.integrity import IntegrityCheck, check_fresh
from pipelines.embeddings.layout import CHUNK, in_chunks, places, segments, vectors, vectors_at, write_layout
from pipelines.embeddings.refresh import Change, Shards, aligned, estimate_tokens, shard_documents
from pipelines.errors import CorruptArtifact, InputError
from pipelines.models.encoder import card_of
from pipelines.store.artifacts import load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call
from tests.corpora import write_corpus

WORDS = st.text(alphabet="abcdefg", min_size=1, max_size=4)
TEXTS = st.dictionaries(WORDS, WORDS, max_size=8)
MOST_DEVIATION = 0.1


def corpus_of(texts):
    return load(open_store(), "corpus", write_corpus([Document(id=key, text=text) for key, text in sorted(texts.items())]))


def content(text):
    return Document(id="x", text=text).content


def vectors_artifact(texts, matrix=None, kind="shard", name="", documents=None, step="embed"):
    """A shard, or embeddings, with a row for each (id, text), of an axis each."""

    def build(folder):
        np.save(folder / "vectors.npy", np.eye(len(texts), 8, dtype=np.float32) if matrix is None else matrix)
        lines = [json.dumps({"id": key, "content": content(text)}) + "\n" for key, text in texts]
        (folder / "rows.jsonl").write_text("".join(lines))
        return {"documents": len(texts) if documents is None else documents}

    inputs = {"encoder": "e", "documents": f"{kind}-{texts}-{name}"}
    return produce(open_store(), Recipe(kind=kind, step=step, version=1, inputs=inputs, params={"variant": "v"}), build)


def checked(texts, base, shards):
    integrity = IntegrityCheck()
    corpus = corpus_of(texts)
    list(integrity.rows(aligned(corpus, base, shards)))
    integrity.check(corpus.facts["documents"], sum(artifact.facts["documents"] for artifact in base))
    return integrity


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    before=st.dictionaries(WORDS, WORDS, max_size=8), after=st.dictionaries(WORDS, WORDS, max_size=8), count=st.integers(1, 4)
)
def test_a_change_counts_every_document_and_shards_partition_it(home, before, after, count):
    base = [vectors_artifact(sorted(before.items()), kind="embeddings")]
    corpus, change = corpus_of(after), Change()
    to_encode = {entry.id for entry in aligned(corpus, base) if change.count(entry)}
    assert change.added == len(after.keys() - before.keys())
    assert change.deleted == len(before.keys() - after.keys())
    assert change.changed == len({key for key in after.keys() & before.keys() if after[key] != before[key]})
    assert change.kept + change.to_encode == len(after)
    shards = [[document.id for document in shard_documents(corpus, base, number, count, 256)] for number in range(count)]
    assert sorted(key for shard in shards for key in shard) == sorted(to_encode)
    assert all(shards[: len(to_encode)]), "no shard is empty while there are documents"


@given(st.lists(st.integers(1, 256), min_size=1, max_size=200), st.integers(1, 9))
def test_no_two_shards_differ_by_more_than_one_text(tokens, count):
    shards = Shards(count)
    loads = [0] * count
    for weight in tokens:
        loads[shards.take(weight)] += weight
    assert max(loads) - min(loads) <= max(tokens)


def test_shards_are_even_by_the_real_tokenizer(trained):
    """Texts of one to hundreds of words, Latin, Cyrillic, Chinese and emoji: what each shard costs, padding left out."""
    from pipelines.models.encoder import load_encoder

    chance = random.Random(0)
    pieces = ["house ", "antiquated ", "дом ", "房子", "🎈", "naïve ", "x1-200/b "]
    texts = {f"d{n:04d}": "".join(chance.choices(pieces, k=int(chance.lognormvariate(2.5, 1)) + 1)) for n in range(1200)}
    corpus, encoder = corpus_of(texts), load(open_store(), "encoder", trained.encoder)
    tokenizer, limit = load_encoder(encoder, "onnx-fp32").tokenizer, card_of(encoder).fingerprint.max_length
    loads = []
    for number in range(4):
        shard = [document.text for document in shard_documents(corpus, [], number, 4, limit)]
        loads.append(sum(len(encoding.ids) for encoding in tokenizer.encode_batch(shard)))
    assert max(loads) / (sum(loads) / 4) <= 1 + MOST_DEVIATION
    real = {key: len(tokenizer.encode(text).ids) for key, text in texts.items()}
    assert 0.5 <= sum(estimate_tokens(text, limit) for text in texts.values()) / sum(real.values()) <= 2


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "3 documents without a vector, 3 documents in all: a, b, c;"),
        ([["a", "b"]], "1 documents without a vector, 3 documents in all: c;"),
        ([["a", "b", "c"], ["c"]], "1 documents with two vectors, 3 documents in all: c;"),
        ([["a", "b", "c", "c"]], "1 documents with two vectors, 3 documents in all: c;"),
        ([["a", "b", "c", "x"]], "1 vectors of documents that the corpus does not have, 3 documents in all: x;"),
    ],
)
def test_each_document_has_exactly_one_vector(home, parts, words):
    made = [vectors_artifact([(key, key) for key in ids], name=str(number)) for number, ids in enumerate(parts)]
    with pytest.raises(InputError, match=words):
        checked({key: key for key in "abc"}, [], made)


def test_an_id_reused_with_other_text_is_encoded_anew(home):
    base = vectors_artifact([("a", "first"), ("b", "b")], kind="embeddings")
    with pytest.raises(InputError, match="1 documents without a vector, 2 documents in all: a;"):
        checked({"a": "second", "b": "b"}, [base], [])
    with pytest.raises(InputError, match="1 vectors of documents that the corpus does not have, 2 documents in all: a;"):
        checked({"a": "second", "b": "b"}, [base], [vectors_artifact([("a", "first"), ("a", "second")])])
    found = checked({"a": "second", "b": "b"}, [base], [vectors_artifact([("a", "second")])])
    assert found.places.tolist() == [[1, 0], [0, 1]]
    assert (found.encoded, found.change.changed, found.change.kept) == (1, 1, 1)


def test_messages_name_at_most_five_ids(home):
    with pytest.raises(InputError, match="9 documents without a vector, 9 documents in all: a, b, c, d, e, …; expected"):
        checked({key: key for key in "abcdefghi"}, [], [])


def test_new_is_old_minus_deleted_plus_added(home):
    base = vectors_artifact([("a", "a"), ("b", "b")], kind="embeddings", documents=3)
    said = r"2 vectors for a corpus of 2 documents, 3 before − 1 deleted \+ 1 added = 3: b, c"
    with pytest.raises(InputError, match=said):
        checked({"a": "a", "c": "c"}, [base], [vectors_artifact([("c", "c")])])


def test_more_rows_than_vectors(home):
    with pytest.raises(InputError, match="2 vectors for 3 documents"):
        check_fresh(vectors_artifact([(key, key) for key in "abc"], np.eye(2, 8, dtype=np.float32)))
    with pytest.raises(InputError, match="3 vectors for 2 documents"):
        check_fresh(vectors_artifact([(key, key) for key in "ab"], np.eye(3, 8, dtype=np.float32)))


def test_a_fresh_vector_that_cannot_be_searched_is_named(home):
    matrix = np.eye(3, 8, dtype=np.float32)
    matrix[1] = np.nan
    with pytest.raises(InputError, match=r"1 of 3 vectors that are not of length 1.*: b;"):
        check_fresh(vectors_artifact([(key, key) for key in "abc"], matrix))


@pytest.mark.parametrize("order", ["bac", "aab"])
def test_a_corpus_out_of_order_is_refused(home, order):
    recipe = Recipe(kind="corpus", step="ingest", version=1, inputs={"order": order}, params={})
    rows = [Document(id=key, text=f"{key}{number}") for number, key in enumerate(order)]
    made = produce(open_store(), recipe, lambda folder: {"documents": write_rows(folder / "documents.jsonl", rows)})
    with pytest.raises(CorruptArtifact, match=r"'a' after '[ab]'; expected rows in the order of their ids, each once"):
        list(aligned(made, []))


def written_layout(where, sources, most, name):
    recipe = Recipe(kind="embeddings", step="proof", version=1, inputs={"name": name}, params={})
    return produce(open_store(), recipe, lambda folder: write_layout(folder, np.array(where, np.uint32), sources, most))


@pytest.fixture
def two_sources(home):
    """Two shards of many vectors, of which each number occurs once."""
    count = 2 * CHUNK + 5
    numbers = np.arange(2 * count * 2, dtype=np.float32).reshape(2, count, 2)
    return [vectors_artifact([(f"{side}", "t")], numbers[side], name=str(side)) for side in range(2)], numbers


@pytest.mark.parametrize(("most", "layout"), [(2, "segments"), (1, "compacted")])
def test_both_layouts_hold_the_same_vectors(two_sources, most, layout):
    sources, numbers = two_sources
    where = [(row % 2, row) for row in range(2 * CHUNK + 5)]
    found = written_layout(where, sources, most, layout)
    expected = np.stack([numbers[side, row] for side, row in where])
    assert ("places.npy" in found.manifest.files) == (layout == "segments")
    assert vectors(found).tobytes() == expected.tobytes()
    assert vectors_at(found, [7, 3]).tobytes() == expected[[7, 3]].tobytes()
    if layout == "segments":
        assert [path.name for path in segments(found)] == [path.name for one in sources for path in segments(one)]
        again = written_layout([(0, row) for row in range(2 * CHUNK + 5)], [found], 9, "again")
        assert again.manifest.files == found.manifest.files, "segments of segments are segments"


def test_mostly_dead_segments_are_compacted(two_sources):
    sources, numbers = two_sources
    found = written_layout([(0, row) for row in range(0, 2 * CHUNK + 5, 3)], sources, 9, "dead")
    assert found.facts["compacted"]
    assert vectors(found).tobytes() == numbers[0, ::3].tobytes()


def test_a_single_whole_segment_is_named_not_copied(two_sources):
    sources, _ = two_sources
    found = written_layout([(1, row) for row in range(2 * CHUNK + 5)], sources, 9, "whole")
    assert found.manifest.files["vectors.npy"] == sources[1].manifest.files["vectors.npy"]
    assert len(list(in_chunks(segments(found), places(found)))) == 3


@pytest.mark.parametrize("body", [b"", b"no numpy", "int"])
def test_a_segment_of_something_else_is_refused(home, body):
    def build(folder):
        if body == "int":
            np.save(folder / "vectors.npy", np.eye(3, dtype=np.int64))
        else:
            (folder / "vectors.npy").write_bytes(body)
        return {}

    recipe = Recipe(kind="shard", step="proof", version=1, inputs={"name": str(body)}, params={})
    with pytest.raises(CorruptArtifact, match="expected float32 vectors as numpy writes them"):
        vectors(produce(open_store(), recipe, build))


def test_a_corrupt_segment_stops_the_refresh_and_is_named(trained, icons_folder):
    folder = icons_folder("next", keep=lambda name: name != "house")
    corpus = call("ingest", folder=str(folder)).corpus
    base = load(open_store(), "embeddings", trained.embeddings)
    path = base.path("vectors.npy")
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.unlink()
    path.write_bytes(body)
    with pytest.raises(CorruptArtifact, match=f"embeddings/{trained.embeddings}/vectors.npy at .*; next: restore the file"):
        call("commit_embeddings", corpus=corpus, encoder=trained.encoder, base=trained.embeddings)
    assert open_store().names("embeddings/") == [trained.embeddings]
