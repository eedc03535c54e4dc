"""Tiny BERTs for tests of training: real architecture and tokenizer, random weights, seconds to train."""

import json
import shutil
from pathlib import Path

from pipelines.models.sources import MINILM, model_folder


def tiny_bert(folder: Path, labels: int = 0, seed: int = 0) -> Path:
    """Write a BERT of two layers of 32 into `folder`; with `labels`, one that classifies."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=30522, max_position_embeddings=64, **sizes, **({"num_labels": labels} if labels else {}))
    (BertForSequenceClassification if labels else BertModel)(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copyfile(model_folder(MINILM) / name, folder / name)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n")
    return folder


def with_first_token(folder: Path) -> None:
    """Make a sentence encoder of a model's folder: same weights, tokenizer and configuration, vectors are the first token's."""
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    described = [
        {"idx": row, "name": str(row), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for row, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
