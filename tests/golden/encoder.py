"""The encoder of the committed store: a table of random vectors for the words of its collections, a few kilobytes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.store.artifacts import produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe, digest_file

WORDS = (
    "[PAD] [UNK] a for made of the with drawers , red green blue white black yellow grey wooden wood metal glass plastic "
    "leather stone chair lamp table clock kitchen office garden hall"
).split()
DIMENSIONS, MAX_LENGTH = 24, 32


def tiny_encoder(more_variants: Sequence[str] = ()) -> str:
    """Make it in the store that the environment names; its id. Variants beside onnx-fp32 are computed from the same file."""
    from tests.encoders import _model

    recipe = Recipe(
        kind="encoder",
        step="tiny_encoder",
        version=1,
        inputs={},
        params={"dimensions": DIMENSIONS} | ({"variants": list(more_variants)} if more_variants else {}),
    )

    def build(folder: Path) -> dict[str, Any]:
        import onnx
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        onnx.save(_model(len(WORDS), DIMENSIONS), str(folder / "model.onnx"))
        files = {"weights": digest_file(folder / "model.onnx"), "tokenizer": digest_file(folder / "tokenizer.json")}
        rest = {"pooling": "mean", "max_length": MAX_LENGTH, "query_prefix": "", "document_prefix": ""}
        variants = {name: {"file": "model.onnx", "deviation": 0} for name in ("onnx-fp32", *more_variants)}
        card = {"fingerprint": files | rest, "dimensions": DIMENSIONS, "variants": variants}
        (folder / "encoder.json").write_text(json.dumps(card))
        return {"variants": list(variants), "dimensions": DIMENSIONS, "deviation": 0}

    return produce(open_store(), recipe, build).id
