"""The choice of a variant, with a static encoder: a variant that gives NaN, what a measurement costs, and where it is found."""

import time
from dataclasses import replace

import numpy as np
import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.evaluation import automatic_variant, variant_rule
from pipelines.evaluation.variant_choice import alone_influence, draw_sample, measure
from pipelines.models import backends
from pipelines.models.encoder import load_encoder
from pipelines.store.artifacts import load_exactly
from pipelines.store.objects import open_store
from tests.corpora import write_corpus
from tests.encoders import static_encoder

DOCUMENTS = [Document(id=f"d{row:03}", text=f"lamp number {row} " + "glass " * 65, title=f"lamp {row}") for row in range(300)]


@pytest.fixture
def encoders(home):
    artifact = load_exactly(open_store(), "encoder", static_encoder())
    return {name: load_encoder(artifact, "onnx-fp32") for name in ("onnx-fp32", "other")}


def corpus_of(queries=(), judged=()):
    return load_exactly(open_store(), "corpus", write_corpus(DOCUMENTS, queries, judged))


def test_a_variant_that_gives_nan_is_refused_and_the_others_are_measured(encoders):
    sample = draw_sample(corpus_of(), 30, 20)
    exact = encoders["other"].forward
    encoders["other"].forward = lambda ids: np.where(ids[:, :1] >= 0, np.float32(np.nan), exact(ids))  # fp16 that overflows
    rows = measure(encoders, sample, "onnx-fp32", 2048)
    best, table = variant_rule.fastest(rows)
    assert best.variant == "onnx-fp32"
    assert {row.variant: row.reason for row in table} == {
        "onnx-fp32": "",
        "other": "30 of 30 of its vectors are NaN or infinite",
    }


def test_nan_alone_is_no_small_influence(encoders):
    texts = ["red lamp", "blue lamp"]
    vectors = encoders["other"].encode(texts, "document")
    exact = encoders["other"].forward
    encoders["other"].forward = lambda ids: exact(ids) * (np.nan if len(ids) == 1 else 1)
    assert np.isnan(alone_influence(encoders["other"], texts, vectors, vectors))


def test_the_cost_of_a_measurement_counts_all_that_is_encoded(encoders, monkeypatch):
    monkeypatch.setattr(automatic_variant, "_tokens_per_s", lambda *_: {"onnx-fp32": 1e6, "other": 2e6})
    queries = [Query(id=f"q{row:03}", text=f"{row} " + "word " * 80, split="train") for row in range(100)]
    judged = [f"q{row:03} 0 d000 1" for row in range(100)]
    tokens = 300 * 100  # 200 documents take 0.03 s, the 64 that warm up 0.0096 s, 100 queries 0.01 s, each asked twice
    monkeypatch.setattr(automatic_variant, "COMPARE_S", 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    corpus, limits = corpus_of(queries, judged), automatic_variant.Limits(10, 2, 1.5)
    plain = corpus_of()
    with pytest.raises(automatic_variant._NotMeasured, match="would cost more than 150 % of"):
        automatic_variant._sample(corpus, encoders, tokens, limits, 0.0)
    with pytest.raises(automatic_variant._NotMeasured, match="would cost more than 132 % of"):
        automatic_variant._sample(plain, encoders, tokens, replace(limits, share=1.32), 0.0)
    assert len(automatic_variant._sample(plain, encoders, tokens, replace(limits, share=2.0), 0.0).documents) == 200


def test_a_choice_is_not_found_by_other_libraries_or_another_gpu(monkeypatch):
    here = variant_rule.machine()
    assert variant_rule.machine() == here
    monkeypatch.setattr(backends, "version", lambda name: f"{name} 999")
    upgraded = variant_rule.machine()
    monkeypatch.setattr(variant_rule, "gpu", lambda: "A GPU")
    assert len({here, upgraded, variant_rule.machine()}) == 3
