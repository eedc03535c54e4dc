"""The stage rerank: its order, its time budget, searches at once, what it loads, and what is refused."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pipelines.corpus.documents import Query
from pipelines.errors import CorruptArtifact, InputError
from pipelines.models.reranker import card_of, load_reranker
from pipelines.retrieval.release import load_release, stored_parts
from pipelines.retrieval.stages.card import StageCard
from pipelines.retrieval.stages.rerank import SharedReranker, _Search
from pipelines.retrieval.stages.table import check_stages
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, blob_path
from tests.conftest import PROJECT, call
from tests.images.serve.conftest import replaced
from tests.rerankers import _reranking_once, reranking, swapped

__all__ = ["_reranking_once", "reranking"]
KIND = "reranker_variants"
ASKED = Query(id="q", text="red chair", split="test")


def released(made, **stages):
    return call("assemble", index=made.index, reranker=made.report, **stages)


def variants_of(made):
    return load(open_store(), KIND, made.variants)


def test_the_candidates_are_ordered_by_the_joint_score_and_the_rest_follows(reranking):
    assembled = released(reranking)
    assert assembled.stages == "dense, 20 reranked"
    store = open_store()
    assert load(store, "release", assembled.release).inputs["rerank"] == reranking.variants
    loaded = load_release(store, assembled.release)
    (ranked,) = loaded.rank_stages([ASKED], 64, {})
    first = load_release(store, call("assemble", index=reranking.index).release).rank([ASKED], 64, {})[0]
    assert ranked.stages["dense"] == first
    reranker = load_reranker(variants_of(reranking), "onnx-fp32", 1)
    texts = [loaded.documents[document].text for document, _ in first[:20]]
    logits = reranker.score(reranker.tokens("red chair", texts))
    joint = {document: 1.0 * score + 0.5 * logit for (document, score), logit in zip(first[:20], logits, strict=True)}
    expected = sorted(joint, key=lambda document: -joint[document])
    assert [document for document, _ in ranked.result] == expected + [document for document, _ in first[20:]]
    assert expected != [document for document, _ in first[:20]], "else nothing is seen"
    assert dict(ranked.result[:20]) == pytest.approx(joint, abs=1e-5)
    scores = [score for _, score in ranked.result]
    assert scores == sorted(scores, reverse=True)
    assert (ranked.reranked.candidates, ranked.reranked.scored, ranked.reranked.late) == (20, 20, False)
    assert loaded.rank([ASKED], 5, {})[0] == ranked.result[:5]
    assert not set(dict(loaded.rank([ASKED], 5, {"q": [expected[0]]})[0])) & {expected[0]}


def test_a_fusion_may_come_before_and_histories_are_not_reranked(reranking):
    lexical = call("index_lexical", index=reranking.index).lexical
    chosen = call("choose_stages", index=reranking.index, lexical=lexical, take="dense=0.5+lexical=0.5")
    assembled = released(reranking, stages=chosen.stages)
    assert assembled.stages == "dense 0.5 + lexical 0.5, 20 reranked"
    loaded = load_release(open_store(), assembled.release)
    assert list(loaded.rank_stages([ASKED], 5, {})[0].stages) == ["dense", "lexical", "fusion", "rerank"]
    like = Query(id="h", text="x", split="test", history=("red-chair",))
    (ranked,) = loaded.rank_stages([like], 5, {})
    assert (list(ranked.stages), ranked.reranked) == (["dense"], None)
    report = call("evaluate", release=assembled.release, baseline="none")
    stages = {row["stage"]: row for row in load(open_store(), "evaluation", report.evaluation).json("measures.json")["stages"]}
    assert stages["rerank"]["release_gain"]["mean"] == 0


def shared(made, **how):
    return SharedReranker(load_reranker(variants_of(made), "onnx-fp32", 1), **how)


TEXTS = ["a red chair", "a blue chair for the house", "a lamp", "a green table for the house for the house"]


@pytest.mark.parametrize(
    ("token_s", "left_s", "scored"), [(0.0, -1, 0), (1e-6, 60, 4), (1.0, 60, 4), (1.0, 20, 2), (9.0, 20, 0)]
)
def test_a_search_that_is_late_scores_fewer_candidates_then_none(reranking, token_s, left_s, scored):
    """A token takes `token_s`; the four pairs have 8, 11, 7 and 14 tokens."""
    one = shared(reranking, token_s=token_s)
    pairs = one.reranker.tokens("red chair", TEXTS)
    assert [len(pair.ids) for pair in pairs] == [8, 11, 7, 14]
    found = one.scores("red chair", TEXTS, time.monotonic() + left_s)
    assert found.tolist() == pytest.approx(one.reranker.score(pairs)[:scored].tolist(), abs=1e-5)
    assert (one.searches, one.late) == (1, int(scored < 4))


def test_after_a_slow_moment_searches_are_scored_again(reranking):
    """Nothing that fits is nothing measured: without forgetting, one pause of the machine would end all reranking."""
    one = shared(reranking, token_s=9.0)
    scored = [len(one.scores("red chair", TEXTS, time.monotonic() + 20)) for _ in range(20)]
    assert scored[0] == 0
    assert max(scored) > 0


def test_a_search_without_candidates_says_nothing_of_the_speed(reranking):
    one = shared(reranking, token_s=1.0)
    assert len(one.scores("red chair", [], time.monotonic() + 60)) == 0
    assert one.token_s == 1.0


@pytest.mark.parametrize("left_s", [-1, 5])
def test_a_search_without_time_takes_none_from_the_others(reranking, left_s):
    """A token takes a second: in 5 s not one pair is scored, in 60 all four are, 40 s for their 40 tokens."""
    one = shared(reranking, token_s=1.0)
    now, pairs = time.monotonic(), one.reranker.tokens("red chair", TEXTS)
    late, patient = (_Search(pairs, now + seconds) for seconds in (left_s, 60))
    one._compute([late, patient])
    assert (len(late.scores), len(patient.scores)) == (0, 4)


def test_without_time_the_order_is_the_first_stages_and_the_answer_says_so(reranking):
    loaded = load_release(open_store(), released(reranking).release)
    late = loaded.rank_stages([ASKED], 10, {}, deadline=time.monotonic() - 1)[0]
    assert late.result == late.stages["dense"]
    assert (late.reranked.scored, late.reranked.late) == (0, True)
    assert loaded.ranker.rerank.shared.late == 1


def test_after_some_candidates_the_others_keep_their_order_below_them(reranking):
    loaded = load_release(open_store(), released(reranking).release)
    rerank = loaded.ranker.rerank
    tokens = [len(pair.ids) for pair in rerank.shared.reranker.tokens("red chair", [loaded.documents["red-chair"].text] * 3)]
    rerank.shared.token_s = 1000.0
    some = loaded.rank_stages([ASKED], 64, {}, deadline=time.monotonic() + 1000.0 * sum(tokens) + 500)[0]
    count = some.reranked.scored
    assert 0 < count < 20
    first = [document for document, _ in some.stages["dense"]]
    assert sorted(document for document, _ in some.result[:count]) == sorted(first[:count])
    assert [document for document, _ in some.result[count:]] == first[count:]
    scores = [score for _, score in some.result]
    assert scores == sorted(scores, reverse=True)


def test_searches_at_once_are_scored_together_each_as_alone(reranking):
    """While the reranker is busy three searches wait; then one thread scores all three in one go."""
    one, calls = shared(reranking), []
    queries = ["red chair", "lamp", "table of the house"]
    alone = {query: one.reranker.score(one.reranker.tokens(query, TEXTS)) for query in queries}
    score = one.reranker.score
    one.reranker.score = lambda pairs: calls.append(len(pairs)) or score(pairs)
    found = {}
    with one._computing:
        threads = [
            threading.Thread(target=lambda query=query: found.update({query: one.scores(query, TEXTS)})) for query in queries
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 10
        while len(one._waiting) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    for thread in threads:
        thread.join(30)
    assert calls == [12]
    for query in queries:
        np.testing.assert_allclose(found[query], alone[query], atol=1e-5)


def test_an_error_while_scoring_reaches_its_searches_and_the_next_one_is_answered(reranking):
    one = shared(reranking)
    forward = one.reranker.forward
    one.reranker.forward = lambda ids, types: forward(ids[:, :0], types[:, :0])  # a pair without tokens
    with pytest.raises(Exception, match=r"\w"):
        one.scores("red chair", TEXTS)
    one.reranker.forward = forward
    assert len(one.scores("red chair", TEXTS)) == 4


def test_what_is_loaded_is_byte_for_byte_what_the_manifests_name(reranking, monkeypatch):
    store, opened = open_store(), []
    assembled = released(reranking)
    path = Artifact.path
    monkeypatch.setattr(Artifact, "path", lambda self, name: opened.append((self, name, path(self, name))) or opened[-1][2])
    load_release(store, assembled.release)
    assert {"release", "encoder", "index", "corpus", "embeddings", KIND} <= {artifact.kind for artifact, _, _ in opened}
    for artifact, name, file in opened:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == artifact.manifest.files[name].sha256, name
    named = load(store, "release", assembled.release).inputs.values()
    assert {artifact.id for artifact, _, _ in opened} == {*named, assembled.release}
    read = {name for artifact, name, _ in opened if artifact.kind == KIND}
    assert read == {"variants.json", "tokenizer.json", "model.onnx"}, "the variant that the release names, and no other"


def test_a_changed_byte_of_the_reranker_is_refused(reranking, home):
    assembled = released(reranking)
    blob = home / "store" / blob_path(variants_of(reranking).manifest.files["model.onnx"])
    body = bytearray(blob.read_bytes())
    body[len(body) // 2] ^= 1
    blob.unlink()
    blob.write_bytes(body)
    with pytest.raises(CorruptArtifact, match=r"model\.onnx"):
        load_release(open_store(), assembled.release)
    blob.unlink()
    with pytest.raises(CorruptArtifact, match=r"model\.onnx"):
        stored_parts(open_store(), assembled.release)


def test_a_release_with_another_tokenizer_is_not_served(reranking):
    """Its files are what its manifest names, but they are not what was trained: the probes tell."""
    original = variants_of(reranking)
    planted = replaced(KIND, original.id, "tokenizer.json", swapped(original.path("tokenizer.json").read_bytes()))
    report = load(open_store(), "report", reranking.report)
    spoilt = replaced("report", report.id, "report.json", b"{}", **{KIND: planted})
    with pytest.raises(InputError, match="gives scores that differ by"):
        call("assemble", index=reranking.index, reranker=spoilt)


def test_a_reranker_goes_with_any_query_variant(reranking):
    """It reads texts: by which variant the queries that calibrated it were encoded does not matter."""
    original, report = variants_of(reranking), load(open_store(), "report", reranking.report)
    recipe = original.manifest.recipe
    other = recipe.model_copy(update={"params": {**recipe.params, "query_variant": "openvino-bf16"}})

    def build(folder):
        for name in original.manifest.files:
            (folder / name).write_bytes(original.path(name).read_bytes())
        return original.facts

    calibrated = produce(open_store(), Recipe(**other.model_dump()), build).id
    assert calibrated != original.id
    chosen = replaced("report", report.id, "report.json", b"{}", **{KIND: calibrated})
    release = call("assemble", index=reranking.index, reranker=chosen).release
    assert load(open_store(), "release", release).inputs["rerank"] == calibrated


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["rerank"], "after the stages that it orders anew"),
        (["rerank", "dense"], "after the stages that it orders anew"),
        (["dense", "rerank", "rerank"], "once, after"),
    ],
)
def test_a_reranker_stands_last_and_once(stages, message):
    given = {"artifact": "ab", "variant": "onnx-fp32", "candidates": 5, "weight": 1}
    with pytest.raises(InputError, match=message):
        check_stages([StageCard(stage=name, **(given if name == "rerank" else {})) for name in stages])


@pytest.mark.parametrize("lacking", [{"artifact": ""}, {"variant": ""}, {"candidates": 0}, {"weight": 0, "first_stage": 0}])
def test_a_reranker_that_is_not_described_wholly_is_refused(lacking):
    given = {"artifact": "ab", "variant": "onnx-fp32", "candidates": 5, "weight": 1, **lacking}
    with pytest.raises(InputError, match="an artifact with a variant, a candidate or more, and a weight above 0"):
        check_stages([StageCard(stage="dense"), StageCard(stage="rerank", **given)])


def test_only_reports_of_choose_reranker_are_taken(reranking):
    stages = call("choose_stages", index=reranking.index, take="dense").stages
    with pytest.raises(InputError, match="a report of choose_stages; expected one of choose_reranker"):
        call("assemble", index=reranking.index, reranker=stages)
    with pytest.raises(InputError, match="a report of choose_reranker; expected one of choose_stages"):
        call("assemble", index=reranking.index, stages=reranking.report)


WITHOUT_TORCH = """
import sys
sys.modules |= dict.fromkeys(("scipy", "torch", "transformers", "sentence_transformers", "onnx", "openvino", "nncf", "pandas"))
from pipelines.retrieval.release import load_release
from pipelines.store.objects import open_store
release = load_release(open_store(), sys.argv[1])
print(release.search(["red chair"], 1)[0][0][0], release.ranker.rerank.shared.searches)
"""


def test_the_server_reranks_without_torch(reranking):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", WITHOUT_TORCH, released(reranking).release]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["1"], done.stderr


def test_the_card_says_what_was_trained(reranking):
    assert card_of(variants_of(reranking)).trained.licence == "apache-2.0"
