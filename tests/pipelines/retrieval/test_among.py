"""A search among some documents: as many are found as there are, each scored exactly, whatever index and stages there are."""

import faiss
import numpy as np
import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.index.vector_index import SCORED_TOGETHER, Index, build_flat
from pipelines.retrieval.release import Release, load_release, query_of
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.pipelines.retrieval.test_rerank import ASKED
from tests.rerankers import _reranking_once, reranking

__all__ = ["_reranking_once", "reranking"]
NOUNS = ["chair", "lamp", "table", "clock", "sofa", "shelf", "mirror", "carpet"]
COLOURS = ["red", "green", "blue", "white", "black", "yellow", "grey", "pink"]
DOCUMENTS = [
    Document(id=f"{colour}-{noun}", text=f"a {colour} {noun} for the house", segment=noun, facets={"colour": colour})
    for colour in COLOURS
    for noun in NOUNS
]
EVERY = 1_000


def hnsw(vectors):
    index = faiss.IndexHNSWFlat(vectors.shape[1], 4, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 1
    index.add(vectors)
    return index


def ivf(vectors):
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], 64, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


@pytest.mark.parametrize("build", [build_flat, hnsw, ivf])
@pytest.mark.parametrize(("count", "k"), [(0, 5), (1, 5), (3, 5), (40, 5), (2_000, 5), (2_000, 3_000)])
def test_all_are_scored_whatever_the_index(build, count, k):
    drawn = np.random.default_rng(count)
    vectors = drawn.integers(-3, 4, (4_000, 16)).astype(np.float32)  # sums are exact, and many scores equal
    names = [f"d{number:04}" for number in range(len(vectors))]
    order = drawn.permutation(len(names))  # as updates of an index leave it
    index = Index(build(vectors[order]), [names[row] for row in order])
    among = np.unique(np.concatenate([drawn.choice(4_000, count, replace=False), [17, 5][:count]])).astype(np.int64)
    left_out = {names[place] for place in among[:1]} if count > 3 else set()
    query = vectors[5]
    scores = {names[place]: float(vectors[place] @ query) for place in among.tolist() if names[place] not in left_out}
    expected = sorted(scores, key=lambda name: (-scores[name], name))[:k]
    assert index.search_among(query, k, among, left_out) == [(name, scores[name]) for name in expected]


def test_many_are_scored_in_parts(monkeypatch):
    vectors = np.eye(100, dtype=np.float32)
    index = Index(build_flat(vectors), [f"d{number:02}" for number in range(100)])
    among = np.arange(0, 100, 2)
    whole = index.search_among(vectors[98], 50, among)
    assert SCORED_TOGETHER > 100
    monkeypatch.setattr("pipelines.index.vector_index.SCORED_TOGETHER", 7)
    assert index.search_among(vectors[98], 50, among) == whole
    assert whole[0] == ("d98", 1.0)
    assert len(whole) == 50


def release_with(stages: str) -> Release:
    asked = [Query(id=f"q{number}", text=f"{noun} {number}", split="train") for number, noun in enumerate(NOUNS)]
    judged = [f"q{number} 0 {colour}-{noun} 1" for number, noun in enumerate(NOUNS) for colour in COLOURS]
    asked.append(Query(id="t", text="chair", split="test"))
    corpus = write_corpus(DOCUMENTS, asked, [*judged, "t 0 red-chair 1"])
    index = embedded_release(None, corpus, static_encoder()).index
    if not stages:
        return load_release(open_store(), call("assemble", index=index).release)
    lexical, known = call("index_lexical", index=index).lexical, call("index_known_queries", index=index).known_queries
    chosen = call("choose_stages", index=index, take=stages, lexical=lexical, known_queries=known).stages
    return load_release(open_store(), call("assemble", index=index, stages=chosen).release)


@pytest.mark.parametrize("stages", ["", "dense=0.5+lexical=0.5", "dense=0.4+known_queries=0.6", "known_queries"])
@pytest.mark.parametrize(
    "wanted", [{"colour": ["pink"]}, {"segment": ["sofa", "lamp"]}, {"segment": ["sofa"], "colour": ["red"]}]
)
def test_a_release_finds_all_that_match_and_no_other(home, stages, wanted):
    release = release_with(stages)
    among = release.fields.matching(wanted)
    matching = {list(release.documents)[place] for place in among}
    queries = [query_of("a black sofa", name="0"), query_of("", ["red-sofa", "red-lamp"], "1")]
    left_out = {"0": ["pink-sofa"], "1": ["pink-sofa"]}
    for query, ranked in zip(queries, release.rank_stages(queries, EVERY, left_out, among=among), strict=True):
        found = [document for document, _ in ranked.result]
        assert len(found) == len(set(found))
        lost = {*query.history, "pink-sofa"}
        retrieved = {one for one, _ in release.rank_stages([query], EVERY, left_out)[0].result}
        assert set(found) == (matching - lost) & retrieved
        assert stages == "known_queries" or set(found) == matching - lost, "dense retrieves everything"
        assert all({one for one, _ in ranking} <= matching for ranking in ranked.stages.values())
        (few,) = release.rank_stages([query], 2, left_out, among=among)
        assert few.result == ranked.result[:2]


def test_without_stages_the_order_and_scores_are_those_of_all(home):
    release = release_with("")
    among = release.fields.matching({"segment": ["sofa"]})
    for query in (query_of("a black sofa"), query_of("", ["red-lamp"])):
        (every,), (some,) = release.rank_stages([query], EVERY, {}), release.rank_stages([query], EVERY, {}, among=among)
        kept = [pair for pair in every.result if pair[0].endswith("-sofa")]
        assert [document for document, _ in some.result] == [document for document, _ in kept]
        assert [score for _, score in some.result] == pytest.approx([score for _, score in kept], abs=1e-6)


def test_a_reranker_gets_candidates_that_match(reranking, home):
    release = load_release(open_store(), call("assemble", index=reranking.index, reranker=reranking.report).release)
    among = np.array([3, 9, 40])
    (ranked,) = release.rank_stages([ASKED], 10, {}, among=among)
    assert ranked.reranked is not None
    assert (ranked.reranked.candidates, ranked.reranked.scored) == (3, 3)
    assert sorted(document for document, _ in ranked.result) == [list(release.documents)[place] for place in among]


def test_nobody_knows_what_is_popular_where_nothing_counts_it(home):
    release = release_with("")
    assert not release.counts_choices
    assert release.popular(5) == []
