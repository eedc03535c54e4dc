"""index: embeddings become a searchable index, whose recall was measured before it appears."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.contract import Added, Params, Result, Tuning
from pipelines.store.artifacts import find, load, produce
from pipelines.store.journal import Journal
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 2


class IndexParams(Params):
    embeddings: str = Field(description="Embeddings id")
    algorithm: Literal["auto", "flat", "hnsw", "ivf-sq8", "ivf-pq"] = Field(
        "auto", description="auto: the fastest that reaches the recall, by measurement; flat: exact"
    )
    recall: float = Field(0.99, gt=0, le=1, description="Of the exact ten best, the part that must be found")
    flat_below: int = Field(
        20_000, ge=0, description="Of auto: with fewer documents flat, where exact search takes less time than encoding a query"
    )
    query_variant: str = Field(
        "",
        description="Encoder variant of the queries that measure recall; empty: the champion's if it is by this encoder, "
        "else onnx-fp32",
    )
    anew: Annotated[bool, Added()] = Field(
        False, description="Train it on these embeddings, though there may be one of them that was made by an update"
    )


class IndexTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads that build; 0: one for each core; 1: a graph of the same bytes")
    base_index: str = Field(
        "",
        description="Index to update incrementally where it still fits; empty: the champion's, or the last of these documents "
        "that was trained since; 'none': none",
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU where FAISS has one")


class IndexResult(Result):
    index: str
    embeddings: str
    encoder: str
    documents: int
    algorithm: str
    recall_at_10: float
    found: bool


def index(params: IndexParams, tuning: IndexTuning) -> IndexResult:
    """Build the index of embeddings, or update an earlier one incrementally, and measure its recall."""
    from pipelines.index.base import base_of, was_refused
    from pipelines.index.build import IndexOptions, build_index, updated_in_place
    from pipelines.retrieval.champion_variants import default_variants

    store = open_store()
    embedded = load(store, "embeddings", params.embeddings)
    journal = Journal(store)
    query_variant = params.query_variant or default_variants(journal, embedded.inputs["encoder"]).query
    semantic = params.recipe_params({"embeddings", "anew"}) | {"query_variant": query_variant}
    recipe = Recipe(kind="index", step="index", version=VERSION, inputs={"embeddings": embedded.id}, params=semantic)
    made, trained = find(store, "index", recipe.id), recipe.model_copy(update={"params": semantic | {"anew": True}})
    counts = find(store, "index", trained.id) is not None and not was_refused(journal, trained.id)
    if made and updated_in_place(made) and (params.anew or counts):
        recipe = trained  # what was updated keeps its id, so what was trained on these embeddings has another, and counts

    def build(folder: Path) -> dict[str, Any]:
        base = None if params.anew else base_of(journal, tuning.base_index, recipe, embedded)
        options = IndexOptions(**semantic, threads=tuning.threads, device=tuning.device)
        return build_index(embedded, base, options, folder)

    built = produce(store, recipe, build, tuning.model_dump())
    facts = {name: built.facts[name] for name in ("documents", "algorithm", "recall_at_10")}
    return IndexResult(index=built.id, embeddings=embedded.id, encoder=embedded.inputs["encoder"], found=built.found, **facts)
