"""Encoders: batching, the variants and their measurement, and refused inputs."""

import json
import logging
import os
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file, save_file

from pipelines.corpus.documents import Document, Query
from pipelines.errors import InputError
from pipelines.evaluation import automatic_variant
from pipelines.evaluation.variant_choice import batch_influence, peak_memory_mb
from pipelines.models import backends
from pipelines.models import encoder as encoders
from pipelines.models.backends import FORMATS, INT8, INT8_WEIGHTS, cpu_features
from pipelines.models.encoder import Encoder, card_of, check_vectors, load_encoder, prefetch
from pipelines.models.quantization import quantize
from pipelines.models.sources import MINILM, model_folder
from pipelines.retrieval.release import load_release
from pipelines.store.artifacts import committed, load_exactly, produce
from pipelines.store.journal import Journal, Routing
from pipelines.store.objects import open_store
from tests.conftest import call
from tests.corpora import write_corpus
from tests.images.serve.conftest import replaced
from tests.tiny_models import tiny_bert

TEXTS = [f"word {number} " * (number % 40 + 1) for number in range(60)]


def loaded(trained, variant="onnx-fp32"):
    return load_encoder(load_exactly(trained.store, "encoder", trained.encoder), variant, 2)


@pytest.mark.parametrize(("window", "batch_tokens"), [(7, 3), (7, 20), (60, 300), (2048, 300)])
def test_batches_give_each_row_once_for_any_window(trained, monkeypatch, window, batch_tokens):
    expected = loaded(trained).encode(TEXTS, "document")
    monkeypatch.setattr(encoders, "WINDOW", window)
    encoder = loaded(trained)
    batches = list(encoder.batches(TEXTS, "document", batch_tokens))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(len(TEXTS)))
    assert encoder.forward_passes == len(batches) > 5
    for rows, vectors in batches:
        np.testing.assert_allclose(vectors, expected[rows], atol=1e-5)


def test_batches_are_computed_lazily(trained):
    encoder = loaded(trained)
    batches = encoder.batches(TEXTS, "document", batch_tokens=300)
    next(batches)
    assert encoder.forward_passes == 1
    batches.close()
    assert encoder.forward_passes == 1
    assert list(encoder.batches([], "document")) == []


def test_prefetching_is_bounded_and_in_order():
    started, done = [], threading.Event()

    def work(number):
        started.append(number)
        if number == 2:
            done.set()
        return number * 2

    results = prefetch(work, range(100), depth=2)
    assert next(results) == 0
    assert done.wait(10), "two items are computed ahead of the one in use"
    assert started == [0, 1, 2]
    assert list(results) == [number * 2 for number in range(1, 100)]


def test_errors_while_prefetching_are_raised_at_their_item():
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda number: 1 // number, [1, 0, 1]))


# --- variants -----------------------------------------------------------------------------------------------------------

SOME = ("onnx-fp32", "onnx-int8", "onnx-int8-weights", "openvino-fp32", "openvino-bf16", "torch-bf16")
"""At least one of each library and of each number format; the bench makes all."""
RUNNABLE = [name for name in SOME if set(FORMATS[name].requires) <= cpu_features()]
QUICK = {"batch_tokens": 64, "memory": False}
"""Small batches to compare a text with itself alone in; `batch_influence` has tests of its own."""
THINGS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("lamp", "chair", "table", "sofa", "shelf")]


@dataclass(frozen=True)
class Made:
    """An encoder with the variants of SOME that this CPU can run, and the corpus it was calibrated with."""

    encoder: str
    corpus: str
    few: str
    """The encoder without torch-bf16, which takes its time where the CPU has no bf16."""


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory):
    home = tmp_path_factory.mktemp("variants")
    documents = [Document(id=f"d{row:02}", text=text + ", for the living room" * (row % 3)) for row, text in enumerate(THINGS)]
    queries = [Query(id=f"q{row:02}", text=text, split="test") for row, text in enumerate(THINGS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", str(home))
        corpus = write_corpus(documents, queries, [f"q{row:02} 0 d{row:02} 1" for row in range(len(THINGS))])
        encoder = call("export_encoder", variants=RUNNABLE, calibration=corpus).encoder
        card = json.loads(load_exactly(open_store(), "encoder", encoder).text("encoder.json"))
        card["variants"].pop("torch-bf16", None)
        return home, Made(encoder, corpus, replaced("encoder", encoder, "encoder.json", json.dumps(card).encode()))


@pytest.fixture
def made(_made_once, home):
    shutil.copytree(_made_once[0], home, copy_function=os.link)
    return _made_once[1]


def test_each_variant_gives_the_vectors_of_the_weights_within_its_deviation(made):
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    card = card_of(encoder)
    assert list(card.variants) == RUNNABLE
    exact = load_encoder(encoder, "onnx-fp32").encode(THINGS, "document")
    for name, variant in card.variants.items():
        vectors = load_encoder(encoder, name, 2).encode(THINGS, "document")
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5, err_msg=name)
        assert np.abs(vectors - exact).max() <= 2 * variant.deviation + 1e-5, name
        fp32 = variant.precision == "fp32" and variant.file not in (INT8, INT8_WEIGHTS)
        assert (variant.deviation <= 1e-5) == fp32, name


def test_quantizing_does_not_fill_the_log(trained, tmp_path, caplog):
    model = load_exactly(trained.store, "encoder", trained.encoder).path("model.onnx")
    (tmp_path / "model.onnx").symlink_to(model.absolute())
    with caplog.at_level(logging.INFO):
        quantize(tmp_path, INT8_WEIGHTS, [])
        logging.getLogger("another").info("heard again")
    assert (tmp_path / INT8_WEIGHTS).exists()
    assert [record.getMessage() for record in caplog.records] == ["heard again"]


def test_the_fastest_eligible_variant_is_chosen_and_the_table_says_why(made):
    chosen = call("choose_encoder", encoder=made.encoder, corpus=made.corpus, **QUICK)
    report = load_exactly(open_store(), "report", chosen.report)
    table = {row["variant"]: row for row in report.facts["table"]}
    assert set(table) == set(RUNNABLE)
    assert [name for name, row in table.items() if not row["reason"]] == [chosen.variant]
    faithful = {name for name, row in table.items() if row["fidelity_low"] >= 0.995 and row["mates"] <= 1e-5}
    eligible = {name: table[name] for name in faithful if table[name]["high"] is None or table[name]["high"] >= 0.99}
    assert "onnx-fp32" in eligible
    assert set(chosen.eligible) == set(eligible)
    assert chosen.variant == max(eligible, key=lambda name: eligible[name]["docs_per_s"])
    assert all(row["docs_per_s"] > 0 for row in table.values())
    assert table["onnx-fp32"]["fidelity"] == table["onnx-fp32"]["overlap_at_10"] == 1
    assert chosen.fidelity_low >= 0.995
    assert chosen.queries >= 2
    page = report.text("report.html")
    assert all(name in page for name in RUNNABLE)
    again = call("choose_encoder", encoder=made.encoder, corpus=made.corpus, **QUICK)
    assert again.found
    assert again.variant == chosen.variant


def test_memory_is_that_of_a_process_which_runs_the_variant_alone(made):
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    weights = encoder.path("model.onnx").stat().st_size / 2**20
    assert weights < peak_memory_mb(encoder, "onnx-fp32", THINGS, 2048) < 1000


def test_a_variant_that_cannot_run_here_is_in_the_table(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    chosen = call("choose_encoder", encoder=made.few, corpus=made.corpus, **QUICK)
    table = {row["variant"]: row["reason"] for row in load_exactly(open_store(), "report", chosen.report).facts["table"]}
    assert table["openvino-fp32"] == "cannot run here: a variant for openvino, without the module openvino"
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    with pytest.raises(InputError, match="next: install openvino, or choose another variant"):
        load_encoder(encoder, "openvino-fp32")
    if "onnx-int8" in RUNNABLE:
        monkeypatch.setattr(backends, "cpu_features", frozenset)
        with pytest.raises(InputError, match="on a CPU without avx512_vnni; expected a variant that this CPU can run"):
            load_encoder(encoder, "onnx-int8")


def test_dynamic_quantization_is_not_batch_invariant(made, tmp_path):
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    model = onnx.load(str(encoder.path("model.onnx")))
    del model.graph.value_info[:]
    quantize_dynamic(model, tmp_path / "model.onnx", weight_type=QuantType.QInt8)
    files = {"model.onnx": tmp_path / "model.onnx", "tokenizer.json": encoder.path("tokenizer.json")}
    dynamic = Encoder(card_of(encoder), "onnx-fp32", files.__getitem__)
    texts = [text + " made of steel" * (row % 9) for row, text in enumerate(THINGS)]
    queries = load_encoder(encoder, "onnx-fp32").encode(THINGS, "query")
    assert batch_influence(dynamic, texts, queries, 256) > 1e-4
    assert batch_influence(load_encoder(encoder, "onnx-fp32"), texts, queries, 256) <= 1e-5


def test_openvino_is_batch_invariant_in_bf16_too(made):
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    texts = [text + " made of steel" * (row % 9) for row, text in enumerate(THINGS)]
    for name in (name for name in RUNNABLE if FORMATS[name].backend == "openvino"):
        loaded = load_encoder(encoder, name, 2)
        assert batch_influence(loaded, texts, loaded.encode(THINGS, "query"), 256) <= 1e-6, name
        alone = np.concatenate([loaded.encode([text], "document") for text in texts])
        np.testing.assert_allclose(loaded.encode(texts, "document"), alone, rtol=0, atol=1e-6, err_msg=name)


def test_threads_share_an_encoder(made):
    encoder = load_exactly(open_store(), "encoder", made.encoder)
    for name in ("onnx-fp32", "openvino-fp32"):
        loaded = load_encoder(encoder, name, 1)
        alone = [loaded.encode([text], "query") for text in THINGS]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda text, loaded=loaded: loaded.encode([text], "query"), THINGS * 8))
        np.testing.assert_allclose(np.concatenate(together), np.concatenate(alone * 8), rtol=0, atol=1e-6, err_msg=name)


def test_documents_and_queries_by_different_variants(made):
    documents = "onnx-int8-weights"
    parts = {"corpus": made.corpus, "encoder": made.encoder, "variant": documents}
    shard = call("embed", **parts).shard
    index = call("index", embeddings=call("commit_embeddings", **parts, shards=[shard]).embeddings).index
    release = load_release(open_store(), call("assemble", index=index).release)
    assert (release.card.document_variant, release.card.query_variant) == (documents, "onnx-fp32")
    assert [found[0][0] for found in release.search(THINGS, 1)] == [f"d{row:02}" for row in range(len(THINGS))]
    other = call("assemble", index=index, query_variant=documents).release
    assert load_release(open_store(), other, beside=[release]).encoder is not release.encoder, "by another variant"


def test_variants_that_there_are_none_of(home):
    with pytest.raises(InputError, match=r"given --variants onnx-int3; expected of onnx-fp32, onnx-int8, .*; next: name some"):
        call("export_encoder", variants=["onnx-int3"])
    assert not list(home.rglob("manifest.json"))


def test_choosing_without_judgments_is_by_titles_alone(made):
    corpus = write_corpus([Document(id=f"d{row}", text=f"{thing} number {row}") for row, thing in enumerate(THINGS)])
    chosen = call("choose_encoder", encoder=made.few, corpus=corpus, **QUICK)
    assert (chosen.retention, chosen.low, chosen.high) == (None, None, None)
    assert chosen.fidelity_low >= 0.995
    assert "no train query is judged" in load_exactly(open_store(), "report", chosen.report).text("report.html")


def train_and_test_queries():
    """The things, each with a judged train query and a judged test query."""
    documents = [Document(id=f"d{row:02}", text=text) for row, text in enumerate(THINGS)]
    sides = {"train": "buy a {} today", "test": "where is the {} made"}
    queries = [
        Query(id=f"{side}{row:02}", text=words.format(text), split=side)
        for side, words in sides.items()
        for row, text in enumerate(THINGS)
    ]
    return write_corpus(documents, queries, [f"{side}{row:02} 0 d{row:02} 1" for side in sides for row in range(len(THINGS))])


def test_the_query_variant_asks_train_queries_and_titles_and_no_test_query(made, monkeypatch):
    asked: dict[str, set[str]] = {}
    encode = Encoder.encode

    def recorded(self, texts, role, batch_tokens=2048):
        asked.setdefault(f"{self.variant} {role}", set()).update(texts)
        return encode(self, texts, role, batch_tokens)

    monkeypatch.setattr(Encoder, "encode", recorded)
    corpus = train_and_test_queries()
    chosen = call("choose_encoder", encoder=made.few, corpus=corpus, query_variant="openvino-fp32", **QUICK)
    assert {name for name in asked if name.endswith("query")} == {"onnx-fp32 query", "openvino-fp32 query"}
    assert asked["onnx-fp32 query"] == asked["openvino-fp32 query"]
    assert {f"buy a {text} today" for text in THINGS} < asked["onnx-fp32 query"]
    assert not {text for texts in asked.values() for text in texts if text.startswith("where is the")}
    assert chosen.query_variant == "openvino-fp32"
    table = {row["variant"]: row for row in load_exactly(open_store(), "report", chosen.report).facts["table"]}
    fp32 = table["onnx-fp32"]
    assert (fp32["retention"], fp32["low"], fp32["high"]) == pytest.approx((1, 1, 1), abs=0.01)
    page = load_exactly(open_store(), "report", chosen.report).text("report.html")
    assert f"over {len(THINGS)} judged train queries" in page


def test_a_variant_that_ranks_otherwise_is_refused(made, monkeypatch):
    encode_tokens = Encoder.encode_tokens

    def noisy(self, tokens):
        vectors = encode_tokens(self, tokens)
        if self.variant != "openvino-fp32":
            return vectors
        noise = [np.random.default_rng([int(token) for token in row]).normal(0, 0.03, vectors.shape[1]) for row in tokens]
        moved = vectors + np.array(noise, np.float32)
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    monkeypatch.setattr(Encoder, "encode_tokens", noisy)
    chosen = call("choose_encoder", encoder=made.few, corpus=train_and_test_queries(), **QUICK)
    table = {row["variant"]: row for row in load_exactly(open_store(), "report", chosen.report).facts["table"]}
    refused = table["openvino-fp32"]
    assert refused["mates"] <= 1e-5, "the noise is a text's own, so the batch does not matter"
    assert refused["fidelity_low"] < 0.995
    assert "0.995 needed" in refused["reason"]
    assert "openvino-fp32" not in {chosen.variant, *chosen.eligible}


def test_a_corpus_without_two_queries_to_ask_is_refused_before_it_is_encoded(made, monkeypatch):
    monkeypatch.setattr(Encoder, "encode_tokens", None)
    corpus = write_corpus([Document(id="a", text="lamp")])
    with pytest.raises(InputError, match=r"titles 1 may be asked .* next: use onnx-fp32"):
        call("choose_encoder", encoder=made.encoder, corpus=corpus)
    titles_alone = [Query(id=f"q{row}", text=text, split="test") for row, text in enumerate(THINGS)]
    asked_in_tests = write_corpus([Document(id=f"d{row}", text=text) for row, text in enumerate(THINGS)], titles_alone)
    with pytest.raises(InputError, match=r"titles 0 may be asked \(none that is a test query\)"):
        call("choose_encoder", encoder=made.encoder, corpus=asked_in_tests)


def test_a_query_variant_that_the_encoder_does_not_have_is_refused(made):
    with pytest.raises(InputError, match="onnx-int3"):
        call("choose_encoder", encoder=made.encoder, corpus=made.corpus, query_variant="onnx-int3", memory=False)


# --- a first release ----------------------------------------------------------------------------------------------------

NUMBERED = [Document(id=f"d{row:02}", text=f"{thing} number {row} " + f"{thing} " * 40) for row, thing in enumerate(THINGS)]
"""Long enough for bf16 to be faster whatever else the machine does."""
FEW = {"measure_from": 10, "least_queries": 2, "choosing_share": 1e6}
native_bf16 = pytest.mark.skipif("openvino-bf16" not in backends.native_variants(), reason="no bf16 by this CPU and OpenVINO")


def planned(made, corpus, **values):
    return call("plan", corpus=corpus, encoder=made.encoder, **values)


@native_bf16
def test_a_first_release_takes_the_fastest_native_variant_that_ranks_as_fp32_does(made, monkeypatch):
    corpus = write_corpus(NUMBERED)
    first = planned(made, corpus, **FEW)
    report = load_exactly(open_store(), "report", first.choice)
    table = {row["variant"]: row for row in report.facts["table"]}
    assert set(table) == {"onnx-fp32", "openvino-bf16"}, "int8 is chosen by hand"
    faster = table["openvino-bf16"]["docs_per_s"] > table["onnx-fp32"]["docs_per_s"]
    assert table["openvino-bf16"]["reason"] in ("", "slower")
    assert first.variant == report.facts["variant"] == ("openvino-bf16" if faster else "onnx-fp32")
    assert first.variant_reason == first.note == report.facts["sentence"]
    assert first.variant_reason.startswith(f"{first.variant} is taken: ")
    assert "all 15 documents" in report.text("report.html")
    monkeypatch.setattr(Encoder, "encode_tokens", None)
    assert planned(made, corpus, **FEW).choice == first.choice, "nothing is measured twice"


@native_bf16
def test_a_native_variant_that_ranks_otherwise_is_not_taken(made, monkeypatch):
    encode_tokens = Encoder.encode_tokens

    def noisy(self, tokens):
        vectors = encode_tokens(self, tokens)
        if self.variant == "onnx-fp32":
            return vectors
        noise = [np.random.default_rng([int(token) for token in row]).normal(0, 0.03, vectors.shape[1]) for row in tokens]
        moved = vectors + np.array(noise, np.float32)
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    monkeypatch.setattr(Encoder, "encode_tokens", noisy)
    first = planned(made, write_corpus(NUMBERED), **FEW)
    assert first.variant == "onnx-fp32"
    assert "no other may be taken (openvino-bf16: fidelity 0.9" in first.variant_reason


def test_where_measuring_does_not_pay_nothing_is_measured(made, monkeypatch):
    corpus = write_corpus(NUMBERED)
    few = planned(made, corpus)
    assert (few.variant, few.choice, few.note) == ("onnx-fp32", "", "")
    assert few.variant_reason == "onnx-fp32 is taken: 15 documents are too few to measure other variants"
    assert "it was named" in planned(made, corpus, variant="onnx-int8-weights").variant_reason
    assert "a dry run measures no other" in planned(made, corpus, measure_from=10, dry_run=True).variant_reason
    monkeypatch.setattr(backends, "cpu_features", frozenset)
    plain = planned(made, corpus, **FEW)
    assert plain.variant_reason == "onnx-fp32 is taken: the encoder has no variant that this machine computes natively"


def test_a_measurement_that_costs_too_much_or_asks_too_little_is_not_made_and_not_tried_again(made, monkeypatch):
    monkeypatch.setattr(automatic_variant, "native_variants", lambda: ["openvino-fp32"])  # which every machine can run
    corpus = write_corpus(NUMBERED)
    few = planned(made, corpus, measure_from=10)
    assert (few.variant, few.choice, few.note) == ("onnx-fp32", "", "")
    assert "15 train queries and titles may be asked, and fewer than 2,000" in few.variant_reason
    titles = write_corpus([Document(id=f"d{row:04}", text=f"ball {row}") for row in range(2100)])
    more = planned(made, titles, measure_from=10, least_queries=2500)
    assert "2,100 train queries and titles may be asked, and fewer than 2,500" in more.variant_reason
    dear = planned(made, corpus, measure_from=10, least_queries=2)
    assert (dear.variant, dear.choice, dear.note) == ("onnx-fp32", "", "")
    assert re.search("would cost more than 10 % of the [01] s that it needs for all documents", dear.variant_reason)
    asked_in_tests = [Query(id=f"q{row}", text=f"{thing} number", split="test") for row, thing in enumerate(THINGS)]
    unasked = planned(made, write_corpus(NUMBERED, asked_in_tests), **FEW)
    assert "titles 0 may be asked (none that is a test query)" in unasked.variant_reason
    monkeypatch.setattr(Encoder, "encode_tokens", None)
    assert planned(made, corpus, measure_from=10, least_queries=2) == dear


def test_a_refresh_keeps_the_champions_encoder_and_variant_on_any_machine(trained):
    store = trained.store
    Journal(store).append("deploy", trained.release, "a test", Routing(champion=trained.release), who="test")
    native = call("export_encoder", variants=["native"])
    assert (native.encoder, native.found) == (trained.encoder, True), "exported without bf16, and kept"
    kept = call("plan", corpus=trained.corpus, **FEW)
    assert (kept.variant, kept.added, kept.choice) == ("onnx-fp32", 0, "")
    assert kept.variant_reason == "onnx-fp32 is kept: the vectors before are by it"


def test_a_base_without_a_champion_keeps_its_variant(trained):
    store = trained.store
    base = next(load_exactly(store, "embeddings", id_) for id_ in committed(store, "embeddings"))
    recipe = base.manifest.recipe.model_copy(update={"params": {**base.manifest.recipe.params, "variant": "openvino-bf16"}})

    def build(folder):
        for name in base.manifest.files:
            (folder / name).write_bytes(base.path(name).read_bytes())
        return base.facts

    other = produce(store, recipe, build)
    kept = call("plan", corpus=trained.corpus, encoder=trained.encoder, base=other.id)
    assert (kept.variant, kept.base, kept.added) == ("openvino-bf16", other.id, 0)


def test_native_variants_are_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(backends, "cpu_features", frozenset)
    assert backends.native_variants() == []
    monkeypatch.setattr(backends, "cpu_features", lambda: frozenset(["avx512_bf16"]))
    assert backends.native_variants() == ["openvino-bf16"]
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda _: None)
    assert backends.native_variants() == []


@pytest.mark.parametrize(("allowed", "threads", "used"), [("3", 0, 3), ("3", 2, 2), ("2,1", 0, 2), ("", 0, 0), ("many", 0, 0)])
def test_runtimes_keep_to_the_threads_that_openmp_is_allowed(monkeypatch, allowed, threads, used):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    monkeypatch.setitem(backends.BACKENDS, "onnxruntime", lambda *arguments: arguments[-1])
    assert backends.forward_of(FORMATS["onnx-fp32"], Path, backends.Head("mean"), threads) == used


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_an_encoder_that_gives_nan(trained):
    model = onnx.load(str(load_exactly(trained.store, "encoder", trained.encoder).path("model.onnx")))
    bias = next(one for one in model.graph.initializer if one.name.endswith("layer.5.output.LayerNorm.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(384, np.nan, np.float32), bias.name))
    broken = replaced("encoder", trained.encoder, "model.onnx", model.SerializeToString())
    with pytest.raises(InputError, match=r"1885 of 1885 vectors that are not of length 1 \(NaN, zero or unnormalized\)"):
        call("embed", corpus=trained.corpus, encoder=broken)
    assert trained.store.names("shard/") == [trained.shard]


def test_a_text_without_tokens(trained):
    encoder = load_exactly(trained.store, "encoder", trained.encoder)
    tokenizer = json.loads(encoder.path("tokenizer.json").read_text())
    tokenizer["post_processor"] = None  # no token for a text's begin and end
    bare = load_exactly(
        trained.store, "encoder", replaced("encoder", trained.encoder, "tokenizer.json", json.dumps(tokenizer).encode())
    )
    loaded = load_encoder(bare, "onnx-fp32")
    vectors = loaded.encode(["\u200b", "lamp", "\u200b\u200b"], "document")
    assert loaded.tokens(["\u200b"], "document") == [[]]
    with pytest.raises(InputError, match=r"2 of 3 vectors that are not of length 1 \(NaN, zero or unnormalized\): a, c;"):
        check_vectors(vectors, ["a", "b", "c"])
    assert batch_influence(loaded, ["\u200b", "lamp"], vectors, 64) <= 1e-5


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(model_folder(MINILM), tmp_path / "model"))


def test_weights_with_nan_are_not_exported(home, tmp_path):
    model = tiny_bert(tmp_path / "tiny")
    weights = load_file(model / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.bias"][:] = np.nan
    save_file(weights, model / "model.safetensors")
    with pytest.raises(InputError, match=r"variant onnx-fp32, which differs from its weights by nan; expected at most 0\.0001"):
        call("export_encoder", model=str(model), max_length=64)
    assert not list(home.rglob("manifest.json"))


def test_a_tokenizer_with_more_tokens_than_the_model(trained, model):
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["zzzyx"] = 30522
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    message = "token ids up to 30522; expected at most 30521, the model's last; next: give the tokenizer that"
    with pytest.raises(InputError, match=message):
        call("export_encoder", model=str(model))
    harmed = replaced("encoder", trained.encoder, "tokenizer.json", json.dumps(tokenizer).encode())
    with pytest.raises(InputError, match=message):
        load_encoder(load_exactly(trained.store, "encoder", harmed), "onnx-fp32")
