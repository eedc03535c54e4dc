"""A tiny reranker for tests: a BERT with random weights, as train_reranker would leave it. Its rankings mean nothing.

Its weights are drawn wider than a trainer would draw them, so that scores of different pairs differ by far more than rounding.
"""

import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.documents import Document, Query
from pipelines.models.backends import FORMATS, cpu_features
from pipelines.steps.refresh_embeddings.export_encoder import MINILM
from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe
from tests.conftest import call, embedded_release
from tests.corpora import write_corpus
from tests.encoders import static_encoder
from tests.sharing import built_once

FUSION = {"first_stage_weight": 0.5, "reranker_weight": 0.5, "scale": 2.0}
MADE = ["onnx-fp32", "onnx-int8-weights", "openvino-bf16", "openvino-int8-nncf"]
RUNNABLE = [name for name in MADE if set(FORMATS[name].requires) <= cpu_features()]
NOUNS = ["chair", "lamp", "table", "clock", "sofa", "shelf", "mirror", "carpet"]
COLOURS = ["red", "green", "blue", "white", "black", "yellow", "grey", "pink"]


@dataclass(frozen=True)
class Reranking:
    """A reranker with its variants, and an index of 64 documents of several lengths."""

    corpus: str
    index: str
    reranker: str
    variants: str
    report: str
    """Of choose_reranker: onnx-fp32."""


def shop() -> tuple[str, str]:
    """A corpus with judged train queries, and its index."""
    documents = [
        Document(id=f"{colour}-{noun}", text=f"a {colour} {noun}" + " for the house" * (row % 3), title=f"{colour} {noun}")
        for colour in COLOURS
        for row, noun in enumerate(NOUNS)
    ]
    asked = [Query(id=f"q{row:02}", text=f"{NOUNS[row % 8]} number {row}", split="train") for row in range(40)]
    asked += [Query(id=f"t{row}", text=f"test {noun}", split="test") for row, noun in enumerate(NOUNS)]
    judged = [f"q{row:02} 0 {colour}-{NOUNS[row % 8]} 1" for row in range(40) for colour in COLOURS[:3]]
    judged += [f"t{row} 0 red-{noun} 1" for row, noun in enumerate(NOUNS)]
    corpus = write_corpus(documents, asked, judged)
    return corpus, embedded_release(Path(), corpus, static_encoder()).index


@pytest.fixture(scope="session")
def _reranking_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reranking]:
    def build(home: Path) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RATCHET_HOME", str(home))
            corpus, index = shop()
            reranker = tiny_reranker()
            made = call("quantize_reranker", reranker=reranker, index=index, queries=10, fidelity=0.1, variants=RUNNABLE)
            given = {"reranker_variants": made.reranker_variants, "index": index, "take": "onnx-fp32"}
            report = call("choose_reranker", queries=10, latency_s=0, threads=1, **given).report
            return [corpus, index, reranker, made.reranker_variants, report]

    folder, ids = built_once(tmp_path_factory, "reranking", build)
    return folder, Reranking(*ids)


@pytest.fixture
def reranking(_reranking_once: tuple[Path, Reranking], home: Path) -> Reranking:
    """A home of this test's own with a reranker's variants. Blobs are hard links: copy before you damage one."""
    shutil.copytree(_reranking_once[0], home, copy_function=os.link)
    return _reranking_once[1]


def tiny_reranker(labels: int = 1, seed: int = 0, leave_out: str = "", spoil: Any = None, size: Any = None, **card: Any) -> str:
    """Make the reranker in the store that the environment names; returns its id.

    Args:
        labels: outputs of its head.
        seed: of its weights.
        leave_out: a file of its folder that is not written.
        spoil: gets the torch module before it is saved.
        size: of the model, in place of a tiny one.
        card: of `reranker.json`, in place of what stands there.
    """
    content = {
        "base": "tiny", "licence": "apache-2.0", "max_length": 64, "document_text": "text", "fusion": FUSION, "candidates": 20,
        "scores": [], "seed": seed, **card,
    }  # fmt: skip
    semantic = {"labels": labels, "seed": seed, "leave_out": leave_out, "spoiled": bool(spoil), "card": content} | (
        {"size": size} if size else {}
    )
    recipe = Recipe(kind="reranker", step="tiny_reranker", version=1, inputs={}, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        torch.manual_seed(seed)
        tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = BertConfig(**(size or tiny), num_labels=labels, initializer_range=0.1, max_position_embeddings=64)
        model = BertForSequenceClassification(config).eval()
        model.classifier.weight.data *= 20
        if spoil:
            spoil(model)
        model.save_pretrained(folder / "model")
        packaged = Path(str(importlib.util.find_spec(MINILM).origin)).parent / "model"  # type: ignore[union-attr]
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            if (packaged / name).is_file():
                shutil.copy(packaged / name, folder / "model")
        if leave_out:
            (folder / "model" / leave_out).unlink()
        (folder / "reranker.json").write_text(json.dumps(content))
        return {}

    return produce(open_store(), recipe, build).id


def swapped(body: bytes) -> bytes:
    """The tokenizer with the ids of its words turned round."""
    described = json.loads(body)
    words = described["model"]["vocab"]
    plain = [word for word in words if word.isalpha()]
    described["model"]["vocab"] |= dict(zip(plain, [words[word] for word in reversed(plain)], strict=True))
    return json.dumps(described).encode()
