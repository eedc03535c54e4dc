"""Training of encoders and rerankers: what is learned, from what, what is refused, and that a killed training goes on."""

import contextlib
import json
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipelines.corpus.documents import Query
from pipelines.errors import InputError, TryAgain
from pipelines.evaluation.reranker_training import _within
from pipelines.evaluation.training_queries import dev_ndcg, training_data
from pipelines.models.encoder import load_encoder
from pipelines.models.folder import read_folder
from pipelines.models.reranker_card import card_of
from pipelines.models.sources import model_folder
from pipelines.models.training.examples import TrainingQuery, compatible_batches, pairs, ranked_lists
from pipelines.retrieval.release import load_release
from pipelines.steps.build_encoder import tune_encoder
from pipelines.steps.build_reranker import train_reranker
from pipelines.store.artifacts import committed, load
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from pipelines.store.recipes import digest
from pipelines.wording import signed
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.pipelines.models.training.conftest import ENCODER, RERANKER, documents, topics, train, tune
from tests.tiny_models import tiny_bert, with_first_token

FAST = {"learning_rate": 3e-3, "batch_size": 4}


def test_a_tuned_encoder_ranks_better_and_is_an_encoder_like_any_other(base, corpus, home, capfd):
    tuned = tune(base, corpus=corpus, **FAST, epochs=2)
    assert tuned.low > 0, tuned.sentence
    assert not tuned.no_gain
    assert tuned.encoder == encoder_of(base, corpus, epochs=2)
    assert tuned.ndcg10 > tuned.base_ndcg10 + 0.1
    assert (tuned.training_queries, tuned.dev_queries, tuned.pairs) == (31, 9, 31)
    encoder = load(open_store(), "encoder", tuned.encoder)
    assert encoder.inputs["corpus"] == corpus
    assert encoder.facts["curve"][0] == [0.0, pytest.approx(tuned.base_ndcg10, abs=1e-6)]
    vectors = load_encoder(encoder, "onnx-fp32").encode(["red lamp", "used lamp"], "query")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert tune(base, corpus=corpus, **FAST, epochs=2).found
    assert list(open_store().listed("checkpoints/")) == []
    assert "train_runtime" not in capfd.readouterr().out, "stdout is the result's alone"
    release = embedded_release(home, corpus, tuned.encoder).release
    with pytest.raises(InputError, match="whose encoder was tuned on the train queries"):
        train(base, release=release)
    with pytest.raises(InputError, match="whose encoder was tuned on the train queries"):
        train(base, release=release, candidates_from=release)


def with_configuration(folder):
    """Same weights, same tokenizer: the model computes otherwise."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))


def encoder_of(base, corpus, **values):
    """The id of the encoder that `tune` makes, without making it."""
    read = read_folder(base)
    params = tune_encoder.TuneEncoderParams(**{**ENCODER, **FAST, **values})
    options = tune_encoder._options(params, tune_encoder.TuneEncoderTuning(), read)
    return tune_encoder._recipe(params, options, read, corpus).id


def reranker_of(base, release, **values):
    """The id of the reranker that `train` makes, without making it."""
    params = train_reranker.TrainRerankerParams(**{**RERANKER, **FAST, **values})
    first_stage = load(open_store(), "release", release)
    return train_reranker._recipe(params, first_stage, first_stage, base).id


def test_whatever_the_folder_of_a_base_says_names_the_encoder(base, corpus):
    encoders = [encoder_of(base, corpus)]
    for change in (with_configuration, with_first_token):
        change(base)
        encoders.append(encoder_of(base, corpus))
    assert len(set(encoders)) == 3


def test_the_configuration_of_a_base_names_the_reranker(base, release):
    first = reranker_of(base, release)
    with_configuration(base)
    assert reranker_of(base, release) != first


def test_an_encoder_without_a_gain_says_so(base, corpus):
    """What build_encoder ends by."""
    tuned = tune(base, corpus=corpus, learning_rate=1e-12, precision="fp32")
    assert (tuned.no_gain, tuned.note) == (True, tuned.sentence)
    assert tuned.gain == 0


def test_a_trained_reranker_corrects_the_first_stage(base, release, corpus):
    trained = train(base, release=release, **FAST, epochs=4, patience=4)
    assert trained.low > 0, trained.sentence
    assert trained.reranker == reranker_of(base, release, epochs=4, patience=4)
    reranker = load(open_store(), "reranker", trained.reranker)
    card = reranker.json("reranker.json")
    assert card["fusion"]["reranker_weight"] > 0
    assert (card["licence"], card["candidates"], card["document_text"], card["seed"]) == ("apache-2.0", 8, "text", 0)
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= reranker.manifest.files.keys()
    assert json.loads(reranker.text("model/config.json"))["architectures"] == ["BertForSequenceClassification"]
    assert [epoch for epoch, _ in card["scores"]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert card["scores"][0][1] == pytest.approx(trained.first_stage_ndcg10), "training begins at the first stage's order"


def test_a_reranker_of_shuffled_labels_is_not_better(base, home):
    """Planted: each query is judged by another one's documents."""
    asked, judged = topics()
    shuffled = np.random.default_rng(0).permutation([line.split()[2] for line in judged])
    lines = [f"{query.id} 0 {document} 1" for query, document in zip(asked, shuffled, strict=True)]
    corpus = write_corpus(documents(), asked, lines)
    release = embedded_release(home, corpus, static_encoder()).release
    trained = train(base, release=release, **FAST, epochs=4, patience=4)
    assert trained.low <= 0, trained.sentence
    assert "not better beyond chance than the first stage alone" in trained.note


def test_a_reranker_that_the_known_queries_alone_beat_is_not_released(base, release, corpus):
    """These cost neither training nor time: what is learned must be more than what similar queries say."""
    enough = train(base, release=release, **FAST)
    assert (enough.no_gain, enough.over_known_high > 0) == (False, True)
    trained = train(base, release=release, **{**FAST, "learning_rate": 1e-3})
    weight = card_of(load(open_store(), "reranker", trained.reranker)).fusion.reranker_weight
    assert (trained.gain > 0.1, weight > 0) == (True, True), "by the first stage alone it would be released"
    assert trained.over_known_high < 0
    assert trained.no_gain
    assert f"{signed(trained.over_known)} [" in trained.note
    assert "over the known queries alone" in trained.note
    known = enough.first_stage_ndcg10 + enough.gain - enough.over_known
    assert known == pytest.approx(trained.first_stage_ndcg10 + trained.gain - trained.over_known), "whatever is compared"
    data, encoder = training_data(load(open_store(), "corpus", corpus)), load_release(open_store(), release).encoder
    assert known == pytest.approx(np.mean(dev_ndcg(data, ranked_by_similar_queries(data, encoder))), abs=1e-5)


def ranked_by_similar_queries(data, encoder):
    """Each document by the training query nearest to the dev query of those for which it is relevant, one by one."""
    ranked = {}
    for query in data.dev:
        cosines = encoder.encode([known.text for known in data.training], "query") @ encoder.encode([query.text], "query")[0]
        scores = {}
        for known, cosine in zip(data.training, cosines, strict=True):
            scores |= {name: max(float(cosine), scores.get(name, 0.0)) for name in known.relevant}
        ranked[query.id] = sorted(((name, score) for name, score in scores.items() if score > 0), key=lambda row: -row[1])[:10]
    return ranked


def test_over_a_tuned_champion_the_champion_before_finds_what_is_learned_from(base, release, corpus, home):
    """A weekly training needs no release named: it learns from what an encoder finds that has not seen the queries."""
    journal = Journal(open_store())
    journal.append("deploy", release, "test", Routing(champion=release))
    alone = train(base, **FAST)
    tuned = embedded_release(home, corpus, tune(base, corpus=corpus, **FAST, epochs=2).encoder).release
    journal.append("deploy", tuned, "test", Routing(champion=tuned))
    trained = train(base, **FAST)
    assert trained.release == tuned
    assert load(open_store(), "reranker", trained.reranker).inputs["candidates_from"] == release
    assert (trained.lists, trained.missed) == (alone.lists, alone.missed), "of the untuned encoder's ranking"
    assert trained.first_stage_ndcg10 > alone.first_stage_ndcg10 + 0.1, "dev queries are asked of the champion"
    assert train(base, **FAST, candidates_from=release).found


def test_documents_that_the_corpus_has_no_more_are_not_learned_from():
    assert _within({"a", "c"}, {"q": [("a", 0.9), ("b", 0.8), ("c", 0.7)]}) == {"q": [("a", 0.9), ("c", 0.7)]}


def queries(count, of=20, seed=0):
    """Queries with one to four relevant documents among `of`, drawn by seed: the same documents for several queries."""
    random = np.random.default_rng(seed)
    return [
        TrainingQuery(
            f"q{number}", f"q{number}", {f"d{one}" for one in random.choice(of, random.integers(1, 5), replace=False)}
        )
        for number in range(count)
    ]


def found_for(asked, of=20, seed=1):
    random = np.random.default_rng(seed)
    return {query.id: [(f"d{one}", 1 - place / of) for place, one in enumerate(random.permutation(of)[:10])] for query in asked}


def test_a_known_relevant_document_is_never_a_negative():
    asked = queries(60)
    found = found_for(asked)
    made = pairs(asked, found, 0)
    assert len(made) == sum(len(query.relevant) for query in asked)
    for pair in made:
        assert pair.positive in pair.query.relevant
        assert pair.negative not in pair.query.relevant
        assert pair.negative in dict(found[pair.query.id])
    batches = compatible_batches(made, 8, 0)
    seen = set()
    for _ in range(200):
        batch = [made[row] for row in next(batches)]
        seen |= {(pair.query.id, pair.positive) for pair in batch}
        assert 1 <= len(batch) <= 8
        for pair in batch:
            others = {document for other in batch if other is not pair for document in other.documents}
            assert not others & pair.query.relevant
    assert seen == {(pair.query.id, pair.positive) for pair in made}, "no pair waits for ever"


def test_lists_hold_what_the_first_stage_found():
    asked = queries(60)
    found = found_for(asked)
    lists = ranked_lists(asked, found, 4, 0)
    inside = [(query, document) for query in asked for document in query.relevant if document in dict(found[query.id])]
    assert len(lists) == len(inside) < sum(len(query.relevant) for query in asked)
    for one in lists:
        assert one.documents[0] in one.query.relevant
        assert not set(one.documents[1:]) & one.query.relevant
        assert one.scores == tuple(dict(found[one.query.id])[document] for document in one.documents)
        assert len(set(one.documents)) == 5


def test_the_same_seed_draws_the_same():
    asked = queries(30)
    found = found_for(asked)
    assert pairs(asked, found, 3) == pairs(asked, found, 3) != pairs(asked, found, 4)
    assert ranked_lists(asked, found, 4, 3) == ranked_lists(asked, found, 4, 3) != ranked_lists(asked, found, 4, 4)


def test_test_queries_are_never_read(home):
    """A corpus with other test queries and judgments trains with the same."""
    asked, judged = topics()
    data = []
    for text in ("old lamp", "strange clock"):
        test = Query(id="test", text=text, split="test")
        corpus = write_corpus(documents(), [*asked, test], [*judged, f"test 0 {text.split()[1]}-red 1"])
        data.append(training_data(load(open_store(), "corpus", corpus)))
    assert data[0] == data[1]
    learned = {query.text for query in data[0].training}
    assert learned.isdisjoint(query.text for query in data[0].dev)
    assert learned | {query.text for query in data[0].dev} == {query.text for query in asked}


def test_a_text_that_is_asked_by_others_in_another_case_is_not_learned(home):
    """A train query that reads as a test query is left out; one that reads as a dev query is not learned from."""
    asked, judged = topics()
    whole = training_data(load(open_store(), "corpus", write_corpus(documents(), asked, judged)))
    learned, dev = whole.training[0].text, whole.dev[0].text
    tests = [Query(id=f"t-{digest(text.encode())}", text=text.upper(), split="test") for text in (learned, whole.dev[1].text)]
    again = Query(id="again", text=dev.upper(), split="train")
    corpus = write_corpus(documents(), [*asked, *tests, again], [*judged, "again 0 lamp-blue 1"])
    data = training_data(load(open_store(), "corpus", corpus))
    assert {query.text for query in whole.training} - {query.text for query in data.training} == {learned}
    assert again.text not in {query.text for query in data.training}
    assert {query.text for query in whole.dev} - {query.text for query in data.dev} == {whole.dev[1].text}


def no_judgments():
    return write_corpus(documents(), topics()[0])


def judged_test_queries():
    return write_corpus(documents(), topics("test")[0], topics()[1])


def one_class():
    asked, judged = topics()
    return write_corpus(documents(), asked, [f"{line[:-1]}0" for line in judged])


def all_relevant():
    asked, _ = topics()
    return write_corpus(documents(), asked, [f"{query.id} 0 {document.id} 1" for query in asked for document in documents()])


def one_query():
    asked, judged = topics()
    return write_corpus(documents(), asked[:1], judged[:1])


BAD_CORPORA = [
    (no_judgments, "without judged train queries"),
    (judged_test_queries, "without judged train queries"),
    (one_class, "40 judged train queries have no relevant document"),
    (one_query, "training and"),
]


@pytest.mark.parametrize(("make", "message"), [*BAD_CORPORA, (all_relevant, "all of 24 documents are relevant")])
def test_a_corpus_without_enough_judgments_is_refused_for_an_encoder(base, home, make, message):
    with pytest.raises(InputError, match=message):
        tune(base, corpus=make())
    assert committed(open_store(), "encoder") == []


@pytest.mark.parametrize(("make", "message"), [*BAD_CORPORA, (all_relevant, "first 8 documents are all of one kind")])
def test_a_corpus_without_enough_judgments_is_refused_for_a_reranker(base, home, make, message):
    release = embedded_release(home, make(), static_encoder()).release
    with pytest.raises(InputError, match=message):
        train(base, release=release)
    assert committed(open_store(), "reranker") == []


def without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def with_three_labels(folder):
    shutil.rmtree(folder)
    tiny_bert(folder, labels=3)


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def cut_weights(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])


def nan_weights(folder):
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("attention.output.dense.weight"))
    save_file(weights | {name: np.full_like(weights[name], np.nan)}, folder / "model.safetensors", {"format": "pt"})


BAD_BASES = [
    (without_tokenizer, "without a tokenizer.json"),
    (without_weights, "config.json and model.safetensors"),
    (cut_weights, "expected"),
    (nan_weights, "finite"),
]


@pytest.mark.parametrize(("harm", "message"), BAD_BASES)
def test_a_base_that_cannot_be_tuned_is_refused(base, corpus, harm, message):
    harm(base)
    with pytest.raises(InputError, match=message):
        tune(base, corpus=corpus)
    assert committed(open_store(), "encoder") == []


@pytest.mark.parametrize(("harm", "message"), [*BAD_BASES, (with_three_labels, "3 outputs")])
def test_a_base_that_no_reranker_starts_from_is_refused(base, release, harm, message):
    harm(base)
    with pytest.raises(InputError, match=message):
        train(base, release=release)
    assert committed(open_store(), "reranker") == []


def test_without_a_champion_a_corpus_or_a_release_must_be_named(base, home):
    with pytest.raises(InputError, match="no corpus and no champion"):
        tune(base)
    with pytest.raises(InputError, match="no release and no champion"):
        train(base)


def test_a_model_that_is_nowhere_is_refused(corpus):
    with pytest.raises(InputError, match=r"a folder with config\.json and model\.safetensors"):
        call("tune_encoder", model="no_such_package", corpus=corpus)


@pytest.mark.parametrize("model", ["models:/encoder/1", "runs:/0123456789abcdef0123456789abcdef/model"])
def test_an_mlflow_that_does_not_answer_is_asked_again(home, monkeypatch, model):
    monkeypatch.setenv("RATCHET_MLFLOW_URI", "http://127.0.0.1:1")
    with pytest.raises(TryAgain, match="try again once MLflow answers"):
        model_folder(model)


def test_an_mlflow_with_a_long_url_that_does_not_answer_is_asked_again(home, monkeypatch):
    """The message tells only the beginning of what MLflow's client says; why it failed stands behind the URL."""
    monkeypatch.setenv("RATCHET_MLFLOW_URI", f"http://127.0.0.1:1/{'a' * 300}")
    with pytest.raises(TryAgain, match="try again once MLflow answers"):
        model_folder("models:/encoder/1")


def test_an_mlflow_that_takes_no_connection_in_time_is_asked_again(home, monkeypatch):
    """As many wait to be taken as the listener lets wait, so that one more is not answered at all."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        monkeypatch.setenv("RATCHET_MLFLOW_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TryAgain, match=r"failed with timeout exception.*; next: try again once MLflow answers"):
            model_folder("models:/encoder/1")


@pytest.mark.parametrize("model", ["models:/encoder/1", "models:/"])
def test_a_bad_uri_or_an_address_that_is_no_mlflow_is_not_asked_again(home, monkeypatch, model):
    with ThreadingHTTPServer(("127.0.0.1", 0), NotMlflow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("RATCHET_MLFLOW_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(InputError, match="correct the URI or the setting"):
            model_folder(model)
        server.shutdown()


class NotMlflow(BaseHTTPRequestHandler):
    """A server that has none of MLflow's pages."""

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass
