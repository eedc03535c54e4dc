"""Recommendation as stages: what is trained, how the stages of histories are chosen, and what odd data gives."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.corpus.documents import Interaction, Query
from pipelines.errors import CorruptArtifact, InputError
from pipelines.evaluation.baselines import _by_popularity, past_interactions
from pipelines.evaluation.dev import past_of
from pipelines.evaluation.qrels import judged_topics
from pipelines.evaluation.recommender_choice import WINDOWS, measured, popularity
from pipelines.retrieval.release import load_release
from pipelines.retrieval.stages.answers import AskedQuery
from pipelines.retrieval.stages.collaborative import load_collaborative
from pipelines.retrieval.stages.popularity import Popularity, load_popularity
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.pipelines.collections.movielens import corpus_of_choices, numbered_films, small_ratings

FILMS = numbered_films()
IDS = [film.id for film in FILMS]


def indexed(corpus):
    return embedded_release(None, corpus, static_encoder()).index


def shop(users=60, **rule):
    """The index of a corpus whose users each keep to one genre."""
    return indexed(corpus_of_choices(FILMS, small_ratings(users), quantile=0.7, **rule))


def trained(index, **params):
    return call("train_recommender", index=index, **params)


def release_of(index, take="best", recommender="", **given):
    made = recommender or trained(index).recommender
    chosen = call("choose_stages", index=index, take=take, recommender=made, **given)
    return chosen, call("assemble", index=index, stages=chosen.stages).release


def measure(release):
    return load(open_store(), "evaluation", call("evaluate", release=release, baseline="none").evaluation)


def ndcg(release):
    return measure(release).json("measures.json")["measures"]["nDCG@10"]


def interactions_of(choices):
    return [Interaction(user=user, document=document, time=time, value=value) for user, document, time, value in choices]


def test_the_release_takes_the_best_by_dev_and_beats_popularity(home):
    index = shop(200)
    recommender = trained(index)
    assert (recommender.algorithm, recommender.empty) == ("ease", False)
    assert recommender.dev_queries >= 100
    assert trained(index).found
    chosen, release = release_of(index)
    assert chosen.dev_histories == recommender.dev_queries
    assert "collaborative" in chosen.names
    stages = load(open_store(), "release", release).json("release.json")["stages"]
    assert {stage["queries"] for stage in stages} == {"text", "history"}
    evaluation = measure(release)
    summary = evaluation.json("measures.json")
    assert summary["measures"]["nDCG@10"]["difference"]["low"] > 0.1, "over popularity"
    assert {row["stage"] for row in summary["stages"]} >= {"collaborative"}
    assert all(row["queries"] == summary["queries"] for row in summary["stages"])
    page = load(open_store(), "report", chosen.stages).text("report.html")
    assert "Candidates for histories, best first" in page
    seen = past_interactions(load(open_store(), "corpus", recommender.corpus), judged(recommender.corpus)).seen
    for line in evaluation.text("run.trec").splitlines():
        query, _, document, *_ = line.split(" ")
        assert document not in seen[query]


def judged(corpus):
    return judged_topics(load(open_store(), "corpus", corpus), "test", "exclude")


def test_neither_model_nor_choice_sees_the_test(home):
    """A crowd likes one film, which nobody else takes before the cutoff; after it everybody does. Dev and test disagree."""
    choices = small_ratings(200)
    cutoff = sorted(time for _, _, time, _ in choices)[int(0.7 * len(choices))]
    crowd = [(f"crowd-{number}", "m001", cutoff - 1 - number, 5.0) for number in range(200)]
    early = [*[choice for choice in choices if choice[2] < cutoff], *crowd]
    late = [choice for choice in choices if choice[2] >= cutoff]
    hit = [(user, "m001", time, value) for user, _, time, value in late]
    quantile = (len(early) + 0.5) / (len(early) + len(late))
    one, two = (indexed(corpus_of_choices(FILMS, [*early, *rows], quantile=quantile)) for rows in (late, hit))
    first, second = trained(one), trained(two)
    store = open_store()
    files = [load(store, "recommender", made.recommender).manifest.files for made in (first, second)]
    assert files[0] == files[1]
    assert first.sentence == second.sentence
    (chosen, _), (same, release) = release_of(one), release_of(two)
    assert chosen.dev_histories >= 50
    assert chosen.names == same.names
    assert chosen.sentence == same.sentence
    popular = ndcg(release_of(two, take="popularity")[1])
    taken = ndcg(release)["release"]
    assert popular["release"]["low"] > taken["high"], "on test, popularity would have been taken"


def test_popularity_ranks_as_the_baseline_does(home):
    corpus = load(open_store(), "corpus", corpus_of_choices(FILMS, small_ratings(), quantile=0.7))
    topics = judged(corpus.id)
    past, time = past_interactions(corpus, topics), topics.queries[0].time
    for window in WINDOWS:
        scores = popularity(past_of(corpus, IDS).interactions, window)
        ours = Popularity(IDS, scores).answer(AskedQuery(topics.queries[0], "history")).best(200, ())
        assert [name for name, _ in ours] == [name for name, _ in _by_popularity(IDS, past, time, window)]


def test_a_better_algorithm_and_window_are_taken_only_beyond_chance(home):
    corpus = load(open_store(), "corpus", corpus_of_choices(FILMS, small_ratings(200), quantile=0.7))
    past = past_of(corpus, IDS)
    from pipelines.evaluation.dev import dev_histories

    asked = dev_histories(past)
    nothing = {time: Popularity(IDS, np.zeros(120, np.float32)) for time in past.dev_cutoffs}
    counts = {time: Popularity(IDS, popularity(past.interactions.before(time), "recent")) for time in past.dev_cutoffs}
    assert measured({"nothing": nothing, "counts": counts}, asked).taken == "counts"
    assert measured({"counts": counts, "nothing": nothing}, asked).taken == "counts"
    assert measured({"counts": counts, "the same": counts}, asked).taken == "counts"
    few = replace(asked, queries=asked.queries[:49])
    assert measured({"nothing": nothing, "counts": counts}, few).taken == "nothing"


def test_few_dev_queries_give_the_default(home):
    chosen, release = release_of(shop())
    assert 0 < chosen.dev_histories < 50
    assert chosen.names == "text: dense; history: collaborative 0.5 + popularity 0.5"
    assert "fewer than 50" in chosen.sentence
    assert ndcg(release)["difference"]["low"] > 0


def test_a_low_value_is_no_choice(home):
    index = shop(min_value=6.0)
    assert trained(index).empty, "nothing was rated so high"
    every, liked = trained(shop()), trained(shop(min_value=4.0))
    assert every.interactions == liked.interactions
    artifact = load(open_store(), "recommender", liked.recommender)
    scores = load_popularity(artifact, IDS).scores
    cutoff = artifact.facts["test_cutoff"]
    chosen = {document for _, document, time, value in small_ratings() if time < cutoff and value >= 4}
    assert {IDS[place] for place in np.flatnonzero(scores > 0)} == chosen
    assert len(chosen) == liked.documents < every.documents


@pytest.mark.parametrize("algorithm", ["item-knn", "markov"])
def test_an_algorithm_by_name(home, algorithm):
    index = shop()
    made = trained(index, algorithm=algorithm)
    assert made.algorithm == algorithm
    assert "named by hand" in made.sentence
    assert ndcg(release_of(index, take="collaborative", recommender=made.recommender)[1])["difference"]["low"] > 0


def test_documents_without_interactions_are_never_recommended_and_their_histories_are_ranked_by_the_encoder(home):
    choices = [choice for choice in small_ratings() if choice[1] not in ("m000", "m006")]
    index = indexed(corpus_of_choices(FILMS, choices, quantile=0.7))
    loaded = load_release(open_store(), release_of(index, take="collaborative")[1])
    assert all("m006" not in dict(found) for found in loaded.search_like([[film] for film in IDS[1:6]], 120))
    ranked = loaded.rank_stages([Query(id="q", text="t", split="test", history=("m000",))], 5, {})[0]
    assert (list(ranked.stages), len(ranked.result)) == (["dense"], 5)
    plain = load_release(open_store(), call("assemble", index=index).release)
    assert ranked.result == plain.search_like([["m000"]], 5)[0]


def test_an_empty_or_unknown_history(home):
    index = shop()
    for take in ("collaborative", "popularity", "dense=0.2+collaborative=0.5+popularity=0.3"):
        loaded = load_release(open_store(), release_of(index, take=take)[1])
        assert loaded.search_like([[], ["gone"]], 5) == [[], []]
        known, odd = loaded.search_like([["m000"], ["gone", "m000"]], 5)
        assert known == odd
        assert len(known) == 5
        asked = Query(id="q", text="Comedy", split="test", history=("gone",))
        assert len(loaded.rank([asked], 5, {})[0]) == 5, "by its text"


def test_an_item_that_only_interactions_have(home):
    choices = small_ratings()
    both = choices, [*choices, *[("u00", "ghost", time, 5.0) for time in range(30)]]
    plain, more = (indexed(write_corpus(FILMS, interactions=interactions_of(sorted(rows)))) for rows in both)
    one, two = trained(plain), trained(more)
    assert one.interactions == two.interactions
    assert "ghost" not in dict(load_release(open_store(), release_of(more)[1]).search_like([["m000"]], 120)[0])


def test_without_interactions_there_is_no_recommender_and_nothing_else_changes(home):
    index = indexed(write_corpus(FILMS))
    made = trained(index)
    assert (made.recommender, made.empty, made.algorithm, made.found) == ("", True, "", False)
    assert "no choice of a user" in made.sentence
    with_it, without = (call("choose_stages", index=index, **given) for given in ({"recommender": ""}, {}))
    assert with_it.stages == without.stages
    assert with_it.dev_histories == 0


def test_all_interactions_at_one_time(home):
    rows = [(user, document, 77, value) for user, document, _, value in small_ratings()]
    index = indexed(write_corpus(FILMS, interactions=interactions_of(sorted(set(rows)))))
    made = trained(index)
    assert (made.dev_queries, made.algorithm) == (0, "ease")
    loaded = load_release(open_store(), release_of(index)[1])
    assert len(loaded.search_like([["m000", "m006"]], 5)[0]) == 5
    assert trained(index, algorithm="markov").documents > 100, "counted, though there is no order"


def test_a_recommender_of_another_corpus_is_refused(home):
    index, other = shop(), shop(61)
    made = trained(other).recommender
    with pytest.raises(InputError, match=r"recommender .* made from corpus .* beside corpus"):
        call("choose_stages", index=index, take="collaborative", recommender=made)
    with pytest.raises(InputError, match="made from corpus"):
        call("choose_stages", index=index, recommender=made)
    chosen, _ = release_of(other, take="collaborative")
    with pytest.raises(InputError, match="made from corpus"):
        call("assemble", index=index, stages=chosen.stages)
    artifact = load(open_store(), "recommender", made)
    for loader in (load_collaborative, load_popularity):
        with pytest.raises(CorruptArtifact, match="differ in length"):
            loader(artifact, IDS[:100])


def test_what_to_train_on_is_named_once(home):
    with pytest.raises(InputError, match="deploy a release"):
        call("train_recommender")
    index = shop()
    corpus = trained(index).corpus
    with pytest.raises(InputError, match="one of the two"):
        call("train_recommender", index=index, corpus=corpus)
    by_corpus = call("train_recommender", corpus=corpus)
    assert (by_corpus.found, by_corpus.index) == (True, "")


def test_a_refresh_keeps_the_stages_and_a_new_recommender_those_for_texts(home):
    index = shop(120)
    lexical = call("index_lexical", index=index).lexical
    chosen, release = release_of(index, take="dense=0.6+lexical=0.4+collaborative=0.4", lexical=lexical)
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    assert call("train_recommender").index == index, "the champion's"

    fresh = shop(121)
    words, made = call("index_lexical", index=fresh).lexical, trained(fresh).recommender
    kept = call("choose_stages", index=fresh, lexical=words, recommender=made)
    assert kept.names == chosen.names
    with pytest.raises(InputError, match="--recommender of this corpus"):
        call("choose_stages", index=fresh, lexical=words)

    anew = call("choose_stages", index=index, take="histories", recommender=trained(index, regularization=50).recommender)
    assert anew.names.startswith("text: dense 0.6 + lexical 0.4; history: ")
    assert "are kept" in anew.sentence
    assert anew.dev_histories >= 50
    stages = load_release(open_store(), call("assemble", index=index, stages=anew.stages).release).card.stages
    assert {stage.artifact for stage in stages if stage.stage == "lexical"} == {lexical}
    with pytest.raises(InputError, match="train_recommender"):
        call("choose_stages", index=index, take="histories")
