"""Next-item queries are measured beside popularity, and nobody's ranking holds what a user had seen."""

import json

import pytest
from ir_measures import read_trec_run

from pipelines.collections.next_item import next_items
from pipelines.corpus.documents import Document, Qrel, Query
from pipelines.evaluation.baselines import baseline_runs, past_interactions
from pipelines.evaluation.qrels import judged_topics
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from pipelines.store.stored_words import BASELINES
from tests.conftest import call, embedded_release
from tests.pipelines.collections.movielens import (
    before,
    corpus_of_choices,
    films,
    ml_100k,
    ratings,
    small_films,
    small_ratings,
    staged,
)
from tests.pipelines.evaluation.test_evaluate import corpus_of, graded, rescored, serve

__all__ = ["graded", "ml_100k"]
SPLIT_NAMES = {"release": "run.trec", "popularity": "popularity.trec", "bm25": "bm25.trec"}


@pytest.fixture
def shop(trained):
    """Users who each keep to one genre, histories of three at most: the corpus, and a release of it."""
    corpus = corpus_of_choices(small_films(), small_ratings(), longest=3, quantile=0.7)
    return corpus, embedded_release(trained.home, corpus, trained.encoder).release


def measured(release, **params):
    return load(open_store(), "evaluation", call("evaluate", release=release, **params).evaluation)


def ranked(artifact, run):
    found = {}
    for row in sorted(read_trec_run(str(artifact.path(run))), key=lambda row: -row.score):
        found.setdefault(row.query_id, []).append(row.doc_id)
    return found


def test_three_sides_each_with_its_run(shop):
    artifact = measured(shop[1])
    summary, rows = artifact.json("measures.json"), [json.loads(line) for line in artifact.text("per_query.jsonl").splitlines()]
    assert summary[BASELINES] == ["popularity", "BM25"]
    assert summary["queries"] == len(rows) > 20
    for side, run in SPLIT_NAMES.items():
        assert {row["query"]: row[side] for row in rows} == rescored(artifact, run)
        assert summary["measures"]["nDCG@10"][side]["n"] == len(rows)
    ours, theirs, apart = (summary["measures"]["AP"][side]["mean"] for side in ("release", "popularity", "difference"))
    assert apart == pytest.approx(ours - theirs, abs=1e-8)
    assert artifact.facts["forward_passes"] == 1, "the probes alone: vectors are taken from the index"
    assert ours > theirs, "whoever keeps to a genre is served by what is alike"
    page = artifact.text("report.html")
    for words in ("popularity alone has", "Measures and popularity", "popularity.trec", "BM25 over the titles of the history"):
        assert words in page, words


def test_no_ranking_holds_what_was_seen(shop):
    queries = {query.id: query for query in judged_topics(load(open_store(), "corpus", shop[0]), "test", "exclude").queries}
    seen = before(small_ratings(), next(iter(queries.values())).time)
    assert any(len(seen[query]) > len(queries[query].history) for query in queries), "more was seen than a history holds"
    artifact = measured(shop[1])
    for run in SPLIT_NAMES.values():
        for query, documents in ranked(artifact, run).items():
            assert not set(documents) & seen[query], (run, query)


def test_popularity_counts_users_once_and_before_the_moment():
    choices = [
        *[(f"u{number}", "a", 10 + number, 1.0) for number in range(3)], *[("u9", "b", 20 + time, 1.0) for time in range(5)],
        ("u8", "b", 30, 1.0), ("ann", "c", 1, 1.0), ("u7", "a", 89, 1.0),
        ("ann", "d", 100, 1.0), ("u6", "d", 101, 1.0), ("u5", "a", 100, 1.0),
    ]  # fmt: skip
    corpus = load(open_store(), "corpus", corpus_of_choices(small_letters("abcd"), choices, quantile=0.79))
    topics = judged_topics(corpus, "test", "exclude")
    assert topics.queries[0].time == 100
    past = past_interactions(corpus, topics)
    assert (past.seen, past.all_time) == ({"ann": {"c"}}, {100: {"a": 4, "b": 2, "c": 1}})
    assert past.recent == {100: {"b": 1, "a": 1}}, "the last tenth of 11 begins with the last but one"


def small_letters(letters):
    return [Document(id=one, text=one) for one in letters]


def test_recent_popularity_counts_where_it_ranks_better():
    old = [(f"u{number}", "a", number, 1.0) for number in range(80)]
    trend = [(f"v{number}", "b", 100 + number, 1.0) for number in range(10)]
    later = [(f"w{number}", "z", 200, 1.0) for number in range(8)]
    documents = {name: name for name in "abdz"}
    asked = [("ann", "d", 5, 1.0)]
    assert popular(documents, [*old, *trend, *later, *asked, ("ann", "b", 201, 1.0)]) == ["b", "a"]
    assert popular(documents, [*old, *trend, *later, *asked, ("ann", "a", 201, 1.0)]) == ["a", "b"]


def popular(documents, choices):
    """What popularity ranks for ann."""
    corpus = load(open_store(), "corpus", corpus_of_choices(small_letters(documents), choices))
    topics = judged_topics(corpus, "test", "exclude")
    past = past_interactions(corpus, topics)
    runs = baseline_runs(documents, topics, past, 100)
    assert list(runs) == ["popularity", "BM25"]
    return [document for document, _ in runs["popularity"]["ann"]]


def test_a_history_that_the_release_does_not_know_is_asked_by_its_text(trained, shop):
    asked = judged_topics(load(open_store(), "corpus", shop[0]), "test", "exclude")
    judged = {document for grades in asked.qrels.values() for document in grades}
    kept = [one if one.id in judged else Document(id=f"other-{one.id}", text=one.text) for one in small_films()]
    without = [query for query in asked.queries if not judged & set(query.history)]
    assert 0 < len(without) < len(asked.queries)
    release = embedded_release(trained.home, corpus_of(kept, [], []), trained.encoder).release
    artifact = measured(release, corpus=shop[0])
    assert artifact.facts["forward_passes"] > 1
    assert all(len(documents) >= 90 for documents in ranked(artifact, "run.trec").values())
    assert {one for documents in ranked(artifact, "popularity.trec").values() for one in documents} <= judged


def test_other_histories_are_other_queries_even_under_one_text(home):
    asked = []
    for longest in (8, 9):
        corpus = load(open_store(), "corpus", corpus_of_choices(small_films(), small_ratings(), longest=longest, quantile=0.7))
        asked.append(judged_topics(corpus, "test", "exclude"))
    assert [query.text for query in asked[0].queries] == [query.text for query in asked[1].queries]
    assert asked[0].digest != asked[1].digest


def test_a_release_that_popularity_beats_is_called_so(trained, shop):
    """Everybody saw comedies, and next what everybody sees."""
    fans = [f"fan-{number}" for number in range(20)]
    seen = [(fan, f"m{6 * ((number + place) % 20):03}", place, 1.0) for number, fan in enumerate(fans) for place in range(3)]
    crowd = [(f"one-{number}", "m001", 50, 1.0) for number in range(120)]
    corpus = corpus_of_choices(small_films(), [*seen, *crowd, *[(fan, "m001", 100, 1.0) for fan in fans]])
    release = embedded_release(trained.home, corpus, trained.encoder).release
    artifact = measured(release)
    summary = artifact.json("measures.json")["measures"]["nDCG@10"]
    assert summary["popularity"]["mean"] == 1
    assert summary["difference"]["high"] < 0
    warning = "popularity alone ranks better than this release: nDCG@10 1.000, the release 0.000, beyond chance"
    assert warning in artifact.text("report.html")
    assert artifact.json("report.json")["sentence"].startswith(f"{warning}. nDCG@10 0.000")
    verdict = call("gate", evaluation=artifact.id)
    assert verdict.sentence.endswith(f"over 20 queries; {warning}")
    assert warning in load(open_store(), "verdict", verdict.verdict).text("verdict.md")
    assert "ranks better than this release" not in measured(shop[1]).text("report.html")


def test_a_challenger_is_judged_by_next_items(trained, shop):
    """Texts that part the films otherwise than their users do."""
    worse = [one.model_copy(update={"text": f"film of kind {number // 20}"}) for number, one in enumerate(small_films())]
    corpus = corpus_of_choices(worse, small_ratings(), longest=3, quantile=0.7)
    serve(shop[1])
    found = call("evaluate", release=embedded_release(trained.home, corpus, trained.encoder).release)
    verdict = call("gate", evaluation=found.evaluation, baseline=found.baseline, measure="AP")
    assert (verdict.outcome, verdict.champion) == ("rejected", shop[1]), verdict.sentence
    page = load(open_store(), "verdict", verdict.verdict).text("report.html")
    assert "Comedy" in page


def test_where_queries_of_text_are_asked_too_the_baseline_is_bm25(trained, graded):
    comedy = (Query(id="q1", text="Comedy", split="test"), [Qrel(query="q1", document="m000", grade=1)])
    corpus = corpus_of_choices(small_films(), small_ratings(), more=(comedy,), quantile=0.7)
    release = embedded_release(trained.home, corpus, trained.encoder).release
    for one in (release, graded.release):
        summary = measured(one).json("measures.json")
        assert summary[BASELINES] == ["BM25"]
        assert set(summary["measures"]["AP"]) == {"release", "bm25", "difference"}


def test_ml_100k_goes_through_ingest_and_is_measured_honestly(trained, ml_100k):
    corpus = call("ingest", source=str(ml_100k))
    assert (corpus.documents, corpus.queries, corpus.bad_rows) == (1682, 90, 0)
    made = judged_topics(load(open_store(), "corpus", corpus.corpus), "test", "exclude")
    expected = {query.id: (query.history, query.time) for query, _ in next_items(staged(films(ml_100k), ratings(ml_100k)))}
    assert {query.id: (query.history, query.time) for query in made.queries} == expected
    release = embedded_release(trained.home, corpus.corpus, trained.encoder).release
    artifact = measured(release)
    summary = artifact.json("measures.json")
    assert (summary["queries"], summary[BASELINES]) == (90, ["popularity", "BM25"])
    found = summary["measures"]["R@100"]
    assert found["popularity"]["mean"] > 0.4
    assert 0.03 < found["release"]["mean"] < 0.2
    assert found["difference"]["high"] < 0
    verdict = call("gate", evaluation=artifact.id)
    assert "popularity alone ranks better than this release" in verdict.sentence
