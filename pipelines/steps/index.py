"""index: embeddings become a searchable index."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.artifacts import Artifact, Recipe, load, open_store, produce
from pipelines.contract import Params, Result

VERSION = 1


class IndexParams(Params):
    embeddings: str = Field(description="Embeddings id")
    algorithm: Literal["flat"] = Field("flat", description="flat: exact, compares every vector")


class IndexResult(Result):
    index: str
    embeddings: str
    encoder: str
    documents: int
    found: bool


def index(params: IndexParams) -> IndexResult:
    """Build the index of embeddings."""
    store = open_store()
    embedded = load(store, "embeddings", params.embeddings)
    semantic = {"algorithm": params.algorithm}
    recipe = Recipe(kind="index", step="index", version=VERSION, inputs={"embeddings": embedded.id}, params=semantic)
    built = produce(store, recipe, lambda folder: _build(embedded, folder))
    return IndexResult(
        index=built.id,
        embeddings=embedded.id,
        encoder=embedded.inputs["encoder"],
        documents=built.facts["documents"],
        found=built.found,
    )


def _build(embedded: Artifact, folder: Path) -> dict[str, Any]:
    from pipelines.ranking.embeddings import rows, vectors
    from pipelines.ranking.index import build_flat, write_index

    ids = [row.id for row in rows(embedded)]
    write_index(folder, build_flat(vectors(embedded)), ids)
    return {"documents": len(ids), "dimensions": embedded.facts["dimensions"]}
