"""embed: the documents of one shard become vectors."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.artifacts import Artifact, Recipe, Store, canonical, digest, load, open_store, produce
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
    checkpoint_s: float = Field(5, ge=0, le=3600, description="Seconds between two checkpoints; 0: after each batch")


class EmbedResult(Result):
    shard: str
    documents: int
    forward_passes: int
    found: bool


def embed(params: EmbedParams, tuning: EmbedTuning) -> EmbedResult:
    """Encode the documents of one shard; finished batches of an earlier try, and a shard encoded before, are found."""
    from pipelines.ranking.corpus import documents
    from pipelines.ranking.embeddings import compare, rows, shard_slice

    store = open_store()
    corpus, encoder = load(store, "corpus", params.corpus), load(store, "encoder", params.encoder)
    base = rows(load(store, "embeddings", params.base)) if params.base else []
    chosen = shard_slice(compare(list(documents(corpus)), base).to_encode, params.shard)
    inputs = {"encoder": encoder.id, "documents": digest(canonical([[one.id, one.content] for one in chosen]))}
    recipe = Recipe(kind="shard", step="embed", version=VERSION, inputs=inputs, params={"variant": params.variant})
    shard = _produced(store, recipe, encoder, chosen, tuning)
    passes = 0 if shard.found else shard.facts["forward_passes"]
    return EmbedResult(shard=shard.id, documents=len(chosen), forward_passes=passes, found=shard.found)


def _produced(store: Store, recipe: Recipe, encoder: Artifact, chosen: list[Any], tuning: EmbedTuning) -> Artifact:
    """The shard, after which its checkpoints are gone, also those of a run that was killed before it removed them."""
    from pipelines.ranking.checkpoints import Checkpoints
    from pipelines.ranking.encoder import card_of

    kept = Checkpoints(store, recipe.id, card_of(encoder).dimensions, tuning.checkpoint_s)
    variant = recipe.params["variant"]
    shard = produce(store, recipe, lambda folder: _encode(encoder, variant, chosen, kept, tuning, folder), tuning.model_dump())
    kept.remove()
    return shard


def _encode(encoder: Artifact, variant: str, chosen: list[Any], kept: Any, tuning: EmbedTuning, folder: Path) -> dict[str, Any]:
    import numpy as np

    from pipelines.ranking.checkpoints import encode_contents
    from pipelines.ranking.corpus import write_rows
    from pipelines.ranking.embeddings import EmbeddedRow
    from pipelines.ranking.encoder import check_vectors, load_encoder

    loaded = load_encoder(encoder, variant, tuning.threads)
    rows = [EmbeddedRow(id=one.id, content=one.content) for one in chosen]
    found = encode_contents(
        loaded, {row.content: one.text for row, one in zip(rows, chosen, strict=True)}, kept, tuning.batch_tokens
    )
    vectors = np.array([found[row.content] for row in rows], np.float32).reshape(len(rows), loaded.card.dimensions)
    check_vectors(vectors, [row.id for row in rows])
    np.save(folder / "vectors.npy", vectors)
    write_rows(folder / "rows.jsonl", rows)
    return {"documents": len(rows), "contents": len(found), "forward_passes": loaded.forward_passes}
