"""Stages: what each retriever and fusion gives, how stages are chosen, and what is refused."""

import json
import os
import random
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.errors import InputError
from pipelines.evaluation import stage_choice
from pipelines.evaluation.measures import per_query
from pipelines.retrieval.lexical import bm25_run
from pipelines.retrieval.release import load_release, query_of, stored_parts
from pipelines.retrieval.stages.answers import AskedQuery, DocumentScorer
from pipelines.retrieval.stages.card import StageCard
from pipelines.retrieval.stages.fusion import Ranked, fuse
from pipelines.retrieval.stages.known_queries import load_known_queries
from pipelines.retrieval.stages.lexical import analysis_for, build_lexical
from pipelines.retrieval.stages.table import check_stages
from pipelines.retrieval.stages.timing import ENCODE, timed
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import PROJECT, call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.sharing import built_once, linked

NOUNS = ["chair", "lamp", "table", "clock", "sofa", "shelf", "mirror", "carpet"]
COLOURS = ["red", "green", "blue", "white", "black", "yellow", "grey", "pink"]
DOCUMENTS = [
    Document(id=f"{colour}-{noun}", text=f"a {colour} {noun} for the house", title=f"{colour} {noun}")
    for colour in COLOURS
    for noun in NOUNS
]
WORDS = ["alpha", "bravo", "delta", "gamma", "kappa", "omega", "sigma", "theta", "zeta", "iota"]


def shop(queries: int = 0, split: str = "train", same: bool = False, encoder: str = ""):
    """A corpus whose texts say nothing of what is relevant: only similar train queries tell. Its index, too."""
    asked, judged = [], []
    for number in range(queries):
        noun = NOUNS[number % len(NOUNS)]
        text = "the same" if same else f"{WORDS[number % 8]} {WORDS[(number // 8) % 10]} {number}"
        asked.append(Query(id=f"q{number}", text=text, split=split))
        judged += [f"q{number} 0 {colour}-{noun} 1" for colour in COLOURS]
    asked += [Query(id=f"t{number}", text=f"{WORDS[number]} {WORDS[9]} asked", split="test") for number in range(8)]
    judged += [f"t{number} 0 {colour}-{NOUNS[number]} 1" for number in range(8) for colour in COLOURS]
    corpus = write_corpus(DOCUMENTS, asked, judged)
    return corpus, embedded_release(None, corpus, encoder or static_encoder()).index


def retrievers(index):
    lexical, known = call("index_lexical", index=index), call("index_known_queries", index=index)
    return {"lexical": lexical.lexical, "known_queries": known.known_queries}


@pytest.fixture(scope="session")
def _shops_once(tmp_path_factory):
    """A home with the indexes and retrievers that most tests begin with."""

    def build(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(folder))
            for queries in (0, 40, 80, 400):
                retrievers(shop(queries)[1])

    return built_once(tmp_path_factory, "shops", build)[0]


@pytest.fixture
def home(_shops_once, home):
    """A home of this test's own in which the steps of `shop` and `retrievers` find their work done."""
    linked(_shops_once, home)
    return home


def release_of(index, take="best", **given):
    chosen = call("choose_stages", index=index, take=take, **(given or retrievers(index)))
    release = call("assemble", index=index, stages=chosen.stages).release
    assert call("assemble", index=index, stages=release).release == release, "a release's stages are taken by its id, too"
    return chosen, release


def test_the_lexical_stage_scores_as_bm25s_does():
    import bm25s

    texts = [f"{one.text} {one.id.replace('-', ' ')}" for one in DOCUMENTS]
    ids = [one.id for one in DOCUMENTS]
    order = np.argsort(ids)
    analysis = analysis_for("none")
    ours = build_lexical([ids[row] for row in order], [texts[row] for row in order], analysis)
    theirs = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    theirs.index([analysis.words(texts[row]) for row in order], show_progress=False)
    for query in ("red chair", "red red lamp", "unknown word", "house"):
        words = [word for word in analysis.words(query) if word in theirs.vocab_dict]
        expected = theirs.get_scores(words) if words else np.zeros(len(ids))
        assert np.allclose(ours.search(query).scores, expected, atol=1e-6)


def test_texts_without_words_are_english_and_nothing_warns():
    with warnings.catch_warnings(action="error"):
        assert analysis_for("auto", ["—", ""]).language == "english"


def test_a_stemmer_finds_other_forms_of_a_word_and_unknown_languages_are_refused():
    documents = {"d1": "running dogs", "d2": "sleeping cats"}
    assert [one for one, _ in bm25_run(documents, {"q": "dog runs"}, 10)["q"]] == ["d1"]
    assert bm25_run(documents, {"q": "dog runs"}, 10, language="none")["q"] == []
    german = {"d1": "Der Hund und die Katzen sind in dem Haus", "d2": "Das ist ein Baum und er ist nicht klein"}
    assert [one for one, _ in bm25_run(german, {"q": "die katze"}, 10)["q"]] == ["d1"]
    with pytest.raises(InputError, match="no stemmer"):
        analysis_for("klingon")


def test_a_lexical_index_is_found_again_and_says_its_language(home):
    _, index = shop()
    first, second = call("index_lexical", index=index), call("index_lexical", index=index)
    assert (first.language, first.documents, second.found, second.lexical) == ("english", 64, True, first.lexical)
    assert call("index_lexical", index=index, language="none").lexical != first.lexical
    with pytest.raises(InputError, match="one of the two"):
        call("index_lexical", index=index, corpus=first.corpus)
    with pytest.raises(InputError, match="no stemmer"):
        call("index_lexical", index=index, language="elvish")


def test_known_queries_find_what_similar_queries_found_and_hold_themselves_out(home):
    _, index = shop(80)
    artifact = load(open_store(), "known_queries", call("index_known_queries", index=index).known_queries)
    known = load_known_queries(artifact, sorted(one.id for one in DOCUMENTS))
    query = Query(id="q0", text="alpha  ALPHA 0", split="train")
    asked = AskedQuery(query, "text", vector=known.vectors[0])
    best = known.answer(asked).best(8, ())
    assert {one for one, _ in best} == {f"{colour}-chair" for colour in COLOURS}
    assert best[0][1] == pytest.approx(1, abs=1e-5)
    held_out = replace(known, held_out=True).answer(asked).best(1, ())
    assert held_out[0][1] < 0.999, "its own row does not count, in whatever case"


def test_the_best_stages_are_taken_and_beat_what_was(home):
    _, index = shop(400)
    chosen, release = release_of(index)
    assert chosen.dev_queries > stage_choice.LEAST_DEV
    assert "known_queries" in chosen.names
    assert "against the default" in chosen.sentence
    before = call("assemble", index=index).release
    here, there = (call("evaluate", release=one, baseline="none") for one in (release, before))
    assert here.low > there.ndcg_at_10 + 0.5
    evaluation = load(open_store(), "evaluation", here.evaluation)
    stages = {row["stage"]: row for row in evaluation.json("measures.json")["stages"]}
    assert set(stages) >= {"known_queries"}
    assert all(row["queries"] == 8 for row in stages.values())
    assert "Stages" in evaluation.text("report.html")
    report = load(open_store(), "report", chosen.stages)
    assert "Candidates, best first" in report.text("report.html")
    assert sum(not row["reason"] for row in report.facts["table"]) == 1


def test_where_nothing_is_encoded_no_time_of_it_is_told(home):
    _, index = shop()
    lexical = call("index_lexical", index=index).lexical
    release = load_release(open_store(), release_of(index, take="dense=0.5+lexical=0.5", lexical=lexical)[1])
    with timed() as seconds:
        release.rank_stages([], 5, {})
        release.rank_stages([query_of(history=["red-chair"])], 5, {})
        assert ENCODE not in seconds
        release.rank_stages([query_of("red chair")], 5, {})
    assert ENCODE in seconds


def test_figures_of_the_choice_are_those_of_ir_measures(home):
    corpus, index = shop(120)
    _, release = release_of(index, take="dense=0.4+known_queries=0.6")
    loaded = load_release(open_store(), release)
    topics = stage_choice.dev_topics(load(open_store(), "corpus", corpus))
    asked = loaded._asked(loaded.ranker, topics.queries, [()] * len(topics.queries), 2048)
    candidate = stage_choice.Candidate({"dense": 0.4, "known_queries": 0.6}, "weighted")
    ours = [stage_choice.dev_scores(one, loaded.ranker.retrievers, topics.qrels[one.query.id]).ndcg(candidate) for one in asked]
    ranked = dict(zip([query.id for query in topics.queries], loaded.rank(topics.queries, 100, {}), strict=True))
    theirs = per_query(topics.qrels, ranked)
    assert ours == pytest.approx([theirs[query.id]["nDCG@10"] for query in topics.queries], abs=1e-9)


def test_a_choice_never_sees_test_queries(home):
    """On test the lexical stage is perfect; on dev the known queries are. What is taken follows dev."""
    encoder = static_encoder()
    _, index = shop(400, encoder=encoder)
    planted = [Query(id=f"t{number}", text=f"{COLOURS[number]} {NOUNS[number]}", split="test") for number in range(8)]
    rows = [f"t{number} 0 {COLOURS[number]}-{NOUNS[number]} 1" for number in range(8)]
    other, _ = shop(400, encoder=encoder)
    store = open_store()
    queries = [json.loads(line) for line in load(store, "corpus", other).text("queries.jsonl").splitlines()]
    kept = [Query(**row) for row in queries if row["split"] == "train"]
    judged = [line for line in load(store, "corpus", other).text("qrels.txt").splitlines() if line.startswith("q")]
    second = embedded_release(None, write_corpus(DOCUMENTS, [*kept, *planted], [*judged, *rows]), encoder).index
    first_choice, _ = release_of(index)
    second_choice, release = release_of(second)
    assert first_choice.names == second_choice.names
    first_table, second_table = (load(store, "report", one.stages).facts["table"] for one in (first_choice, second_choice))
    assert first_table == second_table, "not a figure of any candidate knows of the other test queries"
    lexical = release_of(second, take="lexical", **retrievers(second))[1]
    by_words, taken = (call("evaluate", release=one, baseline="none") for one in (lexical, release))
    assert by_words.low > taken.ndcg_at_10


def dev_query(**first):
    """One dev query with three documents, of which the first is relevant; by retriever, whether it ranks that one first."""
    scores = np.array([[1.0 if good else 0.2, 0.5, 0.4] for good in first.values()]).T
    ranks = np.argsort(np.argsort(-scores, axis=0), axis=0) + 1.0
    return stage_choice.DevScores(list(first), scores, ranks, np.array([1.0, 0.0, 0.0]), 1.0)


def test_of_candidates_that_are_equal_the_one_with_the_fewest_stages_is_taken():
    """Together the two find what one of them misses once in 60 times: chance."""
    queries = [dev_query(dense=False, one=number > 0, other=number < 1 or number > 20) for number in range(60)]
    measured = stage_choice.measure_candidates(["dense", "one", "other"], "text", queries)
    (taken,) = [row for row in measured if not row.reason]
    best = max(measured, key=lambda row: row.values.mean())
    assert set(best.candidate.weights) >= {"one", "other"}
    assert best.values.mean() > taken.values.mean()
    assert dict(taken.candidate.weights) == {"one": 1.0}
    assert "simpler" in best.reason
    names = [stage_choice.row_of(row)["name"] for row in measured]
    assert len(set(names)) == len(names), "no candidate twice"


def test_the_default_stays_where_another_is_better_by_chance_alone():
    queries = [dev_query(dense=number < 30, one=number < 31) for number in range(60)]
    measured = stage_choice.measure_candidates(["dense", "one"], "text", queries)
    assert max(row.difference.mean for row in measured) > 0
    assert not measured[0].reason
    assert all(row.reason == "not better than the default beyond chance" for row in measured[1:])


def test_fusion_takes_cosines_as_they_are_and_divides_other_scores_by_the_best():
    ids = ["a", "b", "c"]
    by = {"dense": ([0.9, 0.5, 0.1], True), "lexical": ([0.0, 12.0, 6.0], False)}
    ranked = {}
    for name, (scores, bounded) in by.items():
        answer = DocumentScorer(ids).scored(np.array(scores, np.float32))
        ranked[name] = Ranked(answer, answer.best(3, ()), 0.5, bounded)
    assert dict(fuse("weighted", ranked, 3)) == pytest.approx({"a": 0.45, "b": 0.75, "c": 0.3}, abs=1e-6)
    assert dict(fuse("rrf", ranked, 3)) == pytest.approx({"a": 0.5 / 61, "b": 0.5 / 62 + 0.5 / 61, "c": 0.5 / 63 + 0.5 / 62})


def test_no_choice_without_enough_dev_queries(home):
    _, index = shop(40)
    chosen, release = release_of(index)
    assert chosen.names == "dense 0.8 + lexical 0.2"
    assert "fewer than 50" in chosen.sentence
    assert load_release(open_store(), release).search(["red chair"], 1)[0][0][0] == "red-chair"


@pytest.mark.parametrize(("queries", "same"), [(0, False), (1, False), (60, True)])
def test_no_train_query_one_or_all_the_same(home, queries, same):
    _, index = shop(queries, same=same)
    known = call("index_known_queries", index=index)
    assert bool(known.known_queries) == bool(queries)
    chosen, release = release_of(index)
    assert chosen.stages
    assert len(load_release(open_store(), release).search(["alpha"], 5)[0]) == 5


def test_dense_alone_is_the_release_that_was(home):
    _, index = shop()
    _, release = release_of(index, take="dense")
    assert release == call("assemble", index=index).release
    assert "stages" not in load(open_store(), "release", release).json("release.json")


def test_a_refresh_keeps_the_champions_stages(home):
    encoder = static_encoder()
    _, index = shop(400, encoder=encoder)
    chosen, release = release_of(index, take="dense=0.2+known_queries=0.8")
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    _, changed = shop(392, encoder=encoder)
    again = call("choose_stages", index=changed, **retrievers(changed))
    assert (again.names, "are kept" in again.sentence) == (chosen.names, True)
    with pytest.raises(InputError, match="choose anew with --take best"):
        call("choose_stages", index=changed)


def test_what_is_not_found_by_any_stage_is_ranked_by_the_encoder(home):
    _, index = shop()
    _, release = release_of(index, take="lexical", **retrievers(index))
    loaded = load_release(open_store(), release)
    assert loaded.search(["red chair"], 3)[0][0][0] == "red-chair"
    assert len(loaded.search(["zzzz"], 3)[0]) == 3
    like = loaded.search_like([["red-chair"]], 3)[0]
    assert len(like) == 3
    assert "red-chair" not in dict(like)


def test_more_results_begin_with_the_same(home):
    _, index = shop(80)
    _, release = release_of(index, take="dense=0.5+lexical=0.2+known_queries=0.3")
    loaded = load_release(open_store(), release)
    for text in ("red chair", "alpha bravo", "house"):
        few, many = loaded.search([text], 5)[0], loaded.search([text], 60)[0]
        assert many[:5] == few
        assert len({one for one, _ in many}) == 60


@pytest.mark.parametrize(
    ("take", "message"),
    [
        ("dense+nothing", "each once of dense, lexical"),
        ("dense+dense", "each once"),
        ("lexical=0+dense=0", "sum to 0"),
        ("dense=1+lexical=-1", "a weight of at least 0"),
        ("dense=1+lexical", "a weight of at least 0"),
        ("dense=nan+lexical=1", "a weight of at least 0"),
        ("", "each once"),
    ],
)
def test_stages_that_can_not_rank_are_refused(home, take, message):
    _, index = shop()
    with pytest.raises(InputError, match=message):
        call("choose_stages", index=index, take=take, lexical=call("index_lexical", index=index).lexical)


def test_stages_of_another_corpus_encoder_or_version_are_refused(home):
    _, index = shop(40)
    _, other = shop(48)
    with pytest.raises(InputError, match=r"made from corpus .* beside corpus"):
        release_of(index, take="dense+lexical", **retrievers(other))
    difference = call("diff", a=shop(40)[0], b=shop(48)[0]).report
    with pytest.raises(InputError, match="one of choose_stages"):
        call("assemble", index=index, stages=difference)
    with pytest.raises(InputError, match="stage 'planet'"):
        check_stages([StageCard(stage="planet", artifact="ab")])
    with pytest.raises(InputError, match="one fusion"):
        check_stages([StageCard(stage="dense"), StageCard(stage="lexical", artifact="ab")])
    with pytest.raises(InputError, match="at least one retriever"):
        check_stages([])


def test_a_stage_whose_files_are_gone_is_named_before_promotion(home):
    _, index = shop(40)
    given = retrievers(index)
    _, release = release_of(index, take="dense+lexical", **given)
    store = open_store()
    assert stored_parts(store, release)
    (home / "store" / "lexical" / given["lexical"] / "manifest.json").unlink()
    with pytest.raises(InputError, match=f"lexical {given['lexical']}"):
        stored_parts(store, release)


def test_dev_queries_of_a_file_are_those_of_the_file():
    train = [Query(id=f"q{number}", text=f"text {number}", split="train", dev=number < 3) for number in range(50)]
    from pipelines.corpus.documents import dev_queries

    assert [one.id for one in dev_queries(train)] == ["q0", "q1", "q2"]
    unmarked = [one.model_copy(update={"dev": False}) for one in random.Random(0).sample(train, 50)]
    drawn = dev_queries(unmarked)
    assert 2 <= len(drawn) <= 20
    assert {one.id for one in dev_queries(train[::-1])} == {"q0", "q1", "q2"}


def test_another_retriever_is_named_with_its_artifact(home):
    _, index = shop(40)
    lexical = call("index_lexical", index=index).lexical
    named = call("choose_stages", index=index, take="dense+lexical", others=[f"lexical={lexical}"])
    assert named.names == "dense + lexical, rrf"
    for others in (["planet=ab"], ["lexical"], [f"lexical={lexical}", f"lexical={lexical}"]):
        with pytest.raises(InputError, match="NAME=ARTIFACT"):
            call("choose_stages", index=index, others=others)
    with pytest.raises(InputError, match="lexical 'feedfeed'"):
        call("choose_stages", index=index, lexical="feedfeed")


def test_a_file_named_dev_gives_the_dev_queries(home, tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": one.id, "title": one.title, "text": one.text} for one in DOCUMENTS]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"q{number}", "text": f"{one.title} please"} for number, one in enumerate(DOCUMENTS)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    for name, numbers in {"train": range(20), "dev": range(20, 50), "test": range(50, 64)}.items():
        lines = [f"q{number}\t{DOCUMENTS[number].id}\t1" for number in numbers]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    corpus = load(open_store(), "corpus", call("ingest", source=str(folder)).corpus)
    queries = [Query(**json.loads(line)) for line in corpus.text("queries.jsonl").splitlines()]
    assert sorted(one.id for one in queries if one.dev) == sorted(f"q{number}" for number in range(20, 50))
    assert {one.split for one in queries if one.dev} == {"train"}
    assert sum(one.split == "test" for one in queries) == 14
    assert [query.id for query in stage_choice.dev_topics(corpus).queries] == sorted(one.id for one in queries if one.dev)


WITHOUT_HEAVY = """
import sys
sys.modules |= dict.fromkeys(("scipy", "bm25s", "torch", "pandas"))
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
print(load_release(open_store(), sys.argv[1]).search(["red chairs"], 1)[0][0][0])
"""


def test_a_server_needs_numpy_and_a_stemmer_for_every_stage_of_texts(home):
    _, index = shop(40)
    _, release = release_of(index, take="dense=0.1+lexical=0.8+known_queries=0.1")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEAVY, release], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "red-chair", done.stderr
