"""Tiny BERTs for tests of training: real architecture and tokenizer, random weights, seconds to train."""

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
