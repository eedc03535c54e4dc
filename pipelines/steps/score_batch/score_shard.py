"""score_shard: a release ranks the queries of one shard."""

from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.contract import Params, Result, Tuning
from pipelines.store.artifacts import Artifact, load, produce
from pipelines.store.objects import open_store
from pipelines.store.recipes import Recipe

VERSION = 1


class ScoreShardParams(Params):
    queries: str = Field(description="Id of the queries, as plan_scores gives it")
    release: str = Field(description="Release id")
    shard: str = Field(pattern=r"^\d+-\d+$", description="Range of rows, as plan_scores gives it")
    k: int = Field(10, ge=1, le=1000, description="Documents for each query")


class ScoreShardTuning(Tuning):
    threads: int = Field(0, ge=0, le=256, description="Threads of the encoder; 0: OMP_NUM_THREADS, else one for each core")
    batch_tokens: int = Field(2048, ge=1, le=1 << 20, description="Tokens that are encoded at once")
    batch_queries: int = Field(4096, ge=1, le=1 << 20, description="Queries that are in memory at once")


class ScoreShardResult(Result):
    shard: str
    queries: int
    answered: int
    found: bool


def score_shard(params: ScoreShardParams, tuning: ScoreShardTuning) -> ScoreShardResult:
    """Rank the queries of one shard; a shard that is stored is not ranked again."""
    from pipelines.retrieval.scores import range_of

    store = open_store()
    queries, release = load(store, "queries", params.queries), load(store, "release", params.release)
    first, end = range_of(params.shard, queries.facts["distinct"])
    inputs = {"queries": queries.id, "release": release.id}
    semantic = {"rows": f"{first}-{end}", "k": params.k}
    recipe = Recipe(kind="shard", step="score_shard", version=VERSION, inputs=inputs, params=semantic)

    def build(folder: Path) -> dict[str, Any]:
        return {"queries": end - first, "answered": _score(queries, release, first, end, params.k, tuning, folder)}

    shard = produce(store, recipe, build, tuning.model_dump())
    return ScoreShardResult(shard=shard.id, queries=end - first, answered=shard.facts["answered"], found=shard.found)


def _score(queries: Artifact, release: Artifact, first: int, end: int, k: int, tuning: ScoreShardTuning, folder: Path) -> int:
    from pipelines.retrieval.release import load_release
    from pipelines.retrieval.scores import read_queries, write_scores

    loaded = load_release(release.store, release.id, tuning.threads)
    batches = read_queries(queries, first, end, tuning.batch_queries)
    return write_scores(folder / "scores.parquet", loaded, batches, end - first, k, tuning.batch_tokens)
