"""Refreshes through their steps: what plan announces, documents that are hard to encode, and what is kept."""

import numpy as np
import pytest

from pipelines.__main__ import main
from pipelines.corpus.documents import Document
from pipelines.embeddings.layout import rows, vectors
from pipelines.errors import InputError, TryAgain
from pipelines.store.artifacts import committed, load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.corpora import write_corpus
from tests.encoders import static_encoder

HARD = {
    "a-5-mb": "word " * 1_000_000,
    "b-one-long-word": "x" * 100_000,
    "c-control": "a\x00b\x07c\x1b[31md\x7f\u200b\u202e",
    "d-mixed-scripts": "Straße улица شارع 街道 גשר ถนน",
    "e-emoji": "👩‍👩‍👧‍👦🏳️‍🌈🧑🏽‍🚀",
    "f-space": " \t\n ",
    "g-combining": "e" + "\u0301" * 500,
    "h-plain": "a plain text",
}


def corpus_of(texts):
    return write_corpus([Document(id=key, text=text) for key, text in sorted(texts.items())])


def refreshed(corpus, encoder, base="", **tuning):
    planned = call("plan", corpus=corpus, encoder=encoder, base=base, **tuning)
    parts = {"corpus": corpus, "encoder": encoder, "base": planned.base}
    shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
    return planned, call("commit_embeddings", **parts, shards=shards)


@pytest.fixture
def encoder(home):
    return static_encoder()


def test_hard_documents_each_have_a_vector(encoder):
    corpus = corpus_of(HARD)
    _, answer = refreshed(corpus, encoder)
    embedded = load(open_store(), "embeddings", answer.embeddings)
    assert [row.id for row in rows(embedded)] == list(HARD)
    assert [row.content for row in rows(embedded)] == [Document(id="x", text=text).content for text in HARD.values()]
    assert np.abs(np.linalg.norm(vectors(embedded), axis=1) - 1).max() < 1e-3
    cut = [load(open_store(), "shard", one).facts["cut"] for one in committed(open_store(), "shard")]
    assert sum(cut) == 1, "only the one of 5 MB is longer than the encoder reads"
    alone = refreshed(corpus_of({"z": HARD["e-emoji"]}), encoder)[1].embeddings
    assert np.abs(vectors(load(open_store(), "embeddings", alone))[0] - vectors(embedded)[4]).max() <= 1e-5


def test_an_empty_text_is_no_document(encoder, capsys):
    corpus = load(open_store(), "corpus", corpus_of({"a": "text"}))
    path = corpus.path("documents.jsonl")
    path.write_text('{"id":"a","text":""}\n')
    assert main(["plan", "--corpus", corpus.id]) == 2
    assert f"corpus/{corpus.id}/documents.jsonl" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least 1 character"):
        Document(id="a", text="")


def test_a_store_that_refuses_the_commit_loses_nothing(encoder):
    corpus, store = corpus_of({key: f"text {key}" for key in "abc"}), open_store()
    parts = {"corpus": corpus, "encoder": encoder}
    shard = call("embed", **parts).shard
    (store.local / "embeddings").write_text("a file where the folder must be")
    message = r"embeddings/.*/manifest.json in .*; expected a store that answers and has room; next: check the disk"
    with pytest.raises(TryAgain, match=message):
        call("commit_embeddings", **parts, shards=[shard])
    (store.local / "embeddings").unlink()
    assert call("embed", **parts).forward_passes == 0
    assert call("commit_embeddings", **parts, shards=[shard]).encoded == 3


def test_plan_estimates_documents_and_time(encoder):
    texts = {f"d{number:04d}": f"text number {number}" for number in range(40)}
    planned, answer = refreshed(corpus_of(texts), encoder, shards=2)
    assert planned.sentence == "40 of 40 documents, time unknown, this encoder variant has not been measured, 2 pods"
    assert (planned.mode, planned.estimate_s, planned.shards) == ("full", None, ["0/2", "1/2"])
    rate = load(open_store(), "embeddings", answer.embeddings).facts
    later = corpus_of({**texts, "d0001": "another text", "e": "new"})
    dry_run = call("plan", corpus=later, encoder=encoder, base=answer.embeddings, dry_run=True)
    expected = rate["start_s"] + dry_run.tokens / rate["tokens_per_s"]
    assert dry_run.estimate_s == pytest.approx(expected, abs=0.06)
    assert dry_run.sentence == f"2 of 41 documents, ~{dry_run.estimate_s:,.0f} s, 1 pod"
    assert (dry_run.mode, dry_run.dry_run, dry_run.base) == ("incremental", True, answer.embeddings)
    _, kept = refreshed(corpus_of({key: texts[key] for key in list(texts)[:30]}), encoder, answer.embeddings)
    assert load(open_store(), "embeddings", kept.embeddings).facts["tokens_per_s"] == rate["tokens_per_s"], "passed on"
    assert call("plan", corpus=later, encoder=encoder, base=answer.embeddings, mode="full").kept == 0


def test_large_shards_are_divided(encoder):
    corpus = corpus_of({f"d{number:04d}": "text" for number in range(10)})
    assert call("plan", corpus=corpus, encoder=encoder, shard_documents=3).shards == ["0/4", "1/4", "2/4", "3/4"]
    assert call("plan", corpus=corpus, encoder=encoder, shards=50).shards[-1] == "9/10"


def test_nothing_changed_is_nothing_to_encode(encoder):
    corpus = corpus_of({key: f"text {key}" for key in "abc"})
    _, first = refreshed(corpus, encoder)
    planned, again = refreshed(corpus, encoder, first.embeddings)
    assert (planned.shards, planned.sentence) == ([], "0 of 3 documents, ~0 s, 0 pods")
    assert (again.embeddings, again.found) == (first.embeddings, True)


def test_successive_refreshes_add_segments_and_keep_bytes(encoder):
    """Each adds a segment, until there are too many; kept vectors have the same bytes throughout."""
    store, base, texts, counts = open_store(), "", {f"d{number:02d}": f"text {number}" for number in range(20)}, []
    seen = {}
    for number in range(6):
        texts |= {f"e{number}": f"added {number}"}
        corpus = corpus_of(texts)
        planned = call("plan", corpus=corpus, encoder=encoder, base=base)
        parts = {"corpus": corpus, "encoder": encoder, "base": base}
        shards = [call("embed", **parts, shard=shard).shard for shard in planned.shards]
        base = call("commit_embeddings", **parts, shards=shards, segments=4).embeddings
        embedded = load(store, "embeddings", base)
        counts.append(embedded.facts["segments"])
        now = {row.id: vector.tobytes() for row, vector in zip(rows(embedded), vectors(embedded), strict=True)}
        assert seen.items() <= now.items()
        seen = now
    assert counts == [1, 2, 3, 4, 1, 2]


def test_another_encoder_embeds_beside_the_champion_which_serves_on(trained):
    journal = Journal(open_store())
    journal.append("deploy", trained.release, "proof", Routing(champion=trained.release), who="proof")
    planned, answer = refreshed(trained.corpus, static_encoder())
    assert (planned.mode, planned.base, planned.kept) == ("encoder change", "", 0)
    assert answer.embeddings != trained.embeddings
    assert Journal(open_store()).routing.champion == trained.release
    unchanged = call("plan", corpus=trained.corpus, encoder=trained.encoder)
    assert (unchanged.mode, unchanged.base, unchanged.shards) == ("incremental", trained.embeddings, [])
    with pytest.raises(InputError, match=r"by another encoder or variant; .*; next: leave out --base"):
        call("plan", corpus=trained.corpus, base=answer.embeddings)
