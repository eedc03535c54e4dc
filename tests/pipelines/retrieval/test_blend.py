"""The stage blend: its weights, its order, what it reads as of when, and what is refused."""

from contextlib import nullcontext
from datetime import timedelta

import numpy as np
import pytest

from feature_repo.document_interactions import document_interactions
from pipelines.corpus.documents import Query
from pipelines.errors import InputError
from pipelines.evaluation.blend_fit import listwise_weights, standardized
from pipelines.evaluation.reranker_fit import first_stage
from pipelines.features.served import served_log
from pipelines.features.views import declared_view
from pipelines.retrieval.release import load_release
from pipelines.retrieval.stages.blend import (
    Blend,
    BlendCard,
    BlendFeature,
    FeatureValues,
    Found,
    StoredValues,
    card_of,
)
from pipelines.retrieval.stages.card import StageCard
from pipelines.retrieval.stages.table import check_stages
from pipelines.store.artifacts import load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.blended import FEATURE, planted_shop
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.pipelines.collections.movielens import corpus_of_choices, numbered_films, small_ratings

CTR = BlendFeature(
    view="v", feature="ctr", key="document_id", definition="d", ttl_s=1, unit="number", default=0.5, mean=0.5, deviation=0.5
)


def shop(**how):
    return embedded_release(None, planted_shop(**how), static_encoder()).index


def blended(index, features=(FEATURE,), **how):
    return call("fit_blend", index=index, features=list(features), **how)


def summary_of(release):
    evaluation = call("evaluate", release=release, baseline="none").evaluation
    return load(open_store(), "evaluation", evaluation).json("measures.json")


def test_a_rate_that_tells_what_is_relevant_is_blended_and_gains(home):
    index = shop()
    fitted = blended(index)
    assert fitted.blend == fitted.report, fitted.sentence
    assert blended(index).found
    assembled = call("assemble", index=index, blend=fitted.blend)
    assert assembled.stages == "dense, blended"
    store = open_store()
    card = card_of(load(store, "blend", fitted.blend))
    assert card.weights["text"][FEATURE] > 0
    rows = {row["ranking"]: row for row in summary_of(assembled.release)["blend"]}
    assert rows["without features"]["gain"]["low"] > 0
    assert rows["popularity, of the same documents"]["gain"]["low"] > 0
    loaded = load_release(store, assembled.release)
    (ranked,) = loaded.rank_stages([Query(id="q", text="oak chair", split="test")], 6, {})
    rates = [ranked.blended.explained(document)[FEATURE]["value"] for document, _ in ranked.result]
    assert rates == sorted(rates, reverse=True), "one text: only the rate orders them"
    for document, score in ranked.result:
        assert sum(term["score"] for term in ranked.blended.explained(document).values()) == pytest.approx(score)
    assert list(ranked.stages) == ["dense", "blend"]
    assert ranked.stages["dense"] == load_release(store, call("assemble", index=index).release).search(["oak chair"], 6)[0]
    assert first_stage(loaded, {"q": "oak chair"}, 6)["q"] == ranked.stages["dense"], "a reranker learns before the blend"


def test_a_blend_with_another_ttl_is_another_one(home, monkeypatch):
    index = shop()
    fitted = blended(index)
    monkeypatch.setattr(document_interactions, "ttl", timedelta(days=5))
    anew = blended(index)
    assert not anew.found
    cards = [card_of(load(open_store(), "blend", one.report)) for one in (fitted, anew)]
    assert [card.features[0].ttl_s for card in cards] == [3 * 86_400, 5 * 86_400]


def test_a_refresh_fits_the_features_of_the_champion_anew_and_nobody_changes_them_under_it(home, monkeypatch):
    index = shop()
    fitted = blended(index)
    release = call("assemble", index=index, blend=fitted.blend).release
    Journal(open_store()).append("deploy", release, "test", Routing(champion=release))
    fresh = shop(seed=1)
    chosen = call("choose_stages", index=fresh)
    assert chosen.names == "dense"
    anew = call("fit_blend", index=fresh, stages=chosen.stages)
    assert anew.blend not in ("", fitted.blend)
    assert call("assemble", index=fresh, stages=chosen.stages, blend=anew.blend).stages == "dense, blended"
    assert call("fit_blend", index=fresh, stages=chosen.stages, features=["none"]).report == ""
    with pytest.raises(InputError, match="the log of the search server"):
        call("fit_blend", index=fresh, stages=chosen.stages, feature_log="server")
    with pytest.raises(InputError, match="'server' or 'interactions'"):
        call("fit_blend", index=fresh, stages=chosen.stages, feature_log="/etc/passwd")
    assert call("assemble", index=index, stages=release).stages == "dense, blended", "a release's own stages"
    view, corpus = "document_interactions", load(open_store(), "release", release).inputs["corpus"]
    with pytest.raises(InputError, match=f"with --log server, which the champion {release} reads"):
        call("materialize_view", view=view, corpus=corpus, log="server")
    monkeypatch.setitem(document_interactions.tags, "sql", document_interactions.tags["sql"].replace("30 DAY", "31 DAY"))
    with pytest.raises(InputError, match=f"changed since the champion {release} was fitted to it"):
        call("materialize_view", view=view, corpus=corpus)
    for others, told in ((index, f"changed since the previous champion {release} was fitted to it"), (fresh, "")):
        plain = call("assemble", index=others).release
        Journal(open_store()).append("deploy", plain, "test", Routing(champion=plain))
        with pytest.raises(InputError, match=told) if told else nullcontext():
            served_log(Journal(open_store()), declared_view(view), load(open_store(), "corpus", corpus), "")


def test_a_rate_that_tells_nothing_is_not_blended(home):
    fitted = blended(shop(useful=False))
    assert not fitted.blend
    assert fitted.report
    assert "not better beyond chance" in fitted.sentence
    with pytest.raises(InputError, match="no better"):
        call("assemble", index=load(open_store(), "blend", fitted.report).inputs["index"], blend=fitted.report)


def test_what_does_not_fit_is_refused(home):
    index = shop()
    with pytest.raises(InputError, match=r"--features document_interaction\b.*document_interactions.ctr_30d"):
        blended(index, ["document_interaction"])
    with pytest.raises(InputError, match="alike for all documents"):
        blended(index, ["user_activity"])
    assert blended(index, []).report == ""
    assert blended(index, ["none"]).report == ""
    fitted = blended(index)
    lexical = call("index_lexical", index=index).lexical
    chosen = call("choose_stages", index=index, lexical=lexical, take="dense=0.5+lexical=0.5")
    with pytest.raises(InputError, match=r"fitted to the stages dense, after dense 0.5 \+ lexical 0.5"):
        call("assemble", index=index, stages=chosen.stages, blend=fitted.blend)
    other = shop(seed=1)
    with pytest.raises(InputError, match="made from corpus"):
        call("assemble", index=other, blend=fitted.blend)
    for wrong in ([StageCard(stage="blend", artifact="a")], [StageCard(stage="blend", artifact="a"), StageCard(stage="dense")]):
        with pytest.raises(InputError, match="after all others"):
            check_stages(wrong)


def test_what_happens_after_the_test_began_changes_nothing_that_is_fitted(home):
    """A crowd chooses one film after the cutoff: neither values nor weights have it."""
    ratings = small_ratings(60)
    cutoff = sorted(time for _, _, time, _ in ratings)[int(0.7 * len(ratings))]
    crowd = [(f"crowd-{number}", "m001", cutoff + 7 * number, 5.0) for number in range(200)]
    quantile = (0.7 * len(ratings) + 0.5) / (len(ratings) + len(crowd))
    films, stored = numbered_films(), []
    for choices, at in ((ratings, 0.7), ([*ratings, *crowd], quantile)):
        index = embedded_release(None, corpus_of_choices(films, sorted(choices), quantile=at), static_encoder()).index
        stored.append(load(open_store(), "blend", blended(index, ["document_interactions"]).report))
    assert stored[0].id != stored[1].id
    assert stored[0].manifest.files["values.npz"] == stored[1].manifest.files["values.npz"]
    assert stored[0].manifest.files["blend.json"] == stored[1].manifest.files["blend.json"]
    with np.load(stored[0].path("values.npz")) as arrays:
        assert arrays["cuts"].max() <= cutoff


def blend(source, **weights):
    card = BlendCard(candidates=3, features=(CTR,), weights={"text": {"retriever": 1.0, "v.ctr": 1.0, **weights}})
    return Blend(card, source)


FOUND = Found("text", [("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6)], {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}, {}, 100)


def stored(*rows, cuts=(50,)):
    return StoredValues.of("abcd", cuts, np.array(rows, float)[..., None], np.zeros((len(cuts), 4)))


def test_the_sum_orders_the_candidates_and_the_rest_follows():
    ((ranking, how),) = blend(stored([0.0, np.nan, 1.0, 1.0])).rank_together([FOUND])
    assert ranking == [
        ("c", pytest.approx(1.7)),
        ("b", pytest.approx(0.8)),
        ("a", pytest.approx(-0.1)),
        ("d", pytest.approx(-0.2)),
    ]
    assert how.counts == {"candidates": 3, "defaulted": 1, "late": False}
    assert how.explained("b")["v.ctr"] == {"value": None, "weight": 1.0, "score": 0.0}
    assert how.explained("d") == {}


def test_a_reranker_counts_by_its_own_score_and_its_lowest_where_it_had_no_time():
    scored = Found(FOUND.kind, FOUND.ranking, FOUND.retriever, {"a": -2.0, "b": 3.0}, 100)
    ((ranking, how),) = blend(stored([0.5] * 4), reranker=1.0).rank_together([scored])
    assert [document for document, _ in ranking] == ["b", "a", "c", "d"]
    assert how.explained("c")["reranker"]["value"] == -2.0


@pytest.mark.parametrize(("time", "value"), [(49, 0.5), (50, 0.1), (99, 0.1), (100, 0.9), (None, 0.9)])
def test_values_are_as_of_the_last_cut_that_is_not_after_the_query(time, value):
    asked = Found("text", FOUND.ranking, FOUND.retriever, {}, time)
    (terms,) = blend(stored([0.1] * 4, [0.9] * 4, cuts=(50, 100))).terms([asked])
    assert CTR.scaled(terms.values[:, 2]).tolist() == pytest.approx([(value - 0.5) / 0.5] * 3)


def test_features_that_are_late_leave_the_order_to_the_scores():
    class Late:
        def read(self, features, searches):
            return [FeatureValues(np.full((len(one.documents), 1), np.nan), late=True) for one in searches]

    ((ranking, how),) = blend(Late()).rank_together([FOUND])
    assert [document for document, _ in ranking] == ["a", "b", "c", "d"]
    assert how.counts == {"candidates": 3, "defaulted": 3, "late": True}


def test_weights_are_those_that_choices_were_drawn_by():
    chance = np.random.default_rng(4)
    queries = []
    for _ in range(4000):
        terms = chance.normal(size=(10, 3))
        likely = np.exp(terms @ [1.0, -0.5, 0.0])
        grades = np.zeros(10)
        grades[chance.choice(10, p=likely / likely.sum())] = 1
        queries.append((terms, grades))
    assert listwise_weights(queries) == pytest.approx([1.0, -0.5, 0.0], abs=0.08)
    for value in (7.0, 0.1):  # the mean of ten 0.1 is not 0.1
        constant = [(np.column_stack([terms, np.full(10, value)]), grades) for terms, grades in queries[:50]]
        assert listwise_weights(constant)[3] == 0


def test_a_value_that_all_documents_have_leaves_later_ones_near():
    values = np.full((1, 7, 1), 0.1)
    assert 0 < values[0, :, 0].std() < 1e-16, "rounding"
    (feature,) = standardized([CTR], StoredValues.of("abcdefg", [0], values, np.zeros((1, 7))))
    assert (feature.default, feature.mean, feature.deviation) == (0.1, pytest.approx(0.1), 1)
    assert feature.scaled(np.array([0.3])) == pytest.approx(0.2)
