"""Search by a history: the mean of stored vectors, without the history's documents and without the encoder."""

import numpy as np
import pytest

from pipelines.corpus.documents import Query
from pipelines.index.vector_index import Index, build_flat
from pipelines.retrieval.probes import stored_vectors
from pipelines.retrieval.release import Release, load_release
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.images.serve.conftest import _small_once, small

__all__ = ["_small_once", "small"]


@pytest.fixture
def release(trained, small) -> Release:
    """24 icons; the encoder must not be used."""
    return load_release(open_store(), small)


def ids(ranking):
    return [document for document, _ in ranking]


def test_like_one_document_is_by_its_stored_vector(release):
    embedded = load_exactly(open_store(), "embeddings", release.card.embeddings)
    names = sorted(release.documents)
    vectors = stored_vectors(embedded, names)
    cosines = dict(zip(names, vectors @ vectors[names.index("moon")], strict=True))
    del cosines["moon"]
    passes = release.encoder.forward_passes
    (found,) = release.search_like([("moon",)], 5)
    assert ids(found) == sorted(cosines, key=lambda name: (-cosines[name], name))[:5]
    assert [score for _, score in found] == pytest.approx([cosines[name] for name in ids(found)], abs=1e-6)
    assert release.encoder.forward_passes == passes


def test_like_a_history_is_by_the_mean_and_without_it(release):
    embedded = load_exactly(open_store(), "embeddings", release.card.embeddings)
    names, history = sorted(release.documents), ("moon", "house", "car")
    mean = stored_vectors(embedded, list(history)).mean(0)
    cosines = stored_vectors(embedded, names) @ (mean / np.linalg.norm(mean))
    expected = [name for _, name in sorted(zip(-cosines, names, strict=True)) if name not in history]
    (found,) = release.search_like([history], 100)
    assert ids(found) == expected
    assert len(found) == 21
    (fewer,) = release.search_like([history], 3, [{expected[0], "nothing"}])
    assert ids(fewer) == expected[1:4]
    assert np.linalg.norm(mean) < 0.99, "an unnormalized mean would give other scores"
    assert found[0][1] == pytest.approx(max(cosines[names.index(name)] for name in expected), abs=1e-6)


def test_unknown_documents_are_ignored_and_repeated_ones_count_once(release):
    (plain,) = release.search_like([("moon", "house")], 5)
    (odd,) = release.search_like([("gone", "moon", "house", "moon", "")], 5)
    assert odd == plain
    assert release.search_like([("gone",), ("moon", "house"), ()], 5) == [[], plain, []]
    assert release.search_like([], 5) == []


def test_many_histories_at_once_are_as_each_alone(release):
    histories = [(name, other) for name in release.documents for other in release.documents if name < other]
    assert len(histories) > 256
    together = release.search_like(histories, 4, [{"sun"}] * len(histories))
    for history, found in list(zip(histories, together, strict=True))[::37]:
        (alone,) = release.search_like([history], 4, [{"sun"}])
        assert ids(found) == ids(alone)
        assert not {"sun", *history} & set(ids(found))


def test_vectors_that_cancel_leave_the_last_one():
    rows = np.array([[1, 0], [-1, 0], [0.6, 0.8], [-0.6, 0.8]], np.float32)
    release = Release("r", None, None, Index(build_flat(rows), list("abcd")), {})
    assert ids(release.search_like([("a", "b")], 2)[0]) == ["d", "c"]
    assert ids(release.search_like([("b", "a")], 2)[0]) == ["c", "d"]


def test_rank_uses_the_history_else_the_text(release):
    queries = [
        Query(id="q1", text="beach", split="test"),
        Query(id="q2", text="beach", split="test", history=("moon", "gone")),
        Query(id="q3", text="money", split="test", history=("gone",)),
    ]
    found = release.rank(queries, 3, {"q1": {"umbrella-beach"}, "q2": {"sun"}})
    by_text = release.search(["beach", "money"], 5)
    assert ids(found[0]) == [name for name in ids(by_text[0]) if name != "umbrella-beach"][:3]
    assert found[1] == release.search_like([("moon",)], 3, [{"sun"}])[0]
    assert ids(found[2]) == ids(by_text[1])[:3]
    assert release.rank([], 3, {}) == []
