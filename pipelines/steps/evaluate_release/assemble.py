"""assemble: encoder, embeddings, index and stages become a release, if they name each other."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines.contract import Params, Result
from pipelines.errors import InputError
from pipelines.store.artifacts import load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import Store, open_store
from pipelines.store.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.retrieval.release import Parts
    from pipelines.retrieval.stages.card import StageCard

VERSION = 1


class AssembleParams(Params):
    index: str = Field(description="Index id")
    embeddings: str = Field("", description="Embeddings id; empty: those the index was built from")
    encoder: str = Field("", description="Encoder id; empty: the one the embeddings were made by")
    query_variant: str = Field(
        "", description="Encoder variant for queries; empty: the champion's if it is by this encoder, else onnx-fp32"
    )
    stages: str = Field(
        "", description="Whose stages are taken: report id of choose_stages, or release id; empty: encoder and index alone"
    )
    reranker: str = Field("", description="Report id of choose_reranker, whose variant reranks what is found; empty: none")
    blend: str = Field("", description="Blend of fit_blend for these stages, the last stage; empty: none but the release's own")


class AssembleResult(Result):
    release: str
    corpus: str
    encoder: str
    embeddings: str
    index: str
    stages: str
    """The stages in words, such as dense 0.5 + known_queries 0.5."""
    found: bool


def assemble(params: AssembleParams) -> AssembleResult:
    """Make a release of its parts; refuse parts that were not made from each other."""
    from pipelines.retrieval.champion_variants import default_variants
    from pipelines.retrieval.release import check_parts
    from pipelines.retrieval.stages.card import named

    store = open_store()
    index = load(store, "index", params.index)
    embedded = load(store, "embeddings", params.embeddings or index.inputs["embeddings"])
    encoder = load(store, "encoder", params.encoder or embedded.inputs["encoder"])
    parts = check_parts(encoder, embedded, index)
    inputs = parts.ids
    query_variant = params.query_variant or default_variants(Journal(store), encoder.id).query
    stages = _stages(store, params, parts, query_variant)
    semantic: dict[str, Any] = {"query_variant": query_variant}
    if stages:
        semantic["stages"] = [stage.model_dump() for stage in stages]
    inputs_of_stages = {stage.stage: stage.artifact for stage in stages if stage.artifact}
    recipe = Recipe(kind="release", step="assemble", version=VERSION, inputs=inputs | inputs_of_stages, params=semantic)
    release = produce(store, recipe, lambda folder: _assemble(parts, query_variant, inputs, stages, folder))
    return AssembleResult(release=release.id, stages=named(stages), found=release.found, **inputs)


def _stages(store: Store, params: AssembleParams, parts: "Parts", query_variant: str) -> "tuple[StageCard, ...]":
    """The stages that the options name, checked to be made from the parts; maybe none."""
    from pipelines.retrieval.stages.card import BLEND, RERANK, StageCard
    from pipelines.retrieval.stages.described import described_stages, stages_before_blend
    from pipelines.retrieval.stages.table import stage_artifacts

    stages = described_stages(store, params.stages, params.reranker)
    if params.blend:
        blend = load(store, "blend", params.blend)
        if not blend.facts["queries"]:
            raise InputError(f"--blend {blend.id}, which ranks the dev queries no better", "one that does", "leave it out")
        before = stages_before_blend(store, params.stages, params.reranker)
        stages = (*before, StageCard(stage=BLEND, artifact=blend.id, queries=blend.facts["queries"]))
    if not stages:
        return ()
    for name, artifact in stage_artifacts(store, stages, parts.ids).items():
        if name == RERANK:  # it reads texts; the variant by which its calibration was drawn does not matter here
            continue
        encoded_by = artifact.manifest.recipe.params.get("query_variant", query_variant)
        if encoded_by != query_variant:
            raise InputError(
                f"{name} {artifact.id}, whose queries were encoded by {encoded_by}, beside query variant {query_variant}",
                "one variant of queries in a release",
                f"pass --query-variant {encoded_by}, or make the stage anew",
            )
    return stages


def _assemble(
    parts: "Parts", query_variant: str, inputs: dict[str, str], stages: "tuple[StageCard, ...]", folder: Path
) -> dict[str, Any]:
    from pipelines.corpus.documents import documents
    from pipelines.models.encoder import load_encoder
    from pipelines.retrieval.probes import check_probes, probe_ids, stored_vectors
    from pipelines.retrieval.release import ReleaseCard, load_rerank
    from pipelines.retrieval.stages.table import stage_artifacts

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
    load_rerank(stages, stage_artifacts(parts.corpus.store, stages, parts.ids), by_id)
    card = ReleaseCard(document_variant=parts.variant, query_variant=query_variant, probes=probes, stages=stages, **inputs)
    content = card.model_dump(exclude_defaults=True)
    (folder / "release.json").write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    return {"documents": len(by_id), "probe_deviation": deviation}
