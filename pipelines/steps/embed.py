"""embed: the documents of one shard become vectors."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.artifacts import Recipe, canonical, digest, load, open_store, produce
from pipelines.contract import Params, Result, Tuning

VERSION = 1


class EmbedParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field(description="Encoder id")
    variant: str = Field("onnx-fp32", description="Encoder variant")
    base: str = Field("", description="Embeddings whose vectors are kept; empty: none")
    shard: str = Field("0/1", pattern=r"^\d+/[1-9]\d*$", description="Which shard of how many, as plan gives it")


class EmbedTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads of the encoder; 0: one for each core")
    batch_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens in one batch, padding included")


class EmbedResult(Result):
    shard: str
    documents: int
    forward_passes: int
    found: bool


def embed(params: EmbedParams, tuning: EmbedTuning) -> EmbedResult:
    """Encode the documents of one shard; a shard that was encoded before is found."""
    from pipelines.ranking.corpus import documents
    from pipelines.ranking.embeddings import compare, rows, shard_slice

    store = open_store()
    corpus, encoder = load(store, "corpus", params.corpus), load(store, "encoder", params.encoder)
    base = rows(load(store, "embeddings", params.base)) if params.base else []
    chosen = shard_slice(compare(list(documents(corpus)), base).to_encode, params.shard)
    inputs = {"encoder": encoder.id, "documents": digest(canonical([[one.id, one.content] for one in chosen]))}
    recipe = Recipe(kind="shard", step="embed", version=VERSION, inputs=inputs, params={"variant": params.variant})

    def build(folder: Path) -> dict[str, Any]:
        return _encode(encoder, params.variant, chosen, tuning, folder)

    shard = produce(store, recipe, build, tuning.model_dump())
    passes = 0 if shard.found else shard.facts["forward_passes"]
    return EmbedResult(shard=shard.id, documents=len(chosen), forward_passes=passes, found=shard.found)


def _encode(encoder: Any, variant: str, chosen: list[Any], tuning: EmbedTuning, folder: Path) -> dict[str, Any]:
    import numpy as np

    from pipelines.ranking.corpus import write_rows
    from pipelines.ranking.embeddings import EmbeddedRow
    from pipelines.ranking.encoder import check_vectors, load_encoder

    loaded = load_encoder(encoder, variant, tuning.threads)
    vectors = loaded.encode([document.text for document in chosen], "document", tuning.batch_tokens)
    check_vectors(vectors, [document.id for document in chosen])
    np.save(folder / "vectors.npy", vectors)
    write_rows(folder / "rows.jsonl", [EmbeddedRow(id=one.id, content=one.content) for one in chosen])
    return {"documents": len(chosen), "forward_passes": loaded.forward_passes}
