"""A release with a blend in the real server: features out of the online store, in its time, late and missing."""

import sqlite3
from contextlib import closing

import pytest

from pipelines.corpus.documents import Query
from pipelines.features.online import entity_key, open_online
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
from tests.blended import FEATURE, planted_shop
from tests.conftest import call, embedded_release
from tests.encoders import static_encoder
from tests.images.serve.conftest import route
from tests.images.serve.server import running_server

ASKED = "oak chair"


def test_features_are_read_online_as_they_were_fitted_and_what_is_missing_has_its_default(home, tmp_path):
    corpus = planted_shop()
    index = embedded_release(None, corpus, static_encoder()).index
    fitted = call("fit_blend", index=index, features=["document_interactions"])
    release = call("assemble", index=index, blend=fitted.blend).release
    route(release)
    call("materialize_view", view="document_interactions", corpus=corpus, history=1)
    (offline,) = load_release(open_store(), release).rank_stages([Query(id="q", text=ASKED, split="test")], 6, {})
    with running_server(home, RATCHET_FEATURES_MS="0", RATCHET_EVENTS=str(tmp_path)) as server:
        server.wait(lambda status: status["ready"])
        answer = server.search(ASKED, k=6, explain=True).json()
        assert [(one["id"], one["score"]) for one in answer["results"]] == [
            (document, pytest.approx(score)) for document, score in offline.result
        ], "the same values: online as of today's midnight, offline as of the midnight after the last interaction"
        assert answer["blended"] == {"candidates": 100, "defaulted": 0, "late": False}
        for one in answer["results"]:
            assert sum(term["score"] for term in one["terms"].values()) == pytest.approx(one["score"])
            assert set(one["stages"]) == {"dense", "blend"}
        first = answer["results"][0]["id"]
        with closing(sqlite3.connect(open_online().path)) as db:
            db.execute("DELETE FROM ratchet_document_interactions WHERE entity_key = ?", (entity_key("document_id", first),))
            db.commit()
        again = server.search(ASKED, k=5, explain=True).json()
        assert again["blended"]["defaulted"] == 1
        (lost,) = (one for one in server.search(ASKED, k=100, explain=True).json()["results"] if one["id"] == first)
        assert lost["terms"][FEATURE]["value"] is None
        open_online().path.unlink()
        without = server.search("pine table", k=5).json()
        assert without["blended"] == {"candidates": 100, "defaulted": 100, "late": True}
        assert len(without["results"]) == 5
        told = server.client.get("/metrics").text
    assert f'ratchet_blend_candidates_total{{release="{release}"}} 400.0' in told
    assert f'ratchet_blend_defaulted_total{{release="{release}"}} 102.0' in told
    assert f'ratchet_blend_late_total{{release="{release}"}} 1.0' in told
    assert 'ratchet_stage_seconds_count{stage="blend"}' in told
