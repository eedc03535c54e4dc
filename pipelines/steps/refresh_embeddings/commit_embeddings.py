"""commit_embeddings: shards and kept vectors become embeddings, if every document has exactly one vector."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.errors import InputError
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.erasures import Erasures
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store

VERSION = 1


class CommitEmbeddingsParams(Params):
    corpus: str = Field(description="Corpus id")
    encoder: str = Field(description="Encoder id")
    variant: str = Field("", description="Encoder variant; empty: the champion's if it is by this encoder, else onnx-fp32")
    base: str = Field("", description="Embeddings whose vectors are kept; empty: none")
    shards: list[str] = Field([], description="Shard ids, in any order")


class CommitEmbeddingsTuning(Tuning):
    segments: int = Field(32, ge=1, le=10_000, description="More files of vectors than this are compacted into one")


class CommitEmbeddingsResult(Result):
    embeddings: str
    documents: int
    encoded: int
    kept: int
    found: bool


def commit_embeddings(params: CommitEmbeddingsParams, tuning: CommitEmbeddingsTuning) -> CommitEmbeddingsResult:
    """Commit embeddings, all at once, after checking that no vector is missing, doubled or by another encoder variant."""
    from pipelines.embeddings.layout import recipe_of
    from pipelines.retrieval.champion_variants import default_variants

    store = open_store()
    corpus, encoder = load(store, "corpus", params.corpus), load(store, "encoder", params.encoder)
    variant = params.variant or default_variants(Journal(store), encoder.id).document
    parts = [load(store, "shard", shard) for shard in params.shards]
    base = [load(store, "embeddings", params.base)] if params.base else []
    _check_encoder(encoder, variant, [*base, *parts])
    recipe = recipe_of(corpus.id, encoder.id, variant, VERSION)
    erasures = Erasures(Journal(store))
    unclean = any(
        erasures.precedes("document", one) for one in [*base, *parts]
    )  # segments may hold an erased document's vector

    def build(folder: Path) -> dict[str, Any]:
        return _merge(corpus, encoder, variant, base, parts, folder, 0 if unclean else tuning.segments)

    embedded = produce(store, recipe, build, tuning.model_dump())
    counts = {key: embedded.facts[key] for key in ("documents", "encoded", "kept")}
    return CommitEmbeddingsResult(embeddings=embedded.id, found=embedded.found, **counts)


def _check_encoder(encoder: Artifact, variant: str, parts: list[Artifact]) -> None:
    for part in parts:
        made_by = (part.inputs.get("encoder"), part.manifest.recipe.params.get("variant"))
        if made_by != (encoder.id, variant):
            raise InputError(
                f"{part.kind} {part.id} by encoder {made_by[0]} {made_by[1]}",
                f"vectors of one encoder, {encoder.id} {variant}",
                "embed this shard again with that encoder",
            )


def _merge(
    corpus: Artifact, encoder: Artifact, variant: str, base: list[Artifact], parts: list[Artifact], folder: Path, most: int
) -> dict[str, Any]:
    """Write the rows in the order of document ids, then the vectors; only counts and places are held in memory."""
    from pipelines.corpus.documents import write_rows
    from pipelines.embeddings.integrity import IntegrityCheck, check_fresh
    from pipelines.embeddings.layout import gather_vectors, write_layout
    from pipelines.embeddings.refresh import aligned
    from pipelines.models.encoder import load_encoder
    from pipelines.retrieval.probes import check_probes

    for part in parts:
        check_fresh(part)
    check = IntegrityCheck()
    write_rows(folder / "rows.jsonl", check.rows(aligned(corpus, base, parts)))
    check.check(corpus.facts["documents"], sum(part.facts["documents"] for part in base))
    texts, sampled = check.sample
    check_probes("these shards", load_encoder(encoder, variant), texts, gather_vectors(check.places, [*base, *parts], sampled))
    counts = {"documents": len(check.places), "encoded": check.encoded, "checked": len(sampled)}
    change = {name: count for name, count in check.change.counts.items() if name != "tokens"}
    return {**counts, **change, **_rates(base, parts), **write_layout(folder, check.places, [*base, *parts], most)}


def _rates(base: list[Artifact], parts: list[Artifact]) -> dict[str, float]:
    """The rates of this encoder variant in one process, for the next plan: as the shards measured them, else the base's."""
    measured = [part.facts for part in parts if part.facts.get("encode_s")]
    if not measured:
        return {key: part.facts[key] for part in base for key in ("tokens_per_s", "start_s") if key in part.facts}
    speed = sum(facts["encoded_tokens"] for facts in measured) / sum(facts["encode_s"] for facts in measured)
    return {"tokens_per_s": round(speed, 1), "start_s": max(facts["start_s"] for facts in measured)}
