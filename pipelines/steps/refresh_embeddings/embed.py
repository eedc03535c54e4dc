"""embed: the documents of one shard become vectors."""

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.logs import log
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe, canonical, digest

VERSION = 1


class EmbedParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field(description="Encoder id")
    variant: str = Field("", description="Encoder variant; empty: the champion's if it is by this encoder, else onnx-fp32")
    base: str = Field("", description="Embeddings whose vectors are kept; empty: none")
    shard: str = Field("0/1", pattern=r"^\d+/[1-9]\d*$", description="Which shard of how many, as plan gives it")


class EmbedTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads of the encoder; 0: OMP_NUM_THREADS, else one for each core")
    batch_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens in one batch")
    checkpoint_s: float = Field(5, ge=0, le=3600, description="Seconds between two checkpoints; 0: after each batch")


class EmbedResult(Result):
    shard: str
    documents: int
    forward_passes: int
    found: bool


def embed(params: EmbedParams, tuning: EmbedTuning) -> EmbedResult:
    """Encode the documents of one shard; a stored shard and the stored batches of an earlier try are not encoded again."""
    from pipelines.embeddings.layout import EmbeddedRow
    from pipelines.embeddings.refresh import shard_documents
    from pipelines.models.encoder import card_of
    from pipelines.retrieval.champion_variants import default_variants

    store = open_store()
    corpus, encoder = load(store, "corpus", params.corpus), load(store, "encoder", params.encoder)
    base = [load(store, "embeddings", params.base)] if params.base else []
    limit = card_of(encoder).fingerprint.max_length
    rows, texts = [], {}
    for document in shard_documents(corpus, base, *_parse_shard(params.shard), limit):
        rows.append(EmbeddedRow(id=document.id, content=document.content))
        texts[rows[-1].content] = document.text
    variant = params.variant or default_variants(Journal(store), encoder.id).document
    inputs = {"encoder": encoder.id, "documents": digest(canonical([[row.id, row.content] for row in rows]))}
    recipe = Recipe(kind="shard", step="embed", version=VERSION, inputs=inputs, params={"variant": variant})
    shard = _produce(store, recipe, encoder, rows, texts, tuning)
    passes = 0 if shard.found else shard.facts["forward_passes"]
    return EmbedResult(shard=shard.id, documents=len(rows), forward_passes=passes, found=shard.found)


def _parse_shard(shard: str) -> tuple[int, int]:
    number, count = map(int, shard.split("/"))
    if number >= count:
        raise InputError(f"shard {shard}", f"0/{count} to {count - 1}/{count}", "pass a shard that plan gave")
    return number, count


def _produce(
    store: Store, recipe: Recipe, encoder: Artifact, rows: list[Any], texts: dict[str, str], tuning: EmbedTuning
) -> Artifact:
    """The shard; its checkpoints are removed, also those of a run that was killed before it removed them."""
    from pipelines.embeddings.checkpoints import Checkpoints
    from pipelines.models.encoder import card_of

    checkpoints = Checkpoints(store, recipe.id, card_of(encoder).dimensions, tuning.checkpoint_s)
    variant = recipe.params["variant"]

    def build(folder: Path) -> dict[str, Any]:
        return _encode(encoder, variant, rows, texts, checkpoints, tuning, folder)

    shard = produce(store, recipe, build, tuning.model_dump())
    checkpoints.remove()
    return shard


def _encode(
    encoder: Artifact, variant: str, rows: list[Any], texts: dict[str, str], checkpoints: Any, tuning: EmbedTuning, folder: Path
) -> dict[str, Any]:
    """Write vectors and rows; identical texts share one encoding."""
    import numpy as np

    from pipelines.corpus.documents import write_rows
    from pipelines.embeddings.checkpoints import encode_contents
    from pipelines.embeddings.refresh import estimate_tokens
    from pipelines.models.encoder import check_vectors, load_encoder

    started = time.monotonic()
    loaded = load_encoder(encoder, variant, tuning.threads)
    ready = time.monotonic()
    vectors_by_content, encoded = encode_contents(loaded, texts, checkpoints, tuning.batch_tokens)
    if loaded.cut:
        most = loaded.card.fingerprint.max_length
        log().warning("texts longer than the encoder reads: the rest of them was cut off", texts=loaded.cut, max_length=most)
    speed = {
        "start_s": round(ready - started, 3),
        "encode_s": round(time.monotonic() - ready, 3),
        "encoded_tokens": sum(estimate_tokens(texts[content], loaded.card.fingerprint.max_length) for content in encoded),
    }
    vectors = np.array([vectors_by_content[row.content] for row in rows], np.float32)
    vectors = vectors.reshape(len(rows), loaded.card.dimensions)
    check_vectors(vectors, [row.id for row in rows])
    np.save(folder / "vectors.npy", vectors)
    write_rows(folder / "rows.jsonl", rows)
    return {
        "documents": len(rows),
        "contents": len(vectors_by_content),
        "forward_passes": loaded.forward_passes,
        "cut": loaded.cut,
        **speed,
    }
