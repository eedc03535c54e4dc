"""Rerankers: their variants, the choice among them, and refused inputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from pipelines.corpus.documents import documents
from pipelines.errors import InputError
from pipelines.evaluation import reranker_choice as choice
from pipelines.evaluation.variant_rule import BATCH_TOLERANCE, VariantMeasurement
from pipelines.models import reranker as rerankers
from pipelines.models import reranker_variants
from pipelines.models.backends import FORMATS
from pipelines.models.reranker import card_of, check_probes, files_within, load_reranker
from pipelines.models.torch_reranker import library_scores
from pipelines.retrieval.release import parts_of_index
from pipelines.store.artifacts import load
from pipelines.store.objects import open_store
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.images.serve.conftest import replaced
from tests.rerankers import RUNNABLE, _reranking_once, reranking, swapped, tiny_reranker

__all__ = ["_reranking_once", "reranking"]
KIND = "reranker_variants"


def artifact(made, kind=KIND):
    return load(open_store(), kind, made.variants if kind == KIND else made.reranker)


def sample(made, queries=20):
    return choice.draw_pairs(parts_of_index(open_store(), made.index), "onnx-fp32", queries, 20)


def test_each_variant_scores_as_the_library_does_within_its_deviation(reranking, tmp_path):
    model = files_within(artifact(reranking, "reranker"), tmp_path)
    pairs = sample(reranking).pairs[::7]
    expected = library_scores(model, 64, pairs)
    assert np.ptp(expected) > 0.5, "else every deviation is small"
    card = card_of(artifact(reranking))
    assert list(card.variants) == RUNNABLE
    for name, variant in card.variants.items():
        loaded = load_reranker(artifact(reranking), name, 1)
        scores = loaded.score(loaded.tokens_of_pairs(pairs))
        assert np.abs(scores - expected).max() <= 3 * variant.deviation + 1e-4, name
        assert (variant.deviation <= 1e-4) == FORMATS[name].precision.startswith("fp32") * (name == "onnx-fp32"), name


def test_a_score_does_not_depend_on_its_batch(reranking):
    """Alone, and in twenty random batches, in every variant."""
    for name in RUNNABLE:
        assert choice.mates_influence(load_reranker(artifact(reranking), name, 1), sample(reranking)) <= BATCH_TOLERANCE, name


def test_pairs_are_read_as_query_and_document(reranking):
    """The two texts are told apart: the other way round, and as one text, a pair has another score."""
    loaded = load_reranker(artifact(reranking), "onnx-fp32", 1)
    (pair,) = loaded.tokens("red chair", ["a lamp for the house"])
    assert set(pair.types) == {0, 1}
    (turned,) = loaded.tokens("a lamp for the house", ["red chair"])
    untold = pair._replace(types=[0] * len(pair.ids))
    first, second, third = (float(loaded.score([one])[0]) for one in (pair, turned, untold))
    assert min(abs(first - second), abs(first - third)) > 1e-3


def test_the_fastest_that_ranks_as_fp32_does_is_taken_and_the_table_says_why(reranking):
    given = {"reranker_variants": reranking.variants, "index": reranking.index, "threads": 1}
    chosen = call("choose_reranker", queries=30, latency_s=0, **given)
    report = load(open_store(), "report", chosen.report)
    table = {row["variant"]: row for row in report.facts["table"]}
    assert set(table) == set(RUNNABLE)
    eligible = {
        name
        for name, row in table.items()
        if row["fidelity_low"] >= 0.995 and row["mates"] <= 1e-5 and (row["high"] is None or row["high"] >= 0.99)
    }
    assert set(chosen.eligible) == eligible >= {"onnx-fp32"}
    assert chosen.variant == max(eligible, key=lambda name: table[name]["docs_per_s"])
    assert table["onnx-fp32"]["fidelity"] == 1
    assert [row["pairs"] for row in report.facts["percentiles_ms"]] == [8, 32, 100]
    assert set(report.facts["latency_ms"]) == set(RUNNABLE)
    page = report.path("report.html").read_text()
    assert chosen.sentence in page.replace("&#39;", "'")
    assert "Speed against fidelity" in page
    by_hand = call("choose_reranker", queries=30, latency_s=0, take="onnx-fp32", **given)
    assert by_hand.variant == "onnx-fp32"
    assert set(by_hand.eligible) >= {"onnx-fp32"}
    with pytest.raises(InputError, match="variant torch-fp32: it was not made"):
        call("choose_reranker", queries=30, latency_s=0, take="torch-fp32", **given)
    again = call("choose_reranker", queries=30, latency_s=0, **given)
    assert (again.found, again.report) == (True, chosen.report)


def test_variants_of_a_reranker_without_a_weight_are_told_apart(reranking):
    """Where training left it out, the first stage alone would rank: any variant would agree."""
    original = artifact(reranking)
    card = json.loads(original.text("variants.json"))
    card["trained"]["fusion"] |= {"first_stage_weight": 1.0, "reranker_weight": 0.0}
    planted = replaced(KIND, original.id, "variants.json", json.dumps(card).encode())
    given = {"index": reranking.index, "threads": 1, "queries": 30, "latency_s": 0}
    tables = [
        load(open_store(), "report", call("choose_reranker", reranker_variants=name, **given).report).facts["table"]
        for name in (reranking.variants, planted)
    ]
    fidelities = [{row["variant"]: row["fidelity"] for row in table} for table in tables]
    assert fidelities[0] == fidelities[1]
    assert min(fidelities[0].values()) < 1


def test_without_a_variant_that_may_be_taken_it_is_fp32_with_the_reason():
    rows = [
        VariantMeasurement("onnx-fp32", "batch-mates change it by 1.0e-03", docs_per_s=1),
        VariantMeasurement("openvino-bf16", "fidelity 0.9", docs_per_s=2),
    ]
    best, table, why = choice.taken(rows)
    assert best.variant == "onnx-fp32"
    assert len(table) == 2
    assert "batch-mates change it by 1.0e-03" in why
    assert "so fp32 is" in why


def test_one_of_torch_is_taken_only_where_it_is_named():
    """The servers' images have no torch: they could not load the release."""
    rows = [
        VariantMeasurement(name, docs_per_s=speed)
        for name, speed in (("onnx-fp32", 1), ("torch-bf16", 3), ("openvino-bf16", 2))
    ]
    best, table, forced = choice.taken(rows)
    assert (best.variant, forced) == ("openvino-bf16", "")
    assert {row.variant: row.reason for row in table} == {
        "torch-bf16": choice.UNSERVED, "openvino-bf16": "", "onnx-fp32": "slower",
    }  # fmt: skip
    assert choice.taken(rows, "torch-bf16")[0].variant == "torch-bf16"


def test_where_one_is_named_no_other_counts_as_chosen():
    rows = [VariantMeasurement("onnx-fp32", docs_per_s=1), VariantMeasurement("openvino-bf16", docs_per_s=2)]
    best, table, why = choice.taken(rows, "onnx-fp32")
    assert (best, why) == (rows[0], "")
    assert [(row.variant, row.reason) for row in table] == [("onnx-fp32", ""), ("openvino-bf16", "another was named")]


def not_a_number(model):
    model.classifier.weight.data *= float("nan")


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        ({"labels": 2}, {}, "a reranker with 2 labels; expected one label"),
        ({"leave_out": "tokenizer.json"}, {}, "has no tokenizer.json; expected config.json, model.safetensors and tokenizer"),
        ({"leave_out": "model.safetensors"}, {}, "has no model.safetensors"),
        ({"candidates": 0}, {}, r"reranker\.json has candidates: .*greater than or equal to 1"),
        ({"fusion": {"scale": 1}}, {}, r"reranker\.json has fusion\.first_stage_weight: Field required"),
        ({"spoil": not_a_number}, {}, "scores that are NaN or infinite for 32 of 32 pairs"),
        ({}, {"queries": 0}, "an empty calibration set"),
        ({}, {"variants": ["onnx-int3"]}, "--variants onnx-int3; expected of onnx-fp32, "),
    ],
)
def test_what_can_not_be_quantized_is_refused(reranking, made, asked, message):
    given = {"queries": 10, "variants": ["onnx-fp32"], **asked}
    with pytest.raises(InputError, match=message) as refused:
        call("quantize_reranker", reranker=tiny_reranker(**made), index=reranking.index, **given)
    assert refused.value.exit_code == 2


def test_a_corpus_without_train_queries_can_not_calibrate(reranking):
    untold = write_corpus(list(documents(parts_of_index(open_store(), reranking.index).corpus)))
    index = embedded_release(Path(), untold, static_encoder()).index
    with pytest.raises(InputError, match="of whose train queries 0 may be asked"):
        call("quantize_reranker", reranker=reranking.reranker, index=index, variants=["onnx-fp32"])


def clipped(path: Path) -> bytes:
    """The model with every weight clipped at a tenth of the largest."""
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2:
            limit = np.abs(values).max() / 10
            tensor.CopyFrom(numpy_helper.from_array(values.clip(-limit, limit), tensor.name))
    return model.SerializeToString()


def test_an_export_that_differs_from_torch_is_refused(reranking, monkeypatch):
    """Planted: the exporter's weights are clipped on their way into the file."""
    export = reranker_variants.export_onnx

    def clipping(network, model, target, output):
        export(network, model, target, output)
        target.write_bytes(clipped(target))

    monkeypatch.setattr(reranker_variants, "export_onnx", clipping)
    with pytest.raises(InputError, match=r"variant onnx-fp32, which differs from its weights by .* expected at most 0\.000"):
        call("quantize_reranker", reranker=tiny_reranker(seed=1), index=reranking.index, queries=10, variants=["onnx-fp32"])


@pytest.mark.parametrize("harm", ["clipped weights", "wrong tokenizer"])
def test_planted_harms_are_refused_before_a_choice_and_by_the_server(reranking, harm):
    original = artifact(reranking)
    if harm == "clipped weights":
        name, body = "model.onnx", clipped(original.path("model.onnx"))
    else:
        name, body = "tokenizer.json", swapped(original.path("tokenizer.json").read_bytes())
    assert check_probes("r", load_reranker(original, "onnx-fp32", 1)) < 1e-4
    planted = replaced(KIND, original.id, name, body)
    message = "gives scores that differ by .* from the trained model's; expected at most .* over 32 pairs"
    with pytest.raises(InputError, match=message) as refused:
        call("choose_reranker", reranker_variants=planted, index=reranking.index, queries=10, latency_s=0, threads=1)
    assert refused.value.exit_code == 2
    with pytest.raises(InputError, match=message):
        check_probes("release", load_reranker(load(open_store(), KIND, planted), "onnx-fp32", 1))


def test_batch_dependent_scores_are_planted_and_refused(reranking, tmp_path):
    """Dynamic quantization takes its scales from the batch."""
    original = artifact(reranking)
    shutil.copy(original.path("model.onnx"), tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    del model.graph.value_info[:]
    onnx.save(model, str(tmp_path / "model.onnx"))
    quantize_dynamic(tmp_path / "model.onnx", tmp_path / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    variants = json.loads(original.text("variants.json"))
    variants["variants"]["onnx-int8-weights"]["deviation"] = 100.0
    planted = replaced(KIND, original.id, "model.int8-weights.onnx", (tmp_path / "int8.onnx").read_bytes())
    planted = replaced(KIND, planted, "variants.json", json.dumps(variants).encode())
    given = {"reranker_variants": planted, "index": reranking.index, "queries": 20, "latency_s": 0, "threads": 1}
    chosen = call("choose_reranker", **given)
    table = {row["variant"]: row for row in load(open_store(), "report", chosen.report).facts["table"]}
    assert "batch-mates change it by" in table["onnx-int8-weights"]["reason"]
    with pytest.raises(InputError, match="variant onnx-int8-weights: batch-mates change it by"):
        call("choose_reranker", take="onnx-int8-weights", **given)


def test_what_is_scored_is_no_test_query(reranking):
    asked = {one.query.text for one in sample(reranking, 100).queries}
    assert len(asked) > 40, "train queries and titles"
    assert not any(text.startswith("test ") for text in asked)


def test_a_longer_text_is_cut_and_an_empty_one_is_scored(reranking):
    loaded = load_reranker(artifact(reranking), "onnx-fp32", 1)
    tokens = loaded.tokens("chair " * 200, ["", "lamp " * 200])
    assert [len(one.ids) for one in tokens] == [64, 64]
    assert np.isfinite(loaded.score(tokens)).all()
    assert rerankers.size_of(np.array([])) == 1
