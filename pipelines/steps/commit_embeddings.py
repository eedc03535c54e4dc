"""commit_embeddings: shards and kept vectors become embeddings, if every document has exactly one vector."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.artifacts import Artifact, load, open_store, produce
from pipelines.contract import Params, Result
from pipelines.errors import InputError

VERSION = 1


class CommitEmbeddingsParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field(description="Encoder id")
    variant: str = Field("onnx-fp32", description="Encoder variant")
    base: str = Field("", description="Embeddings whose vectors are kept; empty: none")
    shards: list[str] = Field([], description="Shard ids, in any order")


class CommitEmbeddingsResult(Result):
    embeddings: str
    documents: int
    encoded: int
    kept: int
    found: bool


def commit_embeddings(params: CommitEmbeddingsParams) -> CommitEmbeddingsResult:
    """Make embeddings appear, all at once, after checking that no vector was lost, doubled or mixed."""
    from pipelines.ranking.embeddings import recipe_of

    store = open_store()
    corpus, encoder = load(store, "corpus", params.corpus), load(store, "encoder", params.encoder)
    parts = [load(store, "shard", shard) for shard in params.shards]
    base = [load(store, "embeddings", params.base)] if params.base else []
    _one_encoder(encoder, params.variant, [*base, *parts])
    recipe = recipe_of(corpus.id, encoder.id, params.variant, VERSION)
    embedded = produce(store, recipe, lambda folder: _merge(corpus, encoder, params.variant, base, parts, folder))
    counts = {key: embedded.facts[key] for key in ("documents", "encoded", "kept")}
    return CommitEmbeddingsResult(embeddings=embedded.id, found=embedded.found, **counts)


def _one_encoder(encoder: Artifact, variant: str, parts: list[Artifact]) -> None:
    for part in parts:
        made_by = (part.inputs["encoder"], part.manifest.recipe.params["variant"])
        if made_by != (encoder.id, variant):
            raise InputError(
                f"{part.kind} {part.id} by encoder {made_by[0]} {made_by[1]}",
                f"vectors of one encoder, {encoder.id} {variant}",
                "embed this shard again with that encoder",
            )


def _merge(
    corpus: Artifact, encoder: Artifact, variant: str, base: list[Artifact], parts: list[Artifact], folder: Path
) -> dict[str, Any]:
    """Write vectors and rows in the order of document ids; kept vectors are byte copies."""
    import numpy as np

    from pipelines.ranking.corpus import documents, write_rows
    from pipelines.ranking.embeddings import EmbeddedRow, place_vectors, sample
    from pipelines.ranking.encoder import check_vectors, load_encoder
    from pipelines.ranking.release import check_probes

    texts = sorted(documents(corpus), key=lambda one: one.id)
    wanted = [EmbeddedRow(id=one.id, content=one.content) for one in texts]
    merged, kept = place_vectors(wanted, base, parts)
    check_vectors(merged, [row.id for row in wanted])
    again = sample(wanted, kept)
    check_probes("these shards", load_encoder(encoder, variant), [texts[row] for row in again], merged[again])
    np.save(folder / "vectors.npy", merged)
    write_rows(folder / "rows.jsonl", wanted)
    counts = {"kept": int(kept.sum()), "encoded": int((~kept).sum()), "checked": len(again)}
    return {"documents": len(wanted), "dimensions": merged.shape[1], **counts}
