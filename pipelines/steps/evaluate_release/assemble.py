"""assemble: encoder, embeddings and index become a release, if they name each other."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class AssembleParams(Params):
    index: str = Field(description="Index id")
    embeddings: str = Field("", description="Embeddings id; empty: those the index was built from")
    encoder: str = Field("", description="Encoder id; empty: the one the embeddings were made by")
    query_variant: str = Field(
        "", description="Encoder variant for queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )


class AssembleResult(Result):
    release: str
    corpus: str
    encoder: str
    embeddings: str
    index: str
    found: bool


def assemble(params: AssembleParams) -> AssembleResult:
    """Make a release of its parts; refuse parts that were not made from each other."""
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import check_parts

    store = open_store()
    index = load(store, "index", params.index)
    embedded = load(store, "embeddings", params.embeddings or index.inputs["embeddings"])
    encoder = load(store, "encoder", params.encoder or embedded.inputs["encoder"])
    parts = check_parts(encoder, embedded, index)
    inputs = {"corpus": parts.corpus.id, "encoder": encoder.id, "embeddings": embedded.id, "index": index.id}
    query_variant = params.query_variant or default_variants(Journal(store), encoder.id).query
    semantic = {"query_variant": query_variant}
    recipe = Recipe(kind="release", step="assemble", version=VERSION, inputs=inputs, params=semantic)
    release = produce(store, recipe, lambda folder: _assemble(parts, query_variant, inputs, folder))
    return AssembleResult(release=release.id, found=release.found, **inputs)


def _assemble(parts: Any, query_variant: str, inputs: dict[str, str], folder: Path) -> dict[str, Any]:
    from pipelines.corpus.documents import documents
    from pipelines.models.encoder import load_encoder
    from pipelines.retrieval.release import ReleaseCard, check_probes, probe_ids, stored_vectors

    by_id = {document.id: document for document in documents(parts.corpus)}
    probes = probe_ids(list(by_id.values()))
    encoder = load_encoder(parts.encoder, query_variant)
    deviation = check_probes(
        f"embeddings {parts.embeddings.id}",
        encoder,
        [by_id[probe] for probe in probes],
        stored_vectors(parts.embeddings, probes),
        parts.variant,
    )
    card = ReleaseCard(document_variant=parts.variant, query_variant=query_variant, probes=probes, **inputs)
    (folder / "release.json").write_text(json.dumps(card.model_dump(), indent=1, sort_keys=True), encoding="utf-8")
    return {"documents": len(by_id), "probe_deviation": deviation}
